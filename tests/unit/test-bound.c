/* SPDX-License-Identifier: Apache-2.0 */
/* The limit's arithmetic and its states. That pages go, and which, is tested in stock guests. */
#include "tree.h"

#include "base/clock.h"
#include "cached-file.h"
#include "fake-balloon.h"
#include "guest/bound.h"

#define VMSTAT	"/sys/devices/system/node/node0/vmstat"
#define MANAGED 200000u

static struct nodes nodes;
static struct mounts mounts;
static struct heat heat;
static struct shed shed;
static struct bound bound;
static struct ahead ahead;
static const struct ram ram = { .ranges = { { 0, 4096, 0 } }, .count = 1, .pages = 4096 };

static void tell(uint64_t pages)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "nr_free_pages 1\nnr_inactive_file %llu\nnr_active_file 0\nnr_slab_reclaimable 0\n"
		 "nr_mapped 0\n",
		 (unsigned long long)pages);
	tree_put(VMSTAT, text);
}

static void limit_set(uint64_t pages)
{
	struct limit_text limit = { .kind = pages ? LIMIT_TEXT_BYTES : LIMIT_TEXT_OFF,
				    .bytes = pages * 4096 };

	bound_set(&bound, &limit, WIRE_ORIGIN_HOST);
}

static int setup(void **state)
{
	const struct settings settings = { .evict_cpu_permille = 500,
					   .evict_bytes_per_sec = 1u << 30,
					   .hot_sec = 30 };

	if (tree_make(state) < 0)
		return -1;
	tree_put("/proc/zoneinfo",
		 "Node 0, zone   Normal\n  pages free     1\n        high     3\n"
		 "        spanned  4096\n        present  4096\n        managed  200000\n"
		 "  start_pfn:           0\n");
	tree_put("/proc/sys/vm/min_unmapped_ratio", "1\n");
	tree_put("/proc/sys/vm/min_slab_ratio", "5\n");
	tell(0);
	assert_int_equal(nodes_read(tree, &nodes), 0);
	assert_int_equal(nodes.nodes[0].managed_pages, MANAGED);
	added = 0;
	mounts_init(&mounts, "/proc");
	heat = (struct heat){ .watch = (struct watch *)&added, .hot_sec = 30 };
	shed = (struct shed){ .batch.mounts = &mounts, .heat = &heat, .nodes = &nodes };
	shed_init(&shed);
	ahead_init(&ahead, 0);
	bound_init(&bound, &shed, &nodes, &ram, &ahead, &settings, 0);
	limit_set(0);
	return 0;
}

static int teardown(void **state)
{
	shed_forget(&shed);
	held_done(&shed.held);
	cached_file_remove();
	mounts_done(&mounts);
	nodes_done(&nodes);
	return tree_remove(state);
}

static void turns(unsigned n)
{
	while (n--)
		(void)bound_turn(&bound);
}

/* Return: what the first turn after which there is nothing more to do at once says. */
static uint64_t turns_to_wait(void)
{
	uint64_t wait = 0;

	for (int i = 0; i < 100 && !wait; i++)
		wait = bound_turn(&bound);
	return wait;
}

/* Pages of a file that is not there enter the cache, and nobody has heard of them yet. */
static void come_unheard(uint32_t count)
{
	static struct watch_run run;

	run = (struct watch_run){ .mapping = 1,
				  .inode = 2,
				  .magic = FILE_SYSTEM_EXT4,
				  .device = 0xfffu << 20 | 7,
				  .count = count };
	told_runs = &run;
	told_count = 1;
}

static void come(uint32_t count)
{
	come_unheard(count);
	assert_int_equal(shed_drain(&shed, true), 0);
}

static void test_off_asks_for_no_wake(void **state)
{
	(void)state;
	tell(100000);
	assert_int_equal(bound_turn(&bound), BOUND_NEVER);
	assert_int_equal(wake_after, UINT64_MAX);
	assert_int_equal(bound.state, WIRE_STATE_OFF);
	assert_int_equal(bound.limit_pages, UINT64_MAX);
}

