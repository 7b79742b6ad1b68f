/* SPDX-License-Identifier: Apache-2.0 */
/* Each rule of the machine has a case that fails without it. */
#include "balloon-test.h"

static void test_reached(void **state)
{
	(void)state;
	until(BALLOON_EVICT, 10);
	assert_int_equal(next.bytes, 256 * MIB);
	until(BALLOON_SET, 10);
	assert_int_equal(target, 768 * MIB);
	until(BALLOON_EVICT, 20);
	assert_int_equal(seen.actual_bytes, 768 * MIB);
	until(BALLOON_SET, 10);
	assert_int_equal(target, 512 * MIB);
	ends(BALLOON_REACHED, 50);
	assert_int_equal(run.steps, 3);
	assert_int_equal(evictions, 3);
	assert_int_equal(target, 400 * MIB);
	assert_false(next.set || next.quarantine);
	assert_int_equal(balloon_steps(RULES, MEMORY, 400 * MIB), 3);
}

static void test_off_evicts_nothing(void **state)
{
	(void)state;
	goal.cache = BALLOON_CACHE_OFF;
	ends(BALLOON_REACHED, 100);
	assert_int_equal(evictions, 0);
}

static void test_first_without_agent(void **state)
{
	(void)state;
	seen.can_evict = false;
	ends(BALLOON_REACHED, 100);
	assert_int_equal(evictions, 0);
}

static void test_only_takes_what_is_clean(void **state)
{
	(void)state;
	goal.cache = BALLOON_CACHE_ONLY;
	seen.evict_bytes = 100 * MIB + 5;
	until_step(1);
	assert_int_equal(target, 924 * MIB);
	seen.evict_bytes = MIB / 2;
	ends(BALLOON_CACHE_ENDED, 50);
	assert_int_equal(run.steps, 1);
	assert_false(next.set || next.quarantine);
}

static void test_only_needs_an_agent(void **state)
{
	(void)state;
	goal.cache = BALLOON_CACHE_ONLY;
	until_step(1);
	seen.can_evict = false;
	ends(BALLOON_FAILED, 50);
	assert_int_equal(run.steps, 1);
}

static void test_grow(void **state)
{
	(void)state;
	goal.wanted_bytes = MEMORY;
	seen.actual_bytes = seen.host_bytes = 300 * MIB;
	seen.report.needed_bytes = 1000 * MIB;
	seen.report.pressure = 9000;
	until(BALLOON_SET, 10);
	assert_int_equal(target, MEMORY);
	ends(BALLOON_REACHED, 50);
	assert_int_equal(run.steps, 1);
}

static void test_grow_below_the_floor(void **state)
{
	(void)state;
	seen.actual_bytes = seen.host_bytes = 300 * MIB;
	seen.report.needed_bytes = 400 * MIB; /* floor 500 */
	ends(BALLOON_REACHED, 50);
	assert_int_equal(seen.actual_bytes, 400 * MIB);
}

/* Less than a step is worth is taken where it is asked for, not where the floor leaves it. */
static void test_last_bit(void **state)
{
	(void)state;
	goal.wanted_bytes = MEMORY - 512 * 1024;
	ends(BALLOON_REACHED, 20);
	assert_int_equal(seen.actual_bytes, goal.wanted_bytes);
	setup(NULL);
	seen.actual_bytes = seen.host_bytes = 501 * MIB;
	seen.report.needed_bytes = 400 * MIB; /* floor 500 */
	goal.wanted_bytes = 500 * MIB - 4096;
	ends(BALLOON_FLOOR, 20);
	assert_int_equal(run.steps, 0);
	setup(NULL);
	until_step(2);
	assert_int_equal(target, 512 * MIB);
	seen.report.needed_bytes = 511 * MIB / 5 * 4; /* floor 511: one step is left */
	ends(BALLOON_FLOOR, 50);
	assert_int_equal(run.steps, 3);
}

static void test_grow_stalls(void **state)
{
	(void)state;
	goal.wanted_bytes = MEMORY;
	seen.actual_bytes = 300 * MIB;
	rate = 0;
	ends(BALLOON_STALLED, 40);
	assert_false(next.set || next.quarantine);
}

static void test_same_size(void **state)
{
	(void)state;
	goal.wanted_bytes = MEMORY;
	ends(BALLOON_REACHED, 10);
	assert_int_equal(run.steps, 0);
}

