/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out one order of a plan: the actuators.
 *
 * A trim runs in a child process. An eviction goes in batches: the host's copies of a batch are
 * touched and found to be there (residency_touch_child()) just before the guest is asked to drop
 * its own, and what the host does not hold any more is not asked for.
 */
#ifndef PAGEPACT_HOST_CARRY_H
#define PAGEPACT_HOST_CARRY_H

#include "host/ledger.h"
#include "host/survey.h"

struct carry;

/** carry_done_fn - the order has ended; @entry tells how. carry_free() may be called in here. */
typedef void carry_done_fn(struct carry *c, void *userdata);
/** carry_progress_fn - @done of @total blocks were dealt with */
typedef void carry_progress_fn(struct carry *c, uint64_t done, uint64_t total, void *userdata);

/**
 * carry_start() - begin
 * @survey: that the order was made from; outlives the carry
 * @order: likewise; its blocks are only read
 * @entry: of the ledger, filled as it goes
 *
 * Return: 0 and @done is called, from the loop; or -errno and it is not.
 */
int carry_start(struct survey *survey, const struct plan_order *order, struct ledger_entry *entry,
		carry_progress_fn *progress, carry_done_fn *done, void *userdata,
		struct carry **ret);

/** carry_free() - stop. A guest that was asked may still do it. Return: NULL. */
struct carry *carry_free(struct carry *c);

#endif
