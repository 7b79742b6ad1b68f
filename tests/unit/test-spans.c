/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest/spans.h"

static struct file_key key_of(uint64_t n)
{
	return (struct file_key){ .mapping = 0xffff888000000000u + n * 1024,
				  .inode = n,
				  .device = 7 };
}

static void push(struct spans *s, uint64_t file, uint64_t index, uint32_t count)
{
	struct file_key key = key_of(file);

	assert_int_equal(spans_push(s, &key, index, count, 0), 0);
}

static void expect(struct spans *s, uint64_t file, uint64_t index, uint32_t count)
{
	struct file_key key;
	uint64_t at;
	uint32_t n;

	assert_int_equal(spans_pop(s, &key, &at, &n), 1);
	assert_int_equal(key.inode, file);
	assert_int_equal(at, index);
	assert_int_equal(n, count);
}

static void expect_empty(struct spans *s)
{
	struct file_key key;
	uint64_t at;
	uint32_t n;

	assert_int_equal(spans_pop(s, &key, &at, &n), 0);
	assert_int_equal(s->pages, 0);
	assert_int_equal(s->count, 0);
}

static void test_first_in_first_out(void **state)
{
	struct spans s = { 0 };

	(void)state;
	expect_empty(&s);
	push(&s, 1, 0, 3);
	push(&s, 2, 10, 4);
	push(&s, 1, 100, 1);
	assert_int_equal(s.pages, 8);
	expect(&s, 1, 0, 3);
	expect(&s, 2, 10, 4);
	expect(&s, 1, 100, 1);
	expect_empty(&s);
	spans_done(&s);
}

static void test_neighbours_are_joined(void **state)
{
	struct spans s = { 0 };

	(void)state;
	push(&s, 1, 0, 3);
	push(&s, 1, 3, 4);
	push(&s, 2, 7, 1);
	push(&s, 1, 7, 1);
	assert_int_equal(s.count, 3);
	expect(&s, 1, 0, 7);
	expect(&s, 2, 7, 1);
	expect(&s, 1, 7, 1);
	expect_empty(&s);
	spans_done(&s);
}

static void test_pieces_end_at_multiples(void **state)
{
	struct spans s = { 0 };

	(void)state;
	push(&s, 1, 500, 1000);
	expect(&s, 1, 500, 12);
	expect(&s, 1, 512, 512);
	expect(&s, 1, 1024, 476);
	expect_empty(&s);
	spans_done(&s);
}

static void test_long_runs_are_cut_and_whole(void **state)
{
	struct spans s = { 0 };
	struct file_key key;
	uint64_t index, next = 0;
	uint32_t count;

	(void)state;
	push(&s, 1, 0, 200000);
	push(&s, 1, 200000, 100000);
	assert_int_equal(s.pages, 300000);
	while (spans_pop(&s, &key, &index, &count)) {
		assert_int_equal(index, next);
		next += count;
	}
	assert_int_equal(next, 300000);
	expect_empty(&s);
	spans_done(&s);
}

static void test_full_queue_refuses(void **state)
{
	struct spans s = { 0 };
	struct file_key key = key_of(1);
	uint32_t n = 0;

	(void)state;
	while (spans_push(&s, &key, (uint64_t)n * 2, 1, 0) == 0)
		n++;
	assert_int_equal(n, SPANS_MAX);
	assert_int_equal(spans_push(&s, &key, 1u << 30, 1, 0), -ENOBUFS);
	expect(&s, 1, 0, 1);
	push(&s, 1, 1u << 30, 1);
	for (uint32_t i = 1; i < n; i++)
		expect(&s, 1, (uint64_t)i * 2, 1);
	expect(&s, 1, 1u << 30, 1);
	expect_empty(&s);
	spans_done(&s);
}

static void test_files_are_forgotten_with_their_last_span(void **state)
{
	struct spans s = { 0 };

	(void)state;
	/* Far more files than fit at a time, each gone before the next but some come. */
	for (uint64_t n = 1; n <= 4 * SPANS_FILES_MAX; n++) {
		push(&s, n, n, 1);
		if (n > 1000)
			expect(&s, n - 1000, n - 1000, 1);
	}
	assert_true(s.files_room <= 2048);
	spans_done(&s);
}

static void test_too_many_files_are_refused(void **state)
{
	struct spans s = { 0 };
	struct file_key key;
	int r = 0;

	(void)state;
	for (uint64_t n = 1; n <= SPANS_FILES_MAX + 1 && r == 0; n++) {
		key = key_of(n);
		r = spans_push(&s, &key, 0, 1, 0);
	}
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(s.pages, SPANS_FILES_MAX);
	spans_done(&s);
}

static void test_another_generation_is_another_file(void **state)
{
	struct spans s = { 0 };
	struct file_key key = key_of(1), ret;
	uint64_t index;
	uint32_t count;

	(void)state;
	push(&s, 1, 0, 1);
	key.generation = 9;
	assert_int_equal(spans_push(&s, &key, 1, 1, 0), 0);
	expect(&s, 1, 0, 1);
	assert_int_equal(spans_pop(&s, &ret, &index, &count), 1);
	assert_int_equal(ret.generation, 9);
	spans_done(&s);
}

