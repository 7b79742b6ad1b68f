/* SPDX-License-Identifier: Apache-2.0 */
/* Which orders come from which world: one drawing a case. */
#include "policy-test.h"

#include <errno.h>

#include "base/cleanup.h"

#define _cleanup_world_ _cleanup_(world_done)
#define _cleanup_plan_	_cleanup_(plan_done)

struct policy_case {
	const char *name;
	struct image_drawing images[WORLD_IMAGES];
	struct guest_drawing guests[WORLD_GUESTS];
	const char *orders;
	const char *refusal; /* part of one, or NULL */
};

#define ONE_DOMAIN .domain = "d"

static const struct policy_case cases[] = {
	{
		.name = "an empty host",
		.orders = "",
	},
	{
		.name = "exactly one holder: the host's copy goes",
		.images = { { "base", .host = "xxxxxx" } },
		.guests = { { "a", .cache = { "wmc.." } } },
		.orders = "trim base 0-2",
	},
	{
		.name = "nobody holds it: the host's is the only copy, and stays",
		.images = { { "base", .host = "xxxxxx" } },
		.guests = { { "a", .cache = { "......" } } },
		.orders = "",
	},
	{
		.name = "only the guest holds it: nothing is a duplicate",
		.images = { { "base", .host = "......" } },
		.guests = { { "a", .cache = { "cccccc" } } },
		.orders = "",
	},
	{
		.name = "two holders: both copies go, the host's serves both",
		.images = { { "base", .host = "xxxxxx" } },
		.guests = { { "a", ONE_DOMAIN, .cache = { "cc...." } },
			    { "b", ONE_DOMAIN, .cache = { "cc...." } } },
		.orders = "evict a base 0-1; evict b base 0-1",
	},
	{
		.name = "step 1 before step 2, though for other blocks",
		.images = { { "base", .host = "xxxxxx" } },
		.guests = { { "a", ONE_DOMAIN, .cache = { "ccc..." } },
			    { "b", ONE_DOMAIN, .cache = { "cc...." } } },
		.orders = "trim base 2",
	},
	{
		.name = "coldest first, of all guests",
		.images = { { "base", .host = "xxxxxx" } },
		.guests = { { "a", ONE_DOMAIN, .cache = { "wcucmm" } },
			    { "b", ONE_DOMAIN, .cache = { "ccwucw" } } },
		.orders = "evict a base 1,3; evict b base 0-1,4; evict a base 2; evict b base 3; "
			  "evict a base 0; evict b base 2,5",
	},
	{
		.name = "mapped, dirty and hot stay",
		.images = { { "base", .host = "xxxxxx" } },
		.guests = { { "a", ONE_DOMAIN, .cache = { "mmmccc" } },
			    { "b", ONE_DOMAIN, .cache = { "mmmmmm" } } },
		.orders = "evict a base 3-5",
	},
	{
		.name = "not opted in: no orders, and the host's copies of what it alone holds "
			"stay",
		.images = { { "base", .host = "xxxxxx" } },
		.guests = { { "a", ONE_DOMAIN, .observe = true, .cache = { "ccc.c." } },
			    { "b", ONE_DOMAIN, .cache = { "cc...c" } } },
		.orders = "trim base 5",
		.refusal = "act = no",
	},
	{
		.name = "not opted in: the other holder still gives up its copy",
		.images = { { "base", .host = "xxxxxx" } },
		.guests = { { "a", ONE_DOMAIN, .observe = true, .cache = { "ccc..." } },
			    { "b", ONE_DOMAIN, .cache = { "cc...." } } },
		.orders = "evict b base 0-1",
	},
	{
		.name = "a paused guest gets no orders",
		.images = { { "base", .host = "xxxxxx" } },
		.guests = { { "a", ONE_DOMAIN, .order_refusal = "it is paused",
			      .cache = { "cc.c" } },
			    { "b", ONE_DOMAIN, .cache = { "cc...." } } },
		.orders = "evict b base 0-1",
		.refusal = "it is paused",
	},
	{
		.name = "a backup has the image open: no trim, so the guest's cold copies go",
		.images = { { "base", .host = "xxxxxx",
			      .trim_refusal = "process 123 has it open" } },
		.guests = { { "a", .cache = { "cwmc.." } } },
		.orders = "evict a base 0,3",
		.refusal = "process 123 has it open",
	},
	{
		.name = "the same without known age: what is not hot goes",
		.images = { { "base", .host = "xxxxxx",
			      .trim_refusal = "process 123 has it open" } },
		.guests = { { "a", .cache = { "uumu.." } } },
		.orders = "evict a base 0-1,3",
	},
	{
		.name = "the same with an age known for some: what was used lately stays",
		.images = { { "base", .host = "xxxxxx",
			      .trim_refusal = "process 123 has it open" } },
		.guests = { { "a", .cache = { "wucw.." } } },
		.orders = "evict a base 2; evict a base 1",
	},
	{
		.name = "a silent user may hold anything: no trim",
		.images = { { "base", .host = "xxxxxx" } },
		.guests = { { "a", ONE_DOMAIN, .cache = { "mmm..." } },
			    { "b", ONE_DOMAIN, .silent = true, .cache = { "......" } } },
		.orders = "",
		.refusal = "guest b has it, whose agent does not answer",
	},
	{
		.name = "a user whose cache is not known: no trim",
		.images = { { "base", .host = "xxxxxx" } },
		.guests = { { "a", ONE_DOMAIN, .cache = { "mmm..." } },
			    { "b", ONE_DOMAIN, .cache = { "?" } } },
		.orders = "",
		.refusal = "guest b has it, whose cache is not known",
	},
	{
		.name = "the host's residency is not known: nothing",
		.images = { { "base", .host = NULL } },
		.guests = { { "a", ONE_DOMAIN, .cache = { "cccccc" } },
			    { "b", ONE_DOMAIN, .cache = { "cccccc" } } },
		.orders = "",
		.refusal = "what the host caches of it is not known",
	},
	{
		.name = "two domains, not public: takes no part",
		.images = { { "base", .host = "xxxxxx" }, { "own", .host = "xx" } },
		.guests = { { "a", .domain = "red", .cache = { "cc.c..", "c." } },
			    { "b", .domain = "blue", .cache = { "cc...." } } },
		.orders = "trim own 0",
		.refusal = "more than one sharing domain",
	},
	{
		.name = "two domains, public: takes part",
		.images = { { "base", .host = "xxxxxx", .is_public = true } },
		.guests = { { "a", .domain = "red", .cache = { "cc...." } },
			    { "b", .domain = "blue", .cache = { "cc...." } } },
		.orders = "evict b base 0-1; evict a base 0-1",
	},
	{
		.name = "two domains by their names alone",
		.images = { { "base", .host = "xxxxxx" } },
		.guests = { { "a", .cache = { "cc...." } }, { "b", .cache = { "cc...." } } },
		.orders = "",
		.refusal = "more than one sharing domain",
	},
	{
		.name = "one domain's trims do not hold up another's evictions",
		.images = { { "red", .host = "xxxx" }, { "blue", .host = "xxxx" } },
		.guests = { { "a", .domain = "red", .cache = { "c..." } },
			    { "b", .domain = "blue", .cache = { NULL, "cc.." } },
			    { "c", .domain = "blue", .cache = { NULL, "cc.." } } },
		.orders = "evict b blue 0-1; evict c blue 0-1; trim red 0",
	},
	{
		.name = "a public image's trims hold up those that reach it, and nobody else",
		.images = { { "base", .host = "xxxx", .is_public = true },
			    { "blue", .host = "xx" },
			    { "red", .host = "xx" } },
		.guests = { { "a", .domain = "blue", .cache = { "m...", "cc" } },
			    { "b", .domain = "blue", .cache = { NULL, "cc" } },
			    { "c", .domain = "red", .cache = { NULL, NULL, "cc" } },
			    { "d", .domain = "red", .cache = { NULL, NULL, "cc" } } },
		.orders = "evict c red 0-1; evict d red 0-1; trim base 0",
	},
	{
		.name = "a map that is not to be trusted: nothing is done",
		.images = { { "base", .host = "xxxx", .order_refusal = "its map is not settled" } },
		.guests = { { "a", ONE_DOMAIN, .cache = { "cccc" } },
			    { "b", ONE_DOMAIN, .cache = { "cc.." } } },
		.orders = "",
		.refusal = "its map is not settled",
	},
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_world_ struct world w;
		_cleanup_plan_ struct plan plan = {};
		char text[1024];

		world_draw(&w, cases[i].images, cases[i].guests);
		world_decide(&w, &plan);
		plan_text(&w, &plan, text, sizeof(text));
		if (strcmp(text, cases[i].orders) != 0)
			fail_msg("%s: \"%s\", not \"%s\"", cases[i].name, text, cases[i].orders);
		if (cases[i].refusal && !plan_refuses(&plan, cases[i].refusal))
			fail_msg("%s: not refused: %s", cases[i].name, cases[i].refusal);
	}
}