static void test_plan_only(void **state)
{
	(void)state;
	goal.plan_only = true;
	ends(BALLOON_RUNNING, 10);
	assert_int_equal(run.steps, 0);
	assert_int_equal(run.floor.bytes, 250 * MIB);
	assert_false(next.set);
}

static void test_below_floor(void **state)
{
	(void)state;
	goal.wanted_bytes = 249 * MIB;
	ends(BALLOON_FLOOR, 10);
	assert_int_equal(run.steps, 0);
	assert_non_null(strstr(next.reason, "250.0 MiB"));
	assert_false(next.set);
}

static void test_floor_rises_between_steps(void **state)
{
	(void)state;
	until_step(1);
	seen.report.needed_bytes = 560 * MIB; /* floor 700 */
	until_step(2);
	assert_int_equal(target, 700 * MIB);
	ends(BALLOON_FLOOR, 50);
	assert_int_equal(seen.actual_bytes, 700 * MIB);
	assert_false(next.quarantine);
}

/* The step is worked out after the eviction, which may take long. */
static void test_floor_rises_in_an_eviction(void **state)
{
	(void)state;
	until(BALLOON_EVICT, 10);
	seen.report.needed_bytes = 720 * MIB;
	ends(BALLOON_FLOOR, 20);
	assert_int_equal(target ? target : MEMORY, run.steps ? 900 * MIB : MEMORY);
}

static void test_floor_rises_in_a_step(void **state)
{
	(void)state;
	rate = 8 * MIB;
	until_step(1);
	seen.report.needed_bytes = 720 * MIB; /* floor 900: above the target of 768 */
	ends(BALLOON_FLOOR, 2);
	assert_true(next.set);
	assert_in_range(next.bytes, 900 * MIB, MEMORY);
}

/* A guest that stops reporting may not lower its floor by that. */
static void test_floor_stands_without_reports(void **state)
{
	(void)state;
	goal.wanted_bytes = 600 * MIB;
	seen.report.needed_bytes = 460 * MIB; /* 575 */
	until_step(1);
	seen.reporting = false;
	seen.report = (struct balloon_report){ 0 };
	ends(BALLOON_REACHED, 60);
	assert_int_equal(run.floor.bytes, 575 * MIB);
	assert_int_equal(run.floor.source, BALLOON_FLOOR_AGENT);
}

static void test_stall(void **state)
{
	(void)state;
	until_step(1);
	tick();
	rate = 0;
	ends(BALLOON_STALLED, 22);
	assert_true(next.set && next.quarantine);
	assert_int_equal(next.bytes, 960 * MIB + 16 * MIB);
}

static void test_stall_gives_back_no_more_than_was_taken(void **state)
{
	(void)state;
	rate = 0;
	ends(BALLOON_STALLED, 40);
	assert_int_equal(next.bytes, MEMORY);
}

static void test_slow_is_no_stall(void **state)
{
	(void)state;
	goal.wanted_bytes = MEMORY - 40 * MIB;
	rate = MIB / 4;
	ends(BALLOON_REACHED, 400);
}

static void test_crawling_is_a_stall(void **state)
{
	(void)state;
	rate = 4096;
	ends(BALLOON_STALLED, 60);
}

static void test_lie_about_the_size(void **state)
{
	(void)state;
	honest = false;
	ends(BALLOON_STALLED, 60);
	assert_true(next.set && next.quarantine);
	assert_int_equal(next.bytes, MEMORY);
	assert_non_null(strstr(next.reason, "claims"));
	assert_int_equal(run.steps, 1);
}

static void test_host_unknown(void **state)
{
	(void)state;
	honest = seen.host_known = false;
	ends(BALLOON_REACHED, 100);
}

static void test_impossible_size(void **state)
{
	(void)state;
	until_step(1);
	seen.actual_known = false;
	ends(BALLOON_STALLED, 30);
	assert_int_equal(next.bytes, MEMORY);
}

static void test_impossible_size_at_first(void **state)
{
	(void)state;
	seen.actual_known = false;
	ends(BALLOON_FAILED, 30);
	assert_false(next.set);
}