static void test_wakes_where_the_sensor_and_where_the_limit_is(void **state)
{
	(void)state;
	limit_set(10000);
	tell(3000);
	turns(3);
	assert_int_equal(bound.state, WIRE_STATE_UNDER);
	assert_int_equal(wake_after, 5000);
	tell(8000);
	turns(1);
	assert_int_equal(wake_after, 2000);
	/* A wake-up for less would follow another. */
	tell(9999);
	turns(1);
	assert_int_equal(wake_after, 256);
}

static void test_takes_the_excess_and_a_twentieth(void **state)
{
	(void)state;
	limit_set(10000);
	tell(10000);
	assert_int_equal(nodes_count(&nodes), 0);
	bound_measure(&bound);
	assert_int_equal(shed_goal_left(&bound.goal), 0);
	tell(10001);
	assert_int_equal(nodes_count(&nodes), 0);
	bound_measure(&bound);
	assert_int_equal(shed_goal_left(&bound.goal), 501);
	assert_int_equal(bound.limit_pages, 10000);
}

static uint64_t goal_at(uint64_t pages, bool is_unfinished)
{
	tell(pages);
	assert_int_equal(nodes_count(&nodes), 0);
	bound.is_unfinished = is_unfinished;
	bound_measure(&bound);
	return shed_goal_left(&bound.goal);
}

static void test_a_goal_that_a_turn_left_is_gone_on_with(void **state)
{
	(void)state;
	limit_set(10000);
	assert_int_equal(goal_at(12000, false), 2500);
	assert_int_equal(goal_at(9800, true), 300);
	assert_int_equal(goal_at(9501, true), 1);
	assert_int_equal(goal_at(9500, true), 0);
	/* Met: until it is over the limit again. */
	assert_int_equal(goal_at(9900, true), 0);
	assert_int_equal(goal_at(12000, false), 2500);
	assert_int_equal(goal_at(9800, false), 0);
	/* Another limit is another goal. */
	assert_int_equal(goal_at(12000, false), 2500);
	bound.is_unfinished = true;
	limit_set(20000);
	assert_false(bound.is_unfinished);
}

static void test_over_it_with_nothing_to_take_is_kept(void **state)
{
	(void)state;
	limit_set(10000);
	tell(20000);
	uint64_t wait = turns_to_wait();
	assert_true(wait > 0 && wait != BOUND_NEVER);
	assert_int_equal(bound.state, WIRE_STATE_KEPT);
	/* What comes now can be taken once the first of it is old enough. */
	assert_int_equal(wake_after, 1250);
	assert_int_equal(shed.evicted_pages, 0);
}

/* What has just come is not polled for: more of it wakes, and in a while it is old enough. */
static void test_the_youngest_are_waited_for(void **state)
{
	(void)state;
	limit_set(10000);
	tell(20000);
	come(100);
	uint64_t wait = turns_to_wait();
	assert_in_range(wait, USEC_PER_SEC, 2 * USEC_PER_SEC + 1);
	assert_int_equal(shed.queues[SHED_FRESH].pages, 100);
	assert_int_equal(bound.state, WIRE_STATE_KEPT);
}

/* The time is read before some that come are told. */
static void test_what_comes_in_a_turn_is_young(void **state)
{
	(void)state;
	limit_set(10000);
	tell(20000);
	come(100);
	shed.added_usec = now_usec() + USEC_PER_SEC;
	turns(20);
	assert_int_equal(shed.queues[SHED_FRESH].pages, 100);
}

static void test_the_sensor_is_needed_when_much_comes(void **state)
{
	(void)state;
	limit_set(10000);
	tell(9000);
	/* Long ago. */
	added = 5000;
	turns(1);
	assert_false(bound.hurry);
	added += 1251;
	turns(1);
	assert_true(bound.hurry);
	tell(7999);
	turns(1);
	assert_false(bound.hurry);
}