static const struct image_drawing one_image[WORLD_IMAGES] = { { "base", .host = "xxxxxxxx" } };
static const struct guest_drawing two_guests[WORLD_GUESTS] = {
	{ "a", ONE_DOMAIN, .cache = { "cccccccc" } },
	{ "b", ONE_DOMAIN, .cache = { "wwwwwwww" } },
};
static const struct guest_drawing one_guest[WORLD_GUESTS] = { { "a", .cache = { "cccc..cc" } } };

static void test_quotas(void **state)
{
	_cleanup_world_ struct world w;

	(void)state;
	world_draw(&w, one_image, two_guests);
	w.config.round_guest_bytes = 3 * BLOCK_BYTES;
	assert_plan(&w, "evict a base 0-2; evict b base 0-2");
	w.config.round_domain_bytes = 4 * BLOCK_BYTES + 1;
	assert_plan(&w, "evict a base 0-2; evict b base 0");
	w.request.bytes = 2 * BLOCK_BYTES;
	assert_plan(&w, "evict a base 0-1");
	w.request.bytes = BLOCK_BYTES - 1;
	assert_plan(&w, "");
	w.request = (struct policy_request){ .asked = true, .guest = "b" };
	assert_plan(&w, "evict b base 0-2");
	w.config = config_plain;
	w.config.round_domain_bytes = BLOCK_BYTES - 1;
	assert_plan(&w, "");
}

