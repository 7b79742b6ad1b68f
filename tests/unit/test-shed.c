/* SPDX-License-Identifier: Apache-2.0 */
/* What enters which queue, and what of a file's pages leaves. By what the kernel says of them is
 * tested in stock guests. */
#include "tree.h"

#include "cached-file.h"
#include "guest/shed.h"

#define EXT4 0xEF53
#define NFS  0x6969
/* More files than the queues hold. */
#define FRAMES 40960u

static struct mounts mounts;
static struct heat heat;
static struct nodes nodes = { .count = 1 };
static struct shed shed;
static const struct ram ram = { .ranges = { { 0, FRAMES, 0 } }, .count = 1, .pages = FRAMES };

static int setup(void **state)
{
	mounts_init(&mounts, "/proc");
	heat = (struct heat){ .watch = (struct watch *)&added, .hot_sec = 30 };
	shed = (struct shed){ .batch.mounts = &mounts, .heat = &heat, .nodes = &nodes };
	shed_init(&shed);
	fake_magic = 0;
	told_lost = 0;
	return tree_make(state);
}

static int teardown(void **state)
{
	shed_forget(&shed);
	held_done(&shed.held);
	mounts_done(&mounts);
	return tree_remove(state);
}

static void tell(uint64_t magic, uint64_t index, uint32_t count)
{
	static struct watch_run run;

	run = (struct watch_run){ .mapping = 1,
				  .inode = 2,
				  .magic = magic,
				  .device = 3,
				  .index = index,
				  .count = count };
	told_runs = &run;
	told_count = 1;
	assert_int_equal(shed_drain(&shed, true), 0);
}

static void test_files_that_are_never_opened_enter_no_queue(void **state)
{
	(void)state;
	tell(NFS, 0, 100);
	assert_int_equal(shed.queues[SHED_FRESH].pages, 0);
	tell(EXT4, 0, 100);
	assert_int_equal(shed.queues[SHED_FRESH].pages, 100);
	fake_magic = NFS;
	shed_forget(&shed);
	shed_sweep_begin(&shed, &ram, false);
	while (shed_sweep_step(&shed) > 0)
		;
	assert_int_equal(shed.queues[SHED_FRESH].pages, 0);
	assert_false(shed.incomplete);
}

/* The host holds something, but nothing of the disk: no look, and no file opened. */
static void test_what_no_disk_holds_waits_unseen(void **state)
{
	struct shed_goal goal = { .pages = { 100 }, .held_only = true };

	(void)state;
	tell(EXT4, 0, 100);
	shed.batch.disks.sysfs = tree;
	assert_int_equal(shed_piece(&shed, SHED_FRESH, &goal), 1);
	assert_int_equal(shed.queues[SHED_FRESH].pages, 0);
	assert_int_equal(shed.queues[SHED_SOLE].pages, 100);
	assert_int_equal(goal.pages[0], 100);
	/* Wanted whoever holds it: it is looked for, and not there. */
	goal.held_only = false;
	assert_int_equal(shed_piece(&shed, SHED_SOLE, &goal), 1);
	assert_int_equal(shed.queues[SHED_SOLE].pages, 0);
	assert_int_equal(shed_piece(&shed, SHED_SOLE, &goal), 0);
}

/* Where they are not worth a look, the longer ones behind them are all the same. */
static void test_what_is_short_is_forgotten_unseen(void **state)
{
	struct shed_goal goal = { .pages = { 100 }, .worth_only = true };

	(void)state;
	tell(EXT4, 0, 3);
	tell(EXT4, 1000, 7);
	tell(EXT4, 2048, 64);
	shed.incomplete = false;
	shed.kept_pages = 74;
	assert_int_equal(shed_piece(&shed, SHED_FRESH, &goal), 1);
	assert_int_equal(shed.queues[SHED_FRESH].pages, 64);
	assert_int_equal(shed.kept_pages, 64);
	assert_true(shed.incomplete);
	assert_int_equal(shed_piece(&shed, SHED_FRESH, &goal), 1);
	assert_int_equal(shed_piece(&shed, SHED_FRESH, &goal), 0);
}

static uint64_t sweep(void)
{
	shed_sweep_begin(&shed, &ram, false);
	while (shed_sweep_step(&shed) > 0)
		;
	return shed.queues[SHED_FRESH].pages;
}

static void queue_empty(void)
{
	struct file_key key;
	uint64_t index;
	uint32_t count;

	while (spans_pop(&shed.queues[SHED_FRESH], &key, &index, &count))
		;
}

/* What has no room is found by the next sweep, wherever it lies in memory. */
static void test_a_sweep_goes_on_where_it_overflowed(void **state)
{
	uint64_t first, second;

	(void)state;
	fake_magic = EXT4;
	first = sweep();
	assert_in_range(first, 1, FRAMES - 1);
	assert_true(shed.incomplete);
	queue_empty();
	second = sweep();
	assert_in_range(second, FRAMES - first, FRAMES - first + SCAN_CHUNK_PAGES);
	/* What came to lie before it meanwhile is for one more. */
	assert_true(shed.incomplete);
	fake_magic = NFS;
	queue_empty();
	assert_int_equal(sweep(), 0);
	assert_false(shed.incomplete);
}

