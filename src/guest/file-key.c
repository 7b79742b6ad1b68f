/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "guest/file.h"
#include "guest/handle.h"

/* That a descriptor's address_space is the very same. Once it is, the open descriptor keeps it. */
static int key_prove(struct memmap *memmap, int fd, const struct file_key *key)
{
	const struct scan_owner *owner;
	unsigned count;
	int r = memmap_peek(memmap, fd, 0, 0);

	if (r < 0)
		return r;
	owner = memmap_owners(memmap, &count);
	if (owner->mapping != key->mapping || owner->inode != key->inode ||
	    owner->magic != key->magic || owner->device != key->device ||
	    owner->generation != key->generation)
		return -ESTALE;
	return owner->flags & SCAN_OWNER_BUSY ? -EBUSY : 0;
}

/* Who closes a deleted file last waits until its blocks are freed: not to be us. Return: -EIDRM for
 * one; it is not to be looked for in other subvolumes. */
static int regular_prove(struct memmap *memmap, int fd, const struct file_key *key)
{
	unsigned count;
	int r = key_prove(memmap, fd, key);

	if (r < 0)
		return r;
	unsigned flags = memmap_owners(memmap, &count)->flags;
	if (flags & SCAN_OWNER_IRREGULAR)
		return -EOPNOTSUPP;
	return flags & SCAN_OWNER_UNLINKED ? -EIDRM : 0;
}

/* No driver is asked but one whose device is in use: it has pages cached. O_PATH would name the
 * node's own address_space, so there is nothing to be proven before the open. */
static int key_open_device(struct memmap *memmap, const struct file_key *key)
{
	const struct disk_table disks = { .sysfs = "/sys" };
	dev_t device = makedev((unsigned)(key->inode >> 20), (unsigned)(key->inode & 0xfffff));
	_cleanup_close_ int found = disk_find_node(&disks, device), fd = -1;
	int r;

	if (found < 0)
		return found;
	fd = file_reopen(found);
	r = fd < 0 ? fd : key_prove(memmap, fd, key);
	return r < 0 ? r : TAKE_FD(fd);
}

/* The descriptor that was proven keeps the inode, and so the second handle finds no other; to
 * reopen the first by way of /proc costs half as much again. */
static int target_open(struct memmap *memmap, int mount, const struct file_key *key,
		       uint64_t subvolume)
{
	const struct handle_target target = {
		.magic = key->magic,
		.inode = key->inode,
		.generation = key->generation,
		.subvolume = subvolume,
	};
	_cleanup_close_ int found = handle_open(mount, &target, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	int r = found < 0 ? found : regular_prove(memmap, found, key);

	return r < 0 ? r : handle_open(mount, &target, FILE_READ_FLAGS);
}

static int subvolumes_try(struct memmap *memmap, struct subvolume_list *list, int mount,
			  const struct file_key *key)
{
	for (unsigned i = 0; i < list->count; i++) {
		int fd = target_open(memmap, mount, key, list->ids[i]);

		/* A subvolume that has been deleted is not there, or has no such file. */
		if (fd == -ESTALE || fd == -ENOENT)
			continue;
		if (fd >= 0)
			subvolumes_used(list, i);
		return fd;
	}
	return -ESTALE;
}

static int key_open(struct memmap *memmap, struct mounts *mounts, const struct file_key *key)
{
	int mount = mounts_open(mounts, key->device), fd;

	if (mount < 0)
		return mount;
	if (key->magic != BTRFS_SUPER_MAGIC)
		return target_open(memmap, mount, key, 0);

	struct subvolume_list *list = mounts_subvolumes(mounts, key->device, false);
	uint64_t read_usec = list->usec;

	fd = subvolumes_try(memmap, list, mount, key);
	if (fd != -ESTALE)
		return fd;
	list = mounts_subvolumes(mounts, key->device, true);
	return list->usec == read_usec ? fd : subvolumes_try(memmap, list, mount, key);
}

bool file_magic_opens(uint64_t magic)
{
	return magic == FILE_SYSTEM_BDEVFS || handle_knows(magic);
}

int file_open_key(struct memmap *memmap, struct mounts *mounts, const struct file_key *key)
{
	if (key->magic == FILE_SYSTEM_BDEVFS)
		return key_open_device(memmap, key);
	if (!handle_knows(key->magic))
		return -EOPNOTSUPP;
	int fd = key_open(memmap, mounts, key);

	return fd == -EIDRM ? -ESTALE : fd;
}