static void test_a_brake_is_told(void **state)
{
	(void)state;
	limit_set(10000);
	tell(20000);
	bound.brake.until_usec = UINT64_MAX;
	bound.brake.reason = WIRE_BRAKE_REFAULT;
	assert_true(bound_turn(&bound) > 0);
	assert_int_equal(bound.state, WIRE_STATE_BRAKED);
	assert_int_equal(bound.brake.reason, WIRE_BRAKE_REFAULT);
	/* Nothing can be done about what comes. */
	assert_int_equal(wake_after, UINT64_MAX);
	/* It is this limit's, or another's of its time; not that of one which is set later. */
	limit_set(9000);
	assert_true(brake_holds(&bound.brake, now_usec()));
	limit_set(0);
	limit_set(10000);
	assert_false(brake_holds(&bound.brake, now_usec()));
	assert_int_equal(bound.brake.reason, WIRE_BRAKE_NONE);
}

/* Where there was no limit, it is that of a request. */
static void test_off_again_releases_nothing(void **state)
{
	struct limit_text off = { .kind = LIMIT_TEXT_OFF };

	(void)state;
	limit_set(0);
	bound.brake.until_usec = UINT64_MAX;
	bound_set(&bound, &off, WIRE_ORIGIN_NONE);
	bound_set(&bound, &off, WIRE_ORIGIN_HOST);
	assert_true(brake_holds(&bound.brake, now_usec()));
}

/* Whatever a turn does counts, also the look alone. */
static void test_each_look_is_in_the_cpu_quota(void **state)
{
	(void)state;
	limit_set(10000);
	tell(20000);
	bound.brake.until_usec = UINT64_MAX;
	for (int i = 0; i < 1000 && !bound.cpu_usec; i++)
		turns(100);
	assert_true(bound.cpu_usec > 0);
	bound.brake.until_usec = 0;
	budget_init(&bound.cpu, 0, BUDGET_WINDOW_USEC, now_usec(), 0);
	turns(1);
	assert_int_equal(bound.brake.reason, WIRE_BRAKE_QUOTA);
}

/* What was mapped is unmapped, and no page need enter the cache for that. */
static void test_under_it_it_looks_once_a_minute(void **state)
{
	(void)state;
	limit_set(10000);
	tell(1000);
	uint64_t wait = turns_to_wait();
	assert_int_equal(bound.state, WIRE_STATE_UNDER);
	assert_in_range(wait, 1, 60 * USEC_PER_SEC);
}

static void test_behind_is_a_sixteenth_or_8_mib(void **state)
{
	(void)state;
	limit_set(16000);
	goal_at(17000, false);
	assert_false(bound.is_behind);
	goal_at(17001, false);
	assert_true(bound.is_behind);
	limit_set(160000);
	goal_at(162048, false);
	assert_false(bound.is_behind);
	goal_at(162049, false);
	assert_true(bound.is_behind);
}

/* Of pages that a sweep is about to sort, none goes before, unless much comes. */
static void test_a_sweep_ends_before_what_it_finds_goes(void **state)
{
	(void)state;
	limit_set(10000);
	tell(20000);
	for (int much = 0; much < 2; much++) {
		come(100);
		shed.added_usec = 0;
		shed_sweep_begin(&shed, &ram, false);
		bound.sweep_added = added;
		added += much ? 1024 : 1023;
		turns(1);
		assert_int_equal(shed.queues[SHED_FRESH].pages, much ? 0 : 100);
		turns(20);
		assert_int_equal(shed.queues[SHED_FRESH].pages, 0);
	}
}

/* They were kept only because nothing of their node was wanted. */
static void test_a_node_that_is_wanted_has_its_kept_pages_looked_at(void **state)
{
	(void)state;
	limit_set(10000);
	shed.kept_due_usec = UINT64_MAX;
	goal_at(12000, false);
	assert_int_equal(shed.kept_due_usec, UINT64_MAX);
	shed.unwanted[0] = true;
	goal_at(9000, false);
	assert_int_equal(shed.kept_due_usec, UINT64_MAX);
	goal_at(12000, false);
	assert_int_equal(shed.kept_due_usec, 0);
	assert_false(shed.unwanted[0]);
}