static int file_setup(void **state)
{
	int r = setup(state);

	if (r == 0) {
		cached_file_make(&shed);
		cached_file_open(&shed);
	}
	return r;
}

static int file_teardown(void **state)
{
	shed_end(&shed);
	cached_file_remove();
	nodes.ranges_count = 0;
	return teardown(state);
}

/* Takes all of a queue. Return: how many pages are cached then. */
static unsigned shed_all(enum shed_queue from, struct shed_goal *goal)
{
	while (shed_piece(&shed, from, goal) > 0)
		;
	return cached_count();
}

static void test_what_is_cold_goes_and_the_rest_is_kept(void **state)
{
	struct shed_goal goal = { .pages = { 2000 } };

	(void)state;
	frames[10].heat.uses = 2;
	frames[20].heat.uses = 2;
	frames[20].heat.age_sec = 31;
	frames[30].flags = SCAN_DIRTY;
	frames[40].flags = SCAN_MAPPED;
	frames[50].flags = SCAN_PINNED;
	frames[60].heat.known = false;
	frames[60].flags = SCAN_ACTIVE;
	/* Read ahead just now. */
	heat.is_on = true;
	frames[70].heat.age_sec = 0;
	assert_cached(shed_all(SHED_FRESH, &goal), 6);
	assert_true(is_cached(10) && is_cached(30) && is_cached(40) && is_cached(50) &&
		    is_cached(60) && is_cached(70));
	assert_cached(goal.evicted, FAKE_FRAMES - 6);
	assert_int_equal(goal.pages[0], 2000 - goal.evicted);
	assert_int_equal(shed.evicted_pages, goal.evicted);
	assert_int_equal(told_evicted, goal.evicted);
	assert_int_equal(shed.queues[SHED_KEPT].pages, 6);
	assert_false(shed.unwanted[0]);
}

/* A piece goes whole, and no more is wanted for it. */
static void test_a_goal_is_not_overdrawn(void **state)
{
	struct shed_goal goal = { .pages = { 1 } };

	(void)state;
	assert_int_equal(shed_piece(&shed, SHED_FRESH, &goal), 1);
	assert_true(goal.evicted > 1);
	assert_int_equal(shed_goal_left(&goal), 0);
}

static void test_what_was_lost_is_looked_for(void **state)
{
	(void)state;
	shed.incomplete = false;
	assert_int_equal(shed_drain(&shed, true), 0);
	assert_false(shed.incomplete);
	told_lost = 1;
	assert_int_equal(shed_drain(&shed, true), 0);
	assert_true(shed.incomplete);
}

/* What a sweep finds goes by the age of its last use, wherever in memory it lies. */
static void test_a_sweep_sorts_by_age(void **state)
{
	static const struct ram little = { .ranges = { { 0, FAKE_FRAMES, 0 } },
					   .count = 1,
					   .pages = FAKE_FRAMES };
	uint32_t age = UINT16_MAX, count, found = 0;
	struct file_key key;
	uint64_t index;

	(void)state;
	shed_forget(&shed);
	fake_magic = EXT4;
	for (unsigned i = 0; i < FAKE_FRAMES; i++)
		frames[i].heat.age_sec = 1 + i * 37 % 100;
	shed_sweep_begin(&shed, &little, false);
	while (shed_sweep_step(&shed) > 0)
		;
	for (; spans_pop(&shed.queues[SHED_FRESH], &key, &index, &count); found += count) {
		uint32_t its = frames[key.inode - 1].heat.age_sec;

		/* By powers of two. */
		assert_true(__builtin_clz(its + 1) >= __builtin_clz(age + 1));
		age = its;
	}
	assert_int_equal(found, FAKE_FRAMES);
}

static void test_kept_pages_are_tried_again(void **state)
{
	struct shed_goal goal = { .pages = { 2000 } };

	(void)state;
	for (int i = 0; i < FAKE_FRAMES; i++)
		frames[i].flags = SCAN_DIRTY;
	assert_cached(shed_all(SHED_FRESH, &goal), FAKE_FRAMES);
	assert_int_equal(shed_retry_kept(&shed, 1, 0), 0);
	assert_cached(shed.queues[SHED_FRESH].pages, FAKE_FRAMES);
	assert_cached(shed_all(SHED_FRESH, &goal), FAKE_FRAMES);
	/* For nothing: later. */
	uint64_t wait = shed_retry_kept(&shed, 1, 0);
	assert_true(wait > 0);
	assert_int_equal(shed_retry_kept(&shed, 1 + wait, 0), 0);
	for (int i = 0; i < FAKE_FRAMES; i++)
		frames[i].flags = 0;
	assert_cached(shed_all(SHED_FRESH, &goal), 0);
	assert_int_equal(shed_retry_kept(&shed, 1, 0), UINT64_MAX);
}

