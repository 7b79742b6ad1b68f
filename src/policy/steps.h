/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of the order of reclaim while the host is short of memory (design, section 4). */
#ifndef PAGEPACT_POLICY_STEPS_H
#define PAGEPACT_POLICY_STEPS_H

#include "policy/view.h"

/**
 * struct step_result - what a step has for one group
 * @offered_blocks: before quotas
 * @ordered_blocks: in the plan
 * @blocked: something of this step has to be done first that is another group's
 * @waits: there is, or may be, more to give after a delay or a newer snapshot
 * @retry_usec: when, if so
 */
struct step_result {
	uint64_t offered_blocks;
	uint64_t ordered_blocks;
	bool blocked;
	bool waits;
	uint64_t retry_usec;
};

/**
 * struct step - one row of the order
 * @title: for people
 * @by_itself: needs no order, so the next step does not wait for it
 * @collect: adds the group's orders to the plan, within the quotas that are left. Return: 0 or
 *	-ENOMEM
 */
struct step {
	const char *title;
	bool by_itself;
	int (*collect)(struct view *view, size_t group, struct plan *plan,
		       struct step_result *result);
};

extern const struct step steps[PLAN_STEPS];

#endif
