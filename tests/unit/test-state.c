/* SPDX-License-Identifier: Apache-2.0 */
/* What the policy remembers: what it owes, what it has just done, what was in vain. */
#include "policy-test.h"

#include "base/cleanup.h"

#define _cleanup_world_ _cleanup_(world_done)
#define _cleanup_plan_	_cleanup_(plan_done)

#define ONE_DOMAIN .domain = "d"

static const struct image_drawing one_image[WORLD_IMAGES] = { { "base", .host = "xxxxxxxx" } };
static const struct guest_drawing two_guests[WORLD_GUESTS] = {
	{ "a", ONE_DOMAIN, .cache = { "cccccccc" } },
	{ "b", ONE_DOMAIN, .cache = { "wwwwwwww" } },
};
static const struct guest_drawing one_guest[WORLD_GUESTS] = { { "a", .cache = { "cccc..cc" } } };

/* The trap that owing is for: without it, round two would undo what round one was told. */
static void test_owed_copies_stay(void **state)
{
	static const struct guest_drawing guests[WORLD_GUESTS] = {
		{ "a", ONE_DOMAIN, .cache = { "cccc...." } },
		{ "b", ONE_DOMAIN, .cache = { "mmmm...." } },
	};
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {};

	(void)state;
	world_draw(&w, one_image, guests);
	world_decide(&w, &plan);
	world_apply(&w, &plan);
	world_pass(&w, 5000000);
	assert_plan(&w, "");
	/* It read block 1 again, from the host; what it has not read stays owed until it lapses. */
	assert_int_equal(blockset_add(w.held[0][0], 1, 1), 0);
	world_pass(&w, 5000000);
	assert_plan(&w, "");
	blockset_clear(w.held[0][0]);
	world_pass(&w, 5000000);
	assert_plan(&w, "trim base 1");
	world_pass(&w, w.config.owed_usec);
	assert_plan(&w, "trim base 0-3");
}

/* What the host keeps for one guest is, for another that holds it too, no longer its alone. */
static void test_owed_is_shared(void **state)
{
	static const struct guest_drawing guests[WORLD_GUESTS] = {
		{ "a", ONE_DOMAIN, .cache = { "cccc...." } },
		{ "b", ONE_DOMAIN, .cache = { "mmmm...." } },
	};
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {};

	(void)state;
	world_draw(&w, one_image, guests);
	world_decide(&w, &plan);
	world_apply(&w, &plan);
	world_pass(&w, 5000000);
	assert_int_equal(blockset_add(w.evictable[0][1], 2, 1), 0);
	assert_plan(&w, "evict b base 2");
}

/* The scan from before the eviction shows the blocks as held: that is no read of them. */
static void test_old_scan_settles_nothing(void **state)
{
	static const struct guest_drawing guests[WORLD_GUESTS] = {
		{ "a", ONE_DOMAIN, .cache = { "cccc...." } },
		{ "b", ONE_DOMAIN, .cache = { "mmmm...." } },
	};
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {}, again = {};

	(void)state;
	world_draw(&w, one_image, guests);
	world_decide(&w, &plan);
	assert_int_equal(policy_applied(&w.state, &w.snapshot, &plan.orders[0],
					w.snapshot.now_usec + 1, 4 * BLOCK_BYTES),
			 0);
	w.snapshot.now_usec += 1000;
	world_decide(&w, &again);
	blockset_clear(w.held[0][0]);
	blockset_clear(w.evictable[0][0]);
	blockset_clear(w.cold[0][0]);
	world_pass(&w, 1000);
	assert_plan(&w, "");
}

