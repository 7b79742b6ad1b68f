/* SPDX-License-Identifier: Apache-2.0 */
/* The proof of a plan refuses each way to do harm; and the small parts that plans are made with. */
#include "policy-test.h"

#include <errno.h>

#include "base/cleanup.h"
#include "policy/pick.h"

#define _cleanup_world_ _cleanup_(world_done)
#define _cleanup_plan_	_cleanup_(plan_done)
#define _cleanup_set_	_cleanup_(blockset_freep)

/*
 * base: a and b hold 0-1 both, a alone holds 2-3, nobody holds 5. own: of guest a only. foreign:
 * reached by two domains.
 */
static const struct image_drawing images[WORLD_IMAGES] = {
	{ "base", .host = "xxxx.x" }, { "own", .host = "xx" },
	{ "foreign", .host = "xx" },  { "busy", .host = "xx", .trim_refusal = "a backup" },
	{ "unknown", .host = NULL },  { "public", .host = "xx", .is_public = true },
};
static const struct guest_drawing guests[WORLD_GUESTS] = {
	{ "a", .domain = "d", .cache = { "ccwmc.", "cc", "cc", "cc", "cc", "cc" } },
	{ "b", .domain = "d", .cache = { "cm....", NULL, NULL, "..", "..", ".." } },
	{ "c", .domain = "e", .cache = { NULL, NULL, "..", NULL, NULL, ".." } },
	{ "watched", .domain = "d", .observe = true, .cache = { "cc....", NULL } },
	{ "paused", .domain = "d", .order_refusal = "paused", .cache = { "cc....", NULL } },
	{ "silent", .domain = "f", .silent = true, .cache = { [5] = "c." } },
};

struct order_drawing {
	enum plan_action action;
	size_t guest;
	size_t image;
	const char *blocks;
	bool cold;
};

#define TRIM(image, blocks)                                                                        \
	{                                                                                          \
		PLAN_TRIM, SNAPSHOT_NONE, image, blocks, false                                     \
	}
#define EVICT(guest, image, blocks)                                                                \
	{                                                                                          \
		PLAN_EVICT, guest, image, blocks, false                                            \
	}

struct check_case {
	struct order_drawing orders[4];
	const char *fault; /* part of it; NULL: none */
	uint64_t request_blocks;
	uint64_t guest_blocks;
	uint64_t domain_blocks;
	const char *only;
};

static const struct check_case cases[] = {
	/* What is allowed. */
	{ .orders = { TRIM(0, "..xx") } },
	{ .orders = { EVICT(0, 0, "xx"), EVICT(1, 0, "x") } },
	{ .orders = { EVICT(0, 3, "xx"), EVICT(0, 0, "xx") }, .guest_blocks = 4 },
	{ .orders = { TRIM(1, "xx"), TRIM(0, "..x") }, .domain_blocks = 3, .request_blocks = 3 },
	{ .orders = { { PLAN_EVICT, 0, 0, "xx", true } }, .only = "a" },

	{ { TRIM(0, "xxx") }, "trims blocks that two guests hold", 0, 0, 0, NULL },
	{ { TRIM(0, ".....x") }, "trims blocks that no guest holds", 0, 0, 0, NULL },
	{ { TRIM(0, "..xxx") }, "blocks that the host does not hold", 0, 0, 0, NULL },
	{ { TRIM(3, "xx") }, "trims an image that must not be", 0, 0, 0, NULL },
	{ { TRIM(5, ".x") }, "guest silent may hold unseen", 0, 0, 0, NULL },
	{ { TRIM(2, "xx") }, "of two sharing domains", 0, 0, 0, NULL },
	{ { EVICT(0, 2, "xx") }, "of two sharing domains", 0, 0, 0, NULL },
	{ { EVICT(0, 4, "xx") }, "not known what the host caches", 0, 0, 0, NULL },
	{ { TRIM(6, "xx") }, "is about no image", 0, 0, 0, NULL },
	{ { EVICT(0, 0, "xxxx") }, "blocks that the guest cannot give up", 0, 0, 0, NULL },
	{ { EVICT(0, 0, "....x") }, "blocks that the host does not hold", 0, 0, 0, NULL },
	{ { EVICT(1, 0, "xx") }, "blocks that the guest cannot give up", 0, 0, 0, NULL },
	{ { EVICT(1, 1, "xx") }, "blocks that the guest cannot give up", 0, 0, 0, NULL },
	{ { EVICT(3, 0, "xx") }, "not opted in", 0, 0, 0, NULL },
	{ { EVICT(4, 0, "xx") }, "must get no orders", 0, 0, 0, NULL },
	{ { EVICT(5, 5, "x") }, "agent does not answer", 0, 0, 0, NULL },
	{ { EVICT(6, 0, "xx") }, "no eviction of step 2", 0, 0, 0, NULL },
	{ { EVICT(0, 0, "") }, "has no blocks", 0, 0, 0, NULL },
	{ { { PLAN_EVICT, 0, 0, "..x", true } }, "calls blocks cold that are not", 0, 0, 0, NULL },
	{ { { PLAN_TRIM, 0, 0, "..x", false } }, "no trim of step 1", 0, 0, 0, NULL },
	{ { EVICT(0, 0, "xx"), EVICT(0, 0, ".x") }, "repeats blocks of order 0", 0, 0, 0, NULL },
	{ { TRIM(0, "..x"), EVICT(0, 0, "..x") }, "another step than order 0", 0, 0, 0, NULL },
	{ { TRIM(0, "..x"), EVICT(0, 3, "xx") }, "another step than order 0", 0, 0, 0, NULL },
	{ { EVICT(0, 0, "xx") }, "exceeds what was asked for", 1, 0, 0, NULL },
	{ { EVICT(0, 0, "xx"), EVICT(0, 3, "x") }, "exceeds the guest's quota", 0, 2, 0, NULL },
	{ { EVICT(0, 0, "xx"), EVICT(1, 0, "x") }, "exceeds the domain's quota", 0, 0, 2, NULL },
	{ { TRIM(1, "xx"), TRIM(0, "..xx") }, "exceeds the domain's quota", 0, 0, 3, NULL },
	{ { EVICT(0, 0, "xx") }, "the request is not for", 0, 0, 0, "b" },
	{ { TRIM(1, "xx") }, "the request is not for", 0, 0, 0, "b" },
};

