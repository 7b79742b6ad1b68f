/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a guest is brought to another size, by its balloon and by its virtio-mem devices: what to do
 * next, from what is seen. No I/O, no clock, no log.
 *
 * How it works
 *
 * A resize is a row of phases. REST: the size must stand still, else somebody else moves it. LOOK:
 * the guest's report is awaited, for the floor and for what to compare with later. Then for each
 * step: CALM, the guest must have reported since the step before and be under no pressure; EVICT,
 * its agent frees as much as the step takes; STEP, a target is set and waited for, until the guest
 * says that it is there and the host sees the memory back. CALM is after the last one too: what
 * that did to the guest is seen and undone. A guest that falls silent is taken for one in trouble.
 * To grow is one step, GROW, and always allowed.
 *
 * One step moves one device: superpages are unplugged while a virtio-mem device has whole blocks of
 * what is left to take; in a guest without one its agent takes superpages out of use, after they
 * were evicted, as long as there are free ones; then pages are taken by the balloon. Nothing is
 * evicted before an unplugging: the guest's kernel drops what is clean and unmapped in the blocks
 * by itself (alloc_contig_range()), and moves the rest. A guest that cannot empty a block tries
 * again after 50 s (virtio_mem.c): what it did not unplug within a stall's time it may keep, and
 * another device or pages go on.
 *
 * What is seen of `actual` and in reports is the guest's word. It may stop a resize and it may send
 * one on that the host's own view would have stopped, which hurts that guest alone.
 */
#ifndef PAGEPACT_POLICY_BALLOON_H
#define PAGEPACT_POLICY_BALLOON_H

#include <stddef.h>

#include "policy/balloon-floor.h"
#include "policy/plugged.h"

#define BALLOON_REASON_MAX 240

enum balloon_cache {
	BALLOON_CACHE_FIRST, /* evicted before each step, as far as there is some */
	BALLOON_CACHE_ONLY,  /* no step takes more than was free or evicted */
	BALLOON_CACHE_OFF,   /* the stock balloon */
	BALLOON_CACHES,
};

enum balloon_by {
	BALLOON_BY_AUTO,       /* superpages, and pages for the rest */
	BALLOON_BY_SUPERPAGES, /* virtio-mem, or an agent that takes them out of use, alone */
	BALLOON_BY_PAGES,      /* the balloon alone */
	BALLOON_BYS,
};

/* Why an agent has taken fewer superpages than it was to, or gave some back. */
enum balloon_untaken {
	BALLOON_UNTAKEN_NONE,
	BALLOON_UNTAKEN_SCARCE,	 /* there are no more that are free as a whole */
	BALLOON_UNTAKEN_SHORT,	 /* the guest needs them */
	BALLOON_UNTAKEN_REFUSED, /* the agent could not, or the host would not page them out */
};

enum balloon_state {
	BALLOON_RUNNING,
	BALLOON_REACHED,
	BALLOON_FLOOR,		  /* the size asked for is below it, by the last report */
	BALLOON_CACHE_ENDED,	  /* of BALLOON_CACHE_ONLY: nothing clean is left */
	BALLOON_SUPERPAGES_ENDED, /* of BALLOON_BY_SUPERPAGES: no block is left that could be had */
	BALLOON_PAGES_ENDED,	  /* the balloon holds all that it can */
	BALLOON_STALLED,
	BALLOON_PRESSURE,
	BALLOON_TIMEOUT,
	BALLOON_STOPPED,
	BALLOON_RESTARTED,
	BALLOON_MIGRATION,
	BALLOON_OTHER_OWNER,
	BALLOON_FAILED,
	BALLOON_STATES,
};

/** balloon_cache_name(), balloon_by_name(), balloon_state_name() - stable, snake_case */
const char *balloon_cache_name(enum balloon_cache cache);
const char *balloon_by_name(enum balloon_by by);
const char *balloon_state_name(enum balloon_state state);

