/* SPDX-License-Identifier: Apache-2.0 */
/* What policy_decide() wants done, and why; and what it did not want done, and why not. */
#ifndef PAGEPACT_POLICY_PLAN_H
#define PAGEPACT_POLICY_PLAN_H

#include "policy/snapshot.h"

#define PLAN_REASON_MAX 320 /* bytes, the NUL included */
#define PLAN_HOLDERS	8   /* rows of the histogram in an order's inputs */

struct policy_config;
struct policy_request;

/* The order of reclaim; design: nothing of one step while the step before has something to give. */
enum plan_step {
	PLAN_STEP_FREE = 0,  /* comes back by itself */
	PLAN_STEP_HOST = 1,  /* host's copies of blocks that exactly one guest holds */
	PLAN_STEP_GUEST = 2, /* guests' copies of blocks that the host holds too */
	PLAN_STEPS,
};

enum plan_action {
	PLAN_TRIM,  /* the host drops blocks of an image from its own page cache */
	PLAN_EVICT, /* a guest is asked to */
};

/** plan_action_name() - "trim" or "evict" */
const char *plan_action_name(enum plan_action action);

/**
 * struct plan_inputs - the numbers that an order came from, all in blocks of the order's image
 * @resident: cached by the host
 * @held: cached by the order's guest; for a trim, by any guest
 * @evictable: that the guest could give up; 0 for a trim
 * @cold: of these known not to have been used lately
 * @warm: of these known to have been
 * @age_known: the age of every one of @evictable is known
 * @eligible: what the order could have been without quotas
 * @owed: resident, and kept because a guest gave its copy up for the host's
 * @holders: resident and cached by exactly n guests, [n]; the last row: that many or more
 */
struct plan_inputs {
	uint64_t resident;
	uint64_t held;
	uint64_t evictable;
	uint64_t cold;
	uint64_t warm;
	bool age_known;
	uint64_t eligible;
	uint64_t owed;
	uint64_t holders[PLAN_HOLDERS];
};

/**
 * struct plan_order - one thing to do
 * @id: 0; whoever carries the plan out numbers it
 * @guest: index into the snapshot's guests; SNAPSHOT_NONE for a trim
 * @image: index into the snapshot's images
 * @blocks: of the image; never empty; belongs to the plan
 * @n_blocks: how many
 * @cold: all of @blocks were not used lately (evict only)
 * @reason: one line that a person understands
 */
struct plan_order {
	uint64_t id;
	enum plan_step step;
	enum plan_action action;
	size_t guest;
	size_t image;
	struct blockset *blocks;
	uint64_t n_blocks;
	bool cold;
	char reason[PLAN_REASON_MAX];
	struct plan_inputs inputs;
};

/**
 * struct plan_refusal - what takes no part, and why
 * @guest: or SNAPSHOT_NONE
 * @image: or SNAPSHOT_NONE
 * @step: that it takes no part in; PLAN_STEPS for all of them
 */
struct plan_refusal {
	size_t guest;
	size_t image;
	enum plan_step step;
	char reason[PLAN_REASON_MAX];
};

/**
 * struct plan_offer - one step as a whole
 * @title: constant text
 * @by_itself: happens without an order
 * @offered_bytes: what the step has to give before quotas; of later steps only what was looked at
 * @ordered_bytes: of that in this plan
 */
struct plan_offer {
	const char *title;
	bool by_itself;
	uint64_t offered_bytes;
	uint64_t ordered_bytes;
};

/**
 * struct plan - a decision
 * @orders: in the order in which they are to be carried out
 * @retry_usec: 0, or when to take another snapshot and ask again because something that would be
 *	in this plan waits for its delay or for a newer scan; a time that has passed stands for "as
 *	soon as there is a new snapshot"
 */
struct plan {
	struct plan_order *orders;
	size_t n_orders;
	struct plan_refusal *refusals;
	size_t n_refusals;
	struct plan_offer offers[PLAN_STEPS];
	uint64_t retry_usec;
};

/** plan_done() - release what it holds; all zero is allowed, and is what it leaves */
void plan_done(struct plan *plan);

/** plan_bytes() - sum of all orders of @action */
uint64_t plan_bytes(const struct plan *plan, enum plan_action action);

/**
 * plan_check() - prove that a plan does no harm, without trusting what made it
 *
 * Every block that has a copy has one afterwards, the host's or that of a guest which is not asked
 * to drop it; guests are asked for evictable blocks that the host holds and for nothing else, and
 * only guests that the operator opted in; the host trims only what exactly one such guest holds; no
 * image takes part that two sharing domains reach and that is not public; all quotas hold.
 *
 * @ret_text: on -EINVAL, PLAN_REASON_MAX bytes: which order breaks what; may be NULL
 *
 * Return: 0, -EINVAL, or -ENOMEM when it could not be proven.
 */
int plan_check(const struct snapshot *snapshot, const struct policy_config *config,
	       const struct policy_request *request, const struct plan *plan, char *ret_text);

/*
 * For whoever makes a plan. The order takes over @order->blocks, also on failure; the array
 * fields grow by doubling. Return: 0 or -ENOMEM.
 */
int plan_add_order(struct plan *plan, const struct plan_order *order);
int plan_add_refusal(struct plan *plan, size_t guest, size_t image, enum plan_step step,
		     const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
