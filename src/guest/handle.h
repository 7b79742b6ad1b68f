/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening files by handle, as an NFS server does: by what the kernel itself knows them by. The
 * handles are made here, from numbers that were read, not asked of name_to_handle_at(2).
 */
#ifndef PAGEPACT_GUEST_HANDLE_H
#define PAGEPACT_GUEST_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

struct handle_target {
	uint64_t magic; /* of the super block */
	uint64_t inode;
	uint64_t subvolume; /* of btrfs */
	uint32_t generation;
};

/**
 * handle_knows() - whether this is a local file system whose files can be opened by handle
 */
bool handle_knows(uint64_t magic);

/**
 * handle_open() - open a file by its numbers
 * @mount: a descriptor on its file system, other than O_PATH
 * @flags: of open(2)
 *
 * A generation of 0 opens whatever has the inode number now on most file systems; what was opened
 * is to be proven.
 *
 * Return: a file descriptor; -ESTALE when there is no such file; -EOPNOTSUPP for file systems that
 * are not known; or another -errno.
 */
int handle_open(int mount, const struct handle_target *target, int flags);

#endif