static void test_delay(void **state)
{
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {}, later = {};

	(void)state;
	world_draw(&w, one_image, one_guest);
	w.config.delay_usec = 1000000;
	w.config.round_domain_bytes = BLOCK_BYTES;
	world_decide(&w, &plan);
	world_apply(&w, &plan);
	world_pass(&w, 500000);
	world_decide(&w, &later);
	assert_int_equal(later.n_orders, 0);
	assert_int_equal(later.retry_usec, WORLD_START_USEC + 1 + 1000000);
	world_pass(&w, 500001);
	assert_plan(&w, "trim base 1");
}

static void test_delay_of_guests(void **state)
{
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {}, later = {};

	(void)state;
	world_draw(&w, one_image, one_guest);
	w.images[0].trim_refusal = "a backup";
	w.config.delay_usec = 1000000;
	w.config.round_guest_bytes = BLOCK_BYTES;
	world_decide(&w, &plan);
	world_apply(&w, &plan);
	world_pass(&w, 500000);
	world_decide(&w, &later);
	assert_int_equal(later.n_orders, 0);
	assert_int_equal(later.retry_usec, WORLD_START_USEC + 1 + 1000000);
	world_pass(&w, 500001);
	assert_plan(&w, "evict a base 1");
}

/* A trim that the look-up does not show yet: the guests' copies may be the only ones by now. */
static void test_stale_residency_waits(void **state)
{
	static const struct image_drawing images[WORLD_IMAGES] = { { "base", .host = "xxxx" } };
	static const struct guest_drawing guests[WORLD_GUESTS] = { { "a", .cache = { "cc.." } } };
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {}, second = {};

	(void)state;
	world_draw(&w, images, guests);
	world_decide(&w, &plan);
	assert_int_equal(policy_applied(&w.state, &w.snapshot, &plan.orders[0],
					w.snapshot.now_usec + 1, 2 * BLOCK_BYTES),
			 0);
	/* A backup begins: the guest's copies of what the host seems to hold would be next. */
	w.images[0].trim_refusal = "a backup";
	w.snapshot.now_usec += 1000;
	w.guests[0].scan_usec = w.snapshot.now_usec;
	world_decide(&w, &second);
	assert_int_equal(second.n_orders, 0);
	assert_int_equal(second.retry_usec, w.snapshot.now_usec);
}

/* What was seen before the last act is not acted upon: the second order would be for ghosts. */
static void test_stale_views_wait(void **state)
{
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {}, second = {}, third = {};

	(void)state;
	world_draw(&w, one_image, two_guests);
	w.images[0].trim_refusal = "a backup";
	world_decide(&w, &plan);
	assert_int_equal(policy_applied(&w.state, &w.snapshot, &plan.orders[0],
					w.snapshot.now_usec + 100, 0),
			 0);
	w.config.backoff_usec = 0;
	w.snapshot.now_usec += 1000;
	world_decide(&w, &second);
	assert_int_equal(second.n_orders, 1);
	assert_int_equal(second.orders[0].guest, 1);
	assert_int_equal(second.retry_usec, w.snapshot.now_usec);
	/* Where the host may trim, that comes first, and has to know what all users hold now. */
	w.images[0].trim_refusal = NULL;
	world_decide(&w, &third);
	assert_int_equal(third.n_orders, 0);
	assert_int_equal(third.retry_usec, w.snapshot.now_usec);
}

/* A guest evicted what the host held; by the old scan it is the only holder of nothing else. */
static void test_no_trim_by_an_old_scan(void **state)
{
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {};

	(void)state;
	world_draw(&w, one_image, one_guest);
	w.images[0].trim_refusal = "a backup";
	world_decide(&w, &plan);
	assert_int_equal(plan.n_orders, 1);
	assert_int_equal(policy_applied(&w.state, &w.snapshot, &plan.orders[0],
					w.snapshot.now_usec + 100, 8 * BLOCK_BYTES),
			 0);
	/* The backup ends; owed copies are not what is tested here. */
	w.images[0].trim_refusal = NULL;
	w.config.owed_usec = 0;
	w.snapshot.now_usec += 1000;
	assert_plan(&w, "");
	world_apply(&w, &plan);
	world_pass(&w, 1000);
	assert_plan(&w, "");
}

