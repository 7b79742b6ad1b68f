/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include "fake-balloon.h"
#include "guest/ahead.h"

#define SECOND 1000000u

static void test_as_much_as_is_to_come_and_256_mib_at_most(void **state)
{
	static const struct {
		struct balloon_view view;
		uint64_t pages;
	} cases[] = {
		{ { false, 5000, 0 }, 0 },	  { { true, 5000, 0 }, 5000 },
		{ { true, 65536, 0 }, 65536 },	  { { true, 65537, 0 }, 65536 },
		{ { true, 1u << 30, 0 }, 65536 }, { { true, UINT64_MAX, 0 }, 16384 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(ahead_pages(&cases[i].view), cases[i].pages);
}

static uint64_t short_of(struct ahead *a, const struct nodes *n)
{
	uint64_t share[NODES_MAX], sum = 0;

	ahead_measure(a, n, share);
	for (unsigned i = 0; i < n->count; i++)
		sum += share[i];
	assert_int_equal(a->is_short, sum > 0);
	return sum;
}

static void test_what_is_free_above_the_watermarks_counts(void **state)
{
	static struct nodes n = {
		.nodes = { { .unmapped_pages = 3000, .free_pages = 150, .high_pages = 100 },
			   { .unmapped_pages = 1000, .free_pages = 90, .high_pages = 100 } },
		.count = 2,
	};
	struct ahead a = { .view = { true, 50, 0 }, .new_pages = 50 };
	uint64_t share[NODES_MAX];

	(void)state;
	assert_int_equal(short_of(&a, &n), 0);
	/* By what each node has to give. */
	a = (struct ahead){ .view = { true, 450, 0 }, .new_pages = 450 };
	ahead_measure(&a, &n, share);
	assert_int_equal(share[0], 300);
	assert_int_equal(share[1], 100);
	/* No more than there is. */
	a = (struct ahead){ .view = { true, 1u << 20, 0 }, .new_pages = 1u << 20 };
	ahead_measure(&a, &n, share);
	assert_int_equal(share[0], 3000);
	assert_int_equal(share[1], 1000);
	n.nodes[0].unmapped_pages = n.nodes[1].unmapped_pages = 0;
	assert_int_equal(short_of(&a, &n), 0);
}

/* What is free goes and comes while somebody else allocates, or reports it to the host. */
static void test_no_more_goes_than_was_announced(void **state)
{
	static struct nodes n = {
		.nodes = { { .unmapped_pages = 9000, .free_pages = 200, .high_pages = 0 } },
		.count = 1,
	};
	struct ahead a = { .view = { true, 1000, 0 }, .new_pages = 1000 };

	(void)state;
	assert_int_equal(short_of(&a, &n), 800);
	ahead_settle(&a, 700, 0);
	n.nodes[0].free_pages = 0;
	assert_int_equal(short_of(&a, &n), 100);
	ahead_settle(&a, 120, 0);
	assert_int_equal(short_of(&a, &n), 0);
	assert_int_equal(a.evicted_pages, 820);
	/* More is wanted, of which what is free and not announced before is a part. */
	a.view.left_pages = 1500;
	a.new_pages = 500;
	n.nodes[0].free_pages = 1100;
	assert_int_equal(short_of(&a, &n), 400);
	/* Of what was announced some was taken since. */
	a = (struct ahead){ .view = { true, 900, 100 }, .new_pages = 1000 };
	n.nodes[0].free_pages = 100;
	assert_int_equal(short_of(&a, &n), 800);
	assert_int_equal(a.allowed_pages, 800);
}

/* Of an unknown target as much is kept free as was announced first, however much is taken. */
static void test_unknown_targets(void **state)
{
	static struct nodes n = {
		.nodes = { { .unmapped_pages = 1u << 20, .high_pages = 0 } },
		.count = 1,
	};
	struct ahead a = { .view = { true, UINT64_MAX, 0 }, .new_pages = AHEAD_UNKNOWN_PAGES };

	(void)state;
	n.nodes[0].free_pages = 300;
	assert_int_equal(short_of(&a, &n), AHEAD_UNKNOWN_PAGES - 300);
	ahead_settle(&a, AHEAD_UNKNOWN_PAGES - 300, 0);
	for (int i = 0; i < 4; i++) {
		n.nodes[0].free_pages = AHEAD_UNKNOWN_PAGES - 5000;
		a.new_pages = 5000;
		assert_int_equal(short_of(&a, &n), 5000);
		ahead_settle(&a, 5000, 0);
	}
}

/* In turns, as it comes. */
static void settle(struct ahead *a, uint64_t pages, uint64_t cpu_usec)
{
	for (int i = 0; i < 10; i++)
		ahead_settle(a, pages / 10, cpu_usec / 10);
}

/* Long pieces may go on for ever; what is dearer has a fifth of a second, and then a twentieth of a
 * CPU. */
static void test_what_is_dear_rests(void **state)
{
	struct ahead a;

	(void)state;
	ahead_init(&a, SECOND);
	settle(&a, 100000, 600000);
	assert_int_equal(ahead_rest_usec(&a, SECOND), 0);
	settle(&a, 20000, 20 * 20000);
	assert_in_range(ahead_rest_usec(&a, SECOND), SECOND - 1, SECOND);
	assert_int_equal(ahead_rest_usec(&a, 2600000), 0);
	settle(&a, 1000, 6 * 1000 + 1000);
	assert_in_range(ahead_rest_usec(&a, 2600000), 20000, 20001);
	/* The kernel's own reclaim, and what a limit asks for, are not counted. */
	settle(&a, 1000000, 0);
	assert_in_range(ahead_rest_usec(&a, 2600000), 20000, 20001);
	/* And no more than a fifth of a second is saved up, however cheap it was, or long ago. */
	settle(&a, 1000000, 1000000);
	assert_int_equal(ahead_rest_usec(&a, 100 * SECOND), 0);
	settle(&a, 0, 201000);
	assert_in_range(ahead_rest_usec(&a, 100 * SECOND), 20000, 20001);
}

/* A guest whose CPU was taken from it for an hour in mid-turn does not make up for that. */
static void test_a_turn_costs_no_more_than_it_may_take(void **state)
{
	struct ahead a;

	(void)state;
	ahead_init(&a, SECOND);
	settle(&a, 0, 200000);
	assert_int_equal(ahead_rest_usec(&a, SECOND), 0);
	ahead_settle(&a, 0, 3600ull * SECOND);
	assert_in_range(ahead_rest_usec(&a, SECOND), 1, SECOND);
	assert_int_equal(ahead_rest_usec(&a, 3 * SECOND), 0);
}

static struct balloon_view look(struct ahead *a, unsigned target, unsigned held)
{
	static uint64_t now = 10 * SECOND;

	driver_state.target = target;
	driver_state.held = held;
	driver_state.is_known = target > 0;
	driver_state.looks++;
	now += SECOND;
	(void)ahead_look(a, now);
	return a->view;
}

static void test_what_is_announced(void **state)
{
	struct ahead a = { .hint = WIRE_HINT_CACHE };
	char why[64];

	(void)state;
	driver_error = 0;
	tree_put("/sys/bus/virtio/drivers/virtio_balloon/virtio3", "");
	tree_put("/proc/vmstat", "balloon_inflate 0\n");
	assert_int_equal(balloon_open(tree, &a.balloon, why, sizeof(why)), 0);
	look(&a, 1000, 100);
	assert_int_equal(a.new_pages, 900);
	/* It goes on, and then gets another target. */
	look(&a, 1000, 500);
	assert_int_equal(a.new_pages, 900);
	look(&a, 1200, 600);
	assert_int_equal(a.new_pages, 1100);
	look(&a, 900, 700);
	assert_int_equal(a.new_pages, 1100);
	/* What is left of one is not the next one's. */
	look(&a, 900, 900);
	assert_int_equal(a.new_pages + a.allowed_pages, 0);
	look(&a, 0, 950);
	assert_int_equal(a.new_pages, AHEAD_UNKNOWN_PAGES);
	look(&a, 0, 990);
	assert_int_equal(a.new_pages, AHEAD_UNKNOWN_PAGES + 40);
	balloon_close(a.balloon);
}

static void test_when_it_is_looked_at_again(void **state)
{
	struct ahead a = { .hint = WIRE_HINT_CACHE };
	char why[64];

	(void)state;
	assert_true(ahead_wait_usec(&a, false) == UINT64_MAX);
	assert_false(ahead_look(&a, SECOND));
	tree_put("/sys/bus/virtio/drivers/virtio_balloon/virtio3", "");
	tree_put("/proc/vmstat", "balloon_inflate 0\n");
	driver_error = 0;
	assert_int_equal(balloon_open(tree, &a.balloon, why, sizeof(why)), 0);
	/* It wakes. */
	assert_true(ahead_wait_usec(&a, false) == UINT64_MAX);
	driver_state = (struct balloon_state){ .looks = 1, .target = 100000, .is_known = 1 };
	assert_true(ahead_look(&a, SECOND));
	assert_false(ahead_look(&a, SECOND));
	assert_int_equal(a.inflations, 1);
	/* Nothing may go. */
	assert_int_equal(ahead_wait_usec(&a, false), 500000);
	a.allowed_pages = 1;
	assert_int_equal(ahead_wait_usec(&a, false), 50000);
	/* Nothing can be done. */
	assert_int_equal(ahead_wait_usec(&a, true), 2000000);
	/* All that is to come is free. */
	driver_state.held = 90000;
	assert_false(ahead_look(&a, SECOND));
	assert_int_equal(ahead_wait_usec(&a, false), 500000);
	driver_state.held = 100000;
	driver_state.looks++;
	assert_false(ahead_look(&a, SECOND));
	driver_state.target = 100001;
	driver_state.looks++;
	assert_true(ahead_look(&a, 2 * SECOND));
	assert_int_equal(a.inflations, 2);
	balloon_close(a.balloon);
	/* A counter is polled. */
	driver_error = -EPERM;
	assert_int_equal(balloon_open(tree, &a.balloon, why, sizeof(why)), 0);
	assert_false(ahead_look(&a, 3 * SECOND));
	assert_int_equal(ahead_wait_usec(&a, false), BALLOON_POLL_USEC);
	balloon_close(a.balloon);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_much_as_is_to_come_and_256_mib_at_most),
		cmocka_unit_test(test_what_is_free_above_the_watermarks_counts),
		cmocka_unit_test(test_no_more_goes_than_was_announced),
		cmocka_unit_test(test_unknown_targets),
		cmocka_unit_test(test_what_is_dear_rests),
		cmocka_unit_test(test_a_turn_costs_no_more_than_it_may_take),
		cmocka_unit_test_setup_teardown(test_what_is_announced, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_when_it_is_looked_at_again, tree_make,
						tree_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
