/* SPDX-License-Identifier: Apache-2.0 */
/* A guest of 1 GiB that has part of it by virtio-mem, made as QEMU and a guest's drivers do it. */
#include "balloon-test.h"

#define BLOCK (2 * MIB)

/* The host's bytes that the balloon holds, and is to hold; what the guest can empty of its blocks.
 */
static uint64_t held, held_goal, loose;
static uint64_t fixed; /* what is not by virtio-mem */

static uint64_t nearer(uint64_t from, uint64_t to, uint64_t most)
{
	if (from < to)
		return to - from < most ? to : from + most;
	return from - to < most ? to : from - most;
}

static void devices_follow(void)
{
	for (size_t i = 0; i < seen.plugged.n; i++) {
		struct plugged_device *d = &seen.plugged.devices[i];
		bool gives = d->requested_bytes < d->bytes;
		uint64_t most = gives && loose < rate ? loose : rate;
		uint64_t now = nearer(d->bytes, d->requested_bytes, most);

		loose -= gives ? d->bytes - now : 0;
		d->bytes = now;
	}
}

static void machine_follow(void)
{
	devices_follow();
	held = nearer(held, held_goal, rate);
	seen.actual_bytes = fixed + plugged_bytes(&seen.plugged) - held;
	if (seen.host_bytes > seen.actual_bytes)
		seen.host_bytes = seen.actual_bytes;
}

/* As host/dial.c does. */
static void machine_set(void)
{
	struct plugged_order order;

	target = next.bytes;
	if (next.act == BALLOON_SET && next.unplug_bytes) {
		struct plugged_device *d =
			(struct plugged_device *)plugged_fullest(&seen.plugged, run.unplugged);

		d->requested_bytes = d->bytes - next.unplug_bytes;
		return;
	}
	plugged_size(&seen.plugged, goal.original_bytes,
		     plugged_whole_bytes(&seen.plugged, goal.original_bytes, target), &order);
	held_goal = order.balloon_bytes < fixed ? fixed - order.balloon_bytes : 0;
	for (size_t i = 0; i < seen.plugged.n; i++)
		seen.plugged.devices[i].requested_bytes = order.requested_bytes[i];
}

static void plug(uint64_t bytes, uint64_t block)
{
	unsigned int n = (unsigned int)seen.plugged.n++;

	seen.plugged.devices[n] = (struct plugged_device){ n, block, bytes, bytes, bytes, bytes };
	fixed -= bytes;
}

/* 512 MiB are plugged in, and all of that can be emptied. */
static int machine_setup(void **state)
{
	setup(state);
	follow = machine_follow;
	set = machine_set;
	fixed = MEMORY;
	held = held_goal = 0;
	loose = UINT64_MAX;
	plug(512 * MIB, BLOCK);
	return 0;
}

static void settle(void)
{
	for (int i = 0; i < 100; i++)
		machine_follow();
}

static void assert_has(uint64_t plugged, uint64_t ballooned)
{
	settle();
	assert_int_equal(plugged_bytes(&seen.plugged), plugged);
	assert_int_equal(held, ballooned);
}

static void test_superpages_first(void **state)
{
	(void)state;
	until_step(1);
	assert_int_equal(next.unplug_bytes, 256 * MIB);
	assert_int_equal(target, 768 * MIB);
	until_step(2);
	assert_int_equal(next.unplug_bytes, 256 * MIB);
	assert_int_equal(evictions, 0);
	until_step(3);
	assert_int_equal(next.unplug_bytes, 0);
	assert_int_equal(evictions, 1);
	ends(BALLOON_REACHED, 50);
	assert_int_equal(run.steps, 3);
	assert_has(0, 112 * MIB);
}

static void test_rest_by_pages(void **state)
{
	(void)state;
	goal.wanted_bytes = MEMORY - 101 * MIB;
	until_step(1);
	assert_int_equal(next.unplug_bytes, 100 * MIB);
	ends(BALLOON_REACHED, 50);
	assert_int_equal(seen.actual_bytes, goal.wanted_bytes);
	assert_has(412 * MIB, MIB);
}

static void test_pages_alone(void **state)
{
	(void)state;
	goal.by = BALLOON_BY_PAGES;
	goal.wanted_bytes = 700 * MIB;
	ends(BALLOON_REACHED, 100);
	assert_has(512 * MIB, 324 * MIB);
}

