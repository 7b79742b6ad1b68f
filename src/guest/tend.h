/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent does of its own accord. */
#ifndef PAGEPACT_GUEST_TEND_H
#define PAGEPACT_GUEST_TEND_H

#include "guest/agent.h"

/**
 * tend_turn() - what is due at intervals: the limit, the balloon, the sensor, old stamps, empty
 * slabs
 * @woken: the watch or the balloon has news
 *
 * Return: microseconds until the next turn is due.
 */
uint64_t tend_turn(struct agent *a, bool woken);

/** tend_settings() - have the settings hold that were read last; what the host asked for stays */
void tend_settings(struct agent *a);

/** tend_slab() - give back the empty slab pages that our own work left, unless that is not wanted
 */
void tend_slab(struct agent *a);

/** tend_bound() - one turn of the limit */
void tend_bound(struct agent *a);

/**
 * tend_limit() - have the limit and the hint hold that should: the host's where it is heard, else
 * the guest's
 * @host: NULL: it is not heard
 */
void tend_limit(struct agent *a, const struct wire_limit *host);

#endif
