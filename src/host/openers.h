/* SPDX-License-Identifier: Apache-2.0 */
/* Who has an image open: its blocks may have users that no agent speaks for. */
#ifndef PAGEPACT_HOST_OPENERS_H
#define PAGEPACT_HOST_OPENERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OPENERS_LISTED_MAX 8
#define OPENERS_OUTPUT_MAX 1024

/**
 * struct openers_arg - for openers_child()
 * @dev, @ino: the image, as by stat(2)
 * @daemon: this process and its children are not counted
 * @allowed: nor are these, and they are not looked at: the QEMUs of attached guests with a live
 *	agent, and processes that may not be looked at and for which the operator vouches
 */
struct openers_arg {
	dev_t dev;
	ino_t ino;
	pid_t daemon;
	const pid_t *allowed;
	size_t n_allowed;
};

/**
 * openers_child() - look through all processes and loop devices; see child.h for where it runs
 *
 * Not seen: files that the kernel holds by itself without a process (nfsd, a target of LIO, swap
 * files, whatever is mounted from or stacked on an image that is a block device), files registered
 * with io_uring and closed, files under way in a socket, a thread that has unshared its
 * descriptors. An open that comes after the look is not seen either.
 *
 * Return: 0 or -errno of /proc itself
 */
int openers_child(int out_fd, void *arg);

enum opener_kind {
	OPENER_FD,   /* has it open */
	OPENER_MAP,  /* has it mapped, and closed */
	OPENER_LOOP, /* loop device; pid is its number */
};

/** struct opener - @name: comm of the process, or "loopN"; printable ASCII */
struct opener {
	pid_t pid;
	uint32_t kind; /* enum opener_kind */
	char name[20];
};

/**
 * struct openers - the answer
 * @count: others that have it open; > 0 is certain even where not @complete
 * @complete: everybody was looked at. Else "nobody" means "unknown": see @reason
 * @reason: the first cause why not @complete; or ""
 * @n_unknown: processes that may not be looked at, even by root (a security module, a user
 *	namespace)
 * @unknown_pid: the first of them; 0 for none
 * @listed: the first of them
 */
struct openers {
	uint64_t count;
	bool complete;
	char reason[80];
	uint64_t n_unknown;
	pid_t unknown_pid;
	struct opener listed[OPENERS_LISTED_MAX];
	size_t n_listed;
};

/** openers_decode() - read the output of openers_child(). Return: 0 or -EBADMSG */
int openers_decode(const void *data, size_t size, struct openers *ret);

#endif