/* A block device's own pages go, and those of a file that was deleted since it was opened. */
static void test_what_is_no_file_with_a_name_goes(void **state)
{
	struct shed_goal goal = { .pages = { 2000 } };

	(void)state;
	fake_owners[0].flags = SCAN_OWNER_IRREGULAR | SCAN_OWNER_UNLINKED;
	assert_cached(shed_all(SHED_FRESH, &goal), 0);
	assert_cached(goal.evicted, FAKE_FRAMES);
}

/* Taken again, it would come back again; it is kept where that is asked for. */
static void test_what_came_back_is_spared(void **state)
{
	struct shed_goal goal = { .pages = { 2000 }, .spare_returned = true };

	(void)state;
	fake_returned = (struct watch_run){ .device = 3, .inode = 2, .index = 1000 };
	assert_cached(shed_all(SHED_FRESH, &goal), FAKE_FRAMES - 1000);
	assert_false(is_cached(999));
	assert_true(is_cached(1000));
	assert_cached(goal.evicted, 1000);
	assert_cached(shed.queues[SHED_KEPT].pages, FAKE_FRAMES - 1000);
	/* Not twice in one burst. */
	assert_int_equal(shed_retry_kept(&shed, 1, 30), 30);
	assert_int_equal(shed_retry_kept(&shed, 31, 30), 0);
	goal.spare_returned = false;
	assert_cached(shed_all(SHED_FRESH, &goal), 0);
	assert_cached(goal.evicted, FAKE_FRAMES);
}

/* A page looks clean whose writing failed: its file is known by that. */
static void test_a_file_with_an_error_loses_nothing(void **state)
{
	struct shed_goal goal = { .pages = { 2000 } };

	(void)state;
	fake_owners[0].flags = SCAN_OWNER_WRITE_ERROR;
	assert_cached(shed_all(SHED_FRESH, &goal), FAKE_FRAMES);
	assert_int_equal(goal.evicted, 0);
	assert_cached(shed.queues[SHED_KEPT].pages, FAKE_FRAMES);
	/* Another file has taken its place: there is nothing to be kept. */
	fake_owners[0].flags = 0;
	fake_owners[0].mapping = 9;
	assert_int_equal(shed_retry_kept(&shed, 1, 0), 0);
	assert_cached(shed_all(SHED_FRESH, &goal), FAKE_FRAMES);
	assert_int_equal(goal.evicted + shed.queues[SHED_KEPT].pages, 0);
}

static void test_a_node_of_which_nothing_is_wanted_keeps_its_pages(void **state)
{
	struct shed_goal goal = { .pages = { 0, 2000 } };

	(void)state;
	nodes.ranges[0].count = nodes.ranges[1].count = FAKE_FRAMES / 2;
	nodes.ranges[1].start = FAKE_FRAMES / 2;
	nodes.ranges[1].node = 1;
	nodes.ranges_count = 2;
	assert_cached(shed_all(SHED_FRESH, &goal), FAKE_FRAMES / 2);
	assert_true(is_cached(0) && is_cached(FAKE_FRAMES / 2 - 1));
	assert_int_equal(goal.pages[1], 2000 - goal.evicted);
	assert_true(shed.unwanted[0]);
	assert_false(shed.unwanted[1]);
	assert_cached(shed.queues[SHED_KEPT].pages, FAKE_FRAMES / 2);
	/* Now it is. */
	shed.kept_due_usec = UINT64_MAX;
	shed_want_node(&shed, 1);
	assert_true(shed_retry_kept(&shed, 1, 0) > 0);
	shed_want_node(&shed, 0);
	assert_int_equal(shed_retry_kept(&shed, 1, 0), 0);
	goal.pages[0] = 2000;
	assert_cached(shed_all(SHED_FRESH, &goal), 0);
}

int main(void)
{
#define SHED_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, file_setup, file_teardown)
	const struct CMUnitTest tests[] = {
		SHED_TEST(test_files_that_are_never_opened_enter_no_queue),
		SHED_TEST(test_what_no_disk_holds_waits_unseen),
		SHED_TEST(test_what_is_short_is_forgotten_unseen),
		SHED_TEST(test_a_sweep_goes_on_where_it_overflowed),
		FILE_TEST(test_what_is_cold_goes_and_the_rest_is_kept),
		FILE_TEST(test_a_goal_is_not_overdrawn),
		FILE_TEST(test_what_was_lost_is_looked_for),
		FILE_TEST(test_a_sweep_sorts_by_age),
		FILE_TEST(test_kept_pages_are_tried_again),
		FILE_TEST(test_what_is_no_file_with_a_name_goes),
		FILE_TEST(test_what_came_back_is_spared),
		FILE_TEST(test_a_file_with_an_error_loses_nothing),
		FILE_TEST(test_a_node_of_which_nothing_is_wanted_keeps_its_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