/* A growth that is slow, and a host that sees it late, are no stall. */
static void test_slow_host_is_no_stall(void **state)
{
	(void)state;
	until_step(1);
	honest = false;
	seen.host_bytes = MEMORY;
	for (int i = 0; i < 40; i++) {
		seen.host_bytes -= 4 * MIB;
		assert_int_equal(tick(), BALLOON_WAIT);
	}
	assert_int_equal(seen.actual_bytes, target);
	honest = true;
	ends(BALLOON_REACHED, 100);

	setup(NULL);
	goal.wanted_bytes = MEMORY;
	seen.actual_bytes = seen.host_bytes = MEMORY - 64 * MIB;
	goal.held_bytes = seen.actual_bytes;
	rate = MIB;
	ends(BALLOON_REACHED, 200);
}

/* What QEMU does not answer for is not the guest's fault. */
static void test_qemu_silent_in_a_step(void **state)
{
	(void)state;
	until_step(1);
	rate = 0;
	for (int i = 0; i < 8; i++) {
		seen.now_usec += SECONDS;
		seen.report.usec = seen.now_usec;
		balloon_next(RULES, &goal, &run, &seen, &next);
		assert_int_not_equal(next.state, BALLOON_STALLED);
		assert_false(next.quarantine);
		if (next.act == BALLOON_END)
			break;
	}
}

/* A report of before the step says nothing of it. */
static void test_pressure_of_before_a_step(void **state)
{
	(void)state;
	until_step(1);
	frozen = true;
	seen.report.pressure = 2000;
	assert_int_equal(tick(), BALLOON_WAIT);
	frozen = false;
	ends(BALLOON_PRESSURE, 2);
}

static void test_impossible_size_after_an_eviction(void **state)
{
	(void)state;
	until(BALLOON_EVICT, 10);
	seen.actual_known = false;
	for (int i = 0; i < 4; i++)
		assert_int_equal(tick(), BALLOON_WAIT);
	assert_int_equal(target, 0);
}

static void test_oom(void **state)
{
	(void)state;
	seen.report.oom_kills = 3;
	until_step(2);
	tick();
	seen.report.oom_kills = 4;
	ends(BALLOON_PRESSURE, 1);
	assert_true(next.set && next.quarantine);
	assert_int_equal(next.bytes, 768 * MIB);
}

static void test_pressure_holds(void **state)
{
	(void)state;
	until_step(1);
	seen.report.pressure = 101;
	for (int i = 0; i < 100; i++)
		assert_int_equal(tick(), BALLOON_WAIT);
	seen.report.pressure = 100;
	until_step(2);
	seen.report.pressure = 500;
	ends(BALLOON_PRESSURE, 300);
	assert_false(next.set);
	assert_true(next.quarantine);
	assert_int_equal(run.steps, 2);
}

static void test_pressure_reverses(void **state)
{
	(void)state;
	until_step(2);
	seen.report.pressure = 1001;
	ends(BALLOON_PRESSURE, 2);
	assert_true(next.set && next.quarantine);
	assert_int_equal(next.bytes, 768 * MIB);
}

static void test_blind_pressure(void **state)
{
	(void)state;
	seen.report.pressure = BALLOON_BLIND;
	seen.report.oom_kills = seen.report.alloc_stalls = BALLOON_UNKNOWN;
	ends(BALLOON_REACHED, 100);
}

static void test_alloc_stalls(void **state)
{
	(void)state;
	until_step(1);
	/* 256 MiB are 65536 pages: a sixteenth of them, and a thousand. */
	seen.report.alloc_stalls = 4096 + 1000;
	assert_int_equal(tick(), BALLOON_WAIT);
	seen.report.alloc_stalls++;
	ends(BALLOON_PRESSURE, 1);
	assert_int_equal(next.bytes, MEMORY);
}

/* Another source's counters begin elsewhere. */
static void test_counters_of_another_source(void **state)
{
	(void)state;
	until_step(1);
	seen.report.stats = true;
	seen.report.oom_kills = 7;
	ends(BALLOON_REACHED, 100);
}

/* What it killed before it was first heard is none of ours. */
static void test_first_report_comes_late(void **state)
{
	(void)state;
	seen.reporting = false;
	seen.report = (struct balloon_report){ 0 };
	until_step(1);
	seen.reporting = true;
	seen.report.oom_kills = 3;
	seen.report.alloc_stalls = 1 << 20;
	seen.report.needed_bytes = 200 * MIB;
	ends(BALLOON_REACHED, 100);
	setup(NULL);
	seen.reporting = false;
	seen.report = (struct balloon_report){ 0 };
	until_step(1);
	seen.reporting = true;
	seen.report.oom_kills = 3;
	tick();
	seen.report.oom_kills++;
	ends(BALLOON_PRESSURE, 1);
}