static void test_a_quota_is_made_up_for(void **state)
{
	(void)state;
	limit_set(10000);
	tell(20000);
	bound.quota_bytes = -(int64_t)(10u << 30);
	assert_true(bound_turn(&bound) > 0);
	assert_int_equal(bound.state, WIRE_STATE_BRAKED);
	assert_int_equal(bound.brake.reason, WIRE_BRAKE_QUOTA);
	assert_true(bound.quota_bytes < 0);
}

/* The first sweep of a large machine takes long: whoever reads does not wait for it. */
static void test_no_sweep_while_it_is_far_above(void **state)
{
	(void)state;
	limit_set(10000);
	bound.quota_usec = now_usec();
	bound.quota_bytes = -(int64_t)bound.bytes_per_sec;
	tell(20000);
	turns(3);
	assert_int_equal(bound.sweep_due_usec, 0);
	tell(10100);
	turns(1);
	assert_true(bound.sweep_due_usec > 0);
	assert_int_equal(bound.state, WIRE_STATE_BRAKED);
}

static void test_set_off_and_on_again_looks_anew(void **state)
{
	(void)state;
	limit_set(10000);
	tell(20000);
	turns(50);
	assert_true(bound.sweep_due_usec > 0);
	limit_set(0);
	turns(1);
	assert_int_equal(bound.state, WIRE_STATE_OFF);
	limit_set(10000);
	assert_int_equal(bound.sweep_due_usec, 0);
	assert_true(shed.incomplete);
	/* The same again changes nothing. */
	turns(50);
	uint64_t due = bound.sweep_due_usec;
	limit_set(10000);
	assert_int_equal(bound.sweep_due_usec, due);
}

/* One turn with the file open, as it is after each was opened in it. */
static uint64_t file_turn(void)
{
	shed.added_usec = 0;
	cached_file_open(&shed);
	uint64_t wait = bound_turn(&bound);
	batch_end(&shed.batch);
	return wait;
}

static void test_the_quota_of_bytes_is_used_up_and_comes_back(void **state)
{
	const struct settings settings = { .evict_cpu_permille = 500,
					   .evict_bytes_per_sec = 4u << 20 };
	uint64_t evicted;

	(void)state;
	bound_quotas(&bound, &settings, now_usec());
	assert_int_equal(bound.bytes_per_sec, 4u << 20);
	assert_int_equal(bound.quota_bytes, 4u << 20);
	limit_set(4000);
	cached_file_make(&shed);
	tell(4700);
	bound.quota_bytes = 1;
	file_turn();
	evicted = shed.evicted_pages;
	assert_in_range(evicted, 1, FAKE_FRAMES - 1);
	assert_cached(cached_count(), FAKE_FRAMES - evicted);
	assert_true(bound.quota_bytes < 0);
	file_turn();
	assert_int_equal(shed.evicted_pages, evicted);
	assert_int_equal(bound.state, WIRE_STATE_BRAKED);
	/* A second later. */
	bound.quota_usec -= USEC_PER_SEC;
	file_turn();
	assert_true(shed.evicted_pages > evicted);
}

/* What was active when the limit was set stays until the sensor has been on for long enough. */
static void test_what_is_hot_by_a_guess_is_looked_at_again(void **state)
{
	(void)state;
	limit_set(4000);
	cached_file_make(&shed);
	for (int i = 0; i < FAKE_FRAMES; i++)
		frames[i].flags = SCAN_ACTIVE;
	tell(5000);
	for (int i = 0; i < 20; i++)
		file_turn();
	assert_int_equal(shed.evicted_pages, 0);
	assert_int_equal(bound.state, WIRE_STATE_KEPT);
	assert_true(bound.hurry);
	heat.is_on = true;
	heat.since_usec = now_usec() - 31 * USEC_PER_SEC;
	for (int i = 0; i < 20; i++)
		file_turn();
	assert_in_range(shed.evicted_pages, 900, FAKE_FRAMES);
}

/* Once for a limit: what comes after that is known, or is not worth a sensor that is on for ever.
 */
