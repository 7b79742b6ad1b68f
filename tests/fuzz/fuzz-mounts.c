/* SPDX-License-Identifier: Apache-2.0 */
/* A mountinfo, read whole and for one device. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/mount-list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct mount_list *list, uint32_t device)
{
	bool way = false;

	if (list->count > MOUNTS_MAX || list->text_bytes > MOUNTS_TEXT_BYTES)
		abort();
	for (unsigned i = 0; i < list->count; i++) {
		uint32_t at = list->mounts[i].path;

		if (at >= list->text_bytes || list->text[at] != '/' ||
		    !memchr(list->text + at, '\0', list->text_bytes - at) ||
		    (device && list->mounts[i].device != device))
			abort();
		way |= !list->mounts[i].barred;
	}
	if (way != mount_list_has_way(list))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mount_list all, one;
	int fd = memfd_create("mountinfo", MFD_CLOEXEC), r;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	r = mount_list_read(&all, fd, 0);
	check(&all, 0);
	if (r == 0 && all.count) {
		uint32_t device = all.mounts[all.count - 1].device;

		if (mount_list_read(&one, fd, device) < 0 || (device && one.count == 0))
			abort();
		check(&one, device);
	}
	close(fd);
	return 0;
}
