/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "guest/file.h"
#include "guest/memmap.h"

int file_open_key(struct memmap *memmap, struct mount_table *mounts, const struct file_key *key)
{
	static struct disk_table disks = { .sysfs = "/sys" };
	uint64_t device = key->magic == FILE_SYSTEM_BDEVFS ? key->inode : key->device;
	struct wire_identity identity = {
		.device = (uint32_t)makedev((unsigned)(device >> 20), (unsigned)(device & 0xfffff)),
		.inode = key->inode,
		.generation = key->generation,
		.kind = key->magic == FILE_SYSTEM_BDEVFS,
	};
	static bool read;
	if (!read) mount_table_read(mounts, "/proc/self/mountinfo");
	read = true;
	if (key->magic != FILE_SYSTEM_EXT4 && key->magic != FILE_SYSTEM_XFS && key->magic != FILE_SYSTEM_BDEVFS)
		return -EOPNOTSUPP;
	_cleanup_close_ int fd = file_find(mounts, &disks, &identity);
	unsigned owners;
	if (fd < 0)
		return fd;
	int r = memmap_peek(memmap, fd, 0, 0);
	if (r < 0)
		return r;
	const struct scan_owner *o = memmap_owners(memmap, &owners);
	if (o->mapping != key->mapping && identity.kind == 0)
		return -ESTALE;
	if (o->flags)
		return -EBUSY;
	return file_reopen(fd);
}
