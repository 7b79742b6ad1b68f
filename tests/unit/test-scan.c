/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include <errno.h>

#include "base/cleanup.h"
#include "host/scan.h"

#define RAM_PAGES 4096

struct piece {
	uint32_t file;
	uint64_t index, block, count;
};

struct pieces {
	struct piece items[16];
	size_t n;
	int result;
};

static struct scan *s;

static int setup(void **state)
{
	(void)state;
	s = scan_new(7, 100, RAM_PAGES);
	return s ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	s = scan_free(s);
	return 0;
}

static int add(uint16_t type, const void *payload)
{
	const union wire_message m = { .raw = payload };

	return scan_add(s, type, &m);
}

static int add_disk(uint32_t number)
{
	const struct wire_disk disk = { .disk = number, .size_bytes = 1 << 30 };

	return add(WIRE_DISK, &disk);
}

static int add_file(uint32_t number, uint32_t disk)
{
	const struct wire_file file = { .identity = { .inode = number + 1 },
					.file = number,
					.disk = disk };

	return add(WIRE_FILE, &file);
}

static int add_extents(uint32_t file, uint32_t count, const struct wire_extent *items)
{
	struct wire_extents *m = malloc(sizeof(*m) + count * sizeof(*items));
	int r;

	*m = (struct wire_extents){ .file = file, .count = count };
	memcpy(m->items, items, count * sizeof(*items));
	r = add(WIRE_EXTENTS, m);
	free(m);
	return r;
}

static int add_run(uint32_t file, uint64_t index, uint32_t count)
{
	struct {
		struct wire_pages head;
		struct wire_run item;
	} m = { { .count = 1 }, { .index = index, .file = file, .count = count } };

	return add(WIRE_PAGES, &m);
}

static int keep(const struct scan *scan, const struct scan_file *file, const struct wire_run *run,
		uint64_t index, uint64_t block, uint64_t count, void *userdata)
{
	struct pieces *p = userdata;

	assert_ptr_equal(scan, s);
	assert_int_equal(file->file.file, run->file);
	assert_true(p->n < ARRAY_SIZE(p->items));
	p->items[p->n++] = (struct piece){ run->file, index, block, count };
	return p->result;
}

static void test_pieces(void **state)
{
	static const struct wire_extent extents[] = { { 0, 100, 10 },
						      { 20, 500, 5 },
						      { 25, 7, 5 } };
	static const struct piece expected[] = {
		{ 0, 5, 105, 5 }, { 0, 20, 500, 5 }, { 0, 25, 7, 1 }, { 0, 29, 11, 1 }
	};
	struct wire_scan_end end = { .census = { .free = 3 } };
	struct pieces p = { 0 };

	(void)state;
	assert_int_equal(add_disk(0), 0);
	assert_int_equal(add_file(0, 0), 0);
	assert_int_equal(add_extents(0, 2, extents), 0);
	assert_int_equal(add_extents(0, 1, extents + 2), 0);
	assert_int_equal(add_file(1, WIRE_NO_DISK), 0);
	assert_int_equal(add_run(0, 5, 21), 0);
	/* Half behind the last extent; in a hole; of a file without extents. */
	assert_int_equal(add_run(0, 29, 2), 0);
	assert_int_equal(add_run(0, 12, 3), 0);
	assert_int_equal(add_run(1, 0, 9), 0);
	assert_int_equal(add(WIRE_SCAN_END, &end), 1);
	assert_int_equal(s->end.census.free, 3);
	assert_int_equal(scan_pieces(s, keep, &p), 0);
	assert_int_equal(p.n, ARRAY_SIZE(expected));
	assert_memory_equal(p.items, expected, sizeof(expected));
	/* The first refusal ends it. */
	p = (struct pieces){ .result = -EIO };
	assert_int_equal(scan_pieces(s, keep, &p), -EIO);
	assert_int_equal(p.n, 1);
}

static void test_order(void **state)
{
	static const struct wire_extent one = { 4, 0, 4 }, before = { 7, 50, 1 };
	static const struct wire_extent backwards[] = { { 10, 0, 1 }, { 9, 1, 1 } };

	(void)state;
	assert_int_equal(add_file(0, 0), -EBADMSG);
	assert_int_equal(add_disk(1), -EBADMSG);
	assert_int_equal(add_disk(0), 0);
	assert_int_equal(add_disk(0), -EBADMSG);
	assert_int_equal(add_extents(0, 1, &one), -EBADMSG);
	assert_int_equal(add_run(0, 0, 1), -EBADMSG);
	assert_int_equal(add_file(1, 0), -EBADMSG);
	assert_int_equal(add_file(0, 1), -EBADMSG);
	assert_int_equal(add_file(0, 0), 0);
	assert_int_equal(add_extents(0, 1, &one), 0);
	assert_int_equal(add_extents(0, 1, &before), -EBADMSG);
	assert_int_equal(add_extents(0, 2, backwards), -EBADMSG);
	assert_int_equal(add_file(1, 0), 0);
	/* Extents follow their file. */
	assert_int_equal(add_extents(0, 1, backwards), -EBADMSG);
	assert_int_equal(add(WIRE_PONG, &one), -EBADMSG);
	assert_int_equal(s->n_extents, 1);
}

/* A guest cannot cache more than it has; runs that say so would be worked on for hours. */
static void test_more_than_ram(void **state)
{
	(void)state;
	assert_int_equal(add_file(0, WIRE_NO_DISK), 0);
	assert_int_equal(add_run(0, 0, RAM_PAGES), 0);
	assert_int_equal(add_run(0, 0, RAM_PAGES), 0);
	assert_int_equal(add_run(0, 0, 1), -EBADMSG);
	assert_int_equal(add_run(0, 0, UINT32_MAX), -EBADMSG);
}

static void test_limits(void **state)
{
	struct wire_extent *items = calloc(WIRE_ITEMS_MAX, sizeof(*items));
	uint64_t index = 0;
	uint32_t sent = 0;

	(void)state;
	assert_int_equal(add_disk(0), 0);
	assert_int_equal(add_file(0, 0), 0);
	for (; sent <= SCAN_EXTENTS_MAX; sent += WIRE_ITEMS_MAX) {
		for (uint32_t i = 0; i < WIRE_ITEMS_MAX; i++)
			items[i] = (struct wire_extent){ index++, index, 1 };
		assert_int_equal(add_extents(0, WIRE_ITEMS_MAX, items), 0);
	}
	/* What is not kept is not an error: its pages are unplaced. */
	assert_int_equal(s->n_extents, SCAN_EXTENTS_MAX);
	free(items);
}

static void test_evictable(void **state)
{
	(void)state;
	assert_true(scan_run_evictable(&(struct wire_run){ .flags = 0 }));
	assert_true(scan_run_evictable(&(struct wire_run){ .flags = WIRE_PAGE_REFERENCED }));
	assert_false(scan_run_evictable(&(struct wire_run){ .flags = WIRE_PAGE_MAPPED }));
	assert_false(scan_run_evictable(&(struct wire_run){ .flags = WIRE_PAGE_DIRTY }));
	assert_false(scan_run_evictable(&(struct wire_run){ .flags = WIRE_PAGE_HOT }));
	assert_false(scan_run_evictable(&(struct wire_run){ .flags = WIRE_PAGE_HELD }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_than_ram, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test(test_evictable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
