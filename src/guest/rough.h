/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page cache limit, and FREE, where the agent cannot see pages: by looking at the kernel's
 * counters at intervals, and by the kernel's own reclaim (reclaim.h).
 *
 * What comes in between two looks is over the limit until the next. Nothing is known of what is
 * hot: the kernel takes what its own lists have at their ends.
 */
#ifndef PAGEPACT_GUEST_ROUGH_H
#define PAGEPACT_GUEST_ROUGH_H

#include <stdint.h>

#include "guest/bound.h"
#include "guest/reclaim.h"

#define ROUGH_LOOK_USEC 5000000u

/**
 * struct rough - what stands in for the watch
 * @due_usec: when it is to look again
 * @wait_usec: how long after the last look
 * @ahead_due_usec, @ahead_wait_usec: the same for what a balloon is to take
 */
struct rough {
	struct reclaim reclaim;
	struct bound *bound;
	uint64_t due_usec;
	uint64_t wait_usec;
	uint64_t ahead_due_usec;
	uint64_t ahead_wait_usec;
};

/**
 * rough_init() - get ready
 * @bound: initialised; its watch is not used
 * @ret_reason: why not, for people
 *
 * Return: 0 or -errno of reclaim_open(); then nothing is ever reclaimed.
 */
int rough_init(struct rough *r, struct bound *bound, char *ret_reason, size_t reason_size);

/**
 * rough_turn() - look, if it is time, and have what is over the limit reclaimed, for some tenths of
 * a second at most
 *
 * Return: microseconds until the next turn is due; 0: at once; BOUND_NEVER: without a limit.
 */
uint64_t rough_turn(struct rough *r);

/**
 * rough_ahead() - have a piece of what a balloon that inflates is short of reclaimed, within the
 * CPU quota; what does not go is asked for more and more seldom
 *
 * Return: microseconds until the next turn is due.
 */
uint64_t rough_ahead(struct rough *r);

/** rough_look() - have the next turn look, whenever it is */
void rough_look(struct rough *r);

/**
 * rough_free() - have a piece of page cache reclaimed
 * @bytes: at most; some MiB at a time are asked for
 * @ret_bytes: what went
 *
 * Return: 1 when there may be more, 0 when there is not, or -errno.
 */
int rough_free(struct rough *r, uint64_t bytes, uint64_t *ret_bytes);

#endif