static void test_long_runs_only(void **state)
{
	_cleanup_world_ struct world w;

	(void)state;
	world_draw(&w, one_image, one_guest);
	w.config.min_run_blocks = 3;
	assert_plan(&w, "trim base 0-3");
	w.config.min_run_blocks = 5;
	assert_plan(&w, "");
}

/* Half for each domain whatever the other has, and no byte more than was asked for. */
static void test_request_is_divided(void **state)
{
	static const struct image_drawing images[WORLD_IMAGES] = { { "red", .host = "xxxx" },
								   { "blue", .host = "xxxx" } };
	static const struct guest_drawing guests[WORLD_GUESTS] = {
		{ "a", .cache = { "cccc", NULL } },
		{ "b", .cache = { NULL, "cccc" } },
		{ "c", .observe = true },
	};
	_cleanup_world_ struct world w;

	(void)state;
	world_draw(&w, images, guests);
	w.request.bytes = 3 * BLOCK_BYTES;
	assert_plan(&w, "trim red 0-1; trim blue 0");
	blockset_clear(w.resident[0]);
	assert_plan(&w, "trim blue 0");
	w.request = (struct policy_request){ .asked = true, .guest = "a", .bytes = BLOCK_BYTES };
	assert_plan(&w, "");
}

static void test_request_for_one_guest(void **state)
{
	static const struct image_drawing images[WORLD_IMAGES] = { { "base", .host = "xxxxxx" } };
	static const struct guest_drawing guests[WORLD_GUESTS] = {
		{ "a", ONE_DOMAIN, .cache = { "c.cc.." } },
		{ "b", ONE_DOMAIN, .cache = { ".ccc.." } },
	};
	_cleanup_world_ struct world w;
	struct plan plan;

	(void)state;
	world_draw(&w, images, guests);
	w.request.guest = "b";
	assert_plan(&w, "trim base 1");
	blockset_clear(w.held[0][0]);
	blockset_clear(w.evictable[0][0]);
	assert_plan(&w, "trim base 1-3");
	w.request.guest = "nobody";
	assert_int_equal(policy_decide(&w.snapshot, &w.config, &w.state, &w.request, &plan),
			 -ENOENT);
}

