/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include "guest/age.h"
#include "guest/scan.h"

#define INODE 12
#define INDEX 345

static int setup(void **state)
{
	static struct age_table t;

	*state = &t;
	return age_init(&t, 1000);
}

static int teardown(void **state)
{
	age_done(*state);
	age_done(*state); /* twice is once */
	return 0;
}

static void test_first_scan_knows_nothing(void **state)
{
	struct age_table *t = *state;

	assert_int_equal(age_see(t, 5, INODE, INDEX, 0), AGE_UNKNOWN);
	assert_int_equal(age_see(t, 6, INODE, INDEX + 1, SCAN_REFERENCED), AGE_UNKNOWN);
	age_scan_done(t);
	/* From the second on, what was not there is new, and what was there was not used. */
	assert_int_equal(age_see(t, 5, INODE, INDEX, 0), 1);
	assert_int_equal(age_see(t, 7, INODE, INDEX + 2, SCAN_REFERENCED), 0);
	age_scan_done(t);
	assert_int_equal(age_see(t, 5, INODE, INDEX, 0), 2);
	assert_int_equal(age_see(t, 7, INODE, INDEX + 2, SCAN_REFERENCED), 1);
}

/* A scan that was broken off before it came to a frame says nothing about that frame. */
static void test_broken_off_scan(void **state)
{
	struct age_table *t = *state;

	assert_int_equal(age_see(t, 5, INODE, INDEX, 0), AGE_UNKNOWN);
	/* no age_scan_done() */
	assert_int_equal(age_see(t, 5, INODE, INDEX, 0), 1);
	assert_int_equal(age_see(t, 900, INODE, INDEX + 9, 0), AGE_UNKNOWN);
}

static void test_signs_of_use(void **state)
{
	struct age_table *t = *state;

	age_see(t, 5, INODE, INDEX, 0);
	age_scan_done(t);
	assert_int_equal(age_see(t, 5, INODE, INDEX, 0), 1);
	age_scan_done(t);
	assert_int_equal(age_see(t, 5, INODE, INDEX, SCAN_REFERENCED), 0);
	age_scan_done(t);
	assert_int_equal(age_see(t, 5, INODE, INDEX, SCAN_REFERENCED), 1);
	age_scan_done(t);
	/* Second use: active, and the kernel takes referenced away. */
	assert_int_equal(age_see(t, 5, INODE, INDEX, SCAN_ACTIVE), 0);
	age_scan_done(t);
	/* The kernel aged it: a flag that goes is no use. */
	assert_int_equal(age_see(t, 5, INODE, INDEX, 0), 1);
}

/* With both flags set, further use leaves no sign: the age is not known, never small. */
static void test_saturated(void **state)
{
	struct age_table *t = *state;
	unsigned both = SCAN_ACTIVE | SCAN_REFERENCED;

	age_scan_done(t);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(age_see(t, 5, INODE, INDEX, both), AGE_UNKNOWN);
		assert_int_equal(age_see(t, 6, INODE, INDEX, SCAN_WORKINGSET | SCAN_REFERENCED),
				 AGE_UNKNOWN);
		age_scan_done(t);
	}
	assert_int_not_equal(age_see(t, 5, INODE, INDEX, 0), AGE_UNKNOWN);
}

static void test_reused_frame(void **state)
{
	struct age_table *t = *state;

	age_scan_done(t);
	age_see(t, 5, INODE, INDEX, 0);
	age_scan_done(t);
	assert_int_equal(age_see(t, 5, INODE, INDEX, 0), 1);
	age_scan_done(t);
	/* One tag of 255 is the same by chance. */
	unsigned wrong = 0;
	for (uint64_t i = 1; i < 900; i++) {
		age_see(t, i, INODE, i, 0);
		wrong += age_see(t, i, INODE + 1, i, 0) != 0;
	}
	assert_true(wrong < 20);
}

static void test_bounds(void **state)
{
	struct age_table *t = *state;

	age_scan_done(t);
	assert_int_equal(age_see(t, 1000, INODE, INDEX, 0), AGE_UNKNOWN);
	assert_int_equal(age_see(t, SIZE_MAX, INODE, INDEX, 0), AGE_UNKNOWN);
	uint16_t age = age_see(t, 999, INODE, INDEX, 0), last = age;
	for (int i = 0; i < 100; i++, last = age) {
		age = age_see(t, 999, INODE, INDEX, 0);
		assert_true(age == last || age == last + 1);
	}
	assert_true(age >= 60 && age != AGE_UNKNOWN);
}

int main(void)
{
#define AGE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		AGE_TEST(test_first_scan_knows_nothing),
		AGE_TEST(test_broken_off_scan),
		AGE_TEST(test_signs_of_use),
		AGE_TEST(test_saturated),
		AGE_TEST(test_reused_frame),
		AGE_TEST(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
