/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include "guest/budget.h"

#define SECOND 1000000ull
#define START  (123456 * SECOND)

/* A full window is saved up at the start: 1 % of ten minutes. */
static void test_starts_full(void **state)
{
	struct budget b;

	(void)state;
	budget_init(&b, 10, BUDGET_WINDOW_USEC, START, 77);
	assert_int_equal(budget_wait_usec(&b, START, 77), 0);
	assert_int_equal(budget_wait_usec(&b, START, 77 + 6 * SECOND), 0);
	assert_int_not_equal(budget_wait_usec(&b, START, 77 + 6 * SECOND + 1), 0);
}

static void test_wait(void **state)
{
	struct budget b;

	(void)state;
	budget_init(&b, 10, BUDGET_WINDOW_USEC, START, 0);
	/* 1 ms overdrawn: a tenth of a second at 1 %. */
	assert_in_range(budget_wait_usec(&b, START, 6 * SECOND + 1000), 100000, 100001);
	assert_in_range(budget_wait_usec(&b, START + 50000, 6 * SECOND + 1000), 50000, 50001);
	assert_int_equal(budget_wait_usec(&b, START + 100000, 6 * SECOND + 1000), 0);
	/* However much is overdrawn, the link is looked at each second. */
	assert_int_equal(budget_wait_usec(&b, START + 100000, 60 * SECOND), SECOND);
}

/* What is used over a long time is the share, by however small steps it is asked. */
static void test_share(void **state)
{
	static const unsigned steps[] = { 7, 150, 999, 12345, 700000 };

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct budget b;
		uint64_t now = START, cpu = 0, end = START + 5 * SECOND;

		budget_init(&b, 10, BUDGET_WINDOW_USEC, now, 0);
		cpu = 6 * SECOND; /* what was saved */
		while (now < end) {
			uint64_t wait = budget_wait_usec(&b, now, cpu);

			if (!wait)
				cpu += 500;
			now += !wait ? 500 : wait < steps[i] ? wait : steps[i];
		}
		assert_in_range(cpu - 6 * SECOND, 50000 * 9 / 10, 50000 * 11 / 10);
	}
}

/* A guest that was paused, or idle for days, has saved one window. */
static void test_pause(void **state)
{
	struct budget b;
	uint64_t later = START + 1000000 * SECOND;

	(void)state;
	budget_init(&b, 10, BUDGET_WINDOW_USEC, START, 0);
	assert_int_equal(budget_wait_usec(&b, later, 0), 0);
	assert_int_equal(budget_wait_usec(&b, later, 6 * SECOND), 0);
	assert_int_not_equal(budget_wait_usec(&b, later, 6 * SECOND + 1), 0);
	/* And does not pay for the time before twice. */
	assert_int_not_equal(budget_wait_usec(&b, later, 6 * SECOND + 1), 0);
}

static void test_extremes(void **state)
{
	struct budget b;

	(void)state;
	budget_init(&b, 1000, BUDGET_WINDOW_USEC, UINT64_MAX - SECOND, 0);
	assert_int_equal(budget_wait_usec(&b, UINT64_MAX, SECOND), 0);
	/* Across the counter's end. */
	assert_int_equal(budget_wait_usec(&b, SECOND, 2 * SECOND), 0);
	budget_init(&b, 0, BUDGET_WINDOW_USEC, START, 0);
	assert_int_equal(budget_wait_usec(&b, START, 0), 0);
	assert_int_equal(budget_wait_usec(&b, START + SECOND, 1000000), SECOND);
}

/* Of a window of a second, and a count that is made up for. */
static void test_what_falls(void **state)
{
	struct budget b;

	(void)state;
	budget_init(&b, 100, SECOND, START, 0);
	assert_int_equal(budget_wait_usec(&b, START, 100000), 0);
	assert_in_range(budget_wait_usec(&b, START, 150000), 500000, 500001);
	assert_int_equal(budget_wait_usec(&b, START, 90000), 0);
	/* Below where it began, and no more than a window is saved. */
	assert_int_equal(budget_wait_usec(&b, START, -500000ull), 0);
	assert_int_equal(budget_wait_usec(&b, START, -400000ull), 0);
	assert_in_range(budget_wait_usec(&b, START, -399000ull), 10000, 10001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_starts_full), cmocka_unit_test(test_wait),
		cmocka_unit_test(test_share),	    cmocka_unit_test(test_pause),
		cmocka_unit_test(test_extremes),    cmocka_unit_test(test_what_falls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
