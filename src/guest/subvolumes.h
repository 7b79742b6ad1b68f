/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subvolumes of mounted btrfs file systems. Each numbers its inodes by itself, and a file
 * handle names the subvolume, which nothing that the scan sees does: they are tried in turn.
 */
#ifndef PAGEPACT_GUEST_SUBVOLUMES_H
#define PAGEPACT_GUEST_SUBVOLUMES_H

#include <stdbool.h>
#include <stdint.h>

#define SUBVOLUMES_MAX	       64
#define SUBVOLUMES_DEVICES_MAX 4

struct subvolume_list {
	uint32_t device; /* of the super block, as the kernel has it */
	uint64_t usec;	 /* when it was read */
	unsigned count;
	uint64_t ids[SUBVOLUMES_MAX];
};

struct subvolumes {
	unsigned next;
	struct subvolume_list lists[SUBVOLUMES_DEVICES_MAX];
};

/**
 * subvolumes_find() - the list of a device; one that has never been read has usec 0
 */
struct subvolume_list *subvolumes_find(struct subvolumes *s, uint32_t device);

/**
 * subvolumes_add() - enter a subvolume that is not in the list yet, if there is room
 */
void subvolumes_add(struct subvolume_list *list, uint64_t id);

/**
 * subvolumes_read() - enter all subvolumes that the file system tells of, mounted or not
 * @fd: somewhere in it
 *
 * Return: 0 or -errno.
 */
int subvolumes_read(struct subvolume_list *list, int fd);

/**
 * subvolumes_used() - move the i-th to the front: the next file is likely in the same one
 */
void subvolumes_used(struct subvolume_list *list, unsigned i);

#endif
