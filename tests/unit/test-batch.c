/* SPDX-License-Identifier: Apache-2.0 */
#include "file-fake.h"

#include "guest/batch.h"

#define FILES (BATCH_FILES_MAX + 1)

static char sysfs[512], paths[FILES][32];
static struct file_key keys[FILES];
static struct batch batch;

static int setup(void **state)
{
	(void)state;
	snprintf(sysfs, sizeof(sysfs), "%s", fixture("sys"));
	mounts_init(&mounts, "/proc");
	batch = (struct batch){ .mounts = &mounts, .disks.sysfs = sysfs };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	batch_end(&batch);
	mounts_done(&mounts);
	for (int i = 0; i < FILES; i++)
		if (paths[i][0])
			unlink(paths[i]);
	memset(paths, 0, sizeof(paths));
	return 0;
}

static bool files_make(void)
{
	for (int i = 0; i < FILES; i++) {
		strcpy(paths[i], "/var/tmp/pagepact-test-XXXXXX");
		if (!file_make(paths[i], &keys[i]))
			return false;
	}
	return true;
}

/* Return: whether it was opened anew, which takes a look at its pages. */
static bool file_opens(int i, int *ret_fd)
{
	peeks = 0;
	owner_set(&keys[i]);
	*ret_fd = batch_file(&batch, &keys[i]);
	assert_true(*ret_fd >= 0);
	return peeks > 0;
}

static void test_the_files_of_a_batch_stay_open(void **state)
{
	int fds[FILES], fd;

	(void)state;
	if (!files_make())
		skip();
	assert_int_equal(batch_begin(&batch, 1), 0);
	for (int i = 0; i < BATCH_FILES_MAX; i++)
		assert_true(file_opens(i, &fds[i]));
	for (int i = 0; i < BATCH_FILES_MAX; i++) {
		assert_false(file_opens(i, &fd));
		assert_int_equal(fd, fds[i]);
	}
	/* One too many takes the oldest's place. */
	assert_true(file_opens(BATCH_FILES_MAX, &fd));
	assert_false(file_opens(1, &fd));
	assert_true(file_opens(0, &fd));
	assert_true(file_opens(1, &fds[1]));
	batch_end(&batch);
	for (int i = 1; i < BATCH_FILES_MAX; i++)
		assert_int_equal(fcntl(fds[i], F_GETFD), -1);
	assert_int_equal(batch_begin(&batch, 2), 0);
	assert_true(file_opens(0, &fd));
}

static void test_what_cannot_be_opened_is_tried_again(void **state)
{
	int fd;

	(void)state;
	if (!files_make())
		skip();
	assert_int_equal(batch_begin(&batch, 1), 0);
	owner_set(&keys[1]);
	assert_int_equal(batch_file(&batch, &keys[0]), -ESTALE);
	assert_true(file_opens(0, &fd));
}

static const struct wire_disk *disk(unsigned minor, struct disk_place *place)
{
	return batch_disk(&batch, makedev(254, minor), place);
}

static void test_where_a_device_lies_is_asked_now_and_then(void **state)
{
	struct disk_place place;

	(void)state;
	assert_int_equal(batch_begin(&batch, BATCH_PLACES_USEC * 2), 0);
	assert_string_equal(disk(1, &place)->serial, "disk0");
	assert_int_equal(place.first_block, 256);
	assert_string_equal(disk(2, &place)->serial, "disk0");
	assert_int_equal(place.first_block, 262400);
	assert_null(disk(77, &place));
	batch_end(&batch);
	/* The machine changes, and for a while nobody asks. */
	batch.disks.sysfs = "/nonexistent";
	assert_int_equal(batch_begin(&batch, BATCH_PLACES_USEC * 3), 0);
	assert_string_equal(disk(1, &place)->serial, "disk0");
	assert_int_equal(place.first_block, 256);
	batch_end(&batch);
	assert_int_equal(batch_begin(&batch, BATCH_PLACES_USEC * 3 + 1), 0);
	assert_null(disk(1, &place));
	/* What is not there is not asked for each time, either. */
	batch.disks.sysfs = sysfs;
	assert_null(disk(1, &place));
}

static void test_more_devices_than_there_is_room_for(void **state)
{
	struct disk_place place;

	(void)state;
	assert_int_equal(batch_begin(&batch, BATCH_PLACES_USEC * 2), 0);
	for (unsigned i = 0; i < 3 * BATCH_PLACES_MAX; i++) {
		assert_null(disk(100 + i, &place));
		assert_string_equal(disk(1, &place)->serial, "disk0");
	}
	assert_int_equal(batch.disks.count, 1);
}

#define BATCH_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BATCH_TEST(test_the_files_of_a_batch_stay_open),
		BATCH_TEST(test_what_cannot_be_opened_is_tried_again),
		BATCH_TEST(test_where_a_device_lies_is_asked_now_and_then),
		BATCH_TEST(test_more_devices_than_there_is_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