/* The balloon takes what is not plugged in at most: QEMU cannot be told more. */
static void test_all_pages(void **state)
{
	(void)state;
	goal.by = BALLOON_BY_PAGES;
	ends(BALLOON_PAGES_ENDED, 100);
	assert_non_null(strstr(next.reason, "512.0 MiB that are plugged in"));
	assert_false(next.set || next.quarantine);
	assert_has(512 * MIB, 512 * MIB - 4096);
}

static void test_superpages_alone(void **state)
{
	(void)state;
	goal.by = BALLOON_BY_SUPERPAGES;
	ends(BALLOON_SUPERPAGES_ENDED, 100);
	assert_non_null(strstr(next.reason, "nothing plugged"));
	assert_false(next.set || next.quarantine);
	assert_has(0, 0);
}

static void test_less_than_a_block(void **state)
{
	(void)state;
	goal.by = BALLOON_BY_SUPERPAGES;
	goal.wanted_bytes = MEMORY - 3 * MIB;
	ends(BALLOON_SUPERPAGES_ENDED, 100);
	assert_non_null(strstr(next.reason, "less than a block"));
	assert_int_equal(seen.actual_bytes, MEMORY - 2 * MIB);
}

/* A block that is larger than a step goes all the same. */
static void test_large_blocks(void **state)
{
	(void)state;
	seen.plugged.n = 0;
	fixed = MEMORY;
	plug(512 * MIB, 512 * MIB);
	until_step(1);
	assert_int_equal(next.unplug_bytes, 512 * MIB);
	ends(BALLOON_REACHED, 100);
	assert_has(0, 112 * MIB);
}

static void test_fullest_first(void **state)
{
	(void)state;
	seen.plugged.devices[0].block_bytes = 4 * MIB;
	plug(256 * MIB, BLOCK);
	until_step(1);
	assert_int_equal(seen.plugged.devices[0].requested_bytes, 256 * MIB);
	until_step(2);
	assert_true(seen.plugged.devices[0].requested_bytes == 0);
	until_step(3);
	assert_int_equal(seen.plugged.devices[1].requested_bytes, 144 * MIB);
	ends(BALLOON_REACHED, 50);
}

/* The guest can empty 100 MiB: it keeps the rest, and pages go on from there. */
static void test_what_cannot_be_emptied(void **state)
{
	(void)state;
	loose = 100 * MIB;
	until_step(1);
	until(BALLOON_SET, 40);
	assert_int_equal(next.unplug_bytes, 0);
	assert_int_equal(target, MEMORY - 100 * MIB);
	assert_int_equal(seen.plugged.devices[0].requested_bytes, 412 * MIB);
	assert_int_equal(run.steps, 1);
	loose = UINT64_MAX;
	goal.wanted_bytes = 500 * MIB;
	ends(BALLOON_REACHED, 100);
	assert_true(evictions > 0);
	assert_has(412 * MIB, 424 * MIB);
}

static void test_no_block_can_be_emptied(void **state)
{
	(void)state;
	loose = 0;
	goal.by = BALLOON_BY_SUPERPAGES;
	ends(BALLOON_SUPERPAGES_ENDED, 100);
	assert_non_null(strstr(next.reason, "could not empty"));
	assert_false(next.quarantine);
	loose = UINT64_MAX;
	assert_has(512 * MIB, 0);
}

/* A guest whose size nobody knows is not gone on with. */
static void test_unknown_while_unplugging(void **state)
{
	(void)state;
	until_step(1);
	seen.actual_known = false;
	loose = 0;
	follow = balloon_follow;
	ends(BALLOON_STALLED, 100);
	assert_true(next.quarantine);
}

/* Pressure after a step by virtio-mem: it is plugged in again. */
static void test_undo(void **state)
{
	(void)state;
	until_step(2);
	settle();
	assert_int_equal(seen.actual_bytes, 512 * MIB);
	seen.report.oom_kills = 1;
	ends(BALLOON_PRESSURE, 20);
	assert_has(256 * MIB, 0);
}

static void test_stop_in_the_midst(void **state)
{
	(void)state;
	until_step(1);
	tick();
	seen.stop = true;
	ends(BALLOON_STOPPED, 2);
	assert_has(512 * MIB - 128 * MIB, 0);
}

static void shrunk(uint64_t unplugged, uint64_t ballooned)
{
	seen.plugged.devices[0].bytes -= unplugged;
	seen.plugged.devices[0].requested_bytes -= unplugged;
	held = held_goal = ballooned;
	goal.held_bytes = seen.actual_bytes = seen.host_bytes = MEMORY - unplugged - ballooned;
}