static void test_guesses_are_over_after_a_sweep(void **state)
{
	(void)state;
	limit_set(4000);
	cached_file_make(&shed);
	for (int i = 0; i < FAKE_FRAMES; i++)
		frames[i] = (struct fake_frame){ .flags = SCAN_ACTIVE };
	tell(5000);
	for (int i = 0; i < 20; i++)
		file_turn();
	assert_true(bound.hurry);
	uint64_t due = bound.sweep_due_usec;
	heat.is_on = true;
	heat.since_usec = now_usec() - 31 * USEC_PER_SEC;
	for (int i = 0; i < 20; i++)
		file_turn();
	assert_true(bound.sweep_due_usec > due);
	assert_int_equal(bound.guess, BOUND_GUESS_OVER);
	assert_false(bound.hurry);
	/* Another limit is another matter. */
	limit_set(3000);
	assert_int_equal(bound.guess, BOUND_GUESS_STAYS);
}

/* A request is braked, and what it took may come back for a minute. */
static void test_what_a_request_took_is_sampled(void **state)
{
	(void)state;
	bound.brake.idle_seconds = 0;
	bound.brake.second = now_usec() / USEC_PER_SEC;
	assert_in_range(bound_turn(&bound), 1, USEC_PER_SEC);
	assert_true(bound.sampled_usec > 0);
}

/* What is used is not looked at again each time. */
static void test_what_the_sensor_saw_is_no_guess(void **state)
{
	(void)state;
	limit_set(4000);
	cached_file_make(&shed);
	for (int i = 0; i < FAKE_FRAMES; i++)
		frames[i] = (struct fake_frame){ .flags = SCAN_ACTIVE,
						 .heat = { .known = true, .uses = 2 } };
	tell(5000);
	for (int i = 0; i < 20; i++)
		file_turn();
	assert_int_equal(bound.state, WIRE_STATE_KEPT);
	assert_false(bound.hurry);
	assert_int_equal(shed.evicted_pages, 0);
}

/* What comes back of it is to be seen, though nothing is to be done. */
static void test_after_eviction_it_looks_each_second(void **state)
{
	(void)state;
	limit_set(4000);
	cached_file_make(&shed);
	tell(4001);
	while (!shed.evicted_pages)
		file_turn();
	tell(3000);
	bound.sampled_usec = 0;
	assert_in_range(file_turn(), 1, USEC_PER_SEC);
	assert_int_equal(bound.brake.idle_seconds, 0);
}

/* The host holds something, none of it this file's: its turn is after what is held, and it comes.
 */
static void test_what_the_host_does_not_hold_goes_last(void **state)
{
	struct wire_held *held = calloc(1, sizeof(*held) + sizeof(held->items[0]));

	(void)state;
	assert_non_null(held);
	held->flags = WIRE_HELD_FIRST;
	strcpy(held->serial, "another");
	held->count = 1;
	held->items[0] = (struct wire_held_run){ .block = 1, .count = 1 };
	assert_int_equal(held_take(&shed.held, held, now_usec()), 0);
	free(held);
	limit_set(4000);
	/* For one piece a turn. */
	bound.bytes_per_sec = 1u << 20;
	cached_file_make(&shed);
	bound.sweep_due_usec = UINT64_MAX / 2;
	tell(4010);
	bound.quota_bytes = 1;
	file_turn();
	assert_int_equal(shed.queues[SHED_FRESH].pages, 0);
	assert_cached(shed.queues[SHED_SOLE].pages, FAKE_FRAMES - shed.evicted_pages);
	assert_in_range(shed.evicted_pages, 1, FAKE_FRAMES - 1);
	/* Far above the limit nobody looks who holds what. */
	shed_forget(&shed);
	cached_file_remove();
	cached_file_make(&shed);
	tell(6000);
	bound.quota_bytes = 1;
	file_turn();
	assert_int_equal(shed.queues[SHED_SOLE].pages, 0);
	assert_true(shed.queues[SHED_FRESH].pages > 0);
}

static void inflate(uint64_t pages)
{
	ahead.view = (struct balloon_view){ .inflates = pages > 0, .left_pages = pages };
	ahead.new_pages = pages;
	ahead.allowed_pages = 0;
}

