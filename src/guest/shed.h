/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sheds page cache: takes cold, clean, unmapped pages from queues and evicts them.
 *
 * How it works
 *
 * Pages enter the queues as they enter the cache (the watch tells, oldest first), and by a sweep
 * over memory for what was there before, coldest first. A queue is a list of hints: each piece is
 * opened by its file's key, looked at, judged by its heat, evicted and looked at again (piece.h);
 * what has left meanwhile is passed over (glance.h).
 * What is cold but not held by the host, while the host has said what it holds, goes to a queue of
 * its own and its turn comes after; what is hot, mapped, dirty, held or spared goes to the queue of
 * those kept, and is looked at again later, at growing intervals. What does not fit in a queue, and what
 * was short while that was not worth an open file, is found by the next sweep.
 */
#ifndef PAGEPACT_GUEST_SHED_H
#define PAGEPACT_GUEST_SHED_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/batch.h"
#include "guest/glance.h"
#include "guest/heat.h"
#include "guest/held.h"
#include "guest/memmap.h"
#include "guest/nodes.h"
#include "guest/spans.h"
#include "guest/walk.h"

enum shed_queue {
	SHED_SUPER,	 /* would complete a superpage */
	SHED_FRESH,	 /* in the order in which they came */
	SHED_SOLE_SUPER, /* of the first, what the host does not hold */
	SHED_SOLE,	 /* of the second, what the host does not hold */
	SHED_KEPT,
	SHED_QUEUES,
};

struct shed {
	struct heat *heat;
	const struct nodes *nodes;
	struct held held;
	struct batch batch;
	struct spans queues[SHED_QUEUES];
	struct glance glance;
	bool incomplete; /* something that is cached is in no queue: a sweep is due */
	bool sweeping;
	bool overflowed; /* the last sweep did not come to its end: the next one goes on there */
	bool by_superpage;
	struct walk walk;
	uint64_t added_usec;	  /* when something entered the cache last, as far as was told */
	bool unwanted[NODES_MAX]; /* pages of that node are kept because nobody wanted any of it */
	uint64_t kept_due_usec;
	uint64_t kept_wait_usec;
	uint64_t kept_pages;   /* of those that were put to the front last, still to be looked at */
	uint64_t kept_tried;   /* so many there were, */
	uint64_t kept_evicted; /* and so many of them went */
	bool guessed;	       /* something stayed that may be found to be cold (heat.h) */
	uint64_t evicted_pages; /* ever */
	uint64_t lost;		/* of the watch's runs, as last seen */
};

/**
 * struct shed_goal - what is wanted
 * @pages: of each node; a piece goes whole, so it may become a little more
 * @worth_only: forget what is not worth an open file
 * @spare_returned: leave what came back within a minute, in the last five (watch_came_back())
 * @held_only: leave what the host does not hold for later
 * @evicted: result, of all nodes
 */
struct shed_goal {
	uint64_t pages[NODES_MAX];
	bool worth_only;
	bool spare_returned;
	bool held_only;
	uint64_t evicted;
};

/**
 * shed_init() - with empty queues
 */
void shed_init(struct shed *s);

/**
 * shed_forget() - empty all queues, and free their memory
 */
void shed_forget(struct shed *s);

/**
 * shed_want_node() - have what was kept looked at soon, if pages of a node are among it that were
 * kept only because the goal wanted none of that node
 */
void shed_want_node(struct shed *s, unsigned node);

/**
 * shed_drain() - take in what has entered the cache
 * @keep: into the queues; else it is thrown away
 *
 * Return: 0 or -errno.
 */
int shed_drain(struct shed *s, bool keep);

/**
 * shed_sweep_begin() - begin a sweep, which adds all that is cold to the queues
 * @by_superpage: what would complete a superpage goes to SHED_SUPER
 */
void shed_sweep_begin(struct shed *s, const struct ram *ram, bool by_superpage);

/**
 * shed_sweep_step() - look at one more chunk of memory
 *
 * Return: 1 when there is more, 0 when the queues are filled, or -errno.
 */
int shed_sweep_step(struct shed *s);

/**
 * shed_begin() - begin a batch of pieces
 *
 * Return: 0 or -errno; shed_end() is to be called in either case.
 */
int shed_begin(struct shed *s);

/**
 * shed_end() - end the batch: no file and no mount stays open
 */
void shed_end(struct shed *s);

/**
 * shed_piece() - take one piece from a queue, and evict of it what may go; in a batch
 *
 * Return: 1 when there was one, 0 when the queue is empty, or -errno.
 */
int shed_piece(struct shed *s, enum shed_queue from, struct shed_goal *goal);

/**
 * shed_shorten() - forget what came first, until the queue of what came has no more than @pages
 *
 * What is still cached of it a sweep finds.
 */
void shed_shorten(struct shed *s, uint64_t pages);

/**
 * shed_retry_kept() - have those kept looked at again, when it is time
 * @least_usec: between two times
 *
 * Return: microseconds until it is; 0: they are in SHED_FRESH now; UINT64_MAX: there are none.
 */
uint64_t shed_retry_kept(struct shed *s, uint64_t now_usec, uint64_t least_usec);

/** shed_goal_left() - pages still wanted, of all nodes */
uint64_t shed_goal_left(const struct shed_goal *goal);

#endif