static void plan_draw(struct plan *plan, const struct check_case *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(c->orders) && c->orders[i].blocks; i++) {
		const struct order_drawing *drawing = &c->orders[i];
		struct blockset *blocks = drawn(drawing->blocks, "x");
		const struct plan_order order = {
			.step = drawing->action == PLAN_TRIM ? PLAN_STEP_HOST : PLAN_STEP_GUEST,
			.action = drawing->action,
			.guest = drawing->guest,
			.image = drawing->image,
			.blocks = blocks,
			.n_blocks = blockset_count(blocks),
			.cold = drawing->cold,
		};

		assert_int_equal(plan_add_order(plan, &order), 0);
	}
}

static void test_check(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct check_case *c = &cases[i];
		_cleanup_world_ struct world w;
		_cleanup_plan_ struct plan plan = {};
		char text[PLAN_REASON_MAX] = "";

		world_draw(&w, images, guests);
		w.config.round_guest_bytes = c->guest_blocks * BLOCK_BYTES;
		w.config.round_domain_bytes = c->domain_blocks * BLOCK_BYTES;
		w.request.bytes = c->request_blocks * BLOCK_BYTES;
		w.request.guest = c->only;
		plan_draw(&plan, c);

		int r = plan_check(&w.snapshot, &w.config, &w.request, &plan, text);

		if (!c->fault && r != 0)
			fail_msg("case %zu is refused: %s", i, text);
		if (c->fault && (r != -EINVAL || !strstr(text, c->fault)))
			fail_msg("case %zu: %d \"%s\", not \"%s\"", i, r, text, c->fault);
		assert_int_equal(plan_check(&w.snapshot, &w.config, &w.request, &plan, NULL), r);
	}
}

static void test_check_of_snapshots(void **state)
{
	static const struct check_case one = { .orders = { TRIM(1, "xx") } };
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {};
	char text[PLAN_REASON_MAX] = "";

	(void)state;
	world_draw(&w, images, guests);
	plan_draw(&plan, &one);
	plan.orders[0].n_blocks++;
	assert_int_equal(plan_check(&w.snapshot, &w.config, &w.request, &plan, text), -EINVAL);
	assert_non_null(strstr(text, "another number of them"));
	plan.orders[0].n_blocks--;
	assert_int_equal(plan_check(&w.snapshot, &w.config, &w.request, &plan, text), 0);

	w.snapshot.now_usec += w.config.scan_age_max_usec + 1;
	w.images[1].resident_usec = w.snapshot.now_usec;
	assert_int_equal(plan_check(&w.snapshot, &w.config, &w.request, &plan, text), -EINVAL);
	world_pass(&w, 1);
	w.images[1].resident_usec = 0;
	assert_int_equal(plan_check(&w.snapshot, &w.config, &w.request, &plan, text), -EINVAL);
	world_pass(&w, 1);
	w.images[1].order_refusal = "no";
	assert_int_equal(plan_check(&w.snapshot, &w.config, &w.request, &plan, text), -EINVAL);
	w.images[1].order_refusal = NULL;
	w.images[0].path = NULL;
	assert_int_equal(plan_check(&w.snapshot, &w.config, &w.request, &plan, text), -EINVAL);
	assert_string_equal(text, "the plan is of a malformed snapshot");
}