/* No limit, and pages that are told are kept in mind all the same. */
static void test_a_hint_keeps_the_queues_filled(void **state)
{
	(void)state;
	come(100);
	shed_forget(&shed);
	ahead.hint = WIRE_HINT_CACHE;
	tell(20000);
	come(100);
	uint64_t wait = turns_to_wait();
	assert_int_equal(shed.queues[SHED_FRESH].pages, 100);
	assert_int_equal(bound.state, WIRE_STATE_OFF);
	assert_int_equal(wait, BOUND_NEVER);
	assert_false(shed.incomplete);
	/* Nothing is to be done, and what comes is kept in mind. */
	come_unheard(50);
	assert_int_equal(bound_turn(&bound), BOUND_NEVER);
	assert_int_equal(shed.queues[SHED_FRESH].pages, 150);
	ahead.hint = WIRE_HINT_NONE;
	turns(1);
	assert_true(shed.incomplete);
}

/* Of what came and was never asked for, the queue has no more than may be there. */
static void test_a_hint_forgets_history(void **state)
{
	(void)state;
	ahead.hint = WIRE_HINT_CACHE;
	tell(1000);
	turns_to_wait();
	shed.incomplete = false;
	for (int i = 0; i < 30; i++) {
		come(100);
		turns_to_wait();
	}
	assert_in_range(shed.queues[SHED_FRESH].pages, 1500, 2000);
	assert_true(shed.incomplete);
	/* What there is is counted before any is thrown away. */
	tell(1500);
	for (int i = 0; i < 30; i++) {
		come(100);
		turns_to_wait();
	}
	assert_in_range(shed.queues[SHED_FRESH].pages, 2500, 3000);
	/* While a balloon inflates, it takes what comes first, and it is not thrown away. */
	ahead.view.inflates = true;
	for (int i = 0; i < 30; i++) {
		come(100);
		turns_to_wait();
	}
	assert_in_range(shed.queues[SHED_FRESH].pages, 5500, 6000);
	ahead.view.inflates = false;
	/* A limit takes them in their order. */
	limit_set(5000);
	for (int i = 0; i < 30; i++) {
		come(100);
		turns(1);
	}
	assert_in_range(shed.queues[SHED_FRESH].pages, 2001, 6000);
}

/* There may be more than the queues hold: then each of them would find more, for nobody. */
static void test_a_hint_alone_sweeps_once(void **state)
{
	(void)state;
	ahead.hint = WIRE_HINT_CACHE;
	tell(20000);
	turns_to_wait();
	assert_true(bound.sweep_due_usec > 0);
	for (int i = 0; i < 3; i++) {
		shed.incomplete = true;
		bound.sweep_due_usec = 1;
		turns_to_wait();
		assert_int_equal(bound.sweep_due_usec, 1);
	}
	/* Nor after a request that took all. */
	bound_emptied(&bound);
	turns_to_wait();
	assert_int_equal(bound.sweep_due_usec, 1);
	/* A balloon finds nothing, and there is little. */
	inflate(10);
	turns(3);
	assert_int_equal(bound.sweep_due_usec, 1);
	/* Nor when what was kept is looked at again, and is too young. */
	shed.incomplete = true;
	shed.kept_due_usec = 1;
	come(10);
	assert_int_equal(
		spans_push(&shed.queues[SHED_KEPT], &(struct file_key){ .mapping = 9 }, 0, 9, 0),
		0);
	assert_true(turns_to_wait() > 0);
	assert_int_equal(bound.sweep_due_usec, 1);
	shed_forget(&shed);
	tell(MANAGED / 4);
	turns(3);
	assert_true(bound.sweep_due_usec > 1);
}

/* Unless there is much, what is short is the kernel's. */
static void test_a_hint_leaves_what_is_short(void **state)
{
	(void)state;
	ahead.hint = WIRE_HINT_CACHE;
	tell(MANAGED / 8);
	turns_to_wait();
	for (int i = 0; i < 3; i++) {
		/* Neither file is there any more when it is to be opened. */
		come(3);
		come(64);
		shed.added_usec = 0;
		inflate(1000);
		turns(1);
		assert_int_equal(shed.queues[SHED_FRESH].pages, 0);
		assert_int_equal(shed.queues[SHED_KEPT].pages, 0);
		assert_true(shed.incomplete);
		tell(MANAGED / 2);
	}
	tell(MANAGED / 8);
	limit_set(MANAGED / 16);
	come(3);
	shed.added_usec = 0;
	turns(1);
	assert_int_equal(shed.queues[SHED_FRESH].pages, 0);
	assert_int_equal(shed.queues[SHED_KEPT].pages, 0);
}

