/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include "base/cleanup.h"
#include "host/hold-runs.h"

/* A chain: blocks 0-3 of the disk in the overlay at 16, 4-7 at 4 of the base, 12-15 at 12 of it. */
static const char chain[] =
	"[{\"start\":0,\"length\":16384,\"depth\":0,\"present\":true,\"zero\":false,\"data\":true,"
	"\"offset\":65536},"
	"{\"start\":16384,\"length\":16384,\"depth\":1,\"present\":true,\"zero\":false,\"data\":"
	"true,"
	"\"offset\":16384},"
	"{\"start\":32768,\"length\":16384,\"depth\":0,\"present\":true,\"zero\":true,\"data\":"
	"false},"
	"{\"start\":49152,\"length\":16384,\"depth\":1,\"present\":true,\"zero\":false,\"data\":"
	"true,"
	"\"offset\":49152}]";

static const struct image_layer layers[] = { { "/top.qcow2", "qcow2", false, 1 << 20 },
					     { "/base.raw", "raw", false, 1 << 20 } };

static struct imagemap *map_new(void)
{
	struct imagemap *map;

	assert_int_equal(imagemap_parse(chain, sizeof(chain) - 1, layers, 2, &map), 0);
	return map;
}

static struct blockset *set_new(uint64_t start, uint64_t count)
{
	struct blockset *set = blockset_new();

	assert_int_equal(blockset_add(set, start, count), 0);
	return set;
}

static void check(const struct hold_runs *runs, const struct wire_held_run *expected, size_t n)
{
	assert_int_equal(runs->n_items, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(runs->items[i].block, expected[i].block);
		assert_int_equal(runs->items[i].count, expected[i].count);
	}
}

/* All is held: what touches on the disk is one run, wherever it lies in the chain. */
static void test_chain(void **state)
{
	struct imagemap *map = map_new();
	struct blockset *top = set_new(0, 64), *base = set_new(0, 64);
	const struct blockset *resident[] = { top, base };
	_cleanup_(hold_runs_done) struct hold_runs runs = { 0 };

	(void)state;
	assert_int_equal(hold_runs_list(map, resident, &runs), 0);
	check(&runs, (struct wire_held_run[]){ { 0, 8 }, { 12, 4 } }, 2);
	hold_runs_done(&runs);
	/* A layer that nothing may be told of. */
	resident[0] = NULL;
	assert_int_equal(hold_runs_list(map, resident, &runs), 0);
	check(&runs, (struct wire_held_run[]){ { 4, 4 }, { 12, 4 } }, 2);
	hold_runs_done(&runs);
	resident[1] = NULL;
	assert_int_equal(hold_runs_list(map, resident, &runs), 0);
	check(&runs, NULL, 0);
	blockset_free(top);
	blockset_free(base);
	imagemap_free(map);
}

/* Runs of the image are cut at the ends of extents, and moved to where the disk has them. */
static void test_parts(void **state)
{
	struct imagemap *map = map_new();
	struct blockset *top = set_new(18, 1), *base = set_new(6, 7);
	const struct blockset *resident[] = { top, base };
	_cleanup_(hold_runs_done) struct hold_runs runs = { 0 };

	(void)state;
	/* Block 12 is of the second extent of the base, 8 to 11 are of none. */
	assert_int_equal(hold_runs_list(map, resident, &runs), 0);
	check(&runs, (struct wire_held_run[]){ { 2, 1 }, { 6, 2 }, { 12, 1 } }, 3);
	blockset_free(top);
	blockset_free(base);
	imagemap_free(map);
}

static void test_cut(void **state)
{
	static const struct wire_held_run all[] = { { 0, 2 },  { 10, 5 }, { 20, 1 },
						    { 30, 2 }, { 40, 9 }, { 50, 2 } };
	static const struct {
		size_t max;
		struct wire_held_run left[6];
		size_t n;
	} cases[] = {
		{ 7, { { 0, 2 }, { 10, 5 }, { 20, 1 }, { 30, 2 }, { 40, 9 }, { 50, 2 } }, 6 },
		{ 6, { { 0, 2 }, { 10, 5 }, { 20, 1 }, { 30, 2 }, { 40, 9 }, { 50, 2 } }, 6 },
		{ 5, { { 0, 2 }, { 10, 5 }, { 30, 2 }, { 40, 9 }, { 50, 2 } }, 5 },
		{ 4, { { 0, 2 }, { 10, 5 }, { 30, 2 }, { 40, 9 } }, 4 },
		{ 2, { { 10, 5 }, { 40, 9 } }, 2 },
		{ 1, { { 40, 9 } }, 1 },
		{ 0, { { 0, 0 } }, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(hold_runs_done) struct hold_runs runs = { malloc(sizeof(all)), 6 };

		memcpy(runs.items, all, sizeof(all));
		assert_int_equal(hold_runs_cut(&runs, cases[i].max), 0);
		check(&runs, cases[i].left, cases[i].n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
