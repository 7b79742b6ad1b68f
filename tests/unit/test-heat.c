/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest/heat.h"

#define SECOND 1000000ull
#define NOW    (1000 * SECOND)

/* What the watch would say; its own tests are in stock guests. */
static struct watch_heat told;
static enum wire_heat sensor;
static int sense_result;
static bool sensing;
static uint64_t asked_index;

struct watch_heat watch_heat(struct watch *w, uint64_t pfn, uint64_t mapping, uint64_t index,
			     uint64_t now_usec)
{
	(void)w;
	(void)pfn;
	(void)mapping;
	assert_int_equal(now_usec, NOW);
	asked_index = index;
	return told;
}

enum wire_heat watch_sensor(const struct watch *w)
{
	(void)w;
	return sensor;
}

int watch_sense(struct watch *w, bool on)
{
	(void)w;
	if (sense_result >= 0)
		sensing = on;
	return sense_result;
}

unsigned watch_age_class(struct watch_heat heat)
{
	return heat.known ? 3 : WIRE_AGE_CLASSES - 1;
}

static struct heat heat;
static struct scan_page page;

static int setup(void **state)
{
	(void)state;
	told = (struct watch_heat){ .known = true };
	sensor = WIRE_HEAT_ACCESSED;
	sense_result = 0;
	sensing = true;
	/* On for longer than pages stay hot: flags do not count. */
	heat = (struct heat){ .watch = (struct watch *)&told,
			      .hot_sec = 30,
			      .is_on = true,
			      .since_usec = NOW - 31 * SECOND };
	page = (struct scan_page){ .kind = SCAN_FILE };
	return 0;
}

static struct heat_view look(void)
{
	return heat_look(&heat, &page, 0x1000, 0xffff888000000000, NOW);
}

static void test_used_twice_and_lately_is_hot(void **state)
{
	(void)state;
	told.uses = 2;
	told.age_sec = 29;
	assert_true(look().hot);
	told.age_sec = 30;
	assert_false(look().hot);
	told.age_sec = 0;
	told.uses = 1;
	assert_false(look().hot);
}

static void test_flags_that_never_grow_cold_do_not_count(void **state)
{
	(void)state;
	told.uses = 3;
	told.age_sec = 31;
	page.flags = SCAN_ACTIVE | SCAN_WORKINGSET | SCAN_REFERENCED;
	assert_false(look().hot);
}

static void test_flags_count_until_the_sensor_has_seen_enough(void **state)
{
	(void)state;
	told.age_sec = 40;
	page.flags = SCAN_ACTIVE;
	heat.since_usec = NOW - 29 * SECOND;
	assert_true(look().hot);
	heat.since_usec = NOW - 30 * SECOND;
	assert_false(look().hot);
	heat.is_on = false;
	assert_true(look().hot);
	page.flags = SCAN_REFERENCED;
	assert_false(look().hot);
}

static void test_hot_by_flags_alone_is_a_guess(void **state)
{
	(void)state;
	told.age_sec = 40;
	page.flags = SCAN_ACTIVE;
	heat.since_usec = NOW - 29 * SECOND;
	assert_true(look().guessed);
	assert_int_equal(heat_sure_usec(&heat, NOW), SECOND);
	/* What the sensor saw is none. */
	told.uses = 2;
	told.age_sec = 3;
	assert_true(look().hot);
	assert_false(look().guessed);
	told.known = false;
	assert_true(look().guessed);
	/* Nor is what it will never know. */
	heat.since_usec = NOW - 30 * SECOND;
	assert_int_equal(heat_sure_usec(&heat, NOW), 0);
	assert_true(look().hot);
	assert_false(look().guessed);
	heat.is_on = false;
	assert_int_equal(heat_sure_usec(&heat, NOW), 30 * SECOND);
	/* A page without a stamp is known after ten seconds. */
	heat.hot_sec = 1;
	assert_int_equal(heat_sure_usec(&heat, NOW), 10 * SECOND);
	sensor = WIRE_HEAT_NONE;
	assert_int_equal(heat_sure_usec(&heat, NOW), 0);
}

static void test_not_seen_in_twenty_turns_is_cold(void **state)
{
	(void)state;
	heat.is_on = false;
	page.flags = SCAN_ACTIVE;
	told.uses = 3;
	told.age_sec = 20 * HEAT_TURN_SEC - 1;
	assert_true(look().hot);
	told.age_sec++;
	assert_false(look().hot);
	told.known = false;
	assert_true(look().hot);
}

static void test_without_a_sensor_flags_are_all_there_is(void **state)
{
	(void)state;
	sensor = WIRE_HEAT_NONE;
	told.uses = 3;
	assert_false(look().hot);
	assert_int_equal(look().age_sec, UINT16_MAX);
	assert_int_equal(look().age_class, WIRE_AGE_CLASSES - 1);
	page.flags = SCAN_WORKINGSET;
	assert_true(look().hot);
	heat.watch = NULL;
	assert_true(look().hot);
	page.flags = 0;
	assert_false(look().hot);
	assert_false(look().awaited);
}

