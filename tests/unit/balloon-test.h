/* SPDX-License-Identifier: Apache-2.0 */
/* A guest of 1 GiB, scripted, that is brought to another size. */
#ifndef PAGEPACT_TESTS_BALLOON_TEST_H
#define PAGEPACT_TESTS_BALLOON_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "policy/balloon-guard.h"

#define MIB	((uint64_t)1 << 20)
#define MEMORY	(1024 * MIB)
#define TICK	250000
#define RULES	(&balloon_rules_default)
#define SECONDS 1000000

static struct balloon_goal goal;
static struct balloon_run run;
static struct balloon_seen seen;
static struct balloon_next next;
static uint64_t target, rate;
static unsigned evictions;
static bool honest, frozen; /* frozen: no report comes any more */

/* An agent that needs 200 MiB, a host that sees everything; the guest follows by @rate a tick. */
static int setup(void **state)
{
	(void)state;
	goal = (struct balloon_goal){ .wanted_bytes = 400 * MIB,
				      .original_bytes = MEMORY,
				      .memory_bytes = MEMORY,
				      .deadline_usec = 1000 * (uint64_t)SECONDS };
	memset(&run, 0, sizeof(run));
	seen = (struct balloon_seen){
		.now_usec = 10 * SECONDS,
		.actual_known = true,
		.actual_bytes = MEMORY,
		.host_known = true,
		.host_bytes = MEMORY,
		.report = { .needed_bytes = 200 * MIB },
		.reporting = true,
		.can_evict = true,
		.evict_bytes = 256 * MIB,
	};
	target = 0;
	evictions = 0;
	rate = 64 * MIB;
	honest = true;
	frozen = false;
	return 0;
}

static void balloon_follow(void)
{
	if (!target || !seen.actual_known)
		return;
	if (seen.actual_bytes > target)
		seen.actual_bytes -=
			seen.actual_bytes - target < rate ? seen.actual_bytes - target : rate;
	else
		seen.actual_bytes +=
			target - seen.actual_bytes < rate ? target - seen.actual_bytes : rate;
	if (honest && seen.host_bytes > seen.actual_bytes)
		seen.host_bytes = seen.actual_bytes;
}

static void balloon_set(void)
{
	target = next.bytes;
}

static void (*follow)(void) = balloon_follow, (*set)(void) = balloon_set;

/* One look. Return: what was decided. */
static enum balloon_act tick(void)
{
	seen.now_usec += TICK;
	seen.answered_usec = seen.now_usec;
	if (seen.reporting && !frozen)
		seen.report.usec = seen.now_usec;
	follow();
	balloon_next(RULES, &goal, &run, &seen, &next);
	seen.evict_done = next.act == BALLOON_EVICT;
	evictions += seen.evict_done;
	if (next.act == BALLOON_SET || (next.act == BALLOON_END && next.set))
		set();
	return next.act;
}

static void until(enum balloon_act act, unsigned ticks)
{
	for (unsigned i = 0; i < ticks; i++)
		if (tick() == act)
			return;
	fail_msg("not within %u looks", ticks);
}

static void until_step(unsigned n)
{
	while (run.steps < n)
		until(BALLOON_SET, 300);
}

static void ends(enum balloon_state state, unsigned ticks)
{
	until(BALLOON_END, ticks);
	if (next.state != state)
		fail_msg("%s: %s", balloon_state_name(next.state), next.reason);
	assert_int_not_equal(next.reason[0], 0);
}

#endif
