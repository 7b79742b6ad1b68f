/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include <fcntl.h>

#include "guest/subvolumes.h"

static void test_each_once_up_to_the_bound(void **state)
{
	struct subvolume_list list = { 0 };

	(void)state;
	for (uint64_t id = 256; id < 256 + 2 * SUBVOLUMES_MAX; id++) {
		subvolumes_add(&list, id);
		subvolumes_add(&list, id);
	}
	assert_int_equal(list.count, SUBVOLUMES_MAX);
	assert_int_equal(list.ids[0], 256);
	assert_int_equal(list.ids[SUBVOLUMES_MAX - 1], 256 + SUBVOLUMES_MAX - 1);
}

static void test_the_one_used_comes_first(void **state)
{
	struct subvolume_list list = { .count = 4, .ids = { 5, 256, 257, 258 } };
	const uint64_t after[] = { 257, 5, 256, 258 };

	(void)state;
	subvolumes_used(&list, 2);
	assert_memory_equal(list.ids, after, sizeof(after));
	subvolumes_used(&list, 0);
	assert_memory_equal(list.ids, after, sizeof(after));
	subvolumes_used(&list, 3);
	assert_int_equal(list.ids[0], 258);
	assert_int_equal(list.ids[3], 256);
}

static void test_devices_take_turns(void **state)
{
	struct subvolumes s = { 0 };
	struct subvolume_list *first = subvolumes_find(&s, 7);

	(void)state;
	assert_int_equal(first->usec, 0);
	first->usec = 1;
	subvolumes_add(first, 256);
	assert_ptr_equal(subvolumes_find(&s, 7), first);
	for (uint32_t device = 8; device < 8 + SUBVOLUMES_DEVICES_MAX - 1; device++) {
		subvolumes_find(&s, device)->usec = 1;
		assert_ptr_equal(subvolumes_find(&s, 7), first);
	}
	subvolumes_find(&s, 99)->usec = 1;
	first = subvolumes_find(&s, 7);
	assert_int_equal(first->usec, 0);
	assert_int_equal(first->count, 0);
}

static void test_not_btrfs(void **state)
{
	struct subvolume_list list = { 0 };
	int fd = open("/proc", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(subvolumes_read(&list, fd), -ENOTTY);
	assert_int_equal(subvolumes_read(&list, -1), -EBADF);
	close(fd);
	/* The topmost is always there. */
	assert_int_equal(list.count, 1);
	assert_int_equal(list.ids[0], 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_once_up_to_the_bound),
		cmocka_unit_test(test_the_one_used_comes_first),
		cmocka_unit_test(test_devices_take_turns),
		cmocka_unit_test(test_not_btrfs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