static void test_timeout(void **state)
{
	(void)state;
	until_step(1);
	goal.deadline_usec = seen.now_usec + TICK;
	ends(BALLOON_TIMEOUT, 2);
	assert_true(next.set);
	assert_int_equal(next.bytes, seen.actual_bytes);
	assert_false(next.quarantine);
}

static void test_stop(void **state)
{
	(void)state;
	until_step(1);
	tick();
	seen.stop = true;
	ends(BALLOON_STOPPED, 1);
	assert_int_equal(next.bytes, 896 * MIB);
}

static void test_stop_before_anything(void **state)
{
	(void)state;
	tick();
	seen.stop = true;
	ends(BALLOON_STOPPED, 1);
	assert_false(next.set);
}

static void test_stop_growing(void **state)
{
	(void)state;
	goal.wanted_bytes = MEMORY;
	seen.actual_bytes = seen.host_bytes = 300 * MIB;
	until_step(1);
	seen.stop = true;
	ends(BALLOON_STOPPED, 1);
	assert_int_equal(next.bytes, seen.actual_bytes);
}

static void test_restart(void **state)
{
	(void)state;
	until_step(1);
	seen.restarted = true;
	ends(BALLOON_RESTARTED, 1);
	assert_true(next.set);
	assert_int_equal(next.bytes, MEMORY);
	/* Never more than it had. */
	setup(NULL);
	goal.original_bytes = MEMORY - 24 * MIB;
	until_step(1);
	seen.report.pressure = 1001;
	ends(BALLOON_PRESSURE, 2);
	assert_int_equal(next.bytes, MEMORY - 24 * MIB);
	setup(NULL);
	goal.original_bytes = MEMORY - 24 * MIB;
	until_step(1);
	rate = 0;
	ends(BALLOON_STALLED, 40);
	assert_true(next.bytes <= MEMORY - 24 * MIB);
	/* Also what an earlier resize had taken. */
	setup(NULL);
	goal.held_bytes = seen.actual_bytes = seen.host_bytes = 800 * MIB;
	until_step(1);
	seen.restarted = true;
	ends(BALLOON_RESTARTED, 1);
	assert_int_equal(next.bytes, MEMORY);
}

static void test_hands_off(void **state)
{
	(void)state;
	until_step(1);
	seen.migrating = seen.restarted = seen.stop = true;
	ends(BALLOON_MIGRATION, 1);
	assert_false(next.set);
	setup(NULL);
	until_step(1);
	seen.paused = true;
	ends(BALLOON_MIGRATION, 1);
	assert_false(next.set);
}

static void test_moved_before_we_begin(void **state)
{
	(void)state;
	tick();
	seen.actual_bytes -= 2 * MIB;
	ends(BALLOON_OTHER_OWNER, 1);
	assert_int_equal(run.steps, 0);
}

/* The guest takes back what it needs, or what an earlier target of ours gives it. */
static void test_grows_before_we_begin(void **state)
{
	(void)state;
	goal.held_bytes = MEMORY - 100 * MIB;
	seen.actual_bytes = MEMORY - 100 * MIB;
	tick();
	seen.actual_bytes += 29 * MIB;
	until(BALLOON_EVICT, 20);
	assert_int_equal(run.from_bytes, MEMORY - 71 * MIB);

	/* Where nothing is held, it is somebody else who gives. */
	setup(NULL);
	seen.actual_bytes = MEMORY - 100 * MIB;
	tick();
	seen.actual_bytes += 29 * MIB;
	ends(BALLOON_OTHER_OWNER, 1);

	/* Not for ever. */
	setup(NULL);
	goal.held_bytes = MEMORY - 512 * MIB;
	seen.actual_bytes = MEMORY - 512 * MIB;
	for (uint64_t end = seen.now_usec + RULES->stall_usec; seen.now_usec < end;) {
		assert_int_equal(tick(), BALLOON_WAIT);
		seen.actual_bytes += 2 * MIB;
	}
	ends(BALLOON_OTHER_OWNER, 2);
	assert_int_equal(run.steps, 0);

	/* Nor past what it had at first: that is none of ours. */
	setup(NULL);
	goal.original_bytes = MEMORY - 80 * MIB;
	goal.held_bytes = seen.actual_bytes = MEMORY - 100 * MIB;
	tick();
	seen.actual_bytes += 29 * MIB;
	ends(BALLOON_OTHER_OWNER, 1);
}

