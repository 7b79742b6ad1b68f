/* SPDX-License-Identifier: Apache-2.0 */
/* What is made of the driver's, or the counter's, word; the programs are tested in stock guests. */
#include "tree.h"

#include "fake-balloon.h"
#include "guest/balloon.h"

#define SECOND 1000000u

static struct balloon *balloon;
static char why[64];

static void count(uint64_t inflated)
{
	char text[128];

	snprintf(text, sizeof(text), "nr_free_pages 1\nballoon_inflate %llu\nballoon_deflate 3\n",
		 (unsigned long long)inflated);
	tree_put("/proc/vmstat", text);
}

static void open_by(int error)
{
	driver_state = (struct balloon_state){ 0 };
	driver_error = error;
	tree_put("/sys/bus/virtio/drivers/virtio_balloon/virtio3", "");
	count(10);
	assert_int_equal(balloon_open(tree, &balloon, why, sizeof(why)), 0);
}

static struct balloon_view driver_at(unsigned target, unsigned held, uint64_t now)
{
	driver_state.target = target;
	driver_state.held = held;
	driver_state.is_known = target > 0;
	driver_state.looks++;
	return balloon_look(balloon, now);
}

static void test_the_driver_tells_what_is_left(void **state)
{
	struct balloon_view view;

	(void)state;
	open_by(0);
	assert_int_equal(balloon_notice(balloon), WIRE_NOTICE_DRIVER);
	assert_string_equal(why, "");
	assert_int_equal(balloon_fd(balloon), 77);
	assert_false(balloon_look(balloon, SECOND).inflates);
	view = driver_at(500, 100, 2 * SECOND);
	assert_true(view.inflates);
	assert_int_equal(view.left_pages, 400);
	assert_true(driver_state.is_heeded);
	view = driver_at(500, 500, 3 * SECOND);
	assert_false(view.inflates);
	assert_false(driver_state.is_heeded);
	view = driver_at(100, 400, 4 * SECOND);
	assert_false(view.inflates);
	assert_int_equal(view.left_pages, 0);
	balloon_close(balloon);
}

/* It tries again every 200 ms, for ever; what is left then is nobody's to evict for. */
static void test_a_driver_that_finds_no_memory_does_not_inflate(void **state)
{
	(void)state;
	open_by(0);
	assert_true(driver_at(500, 100, 2 * SECOND).inflates);
	assert_true(driver_at(500, 100, 3 * SECOND - 1).inflates);
	assert_false(driver_at(500, 100, 3 * SECOND).inflates);
	assert_false(driver_state.is_heeded);
	/* It found some. */
	assert_true(driver_at(500, 101, 4 * SECOND).inflates);
	assert_false(driver_at(500, 101, 5 * SECOND).inflates);
	assert_true(driver_at(501, 101, 6 * SECOND).inflates);
	balloon_close(balloon);
}

static void test_without_a_target_growth_tells(void **state)
{
	struct balloon_view view;

	(void)state;
	open_by(0);
	/* It may have held that for long. */
	assert_false(driver_at(0, 90, SECOND).inflates);
	view = driver_at(0, 100, 2 * SECOND);
	assert_true(view.inflates);
	assert_true(view.left_pages == UINT64_MAX);
	assert_false(driver_at(0, 90, 4 * SECOND).inflates);
	balloon_close(balloon);
}

static void test_the_counter_tells_later(void **state)
{
	struct balloon_view view;

	(void)state;
	open_by(-EOPNOTSUPP);
	assert_int_equal(balloon_notice(balloon), WIRE_NOTICE_COUNTER);
	assert_string_equal(why, "no BTF");
	assert_int_equal(balloon_fd(balloon), -1);
	assert_false(balloon_look(balloon, SECOND).inflates);
	count(11);
	/* Not read each time. */
	assert_false(balloon_look(balloon, SECOND + BALLOON_POLL_USEC - 1).inflates);
	view = balloon_look(balloon, SECOND + BALLOON_POLL_USEC);
	assert_true(view.inflates);
	assert_true(view.left_pages == UINT64_MAX);
	assert_true(balloon_look(balloon, 2 * SECOND).inflates);
	assert_false(
		balloon_look(balloon, SECOND + BALLOON_POLL_USEC + BALLOON_CALM_USEC).inflates);
	balloon_close(balloon);
}

static void test_what_there_is_no_balloon_in(void **state)
{
	(void)state;
	count(0);
	assert_int_equal(balloon_open(tree, &balloon, why, sizeof(why)), -ENODEV);
	/* The driver, and nothing that it drives. */
	tree_put("/sys/bus/virtio/drivers/virtio_balloon/bind", "");
	assert_int_equal(balloon_open(tree, &balloon, why, sizeof(why)), -ENODEV);
	tree_put("/sys/bus/virtio/drivers/virtio_balloon/virtio0", "");
	tree_put("/proc/vmstat", "nr_free_pages 1\n");
	driver_error = -EPERM;
	assert_int_equal(balloon_open(tree, &balloon, why, sizeof(why)), -EOPNOTSUPP);
	assert_int_equal(balloon_notice(NULL), WIRE_NOTICE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_driver_tells_what_is_left, tree_make,
						tree_remove),
		cmocka_unit_test_setup_teardown(test_a_driver_that_finds_no_memory_does_not_inflate,
						tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_without_a_target_growth_tells, tree_make,
						tree_remove),
		cmocka_unit_test_setup_teardown(test_the_counter_tells_later, tree_make,
						tree_remove),
		cmocka_unit_test_setup_teardown(test_what_there_is_no_balloon_in, tree_make,
						tree_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
