/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision what leaves which page cache.
 *
 * How it works
 *
 * policy_decide() is a function of its arguments alone: no I/O, no clock, no log. The same code
 * runs in the daemon, for --dry-run and in tests.
 *
 * One call makes one round: orders of one step of the order of reclaim, bounded by quotas. Carry
 * them out, tell policy_applied() what came of each, take a new snapshot and call again, until the
 * plan is empty or a number of rounds is used up.
 *
 * "One step" is meant for each *group*: a sharing domain, or all public images taken together (for
 * trims, which are an order to nobody). Groups neither share a budget nor wait for each other:
 * otherwise the moment and the size of an order to one guest would tell it what guests of another
 * domain do. A domain's guests do wait while a public image that one of them can reach has
 * something for the host to trim, so the rule "nothing of a step while the step before has
 * something to give" holds for everything that any one guest can see.
 *
 * Two things still concern all groups alike: when policy_decide() is called, and how many bytes are
 * wanted. Whoever calls it decides both by the host's own state, a pressure that everybody feels.
 *
 * A block that a guest gave up because the host holds it is *owed* to that guest: the host's copy
 * is not trimmed until the guest has read it again, or for config.owed_usec. Without that, two
 * rounds would do what one may not: the guest that would be the block's only holder then is not
 * the one that was told "the host still has it", and the other's next read would go to storage.
 */
#ifndef PAGEPACT_POLICY_POLICY_H
#define PAGEPACT_POLICY_POLICY_H

#include "policy/plan.h"
#include "policy/snapshot.h"

/**
 * struct policy_config - quotas, watermarks, delays
 * @round_domain_bytes: most that a round takes from one group (evicted and trimmed); 0: no limit
 * @round_guest_bytes: most that a round asks of one guest; 0: no limit
 * @min_run_blocks: shorter runs are left alone, a read of them costs as much as a long one's;
 *	0 and 1: all are taken
 * @start_available_permille: below this share of available host memory, acting without being
 *	asked begins ...
 * @stop_available_permille: ... and at or above this one it ends; both 0: never without being asked
 * @delay_usec: a guest, or the host's copy of an image, is left alone for so long after an act
 * @backoff_usec: the same after an act that brought less than an eighth of what it asked for,
 *	doubled each time it happens again, up to 64 times
 * @owed_usec: how long the host keeps a copy for a guest that gave up its own
 * @scan_age_max_usec: a guest's scan older than this is not known any more
 * @resident_age_max_usec: the same for the host's residency of an image
 */
struct policy_config {
	uint64_t round_domain_bytes;
	uint64_t round_guest_bytes;
	uint32_t min_run_blocks;
	unsigned start_available_permille;
	unsigned stop_available_permille;
	uint64_t delay_usec;
	uint64_t backoff_usec;
	uint64_t owed_usec;
	uint64_t scan_age_max_usec;
	uint64_t resident_age_max_usec;
};

/** policy_config_default - what holds where the operator says nothing */
extern const struct policy_config policy_config_default;

/**
 * struct policy_counters - what became of one action (trim, evict)
 * @tried_bytes: ordered and sent
 * @applied_bytes: gone afterwards, as far as the one who did it says
 * @refused_bytes: the rest
 */
struct policy_counters {
	uint64_t tried;
	uint64_t fruitless;
	uint64_t tried_bytes;
	uint64_t applied_bytes;
	uint64_t refused_bytes;
};

/**
 * struct policy_record - what is remembered of one guest's copies of one image, or of the host's
 * @guest: name; "" for the host
 * @acted_usec: when the last act ended; 0 never
 * @fruitless: acts in a row that brought next to nothing
 * @owed: blocks given up for the host's copy and not read since; NULL none
 */
struct policy_record {
	char guest[SNAPSHOT_NAME_MAX + 1];
	uint64_t device;
	uint64_t inode;
	uint64_t acted_usec;
	unsigned fruitless;
	struct blockset *owed;
	uint64_t owed_usec;
	struct policy_counters counters;
};

/**
 * struct policy_state - what has to outlive a decision; all zero to begin with
 * @acting: between the watermarks, on the way down
 */
struct policy_state {
	bool acting;
	struct policy_record *records;
	size_t n_records;
	struct policy_counters trims;
	struct policy_counters evictions;
};

/** policy_state_done() - release what it holds; all zero is allowed, and is what it leaves */
void policy_state_done(struct policy_state *state);

/**
 * struct policy_request - what is wanted
 * @guest: name of the only guest that is to act, or whose being the only holder lets the host trim;
 *	NULL: all
 * @bytes: no more than this; 0: no limit
 * @asked: by a person: the watermarks do not hold it back
 */
struct policy_request {
	const char *guest;
	uint64_t bytes;
	bool asked;
};

/**
 * policy_decide() - one round
 * @ret: to be given to plan_done(), after success only. An empty plan means that there is nothing
 *	to do, or nothing yet: see plan.retry_usec.
 *
 * @request->bytes is divided evenly among the groups that may act at all, however much each has to
 * give; what one leaves unused comes back with the next call, whose @bytes is what is still wanted.
 *
 * Return: 0, -EINVAL (snapshot_check()), -ENOENT (no guest of that name), -ENOMEM.
 */
int policy_decide(const struct snapshot *snapshot, const struct policy_config *config,
		  struct policy_state *state, const struct policy_request *request,
		  struct plan *ret);

/**
 * policy_applied() - remember what came of an order
 * @snapshot: that the order was made from
 * @order: its blocks may have been cut down to those that were really asked for
 * @now_usec: when the act ended, CLOCK_MONOTONIC; a scan or look-up that began before is not
 *	believed about what the order touched
 * @done_bytes: of these gone
 *
 * Call it for every order that was sent or begun, also when the answer never came (0 bytes then:
 * the guest may have acted on it). Not for a dry run.
 *
 * Return: 0 or -ENOMEM.
 */
int policy_applied(struct policy_state *state, const struct snapshot *snapshot,
		   const struct plan_order *order, uint64_t now_usec, uint64_t done_bytes);

#endif