static void test_moved_beyond(void **state)
{
	(void)state;
	until_step(1);
	rate = 0;
	seen.actual_bytes = target - 17 * MIB;
	ends(BALLOON_OTHER_OWNER, 1);
	assert_false(next.set || next.quarantine || next.maybe_guest);
}

static void test_moved_against(void **state)
{
	(void)state;
	until_step(2);
	rate = 0;
	seen.actual_bytes = 768 * MIB + 17 * MIB;
	ends(BALLOON_OTHER_OWNER, 1);
	/* It may be the guest that took it, or somebody whose target is further up: neither is
	 * taken away again. */
	assert_true(next.set && next.maybe_guest);
	assert_int_equal(next.bytes, goal.original_bytes);
}

/* While cache is evicted, or pressure waited for, nothing of ours moves it. */
static void test_moved_between_steps(void **state)
{
	(void)state;
	until(BALLOON_EVICT, 10);
	seen.actual_bytes -= 17 * MIB;
	ends(BALLOON_OTHER_OWNER, 1);
	assert_false(next.set || next.maybe_guest);
	assert_int_equal(run.steps, 0);

	/* Before the first step nobody takes back what we took. */
	setup(NULL);
	goal.memory_bytes += 512 * MIB;
	seen.report.pressure = 500;
	while (run.phase != BALLOON_PHASE_CALM)
		assert_int_equal(tick(), BALLOON_WAIT);
	seen.actual_bytes += 17 * MIB;
	ends(BALLOON_OTHER_OWNER, 1);
	assert_false(next.set || next.maybe_guest);

	/* But what we took in an earlier resize. */
	setup(NULL);
	goal.held_bytes = seen.actual_bytes = 700 * MIB;
	seen.report.pressure = 500;
	while (run.phase != BALLOON_PHASE_CALM)
		assert_int_equal(tick(), BALLOON_WAIT);
	seen.actual_bytes += 17 * MIB;
	ends(BALLOON_OTHER_OWNER, 1);
	assert_true(next.set && next.maybe_guest);
	assert_int_equal(next.bytes, goal.original_bytes);

	/* After it, a guest that can take memory back did. */
	setup(NULL);
	goal.deflate_on_oom = true;
	until_step(1);
	until(BALLOON_EVICT, 40);
	rate = 0;
	seen.actual_bytes += 100 * MIB;
	ends(BALLOON_PRESSURE, 1);
	assert_true(next.set && next.quarantine);
	assert_int_equal(next.bytes, goal.original_bytes);
}

/* A guest may have the size that is wanted, and QEMU another target for it. */
static void test_size_without_its_target(void **state)
{
	(void)state;
	goal.wanted_bytes = seen.actual_bytes;
	goal.held_bytes = goal.wanted_bytes - 512 * MIB;
	until(BALLOON_SET, 10);
	assert_int_equal(next.bytes, goal.wanted_bytes);
	ends(BALLOON_REACHED, 5);
	setup(NULL);
	goal.wanted_bytes = goal.held_bytes = seen.actual_bytes;
	ends(BALLOON_REACHED, 10);
	assert_int_equal(run.steps, 0);
}

static void test_moved_while_growing(void **state)
{
	(void)state;
	goal.wanted_bytes = MEMORY;
	seen.actual_bytes = seen.host_bytes = 300 * MIB;
	until_step(1);
	rate = 0;
	seen.actual_bytes = 283 * MIB;
	ends(BALLOON_OTHER_OWNER, 1);
	assert_false(next.set);
}

/* A guest that falls silent may be at its end: the step before is undone, the one after not begun.
 */
static void test_each_step_waits_for_a_report(void **state)
{
	uint64_t silent;

	(void)state;
	rate = MEMORY;
	until_step(2);
	frozen = true;
	tick();
	assert_int_equal(run.phase, BALLOON_PHASE_CALM);
	silent = seen.now_usec;
	ends(BALLOON_STALLED, 20);
	assert_in_range(seen.now_usec - silent, 3 * SECONDS, 3 * SECONDS + TICK);
	assert_true(next.set && next.quarantine);
	assert_int_equal(next.bytes, 768 * MIB);
	assert_int_equal(run.steps, 2);
}

