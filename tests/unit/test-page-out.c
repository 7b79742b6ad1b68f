/* SPDX-License-Identifier: Apache-2.0 */
/* What of paging out needs no QEMU; the rest is tested with one. */
#include "host-test.h"

#include <errno.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "host/page-out.h"
#include "host/take.h"

static void test_hva(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t hva;
	} cases[] = {
		{ "Host virtual address for 0x40000000 (ram) is 0x7f64c3e00000\r\n", 0,
		  0x7f64c3e00000 },
		{ "Host virtual address for 0x0 (pc) is 0x0) is 0x7f0000000000\n", -EBADMSG, 0 },
		{ "No memory is mapped at address 0xfffffffff000\r\n", -EBADMSG, 0 },
		{ "Memory at address 0xfee00000 is not RAM\r\n", -EBADMSG, 0 },
		{ "Host virtual address for 0x1000 (ram) is (nil)\r\n", -EBADMSG, 0 },
		{ "", -EBADMSG, 0 },
		{ NULL, -EBADMSG, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t hva = 0;

		if (page_out_hva(cases[i].text, &hva) != cases[i].result)
			fail_msg("case %zu", i);
		if (!cases[i].result)
			assert_int_equal(hva, cases[i].hva);
	}
}

static void test_area(void **state)
{
	struct page_out_area area;

	(void)state;
	assert_int_equal(page_out_area("7f64c3e00000-7f6503e00000 rw-s 00200000 00:01 2051    "
				       "                 /memfd:memory-backend-memfd (deleted)\n",
				       &area),
			 0);
	assert_int_equal(area.start, 0x7f64c3e00000);
	assert_int_equal(area.end, 0x7f6503e00000);
	assert_int_equal(area.offset, 0x200000);
	assert_int_equal(area.device, makedev(0, 1));
	assert_int_equal(area.inode, 2051);
	assert_true(area.is_writable);
	assert_int_equal(page_out_area("7ffd0-7ffd1 r--p 00000000 fd:10 0 [vvar]\n", &area), 0);
	assert_int_equal(area.device, makedev(0xfd, 0x10));
	assert_false(area.is_writable);
	assert_int_equal(page_out_area("", &area), -EBADMSG);
	assert_int_equal(page_out_area("7ffd0-7ffd1 r--p\n", &area), -EBADMSG);
}

static void test_set(void **state)
{
	static const struct wire_superpages runs[] = { { 5, 3 }, { 9, 1 }, { 1ull << 33, 4 } };
	union {
		struct wire_taken taken;
		uint8_t bytes[sizeof(struct wire_taken) + sizeof(runs)];
	} answer = { .taken = { .superpages = 9, .count = 3 } };
	struct blockset *set;

	(void)state;
	memcpy(answer.bytes + sizeof(struct wire_taken), runs, sizeof(runs));
	set = take_set(&answer.taken);
	assert_non_null(set);
	/* What lies beyond what a set can hold is left out. */
	assert_int_equal(blockset_count(set), 4);
	assert_true(blockset_contains(set, 5) && blockset_contains(set, 7));
	assert_true(blockset_contains(set, 9) && !blockset_contains(set, 8));
	blockset_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hva),
		cmocka_unit_test(test_area),
		cmocka_unit_test(test_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
