/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's size, set: by its balloon, and by the virtio-mem devices that it had when it was first
 * changed. The devices are looked at, the balloon's target is set, and then they are asked for what
 * they are to have. To unplug, one device is asked, and no target is set.
 */
#ifndef PAGEPACT_HOST_DIAL_H
#define PAGEPACT_HOST_DIAL_H

#include "host/journal.h"
#include "host/qmp.h"
#include "host/virtio-mem.h"
#include "policy/plugged.h"

struct dial;

/** dial_done_fn - once; @reply: of the first command that failed, or of the last one. What QEMU
 * refuses one device is no reason not to ask the others. */
typedef void dial_done_fn(struct dial *dial, const struct qmp_reply *reply, void *userdata);

/**
 * struct dial_request - what is wanted
 * @entry: what the guest had; borrowed
 * @bytes: the size
 * @unplug: the one device that is to unplug, down to @unplug.requested_bytes, while the balloon is
 *	left alone; no id: the size is had without unplugging anything (policy/plugged.h), and
 *	where blocks come back it may be larger, by less than a block
 * @is_exact: not larger even then: the balloon takes what is too much of a block first
 * @command_usec: an answer may take so long
 */
struct dial_request {
	const struct journal_entry *entry;
	uint64_t bytes;
	struct journal_mem unplug;
	bool is_exact;
	uint64_t command_usec;
};

/**
 * struct dial - one request, under way while @command is not 0; its other fields are its own
 * @request.bytes: once it is over: the size that was set
 * @is_target_set: QEMU has taken the balloon's target, whatever it refused after that
 */
struct dial {
	struct qmp *qmp;
	uint64_t command;
	struct dial_request request;
	dial_done_fn *done;
	void *userdata;
	uint64_t balloon_bytes;
	struct journal_mem wanted[PLUGGED_MAX]; /* of those that are to change */
	size_t n_wanted, next;
	bool is_target_set;
	bool is_refused; /* something was, and @error says why */
	char error[256];
};

/** dial_set() - begin. Return: 0, or as qmp_command(), and @done is not called then. */
int dial_set(struct dial *dial, struct qmp *qmp, const struct dial_request *request,
	     dial_done_fn *done, void *userdata);

/**
 * dial_cancel() - forget it: nothing is called back
 * @qmp: the connection by now: where it is another one, what was asked is forgotten already
 */
void dial_cancel(struct dial *dial, struct qmp *qmp);

/** dial_plugged() - what a guest's devices have now, and had; those that are gone are left out */
void dial_plugged(const struct journal_mems *first, const struct virtio_mems *now,
		  struct plugged *ret);

/** dial_most_bytes() - what a machine has with all plugged in that those devices were, or are, to
 * have
 */
uint64_t dial_most_bytes(const struct inventory *inventory, const struct journal_mems *first);

/** dial_first_bytes() - of all devices, before the guest was first changed */
uint64_t dial_first_bytes(const struct journal_mems *first);

/** dial_gone_bytes() - of those that @plugged has no more, before the guest was first changed */
uint64_t dial_gone_bytes(const struct journal_mems *first, const struct plugged *plugged);

/** dial_first() - devices as they are now, for the entry of a guest that is not changed yet; those
 * that no driver has plugged anything in of are left alone */
void dial_first(const struct virtio_mems *now, struct journal_mems *ret);

#endif
