/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file known by the identity that the scan read, and the blocks of its disk that it lies on.
 *
 * A file is opened for one call at a time: an open descriptor makes umount fail and keeps a
 * deleted file's blocks. After the open it is proven to be the file that was scanned, since a
 * handle of generation 0 opens whatever took the inode number over.
 */
#ifndef PAGEPACT_GUEST_FILE_H
#define PAGEPACT_GUEST_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "guest/disk.h"
#include "guest/memmap.h"
#include "guest/mounts.h"
#include "wire/message.h"

#define FILE_EXTENTS_MAX 4096

/* Magic numbers of the file systems whose FIEMAP names blocks of the underlying device. */
#define FILE_SYSTEM_EXT4   0xEF53u
#define FILE_SYSTEM_XFS	   0x58465342u
#define FILE_SYSTEM_BDEVFS 0x62646576u

/**
 * file_open() - open the regular file that has this identity, and prove that it is the one
 * @mounts: between mounts_begin() and mounts_end(), as below
 *
 * Breaks a write lease that somebody holds on it: only for files just seen without.
 *
 * Return: a file descriptor to be closed soon; -ESTALE when the file is gone or replaced;
 * an error of mounts_open(); or another -errno.
 */
int file_open(struct mounts *mounts, const struct wire_identity *identity);

/**
 * file_find() - find the file or block device that has this identity, without opening it
 *
 * Nobody notices (O_PATH): no lease is broken, no driver is asked. What took over the inode number
 * of a file of generation 0 is found in its place: the generation is the caller's to compare.
 *
 * Return: a file descriptor that names it, for fstat(2), readlink(2) of /proc/self/fd, and
 * file_reopen(); or -errno as file_open().
 */
int file_find(struct mounts *mounts, const struct disk_table *disks,
	      const struct wire_identity *identity);

/**
 * struct file_key - a file as the scan and the events know it: enough to find it again, and to
 * prove that what was found is the very same address_space
 *
 * Unlike struct wire_identity it is never sent, and it holds on every file system that opens files
 * by handle, also where inode numbers are not unique (subvolumes of btrfs).
 */
struct file_key {
	uint64_t mapping; /* a kernel address */
	uint64_t inode;
	uint64_t magic;
	uint32_t device; /* as the kernel has it, of the super block: major << 20 | minor */
	uint32_t generation;
};

/** file_magic_opens() - whether files of such a file system are ever opened */
bool file_magic_opens(uint64_t magic);

/**
 * file_open_key() - open for reading the file or block device whose page cache @key names
 * @memmap: proves by memmap_peek() that the descriptor's address_space is @key's
 * @mounts: between mounts_begin() and mounts_end()
 *
 * Breaks no lease and waits for no network: opens only files of the local file systems that
 * handle_knows(), found by a mount in any mount namespace, and block devices by their node in /dev.
 * Nothing is read but what the kernel has forgotten of a file that is gone.
 *
 * Return: a file descriptor to be closed soon; -EOPNOTSUPP for other file systems, those that can
 * be come by through a network file system only, and what is no regular file; -ENODEV when it is
 * mounted nowhere; -ESTALE when the file is gone or deleted, or its cache is another's; -EBUSY with
 * a lease or a failed write; or another -errno.
 */
int file_open_key(struct memmap *memmap, struct mounts *mounts, const struct file_key *key);

/**
 * FILE_READ_FLAGS - how a file's cache is got at
 *
 * O_NONBLOCK: a lease is refused to us at once, never waited for.
 */
#define FILE_READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOATIME | O_NOCTTY)

/**
 * file_reopen() - open for reading what file_find() found
 *
 * Return: a file descriptor to be closed soon, or -errno.
 */
int file_reopen(int fd);

/**
 * file_extents() - where an open file lies on its disk
 * @place: of the file's block device
 * @index, @count: the pages to be looked up; UINT64_MAX pages for all
 * @items, @items_max: the extents, sorted by index; what has no plain block on the disk (holes,
 * inline or encoded data, not yet written) is left out
 *
 * Of a file whose place ext4 had forgotten it is made to forget it again: nothing is left in slabs.
 *
 * Return: the number of extents; -E2BIG for more than @items_max; -EBADF when the file system's
 * blocks do not start at multiples of 4 KiB; -EOPNOTSUPP without FIEMAP; or another -errno.
 */
int file_extents(int fd, const struct wire_identity *identity, const struct disk_place *place,
		 uint64_t index, uint64_t count, struct wire_extent *items, unsigned items_max);

#endif