static void test_what_a_balloon_is_to_take_goes(void **state)
{
	(void)state;
	ahead.hint = WIRE_HINT_CACHE;
	cached_file_make(&shed);
	tell(4000);
	inflate(10);
	while (!shed.evicted_pages)
		file_turn();
	/* A piece goes whole. */
	assert_in_range(shed.evicted_pages, 10, FAKE_FRAMES - 1);
	assert_int_equal(ahead.evicted_pages, shed.evicted_pages);
	assert_false(ahead.is_short);
	assert_int_equal(bound.state, WIRE_STATE_OFF);
	/* Enough is free; and as no brake would stop it, nobody looks at what comes of it. */
	inflate(0);
	uint64_t evicted = shed.evicted_pages;
	bound.sampled_usec = 0;
	assert_int_equal(file_turn(), BOUND_NEVER);
	assert_int_equal(shed.evicted_pages, evicted);
	assert_int_equal(bound.sampled_usec, 0);
}

/* What it does not find, the kernel would take from anywhere. */
static void test_a_brake_does_not_stop_it(void **state)
{
	(void)state;
	limit_set(3000);
	ahead.hint = WIRE_HINT_CACHE;
	cached_file_make(&shed);
	tell(4000);
	bound.brake.until_usec = UINT64_MAX;
	bound.brake.reason = WIRE_BRAKE_REFAULT;
	file_turn();
	assert_int_equal(shed.evicted_pages, 0);
	inflate(10);
	while (!shed.evicted_pages)
		file_turn();
	assert_int_equal(bound.state, WIRE_STATE_BRAKED);
	assert_int_equal(ahead.evicted_pages, shed.evicted_pages);
	/* A quota does. */
	uint64_t evicted = shed.evicted_pages;
	inflate(10);
	bound.quota_bytes = -(int64_t)(10u << 30);
	file_turn();
	assert_int_equal(shed.evicted_pages, evicted);
	assert_true(ahead.is_short);
	/* Which is not what the limit waits for. */
	assert_int_equal(bound.brake.reason, WIRE_BRAKE_REFAULT);
}

static void until_evicted(void)
{
	for (int i = 0; i < 1000 && !shed.evicted_pages; i++)
		file_turn();
	assert_int_not_equal(shed.evicted_pages, 0);
}

static void inflate_with_hint(void)
{
	ahead.hint = WIRE_HINT_CACHE;
	cached_file_make(&shed);
	tell(4000);
	inflate(10);
}

static void assert_nothing_goes(void)
{
	for (int i = 0; i < 20; i++)
		assert_in_range(file_turn(), 1, BOUND_NEVER - 1);
	assert_int_equal(shed.evicted_pages, 0);
	assert_true(ahead.is_short);
}

/* The kernel's own reclaim is cheaper. */
static void test_a_hint_alone_rests_where_it_was_dear(void **state)
{
	(void)state;
	inflate_with_hint();
	/* The fifth of a second at first, and as much since the clock's beginning. */
	ahead.dear_usec = 700000;
	assert_nothing_goes();
	/* Nobody's quota. */
	assert_int_equal(bound.brake.reason, WIRE_BRAKE_NONE);
	/* For as long as it takes. */
	ahead.dear.seen_usec -= 4000000;
	assert_nothing_goes();
	ahead.dear.seen_usec -= 4000000;
	until_evicted();
}

/* A limit, which the kernel does not hold, is gone on with, and not counted. */
static void test_a_limit_goes_on_though_a_hint_was_dear(void **state)
{
	(void)state;
	limit_set(3990);
	inflate_with_hint();
	ahead.dear_usec = 500000;
	until_evicted();
	assert_int_equal(ahead.dear_usec, 500000);
	/* When it has gone the hint rests again. */
	limit_set(0);
	cached_file_make(&shed);
	shed.evicted_pages = 0;
	inflate(10);
	assert_nothing_goes();
}

