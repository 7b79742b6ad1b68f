/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the limit share, and nobody else. */
#ifndef PAGEPACT_GUEST_BOUND_PARTS_H
#define PAGEPACT_GUEST_BOUND_PARTS_H

#include "guest/bound.h"

#define BOUND_RETRY_USEC      20000
#define BOUND_SWEEP_WAIT_USEC 10000000u

/* Else there is at most a hint. */
static inline bool bound_has_limit(const struct bound *b)
{
	return b->limit_pages != UINT64_MAX;
}

/* Whether there is a limit, or so much cached that short pieces and another sweep are worth it. */
bool bound_has_much(const struct bound *b);

/* So many that came last are too young. */
uint64_t bound_young_pages(const struct bound *b);

/* The queue whose turn it is; SHED_QUEUES: none has anything. The last two are what a request to
 * free memory left, sorted by superpages. */
enum shed_queue bound_queue_next(const struct bound *b, uint64_t now);

/* Return: 0 when the queues have something, or a sweep is under way; else how long until they may.
 */
uint64_t bound_queues_fill(struct bound *b, uint64_t now);

/* Whether more may go of what is above a limit, once the sensor has been on for long enough. */
bool bound_is_guessing(const struct bound *b);

/* Return: whether there is more of a sweep to be done. */
bool bound_sweep_work(struct bound *b, uint64_t begun);

/* For a hint alone one sweep fills the queues; the next is when a balloon finds them empty. */
bool bound_sweep_wanted(const struct bound *b);

/* Where a sweep is wanted, and within the CPU quota: a machine of 256 GiB takes seconds. Return: as
 * bound_sweep_work(). */
bool bound_sweep_turn(struct bound *b, uint64_t now);

/* Without a limit nobody takes from the queue between two inflations, and most of what a reader of
 * much brought has gone when the next one comes. While it inflates, what comes first is taken
 * first. */
void bound_history_forget(struct bound *b);

#endif
