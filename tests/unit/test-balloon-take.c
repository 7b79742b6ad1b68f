/* SPDX-License-Identifier: Apache-2.0 */
/* A guest of 1 GiB whose agent takes superpages out of use, as host/resize-take.c has it do. */
#include "balloon-test.h"

#define SUPERPAGE (2 * MIB)

static uint64_t taken, taken_goal, loose; /* how much more there is that can be taken */
static uint64_t held, held_goal;	  /* by the balloon */

static uint64_t nearer(uint64_t from, uint64_t to, uint64_t most)
{
	if (from < to)
		return to - from < most ? to : from + most;
	return from - to < most ? to : from - most;
}

static void machine_follow(void)
{
	uint64_t now = nearer(taken, taken_goal, taken_goal > taken && loose < rate ? loose : rate);

	if (now > taken)
		loose -= now - taken;
	taken = now;
	held = nearer(held, held_goal, rate);
	seen.take_done = taken == taken_goal || (taken_goal > taken && !loose);
	seen.actual_bytes = MEMORY - taken - held;
	if (honest && seen.host_bytes > seen.actual_bytes)
		seen.host_bytes = seen.actual_bytes;
}

/* Pages come back before superpages. */
static void machine_set(void)
{
	uint64_t keep = (goal.original_bytes - next.bytes) / SUPERPAGE * SUPERPAGE;

	target = next.bytes;
	if (next.act == BALLOON_SET && next.take_bytes) {
		taken_goal = taken + next.take_bytes;
		seen.take_done = false;
		return;
	}
	taken_goal = keep < taken ? keep : taken;
	held_goal = goal.original_bytes - next.bytes - taken_goal;
}

static int machine_setup(void **state)
{
	setup(state);
	follow = machine_follow;
	set = machine_set;
	taken = taken_goal = held = held_goal = 0;
	loose = UINT64_MAX / 2;
	seen.can_take = true;
	return 0;
}

static void assert_has(uint64_t by_superpages, uint64_t by_pages)
{
	for (int i = 0; i < 100; i++)
		machine_follow();
	assert_int_equal(taken, by_superpages);
	assert_int_equal(held, by_pages);
}

static void test_evicted_then_taken(void **state)
{
	(void)state;
	until_step(1);
	assert_int_equal(evictions, 1);
	assert_int_equal(next.take_bytes, 256 * MIB);
	assert_int_equal(target, 768 * MIB);
	ends(BALLOON_REACHED, 100);
	assert_int_equal(run.steps, 3);
	assert_int_equal(evictions, 3);
	assert_has(624 * MIB, 0);
}

/* Of what is no whole superpage the balloon takes the rest. */
static void test_rest_by_pages(void **state)
{
	(void)state;
	goal.wanted_bytes = MEMORY - 101 * MIB;
	ends(BALLOON_REACHED, 100);
	assert_int_equal(seen.actual_bytes, goal.wanted_bytes);
	assert_has(100 * MIB, MIB);
}

/* A guest whose free memory is scattered. */
static void test_none_left(void **state)
{
	(void)state;
	loose = 300 * MIB;
	ends(BALLOON_REACHED, 200);
	assert_has(300 * MIB, 324 * MIB);
}

/* What pages were evicted for may have made more whole. */
static void test_more_after_pages(void **state)
{
	(void)state;
	loose = 100 * MIB;
	until_step(3);
	assert_true(run.has_taken_all && taken == 100 * MIB);
	assert_int_equal(next.take_bytes, 0);
	loose = 50 * MIB;
	ends(BALLOON_REACHED, 200);
	assert_has(150 * MIB, 474 * MIB);
}

/* But what the host would not page out it will not the next time. */
static void test_refused(void **state)
{
	(void)state;
	loose = 0;
	seen.untaken = BALLOON_UNTAKEN_REFUSED;
	ends(BALLOON_REACHED, 200);
	assert_int_equal(run.untaken, BALLOON_UNTAKEN_REFUSED);
	assert_has(0, 624 * MIB);
	assert_int_equal(run.steps, 4);
}

static void test_short(void **state)
{
	(void)state;
	loose = 100 * MIB;
	seen.untaken = BALLOON_UNTAKEN_SHORT;
	ends(BALLOON_PRESSURE, 200);
	assert_true(next.quarantine && next.set);
	assert_int_equal(next.bytes, MEMORY - 100 * MIB);
}

