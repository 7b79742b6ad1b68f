/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "guest/held.h"

#define NOW 1000000000ull

static const struct wire_disk vda = { .pci_address = "0000:00:04.0", .serial = "disk0" };
static const struct wire_disk vdb = { .pci_address = "0000:00:05.0", .serial = "disk1" };

static struct wire_held *message(const struct wire_disk *disk, uint32_t flags, uint32_t count)
{
	struct wire_held *m = calloc(1, sizeof(*m) + count * sizeof(m->items[0]));

	assert_non_null(m);
	memcpy(m->pci_address, disk->pci_address, sizeof(m->pci_address));
	memcpy(m->serial, disk->serial, sizeof(m->serial));
	m->flags = flags;
	m->count = count;
	return m;
}

/* Runs of two blocks, ten blocks apart, from @block on. */
static int take(struct held *h, const struct wire_disk *disk, uint32_t flags, uint64_t block,
		uint32_t count, uint64_t now)
{
	struct wire_held *m = message(disk, flags, count);

	for (uint32_t i = 0; i < count; i++)
		m->items[i] = (struct wire_held_run){ block + 10ull * i, 2 };
	int r = held_take(h, m, now);
	free(m);
	return r;
}

static bool has(const struct held *h, const struct wire_disk *disk, uint64_t block)
{
	const struct held_disk *d = held_of(h, disk);

	return d && held_has(d, block);
}

static void test_blocks_are_found(void **state)
{
	struct held h = { 0 };

	(void)state;
	assert_false(held_any(&h, NOW));
	assert_false(has(&h, &vda, 0));
	assert_int_equal(take(&h, &vda, WIRE_HELD_FIRST, 100, 3, NOW), 0);
	assert_int_equal(take(&h, &vda, 0, 130, 1, NOW), 0);
	assert_true(held_any(&h, NOW));
	for (uint64_t b = 0; b < 200; b++)
		assert_int_equal(has(&h, &vda, b), b >= 100 && b < 140 && b % 10 < 2);
	assert_false(has(&h, &vdb, 100));
	held_done(&h);
}

static void test_first_replaces_that_disk_alone(void **state)
{
	struct held h = { 0 };

	(void)state;
	assert_int_equal(take(&h, &vda, WIRE_HELD_FIRST, 100, 3, NOW), 0);
	assert_int_equal(take(&h, &vdb, WIRE_HELD_FIRST, 100, 3, NOW), 0);
	assert_int_equal(take(&h, &vda, WIRE_HELD_FIRST, 500, 1, NOW), 0);
	assert_false(has(&h, &vda, 100));
	assert_true(has(&h, &vda, 500));
	assert_true(has(&h, &vdb, 100));
	assert_int_equal(h.runs, 4);
	held_done(&h);
	assert_int_equal(h.runs, 0);
}

static void test_what_is_old_is_forgotten(void **state)
{
	struct held h = { 0 };

	(void)state;
	assert_int_equal(take(&h, &vda, WIRE_HELD_FIRST, 100, 3, NOW), 0);
	assert_int_equal(take(&h, &vdb, WIRE_HELD_FIRST, 100, 3, NOW + 1), 0);
	assert_true(held_any(&h, NOW + HELD_USEC_MAX));
	assert_true(held_any(&h, NOW + HELD_USEC_MAX + 1));
	assert_false(has(&h, &vda, 100));
	assert_true(has(&h, &vdb, 100));
	assert_false(held_any(&h, NOW + HELD_USEC_MAX + 2));
	assert_int_equal(h.count, 0);
}

static void test_runs_have_to_ascend(void **state)
{
	struct held h = { 0 };
	struct wire_held *m = message(&vda, WIRE_HELD_FIRST, 2);

	(void)state;
	m->items[0] = (struct wire_held_run){ 50, 5 };
	m->items[1] = (struct wire_held_run){ 54, 5 };
	assert_int_equal(held_take(&h, m, NOW), -EBADMSG);
	assert_false(has(&h, &vda, 50));
	m->items[1].block = 55;
	assert_int_equal(held_take(&h, m, NOW), 0);
	m->flags = 0;
	assert_int_equal(held_take(&h, m, NOW), -EBADMSG);
	assert_int_equal(h.runs, 2);
	free(m);
	held_done(&h);
}

static void test_room_is_bounded(void **state)
{
	struct held h = { 0 };
	uint64_t block = 0;
	int r = 0;

	(void)state;
	for (int i = 0; i < 100 && r == 0; i++, block += 20000)
		r = take(&h, i % 2 ? &vda : &vdb, 0, block, 1000, NOW);
	assert_int_equal(r, -ENOBUFS);
	assert_true(h.runs <= HELD_RUNS_MAX && h.runs > HELD_RUNS_MAX - 1000);
	held_done(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks_are_found),
		cmocka_unit_test(test_first_replaces_that_disk_alone),
		cmocka_unit_test(test_what_is_old_is_forgotten),
		cmocka_unit_test(test_runs_have_to_ascend),
		cmocka_unit_test(test_room_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
