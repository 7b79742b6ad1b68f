/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest/brake.h"

#define SECOND 1000000ull

static struct brake brake;
static struct brake_sample now;

static int setup(void **state)
{
	(void)state;
	now = (struct brake_sample){ .now_usec = 1000 * SECOND };
	brake_init(&brake, now.now_usec);
	brake_update(&brake, &now);
	return 0;
}

/* One second passes in which this much is evicted and comes back. */
static bool second(uint64_t evicted, uint64_t refaulted)
{
	now.now_usec += SECOND;
	now.evicted_pages += evicted;
	now.followed_pages += evicted;
	now.refaulted_pages += refaulted;
	brake_update(&brake, &now);
	return brake_holds(&brake, now.now_usec);
}

static void test_nothing_stops_what_hurts_nobody(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++)
		assert_false(second(10000, 20));
	assert_int_equal(brake.stops, 0);
	assert_int_equal(brake.reason, WIRE_BRAKE_NONE);
}

static void test_refaults_stop_it(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++)
		assert_false(second(1000, 0));
	assert_false(second(0, 255));
	assert_false(second(0, 1));
	assert_false(second(0, 244)); /* 500 of 10,000: the limit itself */
	assert_true(second(0, 1));
	assert_int_equal(brake.reason, WIRE_BRAKE_REFAULT);
	assert_int_equal(brake.stops, 1);
}

static void test_few_refaults_are_no_sign(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		assert_false(second(26, 25));
}

static void test_old_refaults_do_not_count(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++)
		assert_false(second(1000, 0));
	assert_false(second(0, 400));
	for (int i = 0; i < 10; i++)
		assert_false(second(1, 0));
	assert_false(second(1, 400));
}

static void test_memory_pressure_because_of_us(void **state)
{
	(void)state;
	assert_false(second(1000, 8));
	now.memory_hundredths = 100;
	assert_false(second(1000, 8));
	now.memory_hundredths = 101;
	assert_true(second(1000, 0));
	assert_int_equal(brake.reason, WIRE_BRAKE_MEMORY);
}

static void test_memory_pressure_without_refaults_is_not_ours(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++) {
		now.memory_hundredths = 1000 * i;
		assert_false(second(1000, 3));
	}
	assert_true(second(1000, 1));
	assert_int_equal(brake.reason, WIRE_BRAKE_MEMORY);
}

static void test_pressure_from_before_is_not_ours(void **state)
{
	(void)state;
	now.memory_hundredths = 3000;
	now.io_hundredths = 3000;
	assert_false(second(0, 0));
	for (int i = 0; i < 20; i++)
		assert_false(second(1000, 2));
	now.memory_hundredths = 3101;
	assert_true(second(1000, 2));
}

static void test_pressure_without_eviction_is_not_ours(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		assert_false(second(1000, 0));
	for (int i = 0; i < 10; i++)
		assert_false(second(0, 0));
	now.memory_hundredths = 5000;
	assert_false(second(0, 0));
}

static void test_io_pressure_counts_with_refaults_only(void **state)
{
	(void)state;
	now.io_hundredths = 9000;
	for (int i = 0; i < 10; i++)
		assert_false(second(10000, 90));
	for (int i = 0; i < 8; i++)
		assert_false(second(10000, 180));
	setup(NULL);
	assert_false(second(50000, 0));
	now.io_hundredths = 101;
	assert_false(second(0, 500));
	assert_true(second(0, 1));
	assert_int_equal(brake.reason, WIRE_BRAKE_IO);
}

static void test_a_blind_kernel_stops_by_refaults_alone(void **state)
{
	(void)state;
	now.memory_hundredths = now.io_hundredths = BRAKE_BLIND;
	assert_false(second(10000, 0));
	assert_false(second(10000, 500));
	assert_true(second(0, 1000));
	assert_int_equal(brake.reason, WIRE_BRAKE_REFAULT);
}

static void wait_until_over(void)
{
	now.now_usec = brake.until_usec;
	brake_update(&brake, &now);
	assert_false(brake_holds(&brake, now.now_usec));
}

