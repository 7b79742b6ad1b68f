/* SPDX-License-Identifier: Apache-2.0 */
#include "host/set-up.h"

#include "host/inventory.h"

/* What stands against it in each guest's own machine is said by balloon_notes(). */
static const struct {
	const char *name;
	const char *text;
} set_ups[SET_UPS] = {
	[SET_UP_SUPERPAGES] = { "superpages",
				"memory comes back as whole superpages (virtio-mem)" },
	[SET_UP_AGENT] = { "agent",
			   "memory comes back as whole superpages that the agent keeps out of use, "
			   "and the host pages out; a virtio-mem device would need no swap" },
	[SET_UP_REPORTING] = { "reporting",
			       "what is freed comes back by free page reporting, by and by; a "
			       "virtio-mem device would give whole superpages at once, as would "
			       "an agent with swap on the host" },
	[SET_UP_PAGES] = { "pages",
			   "memory comes back by the balloon alone, in pages of 4 KiB; "
			   "free-page-reporting=on would bring back what is freed, a virtio-mem "
			   "device whole superpages, and faster" },
	[SET_UP_NONE] = { "none",
			  "memory does not come back; a virtio-balloon device would bring it "
			  "back, and where a host's device is passed through, a virtio-mem "
			  "device beside it; not where memory is encrypted" },
};

enum set_up set_up_of(const struct inventory *inventory, bool can_take)
{
	if (!inventory)
		return SET_UPS;
	/* As `balloon` refuses. */
	if (inventory->confidential || !inventory->balloon)
		return SET_UP_NONE;
	if (virtio_mems_movable(&inventory->virtio_mems))
		return SET_UP_SUPERPAGES;
	if (inventory->vfio)
		return SET_UP_NONE;
	if (can_take && !inventory->virtio_mems.n)
		return SET_UP_AGENT;
	return inventory->free_page_reporting ? SET_UP_REPORTING : SET_UP_PAGES;
}

const char *set_up_name(enum set_up set_up)
{
	return set_ups[set_up].name;
}

const char *set_up_text(enum set_up set_up)
{
	return set_ups[set_up].text;
}