static void test_what_is_short(void **state)
{
	struct spans s = { 0 };
	struct file_key key = { .mapping = 1 };
	uint64_t index;
	uint32_t count;

	(void)state;
	assert_false(spans_is_short(&s));
	assert_int_equal(spans_push(&s, &key, 0, SPAN_WORTH_PAGES - 1, 0), 0);
	key.inode = 1;
	assert_int_equal(spans_push(&s, &key, 0, SPAN_WORTH_PAGES, 0), 0);
	key.inode = 2;
	/* The rest of a longer one is short, and its file is open. */
	assert_int_equal(spans_push(&s, &key, 1, SPAN_PIECE_PAGES + 2, 0), 0);
	assert_true(spans_is_short(&s));
	assert_int_equal(spans_pop(&s, &key, &index, &count), 1);
	assert_false(spans_is_short(&s));
	assert_int_equal(spans_pop(&s, &key, &index, &count), 1);
	assert_int_equal(spans_pop(&s, &key, &index, &count), 1);
	assert_int_equal(index + count, SPAN_PIECE_PAGES);
	assert_false(spans_is_short(&s));
	spans_done(&s);
}

static void test_an_empty_queue_has_little_memory(void **state)
{
	struct spans s = { 0 };
	struct file_key key = { .mapping = 1 };
	uint64_t index;
	uint32_t count;

	(void)state;
	for (uint32_t i = 0; i < 5000; i++) {
		key.inode = i;
		assert_int_equal(spans_push(&s, &key, 0, 1, 0), 0);
	}
	for (uint32_t i = 0; i < 5000; i++) {
		assert_true(s.room >= 5000);
		assert_int_equal(spans_pop(&s, &key, &index, &count), 1);
		assert_int_equal(key.inode, i);
	}
	assert_int_equal(s.room + s.files_room, 0);
	assert_int_equal(spans_push(&s, &key, 7, 1, 0), 0);
	assert_int_equal(spans_pop(&s, &key, &index, &count), 1);
	assert_int_equal(index, 7);
	assert_true(s.room > 0);
	spans_done(&s);
}

static void test_sort_puts_the_oldest_first_and_keeps_order(void **state)
{
	static const uint16_t ages[] = { 5, 0, UINT16_MAX, 5, 1, 0, UINT16_MAX };
	static const uint64_t order[] = { 3, 7, 1, 4, 5, 2, 6 };
	struct spans s = { 0 };

	(void)state;
	/* So that the ring's start is not its first element. */
	push(&s, 99, 0, 1);
	expect(&s, 99, 0, 1);
	for (unsigned i = 0; i < 7; i++) {
		struct file_key key = key_of(i + 1);

		assert_int_equal(spans_push(&s, &key, 0, 1, ages[i]), 0);
	}
	assert_int_equal(spans_sort(&s), 0);
	for (unsigned i = 0; i < 7; i++)
		expect(&s, order[i], 0, 1);
	expect_empty(&s);
	spans_done(&s);
}

static void test_sort_puts_what_is_worth_it_first(void **state)
{
	static const struct {
		uint32_t count;
		uint16_t age_sec;
	} spans[] = { { 1, 40 }, { 20, 40 }, { 3, 90 }, { 300, 7 }, { 16, 60 }, { 300, 40 } };
	static const uint64_t order[] = { 6, 2, 5, 4, 3, 1 };
	struct spans s = { 0 };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct file_key key = key_of(i + 1);

		assert_int_equal(spans_push(&s, &key, 0, spans[i].count, spans[i].age_sec), 0);
	}
	assert_int_equal(spans_sort(&s), 0);
	for (unsigned i = 0; i < 6; i++)
		expect(&s, order[i], 0, spans[order[i] - 1].count);
	expect_empty(&s);

	/* The extremes of both. */
	push(&s, 1, 0, 1);
	struct file_key key = key_of(2);
	assert_int_equal(spans_push(&s, &key, 0, UINT16_MAX / 512 * 512, UINT16_MAX), 0);
	assert_int_equal(spans_sort(&s), 0);
	expect(&s, 2, 0, 512);
	spans_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_in_first_out),
		cmocka_unit_test(test_neighbours_are_joined),
		cmocka_unit_test(test_pieces_end_at_multiples),
		cmocka_unit_test(test_long_runs_are_cut_and_whole),
		cmocka_unit_test(test_full_queue_refuses),
		cmocka_unit_test(test_files_are_forgotten_with_their_last_span),
		cmocka_unit_test(test_too_many_files_are_refused),
		cmocka_unit_test(test_another_generation_is_another_file),
		cmocka_unit_test(test_what_is_short),
		cmocka_unit_test(test_an_empty_queue_has_little_memory),
		cmocka_unit_test(test_sort_puts_the_oldest_first_and_keeps_order),
		cmocka_unit_test(test_sort_puts_what_is_worth_it_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
