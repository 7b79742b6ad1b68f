/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include "guest/glance.h"

static struct spans queue;
static struct glance glance;
static uint64_t there[8]; /* indexes, ended by 0: all others have left */
static unsigned asked;
static int error;

int memmap_glance(struct memmap *m, struct scan_glance *glances, unsigned count)
{
	(void)m;
	asked += count;
	for (unsigned i = 0; i < count; i++) {
		glances[i].there = 0;
		for (const uint64_t *index = there; *index; index++)
			glances[i].there |= glances[i].index == *index;
	}
	return error;
}

static int setup(void **state)
{
	(void)state;
	spans_done(&queue);
	glance = (struct glance){ 0 };
	memset(there, 0, sizeof(there));
	asked = 0;
	error = 0;
	return 0;
}

static void put(uint64_t inode, uint64_t index, uint32_t count)
{
	const struct file_key key = { .mapping = inode, .inode = inode };

	assert_int_equal(spans_push(&queue, &key, index, count, 0), 0);
}

static int pop(uint64_t *ret_index, uint32_t *ret_passed)
{
	struct file_key key;
	uint32_t count;

	return glance_pop(&glance, NULL, &queue, &key, ret_index, &count, ret_passed);
}

static void test_what_has_left_is_passed_over(void **state)
{
	uint32_t passed;
	uint64_t index;

	(void)state;
	put(1, 10, 2);
	put(2, 20, 3);
	put(3, 30, 1);
	there[0] = 30;
	assert_int_equal(pop(&index, &passed), 1);
	assert_int_equal(index, 30);
	assert_int_equal(passed, 5);
	assert_int_equal(asked, 3);
	assert_int_equal(queue.pages, 0);
	assert_int_equal(pop(&index, &passed), 0);
}

/* Opening it costs little beside the rest. */
static void test_what_is_long_is_not_asked_about(void **state)
{
	uint32_t passed;
	uint64_t index;

	(void)state;
	put(1, 100, GLANCE_PAGES_MAX + 1);
	put(2, 20, 1);
	assert_int_equal(pop(&index, &passed), 1);
	assert_int_equal(index, 100);
	assert_int_equal(asked, 0);
	assert_int_equal(pop(&index, &passed), 0);
	assert_int_equal(passed, 1);
}

/* What was asked of one queue says nothing of another, nor of another order. */
static void test_an_answer_is_for_its_piece_alone(void **state)
{
	uint32_t passed;
	uint64_t index;

	(void)state;
	there[0] = 10;
	there[1] = 20;
	put(1, 10, 1);
	put(2, 20, 1);
	put(3, 30, 1);
	assert_int_equal(pop(&index, &passed), 1);
	assert_int_equal(asked, 3);
	spans_done(&queue);
	put(3, 30, 1);
	put(2, 20, 1);
	assert_int_equal(pop(&index, &passed), 1);
	assert_int_equal(index, 20);
	assert_int_equal(passed, 1);
	assert_int_equal(asked, 5);
}

static void test_so_many_at_a_time(void **state)
{
	uint32_t passed;
	uint64_t index;

	(void)state;
	for (unsigned i = 0; i < GLANCES_MAX + 1; i++)
		put(1 + i, 10, 1);
	assert_int_equal(pop(&index, &passed), -EAGAIN);
	assert_int_equal(passed, GLANCES_MAX);
	assert_int_equal(queue.count, 1);
	assert_int_equal(pop(&index, &passed), 0);
}

static void test_without_an_answer_all_are_looked_at(void **state)
{
	uint32_t passed;
	uint64_t index;

	(void)state;
	error = -EPERM;
	put(1, 10, 1);
	assert_int_equal(pop(&index, &passed), 1);
	assert_int_equal(passed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_what_has_left_is_passed_over, setup),
		cmocka_unit_test_setup(test_what_is_long_is_not_asked_about, setup),
		cmocka_unit_test_setup(test_an_answer_is_for_its_piece_alone, setup),
		cmocka_unit_test_setup(test_so_many_at_a_time, setup),
		cmocka_unit_test_setup(test_without_an_answer_all_are_looked_at, setup),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	spans_done(&queue);
	return r;
}
