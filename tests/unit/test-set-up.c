/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include "host/inventory.h"
#include "host/set-up.h"

static void test_the_best_that_there_is(void **state)
{
	struct inventory inv = { .balloon = true, .free_page_reporting = true, .virtio_mems.n = 1 };

	(void)state;
	inv.virtio_mems.devices[0].id[0] = 'a';
	assert_int_equal(set_up_of(&inv, false), SET_UP_SUPERPAGES);
	/* Nobody can ask it for another size. */
	inv.virtio_mems.devices[0].id[0] = '\0';
	assert_int_equal(set_up_of(&inv, false), SET_UP_REPORTING);
	inv.virtio_mems.n = 0;
	assert_int_equal(set_up_of(&inv, false), SET_UP_REPORTING);
	inv.free_page_reporting = false;
	assert_int_equal(set_up_of(&inv, false), SET_UP_PAGES);
	assert_int_equal(set_up_of(&inv, true), SET_UP_AGENT);
	inv.free_page_reporting = true;
	assert_int_equal(set_up_of(&inv, true), SET_UP_AGENT);
	inv.balloon = false;
	assert_int_equal(set_up_of(&inv, true), SET_UP_NONE);
	assert_int_equal(set_up_of(NULL, true), SET_UPS);
}

/* Beside a device of the kind the agent takes none, whoever that is. */
static void test_an_agent_beside_a_device(void **state)
{
	struct inventory inv = { .balloon = true, .virtio_mems.n = 1 };

	(void)state;
	assert_int_equal(set_up_of(&inv, true), SET_UP_PAGES);
	inv.virtio_mems.devices[0].id[0] = 'a';
	assert_int_equal(set_up_of(&inv, true), SET_UP_SUPERPAGES);
	inv.virtio_mems.n = 0;
	inv.vfio = true;
	assert_int_equal(set_up_of(&inv, true), SET_UP_NONE);
}

static void test_what_stands_against_it(void **state)
{
	struct inventory inv = { .balloon = true, .free_page_reporting = true, .vfio = true };

	(void)state;
	/* QEMU inhibits the balloon then, and its reporting; virtio-mem goes on. */
	assert_int_equal(set_up_of(&inv, false), SET_UP_NONE);
	inv.virtio_mems.n = 1;
	inv.virtio_mems.devices[0].id[0] = 'a';
	assert_int_equal(set_up_of(&inv, false), SET_UP_SUPERPAGES);
	inv.vfio = false;
	inv.balloon = false;
	assert_int_equal(set_up_of(&inv, false), SET_UP_NONE);
	inv.balloon = true;
	inv.confidential = true;
	assert_int_equal(set_up_of(&inv, false), SET_UP_NONE);
}

static void test_each_has_a_name_and_a_line(void **state)
{
	(void)state;
	for (enum set_up i = 0; i < SET_UPS; i++) {
		assert_non_null(set_up_name(i));
		assert_null(strpbrk(set_up_name(i), " -"));
		assert_null(strchr(set_up_text(i), '\n'));
		for (enum set_up j = 0; j < i; j++)
			assert_string_not_equal(set_up_name(i), set_up_name(j));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_best_that_there_is),
		cmocka_unit_test(test_an_agent_beside_a_device),
		cmocka_unit_test(test_what_stands_against_it),
		cmocka_unit_test(test_each_has_a_name_and_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
