/* SPDX-License-Identifier: Apache-2.0 */
/* What enters which queue. That pages leave, and which, is tested in stock guests. */
#include "tree.h"

#include "fake-kernel.h"
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

int main(void)
{
#define SHED_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		SHED_TEST(test_files_that_are_never_opened_enter_no_queue),
		SHED_TEST(test_what_no_disk_holds_waits_unseen),
		SHED_TEST(test_a_sweep_goes_on_where_it_overflowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
