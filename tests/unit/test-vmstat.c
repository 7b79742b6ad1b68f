/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include "guest/vmstat.h"

static void test_counters(void **state)
{
	struct vmstat v;

	(void)state;
	tree_put("/proc/vmstat",
		 "nr_free_pages 7\nnr_dirty 20\nnr_writeback 3\nnr_writeback_temp 900\n"
		 "allocstall_dma32 1\nallocstall_normal 2\nallocstall_movable 4\n"
		 "oom_kill 5\nballoon_inflate 1000\nballoon_deflate 400\n"
		 "balloon_migrate 99\n");
	assert_int_equal(vmstat_read(tree, &v), 0);
	assert_true(v.has_balloon);
	assert_int_equal(v.balloon_pages, 600);
	assert_int_equal(v.inflated_pages, 1000);
	assert_int_equal(v.unclean_pages, 23);
	assert_int_equal(v.oom_kills, 5);
	assert_int_equal(v.alloc_stalls, 7);
}

static void test_what_is_not_there_is_none(void **state)
{
	struct vmstat v = { .oom_kills = 77 };

	(void)state;
	assert_int_equal(vmstat_read(tree, &v), -ENOENT);
	assert_int_equal(v.oom_kills, 77);
	tree_put("/proc/vmstat", "balloon_deflate 4\nno line\n\nnr_dirty\n");
	assert_int_equal(vmstat_read(tree, &v), 0);
	assert_false(v.has_balloon);
	assert_int_equal(v.balloon_pages, 0);
	assert_int_equal(v.oom_kills, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_counters, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_what_is_not_there_is_none, tree_make,
						tree_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