static void test_a_hint_alone_pays_for_what_it_does(void **state)
{
	(void)state;
	inflate_with_hint();
	until_evicted();
	/* Less than nothing where a page took less than 6 us. */
	assert_int_not_equal(ahead.dear_usec, 0);
	assert_true((int64_t)ahead.dear_usec >= -6 * (int64_t)shed.evicted_pages);
	assert_true((int64_t)ahead.dear_usec <= 100000);
}

/* Under a limit a loop that is larger than it would come back as a whole, and all of it be hot. */
static void test_a_hint_alone_spares_what_came_back(void **state)
{
	(void)state;
	inflate_with_hint();
	fake_returned = (struct watch_run){ .device = 3, .inode = 2 };
	assert_nothing_goes();
	assert_cached(cached_count(), FAKE_FRAMES);
	limit_set(3990);
	cached_file_make(&shed);
	fake_returned = (struct watch_run){ .device = 3, .inode = 2 };
	until_evicted();
}

/* One eviction serves both. */
static void test_what_goes_ahead_counts_for_the_limit(void **state)
{
	(void)state;
	limit_set(3990);
	ahead.hint = WIRE_HINT_CACHE;
	cached_file_make(&shed);
	tell(4000);
	inflate(300);
	while (!shed.evicted_pages)
		file_turn();
	assert_in_range(shed.evicted_pages, 300, FAKE_FRAMES - 1);
	assert_int_equal(shed_goal_left(&bound.goal), 0);
	assert_int_equal(bound.state, WIRE_STATE_UNDER);
}

static void test_room_is_that_of_the_fullest_node(void **state)
{
	(void)state;
	limit_set(10000);
	nodes.count = 2;
	nodes.nodes[1] = nodes.nodes[0];
	nodes.nodes[0].unmapped_pages = 1000;
	nodes.nodes[1].unmapped_pages = 4000;
	assert_int_equal(bound_measure(&bound), 1000);
	nodes.nodes[0].unmapped_pages = 4900;
	assert_int_equal(bound_measure(&bound), 100);
	nodes.nodes[0].unmapped_pages = 5001;
	assert_int_equal(bound_measure(&bound), 0);
	assert_int_equal(bound.goal.pages[0], 251);
	assert_int_equal(bound.goal.pages[1], 0);
	nodes.count = 1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_off_asks_for_no_wake, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wakes_where_the_sensor_and_where_the_limit_is,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_takes_the_excess_and_a_twentieth, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_goal_that_a_turn_left_is_gone_on_with, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_over_it_with_nothing_to_take_is_kept, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_the_youngest_are_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_comes_in_a_turn_is_young, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_the_sensor_is_needed_when_much_comes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_brake_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_off_again_releases_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_quota_is_made_up_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_sweep_while_it_is_far_above, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_each_look_is_in_the_cpu_quota, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_under_it_it_looks_once_a_minute, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_behind_is_a_sixteenth_or_8_mib, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_sweep_ends_before_what_it_finds_goes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_a_node_that_is_wanted_has_its_kept_pages_looked_at, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_quota_of_bytes_is_used_up_and_comes_back,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_hot_by_a_guess_is_looked_at_again,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_guesses_are_over_after_a_sweep, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_a_request_took_is_sampled, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_the_sensor_saw_is_no_guess, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_after_eviction_it_looks_each_second, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_the_host_does_not_hold_goes_last, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_hint_keeps_the_queues_filled, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_hint_alone_sweeps_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_hint_leaves_what_is_short, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_hint_forgets_history, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_a_balloon_is_to_take_goes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_brake_does_not_stop_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_hint_alone_rests_where_it_was_dear, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_limit_goes_on_though_a_hint_was_dear, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_hint_alone_spares_what_came_back, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_hint_alone_pays_for_what_it_does, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_goes_ahead_counts_for_the_limit, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_room_is_that_of_the_fullest_node, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_set_off_and_on_again_looks_anew, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
