/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include "host/balloon-notes.h"
#include "host/inventory.h"

static const struct inventory good = {
	.balloon = true,
	.free_page_reporting = true,
	.deflate_on_oom = true,
};

static void assert_note(const struct inventory *inventory, const char *what, const char *change)
{
	const char *notes[BALLOON_NOTES_MAX];

	assert_int_equal(balloon_notes(inventory, notes), 1);
	assert_non_null(strstr(notes[0], what));
	assert_non_null(strstr(notes[0], change));
	assert_null(strchr(notes[0], '\n'));
}

static void test_nothing_against_it(void **state)
{
	const char *notes[BALLOON_NOTES_MAX];

	(void)state;
	assert_int_equal(balloon_notes(&good, notes), 0);
}

static void test_each(void **state)
{
	struct inventory inventory = good;

	(void)state;
	inventory.free_page_reporting = false;
	assert_note(&inventory, "reporting is off", "free-page-reporting=on");
	inventory = good;
	inventory.deflate_on_oom = false;
	assert_note(&inventory, "deflate-on-oom is off", "deflate-on-oom=on");
	inventory = good;
	inventory.vfio = true;
	assert_note(&inventory, "VFIO", "virtio-mem");
	inventory = good;
	inventory.confidential = true;
	assert_note(&inventory, "encrypted", "leave");
	/* What a device that is not there lacks is not worth a line. */
	inventory = (struct inventory){ 0 };
	assert_note(&inventory, "no balloon device", "-device virtio-balloon-pci,free-page");
}

static void test_together(void **state)
{
	const struct inventory inventory = { .balloon = true, .vfio = true, .confidential = true };
	const char *notes[BALLOON_NOTES_MAX];

	(void)state;
	assert_int_equal(balloon_notes(&inventory, notes), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_against_it),
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
