/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "guest/disk.h"

static char sysfs[512];

static int setup(void **state)
{
	static struct disk_table t;

	snprintf(sysfs, sizeof(sysfs), "%s", fixture("sys"));
	t = (struct disk_table){ .sysfs = sysfs };
	*state = &t;
	return 0;
}

static void test_partitions_of_one_disk(void **state)
{
	struct disk_table *t = *state;
	struct disk_place place;

	assert_int_equal(disk_find(t, makedev(254, 1), &place), 0);
	assert_int_equal(place.disk, 0);
	assert_int_equal(place.first_block, 256);
	assert_int_equal(place.blocks, 262144);
	assert_int_equal(disk_find(t, makedev(254, 2), &place), 0);
	assert_int_equal(place.disk, 0);
	assert_int_equal(place.first_block, 262400);
	assert_int_equal(disk_find(t, makedev(254, 0), &place), 0);
	assert_int_equal(place.disk, 0);
	assert_int_equal(place.first_block, 0);
	assert_int_equal(place.blocks, 524288);
	assert_int_equal(t->count, 1);
	assert_int_equal(t->disks[0].size_bytes, 4194304ull * 512);
	assert_string_equal(t->disks[0].pci_address, "0000:00:04.0");
	assert_string_equal(t->disks[0].serial, "disk0");
}

/* Behind a bridge the disk's own function is the last on the way. */
static void test_addresses(void **state)
{
	struct disk_table *t = *state;
	struct disk_place place;

	assert_int_equal(disk_find(t, makedev(254, 1), &place), 0);
	assert_int_equal(disk_find(t, makedev(8, 0), &place), 0);
	assert_int_equal(place.disk, 1);
	assert_int_equal(disk_find(t, makedev(253, 0), &place), 0);
	assert_int_equal(place.disk, 2);
	assert_string_equal(t->disks[1].pci_address, "0000:01:02.0");
	assert_string_equal(t->disks[1].serial, "");
	assert_string_equal(t->disks[2].pci_address, "");
	assert_int_equal(t->disks[2].disk, 2);
}

static void test_refused(void **state)
{
	struct disk_table *t = *state;
	struct disk_place place = { .disk = 77 };

	assert_int_equal(disk_find(t, makedev(252, 0), &place), -EOPNOTSUPP); /* device mapper */
	assert_int_equal(disk_find(t, makedev(7, 0), &place), -EOPNOTSUPP);
	assert_int_equal(disk_find(t, makedev(254, 3), &place), -EBADF); /* misaligned */
	assert_int_equal(disk_find(t, makedev(1, 1), &place), -ENOENT);
	assert_int_equal(place.disk, 77);
	assert_int_equal(t->count, 0);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* A sysfs of @count disks. */
static void disks_make(const char *root, unsigned count)
{
	char path[256], target[256];

	snprintf(path, sizeof(path), "%s/dev", root);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/dev/block", root);
	assert_int_equal(mkdir(path, 0700), 0);
	for (unsigned i = 0; i < count; i++) {
		snprintf(target, sizeof(target), "%s/vd%u", root, i);
		assert_int_equal(mkdir(target, 0700), 0);
		snprintf(path, sizeof(path), "%s/dev/block/254:%u", root, i);
		assert_int_equal(symlink(target, path), 0);
		snprintf(path, sizeof(path), "%s/size", target);
		put(path, i ? "800\n" : "many\n");
	}
}

static void test_limits(void **state)
{
	struct disk_table *t = *state;
	char root[] = "/tmp/pagepact-test-XXXXXX", command[64];
	struct disk_place place;

	assert_non_null(mkdtemp(root));
	disks_make(root, WIRE_DISKS_MAX + 2);
	t->sysfs = root;
	assert_int_equal(disk_find(t, makedev(254, 0), &place), -ENODATA);
	for (unsigned i = 1; i <= WIRE_DISKS_MAX; i++) {
		assert_int_equal(disk_find(t, makedev(254, i), &place), 0);
		assert_int_equal(place.disk, i - 1);
		assert_int_equal(place.blocks, 100);
	}
	assert_int_equal(disk_find(t, makedev(254, WIRE_DISKS_MAX + 1), &place), -E2BIG);
	assert_int_equal(disk_find(t, makedev(254, 5), &place), 0);
	assert_int_equal(t->count, WIRE_DISKS_MAX);
	snprintf(command, sizeof(command), "rm -r '%s'", root);
	assert_int_equal(system(command), 0);
}

static void test_node(void **state)
{
	struct disk_table *t = *state;

	/* What /dev/vda3 is on this machine, if anything, is not the fixture's 254:3. */
	assert_int_equal(disk_find_node(t, makedev(1, 1)), -ENOENT);
	int r = disk_find_node(t, makedev(253, 0)); /* "xyz" */
	assert_int_equal(r, -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_partitions_of_one_disk, setup),
		cmocka_unit_test_setup(test_addresses, setup),
		cmocka_unit_test_setup(test_refused, setup),
		cmocka_unit_test_setup(test_limits, setup),
		cmocka_unit_test_setup(test_node, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