static void test_watermarks(void **state)
{
	/* Of 1000 bytes: below 100 it begins, at 200 it ends, between them it goes on as it was. */
	static const struct {
		uint64_t available;
		const char *orders;
	} times[] = {
		{ 150, "" }, { 99, "trim base 0-3,6-7" }, { 199, "trim base 0-3,6-7" }, { 200, "" },
		{ 150, "" }, { 0, "trim base 0-3,6-7" }
	};
	_cleanup_world_ struct world w;

	(void)state;
	world_draw(&w, one_image, one_guest);
	w.config.start_available_permille = 100;
	w.config.stop_available_permille = 200;
	w.request.asked = false;
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		w.snapshot.host.memory_available_bytes = times[i].available;
		assert_plan(&w, times[i].orders);
	}
	w.config.stop_available_permille = w.config.start_available_permille = 0;
	assert_plan(&w, "");
	w.request.asked = true;
	assert_plan(&w, "trim base 0-3,6-7");
}

static void test_inputs_and_reasons(void **state)
{
	_cleanup_world_ struct world w;
	_cleanup_plan_ struct plan plan = {};

	(void)state;
	world_draw(&w, one_image, two_guests);
	w.guests[1].free_bytes = 77 * BLOCK_BYTES;
	w.guests[1].free_page_reporting = true;
	w.guests[0].free_bytes = 1000 * BLOCK_BYTES;
	w.config.round_domain_bytes = 2 * BLOCK_BYTES;
	world_decide(&w, &plan);
	assert_int_equal(plan.n_orders, 1);

	const struct plan_order *order = &plan.orders[0];

	assert_int_equal(order->step, PLAN_STEP_GUEST);
	assert_true(order->cold);
	assert_int_equal(order->inputs.resident, 8);
	assert_int_equal(order->inputs.held, 8);
	assert_int_equal(order->inputs.evictable, 8);
	assert_int_equal(order->inputs.cold, 8);
	assert_int_equal(order->inputs.eligible, 8);
	assert_int_equal(order->inputs.holders[2], 8);
	assert_int_equal(order->inputs.warm, 0);
	assert_string_equal(order->reason, "guest a gives up 0.0 MiB of base that the host holds "
					   "too: not used lately, more than one guest uses it");
	assert_true(plan.offers[PLAN_STEP_FREE].by_itself);
	assert_int_equal(plan.offers[PLAN_STEP_FREE].offered_bytes, 77 * BLOCK_BYTES);
	assert_int_equal(plan.offers[PLAN_STEP_HOST].offered_bytes, 0);
	assert_int_equal(plan.offers[PLAN_STEP_GUEST].offered_bytes, 16 * BLOCK_BYTES);
	assert_int_equal(plan.offers[PLAN_STEP_GUEST].ordered_bytes, 2 * BLOCK_BYTES);
	assert_int_equal(plan_bytes(&plan, PLAN_EVICT), 2 * BLOCK_BYTES);
	assert_int_equal(plan_bytes(&plan, PLAN_TRIM), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_quotas),
		cmocka_unit_test(test_long_runs_only),
		cmocka_unit_test(test_request_is_divided),
		cmocka_unit_test(test_request_for_one_guest),
		cmocka_unit_test(test_watermarks),
		cmocka_unit_test(test_inputs_and_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
