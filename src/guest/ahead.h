/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache-first hint: page cache is evicted ahead of the balloon while it inflates.
 *
 * How it works
 *
 * As much memory as the balloon is about to take, and AHEAD_MOST_PAGES at most, is to be free above
 * the kernel's watermarks; what is not is a goal of eviction beside the limit's (bound.h), in the
 * same order. All that goes for one inflation is no more than it needs beyond what was free when it
 * was announced: free page reporting takes blocks off the free lists for a moment, and others
 * allocate. Without a limit it rests where it was dear (ahead_rest_usec()), and what came back
 * lately is spared. A brake does not stop it: what the agent does not find, the balloon takes from
 * the kernel's lists, where it may be hot or mapped.
 *
 * The hint is that of Balbir Singh, "[RFC][PATCH 2/2] Balloon hint for unmapped page cache", June
 * 2010, where the host set a bit of the device's; its number has another meaning since. A kernel
 * that offers a hint of its own has not been seen.
 */
#ifndef PAGEPACT_GUEST_AHEAD_H
#define PAGEPACT_GUEST_AHEAD_H

#include "guest/balloon.h"
#include "guest/budget.h"
#include "guest/nodes.h"

/* 256 MiB is the largest step that is taken at once (facts: BuildBuddy PR 10958, vm0 3711); without
 * a target, 64 MiB: a quarter of what the stock balloon takes, at 1 GiB/s, from one look to the
 * next. */
#define AHEAD_MOST_PAGES    65536
#define AHEAD_UNKNOWN_PAGES 16384

/**
 * struct ahead - the hint, and what came of it
 * @hint: WIRE_HINT_NONE or WIRE_HINT_CACHE
 * @balloon: NULL while there is no hint, or no balloon
 * @view: at the last look
 * @new_pages: announced since ahead_measure()
 * @allowed_pages: that may go for the inflation under way
 * @is_short: not all that is to be free was, at ahead_measure()
 * @inflations: noticed
 * @evicted_pages: ahead of them
 * @had_btf: of the driver's module, when the balloon was opened
 * @dear: see ahead_rest_usec()
 * @dear_usec: CPU time so far beyond what long pieces cost; may fall
 * @slab_usec: when empty slabs were given back for it last
 * @slab_wait_usec: until they are again, at the earliest
 */
struct ahead {
	enum wire_hint hint;
	enum wire_origin origin;
	struct balloon *balloon;
	struct balloon_view view;
	uint64_t new_pages;
	uint64_t allowed_pages;
	bool is_short;
	uint64_t inflations;
	uint64_t evicted_pages;
	bool had_btf;
	struct budget dear;
	uint64_t dear_usec;
	uint64_t slab_usec;
	uint64_t slab_wait_usec;
};

/** ahead_init() - without a hint */
void ahead_init(struct ahead *a, uint64_t now_usec);

/**
 * ahead_pages() - what is to be free for the balloon; 0 while it does not inflate
 */
uint64_t ahead_pages(const struct balloon_view *view);

/**
 * ahead_measure() - what has to be evicted for that, by node
 * @n: counted
 * @ret: shared among the nodes by the unmapped cache that they have; 0 where enough is free
 */
void ahead_measure(struct ahead *a, const struct nodes *n, uint64_t ret[NODES_MAX]);

/**
 * ahead_settle() - so many pages were evicted for it
 * @cpu_usec: that this took; 0: not counted, for a limit's sake, or because the kernel did it
 */
void ahead_settle(struct ahead *a, uint64_t pages, uint64_t cpu_usec);

/**
 * ahead_rest_usec() - how long eviction rests that is for the hint alone, and was dear
 *
 * The kernel's own reclaim takes such pages for less. The figures are those of emulated guests;
 * silicon is 15 to 30 times as fast, and there only files of a page or two are as dear.
 *
 * Return: microseconds, a second at most; 0: it does not. To be asked before each piece of work:
 * it is then that what is saved up is bounded.
 */
uint64_t ahead_rest_usec(struct ahead *a, uint64_t now_usec);

/**
 * ahead_look() - look what the balloon does
 *
 * Return: whether an inflation has begun since the last look.
 */
bool ahead_look(struct ahead *a, uint64_t now_usec);

/**
 * ahead_wait_usec() - how long until it is to be looked at again; UINT64_MAX: when it wakes
 * @is_stuck: nothing more can be evicted now
 */
uint64_t ahead_wait_usec(const struct ahead *a, bool is_stuck);

#endif