static void test_backoff_doubles(void **state)
{
	_cleanup_world_ struct world w;

	(void)state;
	world_draw(&w, one_image, one_guest);
	for (unsigned n = 0; n < 10; n++) {
		_cleanup_plan_ struct plan plan = {}, refused = {};
		uint64_t wait_usec = w.config.backoff_usec << (n < 6 ? n : 6);

		world_decide(&w, &plan);
		assert_int_equal(plan.n_orders, 1);
		assert_int_equal(policy_applied(&w.state, &w.snapshot, &plan.orders[0],
						w.snapshot.now_usec, 0),
				 0);
		world_pass(&w, wait_usec - 1);
		world_decide(&w, &refused);
		assert_int_equal(refused.n_orders, 0);
		assert_int_equal(refused.retry_usec, 0);
		assert_true(plan_refuses(&refused, "brought next to nothing"));
		world_pass(&w, 1);
	}
	assert_int_equal(w.state.trims.tried, 10);
	assert_int_equal(w.state.trims.fruitless, 10);
	assert_int_equal(w.state.trims.applied_bytes, 0);
	assert_int_equal(w.state.trims.refused_bytes, 10 * 6 * BLOCK_BYTES);
}

static void test_backoff_of_guests(void **state)
{
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {}, refused = {};

	(void)state;
	world_draw(&w, one_image, one_guest);
	w.images[0].trim_refusal = "a backup";
	world_decide(&w, &plan);
	assert_int_equal(policy_applied(&w.state, &w.snapshot, &plan.orders[0], w.snapshot.now_usec,
					plan.orders[0].n_blocks * 511),
			 0);
	world_pass(&w, w.config.backoff_usec - 1);
	world_decide(&w, &refused);
	assert_int_equal(refused.n_orders, 0);
	assert_true(plan_refuses(&refused, "asking it brought next to nothing; again in 1 s"));
	world_pass(&w, 1);
	/* An eighth is enough. */
	assert_int_equal(policy_applied(&w.state, &w.snapshot, &plan.orders[0], w.snapshot.now_usec,
					plan.orders[0].n_blocks * 512),
			 0);
	world_pass(&w, 1);
	assert_plan(&w, "evict a base 0-3,6-7");
}

static void test_old_views(void **state)
{
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {};

	(void)state;
	world_draw(&w, one_image, one_guest);
	w.snapshot.now_usec += w.config.scan_age_max_usec + 1;
	w.images[0].resident_usec = w.snapshot.now_usec;
	world_decide(&w, &plan);
	assert_int_equal(plan.n_orders, 0);
	assert_true(plan_refuses(&plan, "its last scan is too old"));
	plan_done(&plan);

	world_pass(&w, 1);
	w.images[0].resident_usec -= w.config.resident_age_max_usec + 1;
	world_decide(&w, &plan);
	assert_int_equal(plan.n_orders, 0);
	assert_true(plan_refuses(&plan, "looked up too long ago"));
	plan_done(&plan);

	world_pass(&w, 1);
	w.guests[0].scan_usec = 0;
	world_decide(&w, &plan);
	assert_int_equal(plan.n_orders, 0);
	assert_true(plan_refuses(&plan, "not scanned yet"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_owed_copies_stay),
		cmocka_unit_test(test_owed_is_shared),
		cmocka_unit_test(test_old_scan_settles_nothing),
		cmocka_unit_test(test_delay),
		cmocka_unit_test(test_delay_of_guests),
		cmocka_unit_test(test_stale_residency_waits),
		cmocka_unit_test(test_stale_views_wait),
		cmocka_unit_test(test_no_trim_by_an_old_scan),
		cmocka_unit_test(test_backoff_doubles),
		cmocka_unit_test(test_backoff_of_guests),
		cmocka_unit_test(test_old_views),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