static void test_back_off_doubles_and_forgets(void **state)
{
	uint64_t rest = BRAKE_REST_USEC;

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_true(second(1000, 300));
		assert_int_equal(brake.rest_usec, rest);
		assert_int_equal(brake.until_usec, now.now_usec + rest);
		wait_until_over();
		rest = rest * 2 < BRAKE_REST_MAX_USEC ? rest * 2 : BRAKE_REST_MAX_USEC;
	}
	for (int i = 0; i < 60; i++)
		assert_false(second(1000, 0));
	assert_false(second(0, 250));
	assert_true(second(1000, 3000));
	assert_int_equal(brake.rest_usec, BRAKE_REST_USEC);
	assert_int_equal(brake.stops, 11);
}

static void test_refaults_during_the_rest_do_not_prolong_it(void **state)
{
	(void)state;
	assert_true(second(1000, 300));
	uint64_t until = brake.until_usec;
	for (int i = 0; i < 3; i++)
		assert_true(second(0, 300));
	assert_int_equal(brake.until_usec, until);
	assert_int_equal(brake.stops, 1);
}

static void test_a_clock_that_jumps(void **state)
{
	(void)state;
	assert_false(second(1000, 40));
	now.now_usec += 100000 * SECOND;
	assert_false(second(1000, 40));
	now.now_usec -= 50 * SECOND;
	assert_false(second(1000, 40));
}

static void test_idle(void **state)
{
	(void)state;
	assert_int_equal(brake_idle(&brake, now.now_usec), BRAKE_SECONDS);
	second(1, 0);
	assert_int_equal(brake_idle(&brake, now.now_usec), 0);
	/* Also when nothing was told meanwhile. */
	assert_int_equal(brake_idle(&brake, now.now_usec + 7 * SECOND), 7);
	second(0, 0);
	second(0, 0);
	assert_int_equal(brake_idle(&brake, now.now_usec), 2);
}

static void test_released_it_begins_anew(void **state)
{
	(void)state;
	assert_true(second(1000, 300));
	wait_until_over();
	assert_true(second(1000, 300));
	assert_int_equal(brake.rest_usec, 2 * BRAKE_REST_USEC);
	brake_release(&brake);
	assert_false(brake_holds(&brake, now.now_usec));
	assert_int_equal(brake.reason, WIRE_BRAKE_NONE);
	assert_int_equal(brake_idle(&brake, now.now_usec), BRAKE_SECONDS);
	/* While nothing goes, nothing that comes back is a reason to stop. */
	assert_false(second(0, 5000));
	assert_int_equal(brake.stops, 2);
	assert_true(second(1000, 300));
	assert_int_equal(brake.rest_usec, BRAKE_REST_USEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_nothing_stops_what_hurts_nobody, setup),
		cmocka_unit_test_setup(test_idle, setup),
		cmocka_unit_test_setup(test_released_it_begins_anew, setup),
		cmocka_unit_test_setup(test_refaults_stop_it, setup),
		cmocka_unit_test_setup(test_few_refaults_are_no_sign, setup),
		cmocka_unit_test_setup(test_old_refaults_do_not_count, setup),
		cmocka_unit_test_setup(test_memory_pressure_because_of_us, setup),
		cmocka_unit_test_setup(test_memory_pressure_without_refaults_is_not_ours, setup),
		cmocka_unit_test_setup(test_pressure_from_before_is_not_ours, setup),
		cmocka_unit_test_setup(test_pressure_without_eviction_is_not_ours, setup),
		cmocka_unit_test_setup(test_io_pressure_counts_with_refaults_only, setup),
		cmocka_unit_test_setup(test_a_blind_kernel_stops_by_refaults_alone, setup),
		cmocka_unit_test_setup(test_back_off_doubles_and_forgets, setup),
		cmocka_unit_test_setup(test_refaults_during_the_rest_do_not_prolong_it, setup),
		cmocka_unit_test_setup(test_a_clock_that_jumps, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