/* Nothing is begun without one, where one can be had; to grow is no question. */
static void test_silent_at_first(void **state)
{
	(void)state;
	seen.report.usec = 1;
	frozen = true;
	ends(BALLOON_FAILED, 30);
	assert_false(next.set || next.quarantine);
	setup(NULL);
	frozen = true;
	goal.wanted_bytes = MEMORY;
	seen.actual_bytes = seen.host_bytes = 300 * MIB;
	until_step(1);
}

/* Another source of reports is given its time; without any, it goes on. */
static void test_agent_goes(void **state)
{
	(void)state;
	rate = MEMORY;
	until_step(1);
	frozen = true;
	for (int i = 0; i < 11; i++)
		assert_int_equal(tick(), BALLOON_WAIT);
	seen.reporting_since_usec = seen.now_usec;
	seen.report = (struct balloon_report){ .stats = true };
	for (int i = 0; i < 20; i++)
		assert_int_equal(tick(), BALLOON_WAIT);
	seen.reporting = false;
	ends(BALLOON_REACHED, 60);
}

/* An agent that evicted for long is heard before the step. */
static void test_report_after_a_long_eviction(void **state)
{
	(void)state;
	until(BALLOON_EVICT, 10);
	seen.evict_done = false;
	seen.report.usec = seen.now_usec;
	seen.now_usec += 10 * (uint64_t)SECONDS;
	seen.answered_usec = seen.now_usec;
	seen.evict_done = true;
	balloon_next(RULES, &goal, &run, &seen, &next);
	assert_int_equal(next.act, BALLOON_WAIT);
	seen.report.usec = ++seen.now_usec;
	balloon_next(RULES, &goal, &run, &seen, &next);
	assert_int_equal(next.act, BALLOON_SET);
}

/* What the last step did is seen too. */
static void test_last_step_is_undone(void **state)
{
	(void)state;
	rate = MEMORY;
	until_step(3);
	frozen = true;
	tick();
	assert_int_equal(seen.actual_bytes, goal.wanted_bytes);
	assert_int_equal(next.act, BALLOON_WAIT);
	frozen = false;
	seen.report.oom_kills = 1;
	ends(BALLOON_PRESSURE, 1);
	assert_true(next.set && next.quarantine);
	assert_int_equal(next.bytes, 512 * MIB);
}

static void test_deflate_on_oom_is_no_owner(void **state)
{
	(void)state;
	goal.deflate_on_oom = true;
	until_step(2);
	rate = 0;
	seen.actual_bytes = 768 * MIB + 17 * MIB;
	assert_int_equal(tick(), BALLOON_WAIT);
}

/* Nobody else makes it larger than where the step began: it is out of memory. */
static void test_deflate_on_oom_gives_all_back(void **state)
{
	(void)state;
	goal.deflate_on_oom = true;
	until_step(2);
	rate = 0;
	seen.actual_bytes = 768 * MIB + 65 * MIB;
	ends(BALLOON_PRESSURE, 1);
	assert_true(next.set && next.quarantine);
	assert_int_equal(next.bytes, goal.original_bytes);
}

static void test_qemu_silent(void **state)
{
	(void)state;
	until_step(1);
	seen.now_usec = seen.answered_usec + 10 * SECONDS;
	balloon_next(RULES, &goal, &run, &seen, &next);
	assert_int_not_equal(next.act, BALLOON_END);
	seen.now_usec++;
	balloon_next(RULES, &goal, &run, &seen, &next);
	assert_int_equal(next.state, BALLOON_FAILED);
	assert_false(next.set);
}

