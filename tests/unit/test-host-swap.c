/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include "host/host-swap.h"

#define HEAD "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
#define DISK "/dev/sda2                               partition\t2097152\t\t1048576\t\t-2\n"
#define ZRAM "/dev/zram0                              partition\t524288\t\t0\t\t100\n"
#define KIB  1024ull

static void test_what_a_kernel_stores(void **state)
{
	static const struct {
		const char *release, *zswap;
		uint64_t bytes;
	} cases[] = {
		{ "6.1.0-56-amd64\n", "N\n", 524288 * KIB },
		{ "6.1.0-56-amd64\n", NULL, 524288 * KIB },
		{ "6.1.0-56-amd64\n", "Y\n", 1572864 * KIB },
		{ "6.11.9\n", "N\n", 524288 * KIB },
		{ "6.12.0\n", "N\n", 1572864 * KIB },
		{ "7.0-rc1\n", NULL, 1572864 * KIB },
		{ "no number\n", NULL, 524288 * KIB },
	};

	(void)state;
	tree_put("/proc/swaps", HEAD DISK ZRAM);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tree_put("/proc/sys/kernel/osrelease", cases[i].release);
		tree_put("/sys/module/zswap/parameters/enabled",
			 cases[i].zswap ? cases[i].zswap : "");
		if (host_swap_bytes(tree) != cases[i].bytes)
			fail_msg("case %zu: %llu", i, (unsigned long long)host_swap_bytes(tree));
	}
}

static void test_none(void **state)
{
	(void)state;
	assert_int_equal(host_swap_bytes(tree), 0);
	tree_put("/proc/sys/kernel/osrelease", "6.18.5\n");
	assert_int_equal(host_swap_bytes(tree), 0);
	tree_put("/proc/swaps", HEAD);
	assert_int_equal(host_swap_bytes(tree), 0);
	/* Full, and no line of the kernel's. */
	tree_put("/proc/swaps",
		 HEAD "/dev/sda2 partition 100 100 -2\n/dev/sdb2 partition 100 200 -2\nx\n");
	assert_int_equal(host_swap_bytes(tree), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_a_kernel_stores, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_none, tree_make, tree_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
