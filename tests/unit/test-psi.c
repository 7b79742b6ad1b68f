/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include "base/psi.h"

static void test_read(void **state)
{
	struct psi psi;

	(void)state;
	tree_put("/proc/pressure/memory",
		 "some avg10=12.05 avg60=1.87 avg300=0.47 total=39988131\n"
		 "full avg10=3.32 avg60=1.25 avg300=0.32 total=30280092\n");
	tree_put("/proc/pressure/io", "some avg10=100.00 avg60=0.00 avg300=0.00 "
				      "total=18446744073709551615\n");
	assert_int_equal(psi_read(tree, "memory", &psi), 0);
	assert_int_equal(psi.some_avg10_hundredths, 1205);
	assert_int_equal(psi.some_total_usec, 39988131);
	assert_int_equal(psi_read(tree, "io", &psi), 0);
	assert_int_equal(psi.some_avg10_hundredths, 10000);
	assert_true(psi.some_total_usec == UINT64_MAX);
}

/* What cannot be read is never "no pressure". */
static void test_blind(void **state)
{
	static const char *const bad[] = {
		"",
		"full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"some avg10=0.00\n",
		"some avg10=-1.00 avg60=0.00 avg300=0.00 total=\n",
		"some\n",
	};
	struct psi psi = { 77, 77 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		tree_put("/proc/pressure/memory", bad[i]);
		assert_int_equal(psi_read(tree, "memory", &psi), -EBADMSG);
	}
	tree_drop("/proc/pressure/memory");
	assert_int_equal(psi_read(tree, "memory", &psi), -ENOENT);
	assert_int_equal(psi.some_avg10_hundredths, 77);
	assert_int_equal(psi.some_total_usec, 77);
	/* An error of reading, as a kernel started with psi=0 may give, and not of opening. */
	char path[128];

	snprintf(path, sizeof(path), "%s/proc/pressure/io", tree);
	assert_int_equal(symlink("/proc/self/mem", path), 0);
	assert_int_equal(psi_read(tree, "io", &psi), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_blind, tree_make, tree_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