static void test_floor_sources(void **state)
{
	struct balloon_report report = { .usec = 1, .needed_bytes = 200 * MIB + 1 };
	struct balloon_floor floor;

	(void)state;
	floor = balloon_floor(0, MEMORY, &report);
	assert_int_equal(floor.source, BALLOON_FLOOR_AGENT);
	assert_int_equal(floor.bytes, 250 * MIB + 4096);
	report.stats = true;
	assert_int_equal(balloon_floor(0, MEMORY, &report).source, BALLOON_FLOOR_STATS);
	floor = balloon_floor(77 * MIB, MEMORY, &report);
	assert_int_equal(floor.source, BALLOON_FLOOR_CONFIG);
	assert_int_equal(floor.bytes, 77 * MIB);
	report.needed_bytes = MEMORY + 1;
	floor = balloon_floor(0, MEMORY, &report);
	assert_int_equal(floor.source, BALLOON_FLOOR_DEFAULT);
	assert_int_equal(floor.bytes, 256 * MIB);
	report.needed_bytes = 0;
	assert_int_equal(balloon_floor(0, MEMORY, &report).source, BALLOON_FLOOR_DEFAULT);
	assert_int_equal(balloon_floor(0, 8 * MEMORY, NULL).bytes, 2 * MEMORY);
	assert_int_equal(balloon_floor(0, 64 * MIB, NULL).bytes, 64 * MIB);
	report.needed_bytes = MEMORY;
	assert_int_equal(balloon_floor(0, MEMORY, &report).bytes, MEMORY);
}

static void test_guard_quarantine(void **state)
{
	struct balloon_guard guard = { 0 };
	struct balloon_next end = { .act = BALLOON_END,
				    .state = BALLOON_STALLED,
				    .quarantine = true };
	char text[BALLOON_REASON_MAX * 2];

	(void)state;
	strcpy(end.reason, "no progress");
	assert_false(balloon_guard_refusal(&guard, 5, true, text));
	balloon_guard_end(&guard, RULES, &end, SECONDS);
	assert_true(balloon_guard_refusal(&guard, 2 * SECONDS, true, text));
	assert_non_null(strstr(text, "no progress"));
	assert_non_null(strstr(text, "599 s"));
	assert_false(balloon_guard_refusal(&guard, 2 * SECONDS, false, text));
	assert_false(balloon_guard_refusal(&guard, 601 * (uint64_t)SECONDS, true, text));
	/* Somebody else is left alone whichever way. */
	guard = (struct balloon_guard){ 0 };
	end = (struct balloon_next){ .act = BALLOON_END, .state = BALLOON_OTHER_OWNER };
	balloon_guard_end(&guard, RULES, &end, SECONDS);
	assert_true(balloon_guard_refusal(&guard, 2 * SECONDS, true, text));
	assert_true(balloon_guard_refusal(&guard, 2 * SECONDS, false, text));
}

static enum balloon_owner watch(struct balloon_guard *guard, uint64_t now, uint64_t actual,
				bool deflate_on_oom)
{
	return balloon_guard_watch(guard, RULES, now, actual, deflate_on_oom);
}

static void test_guard_owner(void **state)
{
	struct balloon_guard guard = { .target_bytes = 400 * MIB };
	char text[BALLOON_REASON_MAX * 2];

	(void)state;
	/* It is on its way there still. */
	assert_int_equal(watch(&guard, 1, 500 * MIB, false), BALLOON_OWNER_NONE);
	assert_int_equal(watch(&guard, 2, 300 * MIB, false), BALLOON_OWNER_NONE);
	assert_int_equal(watch(&guard, 2, 410 * MIB, false), BALLOON_OWNER_NONE);
	assert_int_equal(watch(&guard, 3, 416 * MIB, false), BALLOON_OWNER_NONE);
	assert_int_equal(watch(&guard, 3, 460 * MIB, true), BALLOON_OWNER_NONE);
	assert_int_equal(watch(&guard, 4, 417 * MIB, false), BALLOON_OWNER_MAYBE_GUEST);
	assert_int_equal(watch(&guard, 5, 900 * MIB, false), BALLOON_OWNER_NONE);
	assert_true(balloon_guard_refusal(&guard, 5, false, text));
	assert_true(balloon_guard_refusal(&guard, 5, true, text));
	assert_non_null(strstr(text, "3600 s"));
	assert_false(balloon_guard_refusal(&guard, 4 + 3600 * (uint64_t)SECONDS, true, text));
	/* After a restart its size is not what it was; it has to come to rest first. */
	guard = (struct balloon_guard){ .target_bytes = 400 * MIB };
	assert_int_equal(watch(&guard, 1, 400 * MIB, false), BALLOON_OWNER_NONE);
	balloon_guard_restart(&guard, 2, 0);
	assert_int_equal(watch(&guard, 3, 900 * MIB, false), BALLOON_OWNER_NONE);
	assert_int_equal(watch(&guard, 4, 400 * MIB, false), BALLOON_OWNER_NONE);
	assert_int_equal(watch(&guard, 5, 900 * MIB, false), BALLOON_OWNER_MAYBE_GUEST);
	/* Smaller than it was left: that is somebody else, within that hour too. */
	assert_int_equal(watch(&guard, 6, 384 * MIB, false), BALLOON_OWNER_NONE);
	assert_int_equal(watch(&guard, 7, 383 * MIB, false), BALLOON_OWNER_OTHER);
	assert_int_equal(guard.target_bytes, 0);
	assert_int_equal(watch(&guard, 8, 100 * MIB, false), BALLOON_OWNER_NONE);
}

