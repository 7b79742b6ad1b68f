/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When eviction has to rest, and for how long: pure, no clock and no files of its own.
 *
 * How it works
 *
 * Each second of eviction is told: what was evicted, what of it came back, and the guest's
 * pressure. It stops at once
 *
 *	memory    when tasks stall for memory more than they did when eviction began, by more than
 *	          1 % of the time (the limit at which Kata's agent stops, mem-agent), and evicted
 *	          pages come back (16 of them in
 *	          ten seconds): else the stalls are not for want of what was evicted, and
 *	          a guest whose memory another reader fills is helped by eviction
 *	refault   when of what was evicted in the last minute more than 5 % came back in the last
 *	          ten seconds
 *	io        when tasks stall for I/O more than they did when eviction began, by more than
 *	          1 %, and more than 1 % of what was evicted comes back: stalls for I/O alone are
 *	          what any reader of a disk has
 *
 * and rests for 5 s; for twice as long each time that it has to stop again within a minute, up to
 * five minutes. Few refaults are no sign of their own: below 256 in 10 s (1 MiB) only memory stalls
 * stop it.
 *
 * The kernel's refault counters would tell nothing: eviction by fadvise leaves no shadow entries
 * (workingset_refault_file: +0 for 256 MiB evicted and read back), so what came back is counted by
 * the watch. They do tell of the kernel's own reclaim, and are what counts without a watch.
 */
#ifndef PAGEPACT_GUEST_BRAKE_H
#define PAGEPACT_GUEST_BRAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/message.h"

#define BRAKE_SECONDS	    60
#define BRAKE_RECENT	    10
#define BRAKE_REST_USEC	    5000000u
#define BRAKE_REST_MAX_USEC 300000000u
#define BRAKE_BLIND	    (-1) /* the kernel measures no pressure: PSI is off */

/**
 * struct brake_sample - what is so now
 * @evicted_pages: since the agent was started
 * @followed_pages, @refaulted_pages: of these the ones that are known to come back if they do, and
 * those that did
 * @memory_hundredths, @io_hundredths: share of the last 10 s in which some task stalled, in
 * hundredths of a per cent; BRAKE_BLIND where it is not known
 */
struct brake_sample {
	uint64_t now_usec;
	uint64_t evicted_pages;
	uint64_t followed_pages;
	uint64_t refaulted_pages;
	int memory_hundredths;
	int io_hundredths;
};

struct brake {
	enum wire_brake reason; /* of the last stop, also after it is over; the limit tells here,
				 * too, that it waits for a quota */
	uint64_t until_usec;
	uint64_t rest_usec; /* the last one's length */
	uint64_t stops;
	/* Private. */
	struct {
		uint64_t evicted, refaulted;
	} seconds[BRAKE_SECONDS]; /* by second, modulo */
	uint64_t second;
	uint64_t seen_evicted, seen_followed, seen_refaulted;
	uint64_t idle_seconds; /* since something was evicted */
	int memory_before, io_before;
};

/**
 * brake_init() - nothing was evicted yet
 */
void brake_init(struct brake *b, uint64_t now_usec);

/**
 * brake_update() - take note of what is so now; to be called about once a second while there is
 * eviction, and before it begins
 */
void brake_update(struct brake *b, const struct brake_sample *s);

/**
 * brake_release() - what was evicted until now is nobody's regret any more: no rest, and none
 * before new evidence; stops and counters stay
 */
void brake_release(struct brake *b);

/** brake_idle() - seconds since something was evicted; BRAKE_SECONDS at the beginning */
uint64_t brake_idle(const struct brake *b, uint64_t now_usec);

/** brake_holds() - whether eviction has to rest now */
bool brake_holds(const struct brake *b, uint64_t now_usec);

#endif
