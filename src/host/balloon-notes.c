/* SPDX-License-Identifier: Apache-2.0 */
#include "host/balloon-notes.h"

#include "host/inventory.h"

static const char no_device[] = "no balloon device: memory that the guest frees does not come back "
				"to the host; add -device "
				"virtio-balloon-pci,free-page-reporting=on,deflate-on-oom=on";
static const char no_reporting[] =
	"free page reporting is off: evicted cache does not come back to the host without it; add "
	"free-page-reporting=on to the balloon device";
static const char no_deflate[] =
	"deflate-on-oom is off: a guest that runs out of memory cannot take its pages back; add "
	"deflate-on-oom=on to the balloon device";
static const char vfio[] = "a host device is passed through (VFIO), or it is not known whether: "
			   "QEMU inhibits the balloon then, and memory does not come back; use "
			   "virtio-mem to resize the guest";
static const char confidential[] =
	"the guest's memory is encrypted (SEV, TDX), or it is not known whether: it is not to be "
	"ballooned; leave its size alone";

size_t balloon_notes(const struct inventory *inventory, const char *ret[BALLOON_NOTES_MAX])
{
	const struct {
		bool holds;
		const char *text;
	} notes[BALLOON_NOTES_MAX] = {
		{ !inventory->balloon, no_device },
		{ inventory->balloon && !inventory->free_page_reporting, no_reporting },
		{ inventory->balloon && !inventory->deflate_on_oom, no_deflate },
		{ inventory->vfio, vfio },
		{ inventory->confidential, confidential },
	};
	size_t n = 0;

	for (size_t i = 0; i < BALLOON_NOTES_MAX; i++)
		if (notes[i].holds)
			ret[n++] = notes[i].text;
	return n;
}