static void test_guard_resume(void **state)
{
	const uint64_t boot = 120 * (uint64_t)SECONDS;
	struct balloon_guard guard = { 0 };

	(void)state;
	assert_int_equal(balloon_guard_resume(&guard, RULES, boot * 9, true), 0);
	balloon_guard_restart(&guard, 1, 400 * MIB);
	assert_int_equal(balloon_guard_resume(&guard, RULES, boot, true), 0);
	assert_int_equal(balloon_guard_resume(&guard, RULES, boot + 1, false), 0);
	/* Again, before the first time was over. */
	balloon_guard_restart(&guard, 1000, 0);
	assert_int_equal(balloon_guard_resume(&guard, RULES, boot + 999, true), 0);
	assert_int_equal(balloon_guard_resume(&guard, RULES, boot + 1000, true), 400 * MIB);
	assert_int_equal(balloon_guard_resume(&guard, RULES, boot * 9, true), 0);
	balloon_guard_restart(&guard, 0 + 1, 300 * MIB);
	assert_int_equal(balloon_guard_resume(&guard, RULES, 2 * boot + 1, false), 300 * MIB);
}

#define CASE(function) cmocka_unit_test_setup(function, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_reached),
		CASE(test_off_evicts_nothing),
		CASE(test_first_without_agent),
		CASE(test_only_takes_what_is_clean),
		CASE(test_only_needs_an_agent),
		CASE(test_grow),
		CASE(test_grow_below_the_floor),
		CASE(test_last_bit),
		CASE(test_grow_stalls),
		CASE(test_same_size),
		CASE(test_plan_only),
		CASE(test_below_floor),
		CASE(test_floor_rises_between_steps),
		CASE(test_floor_rises_in_an_eviction),
		CASE(test_floor_rises_in_a_step),
		CASE(test_floor_stands_without_reports),
		CASE(test_stall),
		CASE(test_stall_gives_back_no_more_than_was_taken),
		CASE(test_slow_is_no_stall),
		CASE(test_crawling_is_a_stall),
		CASE(test_lie_about_the_size),
		CASE(test_host_unknown),
		CASE(test_impossible_size),
		CASE(test_impossible_size_at_first),
		CASE(test_slow_host_is_no_stall),
		CASE(test_qemu_silent_in_a_step),
		CASE(test_pressure_of_before_a_step),
		CASE(test_impossible_size_after_an_eviction),
		CASE(test_oom),
		CASE(test_pressure_holds),
		CASE(test_pressure_reverses),
		CASE(test_blind_pressure),
		CASE(test_alloc_stalls),
		CASE(test_counters_of_another_source),
		CASE(test_first_report_comes_late),
		CASE(test_timeout),
		CASE(test_stop),
		CASE(test_stop_before_anything),
		CASE(test_stop_growing),
		CASE(test_restart),
		CASE(test_hands_off),
		CASE(test_moved_before_we_begin),
		CASE(test_grows_before_we_begin),
		CASE(test_moved_beyond),
		CASE(test_moved_against),
		CASE(test_moved_between_steps),
		CASE(test_size_without_its_target),
		CASE(test_moved_while_growing),
		CASE(test_each_step_waits_for_a_report),
		CASE(test_silent_at_first),
		CASE(test_agent_goes),
		CASE(test_report_after_a_long_eviction),
		CASE(test_last_step_is_undone),
		CASE(test_deflate_on_oom_is_no_owner),
		CASE(test_deflate_on_oom_gives_all_back),
		CASE(test_qemu_silent),
		CASE(test_floor_sources),
		CASE(test_guard_quarantine),
		CASE(test_guard_owner),
		CASE(test_guard_resume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
