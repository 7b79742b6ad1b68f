/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include "guest/ram.h"

static void check_range(const struct ram *ram, unsigned i, uint64_t start, uint64_t count)
{
	assert_int_equal(ram->ranges[i].start, start);
	assert_int_equal(ram->ranges[i].count, count);
	assert_int_equal(ram->ranges[i].before,
			 i ? ram->ranges[i - 1].before + ram->ranges[i - 1].count : 0);
}

/* Whole pages only; what is below "System RAM" is part of it; plugged memory is below its device.
 */
static void test_ranges(void **state)
{
	struct ram ram;

	(void)state;
	assert_int_equal(ram_read(fixture("iomem"), &ram), 0);
	assert_int_equal(ram.count, 5);
	check_range(&ram, 0, 0x1, 0x9f - 0x1);
	check_range(&ram, 1, 0x100, 0x3ffe0 - 0x100);
	check_range(&ram, 2, 0x100000, 0x40000);
	check_range(&ram, 3, 0x140000, 0x8000);
	check_range(&ram, 4, 0x150000, 0x8000);
	assert_int_equal(ram.pages, ram.ranges[4].before + 0x8000);
}

static void test_refused(void **state)
{
	struct ram ram = { .count = 77 };

	(void)state;
	assert_int_equal(ram_read(fixture("iomem-hidden"), &ram), -EPERM);
	assert_int_equal(ram_read(fixture("iomem-none"), &ram), -ENODATA);
	assert_int_equal(ram_read(fixture("no-such-file"), &ram), -ENOENT);
	assert_int_equal(ram.count, 77);
}

static void write_ranges(const char *path, unsigned count)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	for (unsigned i = 0; i < count; i++)
		fprintf(f, "%x-%x : System RAM\n", i << 20, (i << 20 | 0xfffff) - 0x1000);
	/* Less than a page is none. */
	fprintf(f, "f0000000-f0000ffe : System RAM\n");
	fclose(f);
}

static void test_limit(void **state)
{
	char path[] = "/tmp/pagepact-test-XXXXXX";
	struct ram ram;

	(void)state;
	close(mkstemp(path));
	write_ranges(path, RAM_RANGES_MAX);
	assert_int_equal(ram_read(path, &ram), 0);
	assert_int_equal(ram.count, RAM_RANGES_MAX);
	assert_int_equal(ram.pages, RAM_RANGES_MAX * 255);
	write_ranges(path, RAM_RANGES_MAX + 1);
	assert_int_equal(ram_read(path, &ram), -E2BIG);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
