/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include <cmocka.h>

#include "base/blockset.h"
#include "base/cleanup.h"

#define _cleanup_blockset_ _cleanup_(blockset_freep)

static void test_add_and_limits(void **state)
{
	_cleanup_blockset_ struct blockset *set = blockset_new();

	(void)state;
	assert_non_null(set);
	assert_int_equal(blockset_add(set, 5, 0), 0);
	assert_int_equal(blockset_count(set), 0);
	assert_int_equal(blockset_add(set, 10, 20), 0);
	assert_int_equal(blockset_count(set), 20);
	assert_false(blockset_contains(set, 9));
	assert_true(blockset_contains(set, 10));
	assert_true(blockset_contains(set, 29));
	assert_false(blockset_contains(set, 30));
	assert_false(blockset_contains(set, (1ull << 32) + 10));

	assert_int_equal(blockset_add(set, BLOCKSET_END, 1), -ERANGE);
	assert_int_equal(blockset_add(set, 1, BLOCKSET_END), -ERANGE);
	assert_int_equal(blockset_add(set, 1, UINT64_MAX), -ERANGE);
	assert_int_equal(blockset_add(set, UINT64_MAX, 2), -ERANGE);
	assert_int_equal(blockset_remove(set, UINT64_MAX, 2), -ERANGE);
	assert_int_equal(blockset_count(set), 20);
	assert_int_equal(blockset_add(set, BLOCKSET_END - 1, 1), 0);
	assert_int_equal(blockset_count(set), 21);
	assert_int_equal(blockset_remove(set, 10, 19), 0);
	assert_int_equal(blockset_count(set), 2);
	blockset_clear(set);
	assert_int_equal(blockset_count(set), 0);
	assert_null(blockset_free(NULL));
}

static void test_whole(void **state)
{
	_cleanup_blockset_ struct blockset *set = blockset_new();
	struct block_run run;

	(void)state;
	assert_int_equal(blockset_add(set, 0, BLOCKSET_END), 0);
	assert_int_equal(blockset_count(set), BLOCKSET_END);
	assert_true(blockset_next_run(set, 0, &run));
	assert_int_equal(run.start, 0);
	assert_int_equal(run.count, BLOCKSET_END);
	assert_true(blockset_next_run(set, BLOCKSET_END - 1, &run));
	assert_int_equal(run.count, 1);
	assert_false(blockset_next_run(set, BLOCKSET_END, &run));
	assert_false(blockset_next_run(set, UINT64_MAX, &run));
	assert_int_equal(blockset_count_run(set, 7, UINT64_MAX), BLOCKSET_END - 7);
	assert_int_equal(blockset_count_run(set, UINT64_MAX, 1), 0);
	blockset_optimize(set);
	assert_true(blockset_memory_bytes(set) < 4u << 20);
}

static void test_algebra(void **state)
{
	_cleanup_blockset_ struct blockset *a = blockset_new(), *b = blockset_new();
	_cleanup_blockset_ struct blockset *both = NULL, *any = NULL, *rest = NULL, *copy = NULL;

	(void)state;
	blockset_add(a, 0, 100000);
	blockset_add(b, 50000, 100000);
	both = blockset_and(a, b);
	any = blockset_or(a, b);
	rest = blockset_andnot(a, b);
	copy = blockset_copy(a);
	assert_int_equal(blockset_count(both), 50000);
	assert_int_equal(blockset_count(any), 150000);
	assert_int_equal(blockset_count(rest), 50000);
	assert_int_equal(blockset_and_count(a, b), 50000);
	assert_int_equal(blockset_count(a), 100000);
	assert_true(blockset_equal(a, copy));

	blockset_and_with(copy, b);
	assert_true(blockset_equal(copy, both));
	blockset_or_with(copy, rest);
	assert_true(blockset_equal(copy, a));
	blockset_andnot_with(copy, b);
	assert_true(blockset_equal(copy, rest));
	assert_int_equal(blockset_count_run(b, 0, 50001), 1);
}

/* Runs of random lengths from blocks to containers, against a plain array. */
static void test_runs_against_array(void **state)
{
	enum { BLOCKS = 1 << 20 };
	_cleanup_free_ uint8_t *plain = calloc(BLOCKS + 1, 1);
	uint64_t at = 0;
	struct block_run run;

	(void)state;
	srandom(1);
	for (int round = 0; round < 8; round++) {
		_cleanup_blockset_ struct blockset *set = blockset_new();

		memset(plain, 0, BLOCKS);
		for (uint32_t block = 0; block < BLOCKS;) {
			uint32_t shift = (uint32_t)random() % (uint32_t)(3 + 2 * round);
			uint32_t count = 1 + (uint32_t)random() % (1u << shift);

			if (count > BLOCKS - block)
				count = BLOCKS - block;
			if (random() & 1) {
				blockset_add(set, block, count);
				memset(plain + block, 1, count);
			}
			block += count;
		}
		if (round & 1)
			blockset_optimize(set);
		for (at = 0; blockset_next_run(set, at, &run); at = run.start + run.count) {
			assert_null(memchr(plain + at, 1, run.start - at));
			assert_null(memchr(plain + run.start, 0, run.count));
			assert_int_equal(plain[run.start + run.count], 0);
		}
		assert_null(memchr(plain + at, 1, BLOCKS - at));

		_cleanup_free_ struct block_run *runs = NULL;
		size_t n, i = 0;

		assert_int_equal(blockset_runs(set, &runs, &n), 0);
		for (at = 0; blockset_next_run(set, at, &run); at = run.start + run.count, i++)
			assert_memory_equal(&runs[i], &run, sizeof(run));
		assert_int_equal(i, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_and_limits),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_algebra),
		cmocka_unit_test(test_runs_against_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
