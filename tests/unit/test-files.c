/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include "guest/files.h"

static struct wire_identity identity(uint64_t inode)
{
	return (struct wire_identity){ .device = 0xfe01, .generation = 7, .inode = inode };
}

static int find(struct files *f, struct wire_identity who, bool *ret_new)
{
	return files_find(f, &who, ret_new);
}

static void test_identity(void **state)
{
	struct files f = { 0 };
	struct wire_identity who = identity(12), other;
	bool is_new = false;

	(void)state;
	assert_int_equal(find(&f, who, &is_new), 0);
	assert_true(is_new);
	f.entries[0].cached_pages = 5;
	assert_int_equal(find(&f, who, &is_new), 0);
	assert_false(is_new);
	assert_int_equal(f.entries[0].cached_pages, 5);
	/* Each part of it counts. */
	other = who, other.generation++;
	assert_int_equal(find(&f, other, &is_new), 1);
	other = who, other.device++;
	assert_int_equal(find(&f, other, &is_new), 2);
	other = who, other.kind = WIRE_FILE_BLOCK_DEVICE;
	assert_int_equal(find(&f, other, &is_new), 3);
	assert_true(is_new);
	assert_int_equal(f.entries[3].cached_pages, 0);
	files_reset(&f);
	assert_int_equal(f.count, 0);
	assert_int_equal(find(&f, who, &is_new), 0);
	assert_true(is_new);
	files_reset(&f);
	files_reset(&f);
}

static void test_growth_and_limit(void **state)
{
	struct files f = { 0 };
	bool is_new;

	(void)state;
	for (uint64_t i = 0; i < WIRE_FILES_MAX; i++) {
		assert_int_equal(find(&f, identity(i * 16 + 1), &is_new), i);
		assert_true(is_new);
	}
	assert_int_equal(find(&f, identity(7), &is_new), -E2BIG);
	assert_false(is_new);
	for (uint64_t i = 0; i < WIRE_FILES_MAX; i += 97) {
		assert_int_equal(find(&f, identity(i * 16 + 1), &is_new), i);
		assert_false(is_new);
	}
	files_reset(&f);
}

static void test_extents_room(void **state)
{
	struct files f = { 0 };
	struct wire_extent *items;
	uint32_t room;

	(void)state;
	for (uint32_t entered = 0; entered < FILES_EXTENTS_MAX; entered += room) {
		items = files_extents_room(&f, 3000, &room);
		assert_non_null(items);
		assert_true(room >= 3000 || entered + room == FILES_EXTENTS_MAX);
		assert_ptr_equal(items, f.extents + entered);
		memset(items, 0xff, room * sizeof(*items));
		f.extents_count += room;
	}
	assert_non_null(files_extents_room(&f, 1, &room));
	assert_int_equal(room, 0);
	files_reset(&f);
}

static void test_placed(void **state)
{
	static const struct {
		uint64_t index;
		uint32_t count, placed;
	} cases[] = {
		{ 0, 10, 0 },
		{ 0, 11, 1 },
		{ 10, 5, 5 },
		{ 5, 100, 5 + 10 },
		{ 15, 5, 0 },
		{ 14, 7, 2 },
		{ 20, 10, 10 },
		{ 29, 100, 1 },
		{ 30, 50, 0 },
		{ 12, 1, 1 },
		{ 1 << 20, 4, 4 },
		{ (1 << 20) + 3, 4, 1 },
		{ 0, UINT32_MAX, 5 + 10 + 4 },
	};
	struct wire_extent items[] = {
		{ 99, 1, 1 }, { 10, 500, 5 }, { 20, 900, 10 }, { 1 << 20, 7, 4 }
	};
	struct files f = { .extents = items, .extents_count = 4 };
	struct file_entry e = { .extents_first = 1, .extents_count = 3 },
			  none = { .extents_first = 4 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(files_placed(&f, &e, cases[i].index, cases[i].count),
				 cases[i].placed);
	assert_int_equal(files_placed(&f, &none, 0, 100), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_growth_and_limit),
		cmocka_unit_test(test_extents_room),
		cmocka_unit_test(test_placed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
