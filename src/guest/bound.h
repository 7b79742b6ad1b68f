/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds the page cache limit: an upper bound on what is cached and not mapped.
 *
 * How it works
 *
 * The watch wakes the agent when as many pages have come as were left below the limit. Above it,
 * on any node, the excess and 5 % of the limit more are shed (shed.h), oldest first, in batches:
 * the kernel's own counters are read again after each. It rests when the brake says so or a quota
 * is used up, and when all that is left is mapped, dirty or hot; the cache may then be larger
 * than the limit, and the report says why. While the cache is near the limit and much comes, the
 * sensor of uses is on, so that what is hot is known when it has to be.
 *
 * What a balloon is about to take (ahead.h) is shed in the same way; without a limit that rests
 * where it was dear, and what came back lately is spared.
 */
#ifndef PAGEPACT_GUEST_BOUND_H
#define PAGEPACT_GUEST_BOUND_H

#include "guest/ahead.h"
#include "guest/brake.h"
#include "guest/budget.h"
#include "guest/nodes.h"
#include "guest/settings.h"
#include "guest/shed.h"

#define BOUND_NEVER UINT64_MAX

/* What becomes of what is hot by a guess (heat.h), once for a limit: what was active when it was set
 * may be so for ever. */
enum bound_guess {
	BOUND_GUESS_STAYS, /* until the sensor has been on for long enough */
	BOUND_GUESS_SWEPT, /* is being looked for, the sensor still on */
	BOUND_GUESS_OVER,
};

struct bound {
	struct shed *shed;
	struct nodes *nodes;
	const struct ram *ram;
	struct limit_text limit;
	enum wire_origin origin;
	enum wire_limit_state state;
	uint64_t limit_pages;  /* of all nodes, UINT64_MAX: none */
	bool is_behind;	       /* far above the limit */
	bool is_blind;	       /* the list of mounts could not be read */
	bool lost_node;	       /* a node's counters could not be read: it has gone */
	struct shed_goal goal; /* the limit's */
	bool is_unfinished;    /* the last turn was over before its goal was met */
	struct ahead *ahead;   /* with a hint the queues are kept filled */
	struct brake brake;
	uint64_t sampled_usec; /* when the brake was told last */
	struct budget cpu;
	uint64_t cpu_usec; /* used for the limit so far */
	uint64_t bytes_per_sec;
	int64_t quota_bytes; /* that may be evicted now; what was too much is made up for */
	uint64_t quota_usec; /* when that was right */
	uint64_t sweep_due_usec;
	uint64_t sweep_wait_usec;
	uint64_t sweep_added;	/* what had come when a sweep began last, */
	uint64_t swept_evicted; /* and what had been evicted */
	bool hurry;		/* the limit is near, and much comes: the sensor has to be on */
	enum bound_guess guess;
	uint64_t added_usec;	/* when the window of what came began, */
	uint64_t added_pages;	/* and what had come by then; */
	uint64_t added_before;	/* and by the beginning of the one before */
};

/**
 * bound_init() - without a limit
 * @settings: for the quotas
 */
void bound_init(struct bound *b, struct shed *shed, struct nodes *nodes, const struct ram *ram,
		struct ahead *ahead, const struct settings *settings, uint64_t now_usec);

/** bound_quotas() - have the quotas of other settings hold */
void bound_quotas(struct bound *b, const struct settings *settings, uint64_t now_usec);

/**
 * bound_set() - set the limit
 */
void bound_set(struct bound *b, const struct limit_text *limit, enum wire_origin origin);

/**
 * bound_measure() - have what nodes_count() found over the limit, and 5 % more, become the goal
 *
 * Return: pages until the limit, on the node that has the fewest.
 */
uint64_t bound_measure(struct bound *b);

/**
 * bound_refill() - have the queues forgotten, and filled anew by a sweep when a limit needs them
 */
void bound_refill(struct bound *b);

/**
 * bound_emptied() - as bound_refill(), after somebody else took what was in the queues
 *
 * For a hint alone they are filled anew when a balloon needs them.
 */
void bound_emptied(struct bound *b);

/**
 * bound_turn() - do what there is to do now, for some milliseconds at most; with a watch
 *
 * Return: microseconds until the next turn is due; 0: at once; BOUND_NEVER: when the watch wakes.
 */
uint64_t bound_turn(struct bound *b);

/**
 * bound_sample() - tell the brake what is so, at most once a second
 */
void bound_sample(struct bound *b, uint64_t now_usec);

#endif