static void test_read_ahead_is_awaited_for_two_seconds(void **state)
{
	(void)state;
	told.age_sec = 1;
	assert_true(look().awaited);
	told.age_sec = 2;
	assert_false(look().awaited);
	told.age_sec = 1;
	told.uses = 1;
	assert_false(look().awaited);
	/* Whether it was read before the sensor was on nobody knows. */
	told.uses = 0;
	heat.since_usec = NOW - 2 * SECOND;
	assert_false(look().awaited);
}

static void test_unknown_ages_are_unknown(void **state)
{
	(void)state;
	told = (struct watch_heat){ .known = false, .age_sec = 7 };
	assert_int_equal(look().age_sec, UINT16_MAX);
	told = (struct watch_heat){ .known = true, .age_sec = 1u << 20 };
	assert_int_equal(look().age_sec, UINT16_MAX - 1);
	told.age_sec = 7;
	assert_int_equal(look().age_sec, 7);
	assert_int_equal(look().age_class, 3);
}

static void test_a_tail_goes_by_its_head(void **state)
{
	(void)state;
	page.index = 515;
	page.offset = 3;
	look();
	assert_int_equal(asked_index, 512);
}

static void test_the_sensor_is_on_while_it_is_needed(void **state)
{
	(void)state;
	heat.is_on = sensing = false;
	heat.since_usec = NOW;
	assert_int_equal(heat_turn(&heat, true, NOW), UINT64_MAX);
	assert_true(sensing);
	assert_int_equal(heat_turn(&heat, true, NOW + 1000 * SECOND), UINT64_MAX);
	assert_true(sensing);
	assert_int_equal(heat.since_usec, NOW);
}

#define TURNS 20

/* Turns the sensor on and off, and tells when it was turned on. */
static uint64_t take_turns(uint64_t starts[TURNS])
{
	uint64_t now = NOW, wait;

	heat.is_on = sensing = false;
	heat.since_usec = NOW;
	for (int i = 0; i < TURNS;) {
		wait = heat_turn(&heat, false, now);
		assert_true(wait > 0 && wait < UINT64_MAX);
		if (sensing) {
			starts[i++] = now;
			assert_int_equal(wait, HEAT_ON_USEC);
		}
		now += wait;
	}
	return now - NOW;
}

static void test_the_sensor_takes_turns(void **state)
{
	uint64_t starts[TURNS], took;

	(void)state;
	took = take_turns(starts);
	assert_in_range(took, (TURNS - 1) * HEAT_TURN_SEC * SECOND,
			(TURNS + 1) * HEAT_TURN_SEC * SECOND);
}

/* Of a hundred users that begin at different times and come again every so often, how many no turn
 * sees. */
static unsigned unseen(const uint64_t starts[TURNS], uint64_t every_usec)
{
	unsigned missed = 0;

	for (uint64_t n = 0; n < 100; n++) {
		bool seen = false;

		for (int i = 0; i < TURNS; i++) {
			uint64_t since = (starts[i] - n * every_usec / 100) % every_usec;

			seen = seen || !since || every_usec - since < HEAT_ON_USEC;
		}
		missed += !seen;
	}
	return missed;
}

static void test_what_is_used_regularly_is_seen_in_some_turn(void **state)
{
	uint64_t starts[TURNS];

	(void)state;
	take_turns(starts);
	for (uint64_t every = SECOND; every <= 10 * SECOND; every += SECOND / 4)
		assert_int_equal(unseen(starts, every), 0);
	for (uint64_t every = 10 * SECOND; every <= 30 * SECOND; every += SECOND / 4)
		assert_in_range(unseen(starts, every), 0, 40);
}

static void test_a_sensor_that_fails_is_not_on(void **state)
{
	(void)state;
	heat.is_on = sensing = false;
	sense_result = -EPERM;
	heat_turn(&heat, true, NOW);
	assert_false(heat.is_on);
	sensor = WIRE_HEAT_NONE;
	assert_int_equal(heat_turn(&heat, true, NOW), UINT64_MAX);
	heat.watch = NULL;
	assert_int_equal(heat_turn(&heat, false, NOW), UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_used_twice_and_lately_is_hot, setup),
		cmocka_unit_test_setup(test_flags_that_never_grow_cold_do_not_count, setup),
		cmocka_unit_test_setup(test_flags_count_until_the_sensor_has_seen_enough, setup),
		cmocka_unit_test_setup(test_hot_by_flags_alone_is_a_guess, setup),
		cmocka_unit_test_setup(test_not_seen_in_twenty_turns_is_cold, setup),
		cmocka_unit_test_setup(test_without_a_sensor_flags_are_all_there_is, setup),
		cmocka_unit_test_setup(test_read_ahead_is_awaited_for_two_seconds, setup),
		cmocka_unit_test_setup(test_unknown_ages_are_unknown, setup),
		cmocka_unit_test_setup(test_a_tail_goes_by_its_head, setup),
		cmocka_unit_test_setup(test_the_sensor_is_on_while_it_is_needed, setup),
		cmocka_unit_test_setup(test_what_is_used_regularly_is_seen_in_some_turn, setup),
		cmocka_unit_test_setup(test_the_sensor_takes_turns, setup),
		cmocka_unit_test_setup(test_a_sensor_that_fails_is_not_on, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