/* It may be out of use, and not paged out yet. */
static void test_done_is_awaited(void **state)
{
	(void)state;
	until_step(1);
	follow = balloon_follow;
	target = 768 * MIB;
	for (int i = 0; i < 10; i++) {
		seen.take_done = false;
		assert_int_equal(tick(), BALLOON_WAIT);
	}
	assert_int_equal(seen.actual_bytes, 768 * MIB);
	assert_int_equal(run.phase, BALLOON_PHASE_STEP);
	seen.take_done = true;
	tick();
	assert_int_equal(run.phase, BALLOON_PHASE_CALM);
}

static void test_superpages_alone(void **state)
{
	(void)state;
	goal.by = BALLOON_BY_SUPERPAGES;
	loose = 300 * MIB;
	ends(BALLOON_SUPERPAGES_ENDED, 200);
	assert_has(300 * MIB, 0);
	assert_int_equal(seen.actual_bytes, MEMORY - 300 * MIB);
}

static void test_less_than_one(void **state)
{
	(void)state;
	goal.by = BALLOON_BY_SUPERPAGES;
	goal.wanted_bytes = MEMORY - 5 * MIB;
	ends(BALLOON_SUPERPAGES_ENDED, 200);
	assert_has(4 * MIB, 0);
}

static void test_pages_alone(void **state)
{
	(void)state;
	goal.by = BALLOON_BY_PAGES;
	ends(BALLOON_REACHED, 100);
	assert_has(0, 624 * MIB);
}

static void test_nobody_takes(void **state)
{
	(void)state;
	seen.can_take = false;
	ends(BALLOON_REACHED, 100);
	assert_has(0, 624 * MIB);
}

/* An agent that hangs is as a driver that does. */
static void test_stall(void **state)
{
	(void)state;
	until_step(1);
	rate = 0;
	ends(BALLOON_STALLED, 50);
	assert_true(next.quarantine && next.set);
	assert_true(next.bytes <= MEMORY);
}

static void test_gave_back(void **state)
{
	(void)state;
	until_step(2);
	assert_true(taken >= 256 * MIB);
	taken_goal = taken = taken - 32 * MIB;
	seen.gave_back = true;
	seen.untaken = BALLOON_UNTAKEN_SHORT;
	ends(BALLOON_PRESSURE, 2);
	assert_true(next.quarantine && next.set);
	assert_int_equal(next.bytes, seen.actual_bytes);
	assert_non_null(strstr(next.reason, "gave superpages back"));
}

static void test_an_agent_started_anew(void **state)
{
	(void)state;
	until_step(2);
	taken_goal = taken = 0;
	seen.gave_back = true;
	ends(BALLOON_STALLED, 2);
	assert_true(next.set && !next.quarantine);
	assert_int_equal(next.bytes, seen.actual_bytes);
}

static void test_grows_by_both(void **state)
{
	(void)state;
	loose = 300 * MIB;
	ends(BALLOON_REACHED, 200);
	memset(&run, 0, sizeof(run));
	goal.wanted_bytes = MEMORY - 200 * MIB;
	goal.held_bytes = 400 * MIB;
	ends(BALLOON_REACHED, 100);
	assert_has(200 * MIB, 0);
	assert_int_equal(seen.actual_bytes, goal.wanted_bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_evicted_then_taken, machine_setup),
		cmocka_unit_test_setup(test_rest_by_pages, machine_setup),
		cmocka_unit_test_setup(test_none_left, machine_setup),
		cmocka_unit_test_setup(test_superpages_alone, machine_setup),
		cmocka_unit_test_setup(test_less_than_one, machine_setup),
		cmocka_unit_test_setup(test_pages_alone, machine_setup),
		cmocka_unit_test_setup(test_nobody_takes, machine_setup),
		cmocka_unit_test_setup(test_stall, machine_setup),
		cmocka_unit_test_setup(test_gave_back, machine_setup),
		cmocka_unit_test_setup(test_more_after_pages, machine_setup),
		cmocka_unit_test_setup(test_refused, machine_setup),
		cmocka_unit_test_setup(test_short, machine_setup),
		cmocka_unit_test_setup(test_done_is_awaited, machine_setup),
		cmocka_unit_test_setup(test_an_agent_started_anew, machine_setup),
		cmocka_unit_test_setup(test_grows_by_both, machine_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