/**
 * struct balloon_rules - every threshold, with its source
 * @step_bytes: eviction and inflation at once compete and stall beyond it (BuildBuddy 10958)
 * @step_least_bytes: less than this is not worth a step
 * @stall_usec: without progress for so long a guest is near the end of its memory (ChromeOS); the
 *	driver tries again every 200 ms (virtio_balloon.c)
 * @stall_back_bytes: given back then
 * @progress_bytes: less than this in @stall_usec is no progress
 * @confirm_bytes: how much more than the guest's size the host may hold when a step is complete:
 *	pages that were touched again before the next look
 * @pressure_hold: PSI some avg10 above which no step begins: 1 % (Kata's memory agent)
 * @pressure_back: above which the last step is undone: 10 %
 * @pressure_wait_usec: how long a step waits for less pressure: avg10 falls to a tenth in 23 s
 * @stall_pages: the balloon's own allocations enter direct reclaim once for each SWAP_CLUSTER_MAX,
 *	32, pages at most; one for half as many means that others do too
 * @stalls_free: that many do not count
 * @report_usec: a report is awaited for so long; a guest that falls silent for it is given back the
 *	last step
 * @rest_usec, @rest_bytes: the size is at rest when it changed by less for so long
 * @owner_bytes: a size that differs from our target by more is somebody else's; @owner_oom_bytes
 *	where the guest may take pages back by itself (deflate-on-oom), 1 MiB for each time
 * @blind_usec: QEMU may be silent for so long
 * @settle_usec: the size is given so long to come to rest at the end
 * @quarantine_usec: no inflation after a stall or pressure
 * @owner_usec: hands off after somebody else's change
 * @boot_usec: a guest that was restarted is left alone for so long; twice that without an agent
 */
struct balloon_rules {
	uint64_t step_bytes, step_least_bytes;
	uint64_t stall_usec, stall_back_bytes, progress_bytes, confirm_bytes;
	uint32_t pressure_hold, pressure_back;
	uint64_t pressure_wait_usec;
	uint64_t stall_pages, stalls_free;
	uint64_t report_usec;
	uint64_t rest_usec, rest_bytes;
	uint64_t owner_bytes, owner_oom_bytes;
	uint64_t blind_usec, settle_usec;
	uint64_t quarantine_usec, owner_usec, boot_usec;
};

extern const struct balloon_rules balloon_rules_default;

/**
 * struct balloon_goal - what is wanted; does not change
 * @wanted_bytes: a multiple of 4 KiB, not above @memory_bytes
 * @original_bytes: nothing that is done by itself makes the guest larger than this, or than
 *somebody else made it
 * @held_bytes: the target that was set before, and that QEMU goes by whatever size the guest has;
 *0: none of ours
 * @floor_config_bytes: as for balloon_floor()
 * @by: not SUPERPAGES with BALLOON_CACHE_ONLY: the guest's kernel chooses what it drops of a block
 * @deadline_usec: CLOCK_MONOTONIC
 * @deflate_on_oom: the guest may take pages back by itself
 * @plan_only: end after LOOK
 */
struct balloon_goal {
	uint64_t wanted_bytes;
	uint64_t original_bytes;
	uint64_t held_bytes;
	uint64_t memory_bytes;
	uint64_t floor_config_bytes;
	enum balloon_cache cache;
	enum balloon_by by;
	uint64_t deadline_usec;
	bool deflate_on_oom;
	bool plan_only;
};

/**
 * struct balloon_seen - one look
 * @answered_usec: when QEMU last answered anything
 * @actual_known: @actual_bytes is within the guest's memory; the guest writes it
 * @host_known: @host_bytes of the guest's memory are held by the host, by its own account
 * @plugged: its virtio-mem devices, by QEMU's account
 * @report: the last one
 * @reporting: another one can be had, from whom it has been since @reporting_since_usec
 * @can_evict: there is a live agent that frees memory
 * @can_take: it can take superpages out of use, and the host could have them then
 * @take_done: what it was to take it has, or could not, and the host has what it could
 * @untaken: why not all, or why it gave some back
 * @gave_back: some that it had are in use again, and nobody asked for that
 * @evict_done: the eviction asked for has ended; then @evict_bytes were free or were freed
 * @stop: somebody asks for the end
 * @restarted, @migrating, @paused: what QEMU told since the resize began
 */