/* Pages come back first. */
static void test_grow(void **state)
{
	(void)state;
	shrunk(400 * MIB, 100 * MIB);
	goal.wanted_bytes = 700 * MIB;
	ends(BALLOON_REACHED, 50);
	assert_int_equal(run.steps, 1);
	assert_has(188 * MIB, 0);
}

static void test_grow_by_pages_alone(void **state)
{
	(void)state;
	shrunk(400 * MIB, 100 * MIB);
	goal.wanted_bytes = 564 * MIB;
	ends(BALLOON_REACHED, 50);
	assert_has(112 * MIB, 60 * MIB);
}

static void test_grow_to_all(void **state)
{
	(void)state;
	shrunk(400 * MIB, 100 * MIB);
	goal.wanted_bytes = MEMORY;
	ends(BALLOON_REACHED, 50);
	assert_has(512 * MIB, 0);
}

/* It has never less than it had, though what it is to have is no whole number of blocks. */
static void test_grow_to_an_odd_size(void **state)
{
	(void)state;
	seen.plugged.devices[0].block_bytes = 128 * MIB;
	shrunk(384 * MIB, 0);
	goal.wanted_bytes = 700 * MIB;
	until(BALLOON_SET, 10);
	for (int i = 0; i < 40 && next.act != BALLOON_END; i++) {
		assert_true(seen.actual_bytes >= 640 * MIB);
		tick();
	}
	assert_int_equal(next.state, BALLOON_REACHED);
	assert_has(256 * MIB, 68 * MIB);
}

/* What the balloon held before the guest was first changed, it holds in the end. */
static void test_grow_to_all_of_less(void **state)
{
	(void)state;
	goal.original_bytes = MEMORY - 33 * MIB;
	shrunk(400 * MIB, 100 * MIB);
	goal.wanted_bytes = goal.original_bytes;
	ends(BALLOON_REACHED, 50);
	assert_has(512 * MIB, 33 * MIB);
}

/* The fullest one is stuck: the other one goes on, and pages after that. */
static void test_stuck_device(void **state)
{
	(void)state;
	plug(256 * MIB, BLOCK);
	seen.plugged.devices[0].block_bytes = 512 * MIB;
	until_step(1);
	assert_int_equal(run.unplugging, 0);
	follow = machine_follow;
	loose = 0;
	until(BALLOON_SET, 40);
	loose = UINT64_MAX;
	until_step(2);
	assert_int_equal(run.unplugging, 1);
	assert_int_equal(next.unplug_bytes, 256 * MIB);
	until_step(3);
	assert_int_equal(next.unplug_bytes, 0);
}

/* What is given back goes to the emptiest device first. */
static void test_evenly(void **state)
{
	struct plugged_order order;

	(void)state;
	seen.plugged.devices[0].block_bytes = BLOCK;
	plug(512 * MIB, BLOCK);
	seen.plugged.devices[0].bytes = 100 * MIB;
	seen.plugged.devices[1].bytes = 300 * MIB;
	plugged_size(&seen.plugged, MEMORY, MEMORY - 300 * MIB, &order);
	assert_int_equal(order.requested_bytes[1], 300 * MIB);
	assert_int_equal(order.requested_bytes[0], 424 * MIB);
}

/* A kernel that was started by another one unplugs all, and plugs in what is requested: nobody
 * else. */
static void test_unplugs_by_itself(void **state)
{
	(void)state;
	goal.wanted_bytes = MEMORY - 100 * MIB;
	until_step(1);
	settle();
	seen.plugged.devices[0].bytes = 0;
	seen.actual_bytes = fixed;
	follow = balloon_follow;
	target = seen.actual_bytes;
	for (int i = 0; i < 4; i++)
		if (tick() == BALLOON_END && next.state == BALLOON_OTHER_OWNER)
			fail_msg("%s", next.reason);
	assert_int_equal(plugged_meant_bytes(&seen.plugged), 412 * MIB);
	/* What somebody else asks for is seen before the guest has done it all. */
	seen.plugged.devices[0].bytes = 300 * MIB;
	seen.plugged.devices[0].requested_bytes = 200 * MIB;
	assert_int_equal(plugged_meant_bytes(&seen.plugged), 300 * MIB);
}

