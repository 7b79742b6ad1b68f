/* SPDX-License-Identifier: Apache-2.0 */
/* What of the pool needs no kernel; the rest is tested in guests. */
#include "guest-test.h"

#include "guest/pool.h"

static void test_whole(void **state)
{
	static const struct {
		const char *text;
		uint64_t superpages;
	} cases[] = {
		/* A 6.1 guest's, with memory of two nodes. */
		{ "Node 0, zone      DMA      0      0      0      0      0      0      0      0   "
		  "   1      1      3 \n"
		  "Node 0, zone    DMA32      5      6      7      6      4      5      5      6   "
		  "   4      5    201 \n"
		  "Node 0, zone   Normal      9      9      9      9      9      9      9      9   "
		  "   9      0      1 \n"
		  "Node 1, zone  Movable      0      0      0      0      0      0      0      0   "
		  "   0      2      0 \n",
		  5 + 402 + 2 + 2 },
		{ "Node 0, zone   Normal      1      1      1      1      1      1      1      1   "
		  " 511      0      0 \n",
		  0 },
		/* Of a kernel with smaller blocks at most, and of none. */
		{ "Node 0, zone   Normal      1      1      1      1      1      1      1      1   "
		  "   1      7\n",
		  7 },
		{ "", 0 },
		{ "\n\n", 0 },
		{ "Node 0, zone   Normal\n", 0 },
		{ "Node 0, zone   Normal x y z\nNode 0, zone Normal 0 0 0 0 0 0 0 0 0 3 0", 3 },
		{ "No such line 0 0 0 0 0 0 0 0 0 9 9\n", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (pool_whole(cases[i].text) != cases[i].superpages)
			fail_msg("case %zu: %llu", i,
				 (unsigned long long)pool_whole(cases[i].text));
}

static void test_runs(void **state)
{
	uint64_t numbers[] = { 3, 4, 5, 9, 11, 12 };
	const struct pool pool = { .fd = -1, .superpages = 8, .numbers = numbers, .count = 6 };
	struct wire_superpages runs[4];

	(void)state;
	assert_int_equal(pool_runs(&pool, runs, 4), 3);
	assert_int_equal(runs[0].start, 3);
	assert_int_equal(runs[0].count, 3);
	assert_int_equal(runs[1].start, 9);
	assert_int_equal(runs[1].count, 1);
	assert_int_equal(runs[2].start, 11);
	assert_int_equal(runs[2].count, 2);
	/* What does not fit is not told. */
	runs[1].start = 77;
	assert_int_equal(pool_runs(&pool, runs, 1), 1);
	assert_int_equal(runs[0].count, 3);
	assert_int_equal(runs[1].start, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
