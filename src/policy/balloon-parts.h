/* SPDX-License-Identifier: Apache-2.0 */
/* What balloon.c (phases), balloon-unplug.c (steps by superpages) and balloon-end.c (how a resize
 * ends) share, and nobody else. */
#ifndef PAGEPACT_POLICY_BALLOON_PARTS_H
#define PAGEPACT_POLICY_BALLOON_PARTS_H

#include "policy/balloon.h"

#define PAGE_BYTES 4096
#define MIB(bytes) ((double)(bytes) / (1 << 20))

/* One call of balloon_next(). */
struct look {
	const struct balloon_rules *rules;
	const struct balloon_goal *goal;
	struct balloon_run *run;
	const struct balloon_seen *seen;
	struct balloon_next *next;
};

static inline uint64_t look_least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t look_most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/** look_end() - decide for the end */
void look_end(struct look *l, enum balloon_state state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** look_leave() - of a look_end(): the target to be set first */
void look_leave(struct look *l, uint64_t bytes);

/** look_set() - decide for a target */
void look_set(struct look *l, uint64_t bytes);

void look_phase(struct look *l, enum balloon_phase phase);

/** look_step() - begin a step that takes so much, by pages unless it is said to be otherwise */
void look_step(struct look *l, uint64_t bytes);

/**
 * look_unplug() - begin a step by virtio-mem, where there is one to be had
 * @bytes: that are left to take
 *
 * Return: whether there was, or that was the end.
 */
bool look_unplug(struct look *l, uint64_t bytes);

/**
 * look_pages() - how much of what is left to take the balloon can
 *
 * A target leaves out what is plugged in, so the balloon cannot be told to take more than the rest.
 *
 * Return: 0: that was the end.
 */
uint64_t look_pages(struct look *l, uint64_t bytes);

/** look_take_bytes() - how much of what is left to take may be had in superpages out of use; 0:
 * none */
uint64_t look_take_bytes(const struct look *l, uint64_t bytes);

/**
 * look_step_any() - begin a step after what was to be evicted was, by superpages out of use where
 * there are some to be had, else by pages
 * @bytes: that it is to take
 */
void look_step_any(struct look *l, uint64_t bytes);

/** look_take_end() - such a step had fewer than it was to have: what is left is for another device
 */
void look_take_end(struct look *l);

/** look_unplug_end() - such a step stalls: what was not unplugged stays */
void look_unplug_end(struct look *l);

/** look_undo_step() - of a look_end(): give the last step back, and leave the guest alone */
void look_undo_step(struct look *l);

bool look_is_inflating(const struct look *l);

/** look_reached() - the size now, as far as it can be true in a step */
uint64_t look_reached(const struct look *l);

/** look_trouble() - what ends a resize in any phase. Return: whether that was the end. */
bool look_trouble(struct look *l);

/** look_owner() - whether somebody else moves the size, during a step or between two; that was the
 * end then */
bool look_owner(struct look *l);

#endif