struct balloon_seen {
	uint64_t now_usec;
	uint64_t answered_usec;
	bool actual_known;
	uint64_t actual_bytes;
	bool host_known;
	uint64_t host_bytes;
	struct plugged plugged;
	struct balloon_report report;
	bool reporting;
	uint64_t reporting_since_usec;
	bool can_evict;
	bool can_take, take_done, gave_back;
	enum balloon_untaken untaken;
	bool evict_done;
	uint64_t evict_bytes;
	bool stop;
	bool restarted;
	bool migrating;
	bool paused;
};

enum balloon_phase {
	BALLOON_PHASE_REST,
	BALLOON_PHASE_LOOK,
	BALLOON_PHASE_CALM,
	BALLOON_PHASE_EVICT,
	BALLOON_PHASE_STEP,
	BALLOON_PHASE_GROW,
	BALLOON_PHASE_ENDED,
};

/**
 * struct balloon_run - how far it is; all zero to begin with, balloon_next()'s to change
 * @from_bytes: the size when it began
 * @floor: by the last report
 * @target_bytes: the last one that was set; 0: none was
 * @step_from_bytes: the size before the last step
 * @is_unplugging: this step is by virtio-mem; @unplugging: by that device
 * @unplugged: a bit for each device that could not empty what it was asked for
 * @is_taking: this step is by superpages out of use
 * @is_by_pages: this step could not be by those
 * @has_taken_all: there were no more of those, for @untaken; another try comes after a step by
 * pages
 * @is_set: QEMU has taken the target of this step
 * @steps: targets set towards the goal
 */
struct balloon_run {
	enum balloon_phase phase;
	uint64_t begun_usec, phase_usec, progress_usec, evicted_usec;
	uint64_t from_bytes;
	struct balloon_floor floor;
	uint64_t target_bytes;
	uint64_t step_from_bytes;
	uint64_t step_bytes;
	uint64_t low_actual_bytes, low_host_bytes;
	struct balloon_report base, step_base;
	bool is_unplugging;
	unsigned int unplugging;
	uint32_t unplugged;
	bool is_taking, has_taken_all, is_by_pages;
	enum balloon_untaken untaken;
	bool is_set;
	unsigned steps;
};

enum balloon_act {
	BALLOON_WAIT,  /* look again soon */
	BALLOON_EVICT, /* have the agent free @bytes; then look again */
	BALLOON_SET,   /* set the target to @bytes; then look again */
	BALLOON_END,   /* in @state; if @set, set the target to @bytes first */
};

/**
 * struct balloon_next - what to do
 * @unplug_bytes: of BALLOON_SET: so many are to be unplugged, by the device that @run names; 0:
 *none
 * @is_whole: of BALLOON_EVICT: as whole superpages, nothing else being of use
 * @take_bytes: so many are to be taken out of use, in superpages; 0: none
 * @quarantine: of BALLOON_END: no inflation for balloon_rules.quarantine_usec
 * @maybe_guest: of BALLOON_OTHER_OWNER: it has more than we left it, which may be its own act: no
 *	proof of an owner, so that what it had at first is still to be given back
 * @reason: one line for people, of BALLOON_END
 */
struct balloon_next {
	enum balloon_act act;
	uint64_t bytes;
	uint64_t unplug_bytes;
	uint64_t take_bytes;
	bool is_whole;
	bool set;
	enum balloon_state state;
	bool quarantine;
	bool maybe_guest;
	char reason[BALLOON_REASON_MAX];
};

/**
 * balloon_next() - decide
 * @run: not to be used after a BALLOON_END
 *
 * BALLOON_SET is answered by a look only after QEMU took the target.
 */
void balloon_next(const struct balloon_rules *rules, const struct balloon_goal *goal,
		  struct balloon_run *run, const struct balloon_seen *seen,
		  struct balloon_next *ret);

/** balloon_steps() - how many steps lie between two sizes; 1 to grow, 0 for none */
unsigned balloon_steps(const struct balloon_rules *rules, uint64_t from_bytes,
		       uint64_t wanted_bytes);

#endif
