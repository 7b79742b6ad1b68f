/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mounts of local file systems, as /proc/PID/mountinfo tells them, and which of them cannot be
 * come by without passing a mount that may make us wait.
 */
#ifndef PAGEPACT_GUEST_MOUNT_LIST_H
#define PAGEPACT_GUEST_MOUNT_LIST_H

#include <stdbool.h>
#include <stdint.h>

#define MOUNTS_MAX	  256
#define MOUNTS_PER_DEVICE 4 /* beside those of other subvolumes: binds of one file system */
#define MOUNTS_TEXT_BYTES 32768

struct mount_list {
	unsigned count;
	uint32_t text_bytes;
	bool rooted; /* what is mounted at "/" is told: the root directory is the root of a mount */
	struct {
		uint32_t device; /* as the kernel has it: major << 20 | minor */
		uint32_t id;
		uint32_t path;	    /* into text */
		bool barred;	    /* below a file system that may make us wait */
		uint64_t subvolume; /* of btrfs; else 0 */
	} mounts[MOUNTS_MAX];
	char text[MOUNTS_TEXT_BYTES];
};

/**
 * mount_list_read() - the mounts of local file systems that a mountinfo tells
 * @fd: of a file that is read from its beginning
 * @device: of one super block alone; 0 for all
 *
 * Mounts beyond the bounds are left out.
 *
 * Return: 0; -EBADMSG when a line is not understood, since it could be of a mount to keep clear of;
 * or -errno.
 */
int mount_list_read(struct mount_list *list, int fd, uint32_t device);

/**
 * mount_list_has_way() - whether any of the mounts can be come by
 */
bool mount_list_has_way(const struct mount_list *list);

#endif