/* Both guests may give up their copies while the host has its own, and only then. */
static void test_last_copy(void **state)
{
	static const struct image_drawing lone[WORLD_IMAGES] = { { "base", .host = "x" } };
	static const struct guest_drawing two[WORLD_GUESTS] = {
		{ "a", .domain = "d", .cache = { "c" } },
		{ "b", .domain = "d", .cache = { "c" } },
	};
	static const struct check_case both = { .orders = { EVICT(0, 0, "x"), EVICT(1, 0, "x") } };
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {};

	(void)state;
	world_draw(&w, lone, two);
	plan_draw(&plan, &both);
	assert_int_equal(plan_check(&w.snapshot, &w.config, &w.request, &plan, NULL), 0);
	blockset_clear(w.resident[0]);
	assert_int_equal(plan_check(&w.snapshot, &w.config, &w.request, &plan, NULL), -EINVAL);
}

static void test_snapshot_check(void **state)
{
	_cleanup_world_ struct world w;
	struct snapshot_holding saved;
	size_t n;

	(void)state;
	world_draw(&w, images, guests);
	assert_int_equal(snapshot_check(&w.snapshot), 0);
	assert_ptr_equal(snapshot_holdings(&w.snapshot, 1, &n),
			 snapshot_holding_find(&w.snapshot, 0, 1));
	assert_int_equal(n, 1);
	assert_null(snapshot_holding_find(&w.snapshot, 1, 1));
	assert_null(snapshot_holding_find(&w.snapshot, 5, 0));
	assert_non_null(snapshot_holding_find(&w.snapshot, 5, 5));

	saved = w.holdings[1];
	w.holdings[1] = w.holdings[0];
	assert_int_equal(snapshot_check(&w.snapshot), -EINVAL);
	w.holdings[1] = saved;
	w.holdings[1].guest = 6;
	assert_int_equal(snapshot_check(&w.snapshot), -EINVAL);
	w.holdings[1] = saved;
	w.holdings[0].image = 6;
	assert_int_equal(snapshot_check(&w.snapshot), -EINVAL);
	w.holdings[0].image = 0;
	assert_int_equal(snapshot_check(&w.snapshot), 0);
	for (size_t i = 0; i < 3; i++) {
		static const char *const names[] = {
			NULL, "", "a",
			"0123456789012345678901234567890123456789012345678901234567890123"
		};

		w.guests[3].name = names[i];
		assert_int_equal(snapshot_check(&w.snapshot), -EINVAL);
		w.guests[3].name = "watched";
		w.guests[3].domain = names[i == 2 ? 3 : 1];
		assert_int_equal(snapshot_check(&w.snapshot), -EINVAL);
		w.guests[3].domain = "d";
	}
	assert_int_equal(snapshot_check(&(struct snapshot){}), 0);
}

static void test_pick(void **state)
{
	_cleanup_set_ struct blockset *set = drawn("xxx.x.xx...xxxx", "x");
	_cleanup_set_ struct blockset *long_ones = drawn("xxx........xxxx", "x");
	_cleanup_set_ struct blockset *first = drawn("xxx........x", "x");

	(void)state;
	assert_int_equal(pick_long_runs(&set, 1), 0);
	assert_int_equal(blockset_count(set), 10);
	assert_int_equal(pick_long_runs(&set, 3), 0);
	assert_true(blockset_equal(set, long_ones));
	assert_int_equal(pick_first(set, UINT64_MAX), 7);
	assert_int_equal(pick_first(set, 7), 7);
	assert_int_equal(pick_first(set, 4), 4);
	assert_true(blockset_equal(set, first));
	assert_int_equal(pick_first(set, 0), 0);
	assert_int_equal(blockset_count(set), 0);
	assert_int_equal(blockset_add(set, BLOCKSET_END - 2, 2), 0);
	assert_int_equal(pick_first(set, 1), 1);
	assert_true(blockset_contains(set, BLOCKSET_END - 2));
}

/* A reason that has to be cut ends with a whole character: it goes into JSON. */
static void test_refusals(void **state)
{
	_cleanup_plan_ struct plan plan = {};
	char text[PLAN_REASON_MAX + 8];

	(void)state;
	for (size_t start = 0; start < 3; start++) {
		memset(text, 'a', sizeof(text));
		for (size_t i = start; i + 3 < sizeof(text); i += 3)
			memcpy(text + i, "\xe2\x82\xac", 3); /* a euro */
		text[sizeof(text) - 1] = '\0';
		assert_int_equal(plan_add_refusal(&plan, 1, 2, PLAN_STEP_HOST, "%s", text), 0);

		const char *reason = plan.refusals[start].reason;
		size_t length = strlen(reason);

		assert_in_range(length, PLAN_REASON_MAX - 5, PLAN_REASON_MAX - 1);
		assert_int_equal((length - start) % 3, 0);
		assert_memory_equal(reason, text, length);
	}
	assert_int_equal(plan.n_refusals, 3);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(plan_add_refusal(&plan, i, 2, PLAN_STEPS, "%zu", i), 0);
	assert_string_equal(plan.refusals[102].reason, "99");
	assert_int_equal(plan.refusals[102].guest, 99);
	plan_done(&plan);
	plan_done(&plan);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),	  cmocka_unit_test(test_check_of_snapshots),
		cmocka_unit_test(test_last_copy), cmocka_unit_test(test_snapshot_check),
		cmocka_unit_test(test_pick),	  cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
