/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells a guest which blocks of its disks the host holds (HELD), so that its agent lets those go
 * first.
 *
 * How it works
 *
 * A survey of that guest's disks and their images alone, which scans nobody, tells what the host
 * caches and where that lies on the disks. A guest is told of public images and of those that only
 * guests of its own sharing domain can reach: of the same that step 2 of the order of reclaim is
 * about. Messages go out a few at a time and are not waited for; what does not fit is left out, the
 * shortest runs first.
 *
 * It is a hint: what is told may have left before the guest reads again. For a guest that is to
 * shrink, caching is pushed towards the host: its copies are touched first, so that they do not
 * look the coldest of all when the guest's have gone, and what is not there any more is not told.
 */
#ifndef PAGEPACT_HOST_HOLD_H
#define PAGEPACT_HOST_HOLD_H

#include "host/manager.h"

/* What an agent keeps (src/guest/held.h): 32 full messages. */
#define HOLD_RUNS_MAX (32 * WIRE_ITEMS_MAX)

struct hold;

/** hold_done_fn - it has ended: 0, or -errno; @blocks were told. hold_free() may be called in here.
 */
typedef void hold_done_fn(struct hold *h, int result, uint64_t blocks, void *userdata);

/**
 * hold_start() - tell one guest
 * @touch: the host's copies are to stay
 *
 * Return: 0 and @done is called, from the loop; or -errno and it is not: -EPERM for a guest that is
 * only observed, -ENOTCONN.
 */
int hold_start(struct manager *m, struct vm *vm, bool touch, hold_done_fn *done, void *userdata,
	       struct hold **ret);

/** hold_free() - stop. Return: NULL. */
struct hold *hold_free(struct hold *h);

/**
 * holds_begin() - tell guests that are near their limits, or whose balloons inflate while there is
 * a hint, from now on. Return: 0 or -errno.
 */
int holds_begin(struct manager *m);

/**
 * holds_cancel() - end the one under way, m->hold, with -ECANCELED; whoever started it frees it
 * then. Later ones come all the same.
 */
void holds_cancel(struct manager *m);

/** holds_end() - for good */
void holds_end(struct manager *m);

#endif