/* A step that ends where the floor has come to leaves no more to the balloon than before. */
static void test_floor_in_a_block(void **state)
{
	(void)state;
	seen.plugged.n = 0;
	fixed = MEMORY;
	plug(512 * MIB, 512 * MIB);
	until_step(1);
	tick();
	seen.report.needed_bytes = 560 * MIB; /* floor 700 */
	for (int i = 0; i < 60 && tick() != BALLOON_END; i++)
		;
	assert_int_equal(next.state, BALLOON_FLOOR);
	assert_has(512 * MIB, 0);
}

/* A device that somebody made larger meanwhile is not asked for less. */
static void test_larger_than_at_first(void **state)
{
	struct plugged_device *d = &seen.plugged.devices[0];
	struct plugged_order order;

	(void)state;
	d->bytes = d->requested_bytes = 600 * MIB;
	plugged_size(&seen.plugged, MEMORY, 700 * MIB, &order);
	assert_int_equal(order.requested_bytes[0], 600 * MIB);
	assert_int_equal(order.balloon_bytes, 100 * MIB);
	/* It is on top of all that the guest had. */
	plugged_size(&seen.plugged, MEMORY, MEMORY, &order);
	assert_int_equal(order.balloon_bytes, MEMORY - 512 * MIB);
	/* That holds for whoever takes what it has now for the size to be set. */
	plugged_size(&seen.plugged, MEMORY, MEMORY + 50 * MIB, &order);
	assert_int_equal(order.balloon_bytes, MEMORY - 512 * MIB);
	/* One that was still plugging in when it was first seen is not asked for more in a step. */
	d->first_bytes = 100 * MIB;
	d->first_requested_bytes = 512 * MIB;
	d->bytes = d->requested_bytes = 300 * MIB;
	plugged_size(&seen.plugged, MEMORY, MEMORY - 50 * MIB, &order);
	assert_int_equal(order.requested_bytes[0], 300 * MIB);
	plugged_size(&seen.plugged, MEMORY, MEMORY, &order);
	assert_int_equal(order.requested_bytes[0], 512 * MIB);
	*d = (struct plugged_device){ 0, BLOCK, 600 * MIB, 600 * MIB, 512 * MIB, 512 * MIB };
	/* A guest that never plugged in all that it was to have gets no less asked for again. */
	d->first_requested_bytes = 512 * MIB;
	d->first_bytes = d->bytes = 500 * MIB;
	d->requested_bytes = 400 * MIB;
	plugged_size(&seen.plugged, MEMORY, MEMORY, &order);
	assert_int_equal(order.requested_bytes[0], 512 * MIB);
	assert_int_equal(order.balloon_bytes, MEMORY - 500 * MIB);
	/* Whatever is asked for, QEMU is told no size of 0. */
	d->bytes = 0;
	plugged_size(&seen.plugged, MEMORY, MIB, &order);
	assert_true(order.balloon_bytes > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_superpages_first, machine_setup),
		cmocka_unit_test_setup(test_rest_by_pages, machine_setup),
		cmocka_unit_test_setup(test_pages_alone, machine_setup),
		cmocka_unit_test_setup(test_all_pages, machine_setup),
		cmocka_unit_test_setup(test_superpages_alone, machine_setup),
		cmocka_unit_test_setup(test_less_than_a_block, machine_setup),
		cmocka_unit_test_setup(test_large_blocks, machine_setup),
		cmocka_unit_test_setup(test_fullest_first, machine_setup),
		cmocka_unit_test_setup(test_what_cannot_be_emptied, machine_setup),
		cmocka_unit_test_setup(test_no_block_can_be_emptied, machine_setup),
		cmocka_unit_test_setup(test_unknown_while_unplugging, machine_setup),
		cmocka_unit_test_setup(test_undo, machine_setup),
		cmocka_unit_test_setup(test_stop_in_the_midst, machine_setup),
		cmocka_unit_test_setup(test_grow, machine_setup),
		cmocka_unit_test_setup(test_grow_by_pages_alone, machine_setup),
		cmocka_unit_test_setup(test_grow_to_all, machine_setup),
		cmocka_unit_test_setup(test_grow_to_an_odd_size, machine_setup),
		cmocka_unit_test_setup(test_grow_to_all_of_less, machine_setup),
		cmocka_unit_test_setup(test_stuck_device, machine_setup),
		cmocka_unit_test_setup(test_evenly, machine_setup),
		cmocka_unit_test_setup(test_unplugs_by_itself, machine_setup),
		cmocka_unit_test_setup(test_floor_in_a_block, machine_setup),
		cmocka_unit_test_setup(test_larger_than_at_first, machine_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
