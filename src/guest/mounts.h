/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the local file systems are mounted, in our mount namespace or another, and descriptors on
 * them, which open_by_handle_at(2) asks for.
 *
 * How it works
 *
 * A super block is known by its device number, which mountinfo tells for each mount (for btrfs as
 * well, where stat(2) tells another number for each subvolume). Paths are never waited on: a mount
 * point that lies below a mount which is neither a local file system nor one of the kernel's own
 * is not used, and the walk is asked to take only what the kernel has in its caches
 * (RESOLVE_CACHED; a mount point and all that is above it are pinned there), so that a network file
 * system that was mounted just now is not asked anything either.
 *
 * A descriptor on a mount makes umount fail with EBUSY. So they are kept for one batch of work
 * only, between mounts_begin() and mounts_end().
 */
#ifndef PAGEPACT_GUEST_MOUNTS_H
#define PAGEPACT_GUEST_MOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/mount-list.h"
#include "guest/subvolumes.h"

#define MOUNTS_OPEN_MAX	      16
#define MOUNTS_ELSEWHERE_MAX  64
#define MOUNTS_NAMESPACES_MAX 64
#define MOUNTS_PROCESSES_MAX  4096
#define MOUNTS_SEARCHES_MAX   4 /* looks through all namespaces in one batch */

struct mounts {
	const char *proc;
	int mountinfo; /* a descriptor on our namespace's, or -1 */
	bool stale;
	struct mount_list list, other;
	unsigned open_count, open_next, searches;
	struct {
		uint32_t device;
		int fd; /* or -errno */
	} open[MOUNTS_OPEN_MAX];
	unsigned elsewhere_next;
	struct {
		uint32_t device;
		int process; /* in whose namespace it is mounted; 0: none was found */
		uint64_t usec;
	} elsewhere[MOUNTS_ELSEWHERE_MAX];
	struct subvolumes subvolumes;
};

/**
 * mounts_init() - know of no mount yet
 * @proc: "/proc", or a fixture's directory
 */
void mounts_init(struct mounts *m, const char *proc);

/**
 * mounts_done() - close what mounts_begin() opened
 */
void mounts_done(struct mounts *m);

/**
 * mounts_begin() - begin a batch: read the list of mounts anew if it has changed
 *
 * Return: 0 or -errno.
 */
int mounts_begin(struct mounts *m);

/**
 * mounts_end() - end the batch: close all descriptors, so that what was used can be unmounted
 */
void mounts_end(struct mounts *m);

/**
 * mounts_open() - a descriptor on a file system, somewhere in it
 * @device: of its super block, as the kernel has it: major << 20 | minor
 *
 * Return: a descriptor that mounts_end() closes; -ENODEV when it is mounted nowhere, as far as we
 * look; -EAGAIN when there was too much to look through; -EOPNOTSUPP when it is a network file
 * system or mounted below one only; or another -errno.
 */
int mounts_open(struct mounts *m, uint32_t device);

/**
 * mounts_subvolumes() - subvolumes of a btrfs that mounts_open() has opened, likely ones first
 * @again: read the list of them anew, if that has not just been done
 *
 * Return: the list, valid until the next call.
 */
struct subvolume_list *mounts_subvolumes(struct mounts *m, uint32_t device, bool again);

#endif
