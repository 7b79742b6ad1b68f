/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "guest/file.h"

static struct mounts mounts;

static void test_not_there(void **state)
{
	struct disk_table disks = { .sysfs = "/no/such/sysfs" };
	struct wire_identity who = { .device = (uint32_t)makedev(254, 99), .inode = 12 };

	(void)state;
	mounts_init(&mounts, "/proc");
	assert_int_equal(mounts_begin(&mounts), 0);
	assert_int_equal(file_open(&mounts, &who), -ENODEV);
	assert_int_equal(file_find(&mounts, &disks, &who), -ENODEV);
	who.kind = WIRE_FILE_BLOCK_DEVICE;
	who.device = (uint32_t)makedev(1, 1);
	assert_int_equal(file_find(&mounts, &disks, &who), -ENOENT);
	mounts_done(&mounts);
}

/* By an identity such as the wire has, on the file system of /var/tmp. */
static void test_identity(void **state)
{
	char path[] = "/var/tmp/pagepact-test-XXXXXX";
	int fd = mkstemp(path), found;
	struct disk_table disks = { .sysfs = "/sys" };
	struct wire_identity who = { 0 };
	struct stat st, again;

	(void)state;
	assert_int_equal(fstat(fd, &st), 0);
	who.device = (uint32_t)st.st_dev;
	who.inode = st.st_ino;
	if (ioctl(fd, FS_IOC_GETVERSION, &who.generation) < 0)
		who.generation = 0;
	unlink(path);
	mounts_init(&mounts, "/proc");
	assert_int_equal(mounts_begin(&mounts), 0);
	found = file_find(&mounts, &disks, &who);
	if (found == -ENODEV || found == -EPERM || found == -EOPNOTSUPP)
		skip(); /* memory, or not root */
	/* Deleted. */
	assert_int_equal(found, -ESTALE);
	close(fd);

	memcpy(strrchr(path, '-'), "-XXXXXX", 7);
	fd = mkstemp(path);
	assert_int_equal(fstat(fd, &st), 0);
	who.inode = st.st_ino;
	assert_int_equal(ioctl(fd, FS_IOC_GETVERSION, &who.generation), 0);
	close(fd);
	found = file_open(&mounts, &who);
	assert_true(found >= 0);
	assert_int_equal(fstat(found, &again), 0);
	assert_true(again.st_ino == st.st_ino && again.st_dev == st.st_dev);
	close(found);
	who.generation ^= 1;
	assert_int_equal(file_open(&mounts, &who), -ESTALE);
	/* A handle of generation 0 opens it, and is not believed. */
	who.generation = 0;
	assert_int_equal(file_open(&mounts, &who), -ESTALE);
	unlink(path);
	mounts_done(&mounts);
}

static void test_block_device(void **state)
{
	struct wire_identity who = { .kind = WIRE_FILE_BLOCK_DEVICE, .inode = 0xfe00001 };
	struct disk_place place = { .first_block = 256, .blocks = 1000 };
	struct wire_extent extent;

	(void)state;
	assert_int_equal(file_extents(-1, &who, &place, 0, UINT64_MAX, &extent, 1), 1);
	assert_int_equal(extent.index, 0);
	assert_int_equal(extent.block, 256);
	assert_int_equal(extent.count, 1000);
	assert_int_equal(file_extents(-1, &who, &place, 0, UINT64_MAX, &extent, 0), -E2BIG);
}

/* A file with data in its pages 0, 2 and 4. Return: a descriptor, or -1 where FIEMAP is unknown. */
static int file_with_holes(void)
{
	char path[] = "/var/tmp/pagepact-test-XXXXXX";
	int fd = mkstemp(path);
	struct wire_identity who = { 0 };
	struct disk_place place = { 0 };
	struct wire_extent extent;
	char page[4096];

	assert_true(fd >= 0);
	unlink(path);
	memset(page, 'x', sizeof(page));
	for (int i = 0; i < 5; i += 2)
		assert_int_equal(pwrite(fd, page, sizeof(page), i * 4096), sizeof(page));
	assert_int_equal(fsync(fd), 0);
	if (file_extents(fd, &who, &place, 0, UINT64_MAX, &extent, 0) != -E2BIG) {
		close(fd);
		return -1;
	}
	return fd;
}

static void test_extents(void **state)
{
	struct wire_identity who = { 0 };
	struct disk_place here = { 0 }, behind = { .first_block = 1000 };
	struct wire_extent a[8], b[8];
	int fd = file_with_holes();

	(void)state;
	if (fd < 0)
		skip();
	assert_int_equal(file_extents(fd, &who, &here, 0, UINT64_MAX, a, 8), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(a[i].index, 2 * i);
		assert_int_equal(a[i].count, 1);
	}
	assert_int_equal(file_extents(fd, &who, &behind, 0, UINT64_MAX, b, 8), 3);
	assert_int_equal(b[1].block, a[1].block + 1000);
	assert_int_equal(file_extents(fd, &who, &here, 0, UINT64_MAX, b, 2), -E2BIG);
	/* A range of it. */
	assert_int_equal(file_extents(fd, &who, &here, 1, 2, b, 8), 1);
	assert_int_equal(b[0].block, a[1].block);
	assert_int_equal(file_extents(fd, &who, &here, 5, 1000, b, 8), 0);
	assert_int_equal(file_extents(fd, &who, &here, WIRE_BLOCK_MAX, 1, b, 8), -EINVAL);
	close(fd);
}

static void test_extents_unknown(void **state)
{
	struct wire_identity who = { 0 };
	struct disk_place place = { 0 };
	struct wire_extent extent;
	int fd = memfd_create("memory", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, 8192), 0);
	assert_true(file_extents(fd, &who, &place, 0, UINT64_MAX, &extent, 1) < 0);
	close(fd);
}

static void test_reopen(void **state)
{
	char path[] = "/tmp/pagepact-test-XXXXXX", byte = 0;
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	int found = open(path, O_PATH | O_CLOEXEC);
	unlink(path);
	assert_int_equal(read(found, &byte, 1), -1);
	fd = file_reopen(found);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, &byte, 1), 1);
	assert_int_equal(write(fd, "y", 1), -1);
	close(fd);
	close(found);
	assert_int_equal(file_reopen(found), -ENOENT);
}

/* As in file.c. */
#define GET_ES_CACHE   _IOWR('f', 42, struct fiemap)
#define CLEAR_ES_CACHE _IO('f', 40)

/* What ext4 has in memory of the extents at a page, as many as there are in a row. */
static unsigned extents_cached(int fd, uint64_t page)
{
	struct fiemap ask = { .fm_start = page * 4096, .fm_length = INT64_MAX - page * 4096 };

	assert_int_equal(ioctl(fd, GET_ES_CACHE, &ask), 0);
	return ask.fm_mapped_extents;
}

static void test_what_was_forgotten_stays_so(void **state)
{
	struct wire_identity who = { 0 };
	struct disk_place here = { 0 };
	struct wire_extent a[8];
	int fd = file_with_holes();

	(void)state;
	if (fd < 0 || ioctl(fd, CLEAR_ES_CACHE) < 0)
		skip();
	assert_int_equal(extents_cached(fd, 0), 0);
	assert_int_equal(file_extents(fd, &who, &here, 0, UINT64_MAX, a, 8), 3);
	assert_int_equal(extents_cached(fd, 0), 0);
	assert_int_equal(file_extents(fd, &who, &here, 2, 1, a, 8), 1);
	assert_int_equal(extents_cached(fd, 2), 0);
	close(fd);
}

/* What the file's own readers and writers had loaded is theirs. */
static void test_what_was_known_stays_so(void **state)
{
	struct wire_identity who = { 0 };
	struct disk_place here = { 0 };
	struct wire_extent a[8];
	int fd = file_with_holes();
	unsigned known;
	char page[4096];

	(void)state;
	if (fd < 0 || ioctl(fd, CLEAR_ES_CACHE) < 0)
		skip();
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	assert_int_equal(pread(fd, page, sizeof(page), 0), sizeof(page));
	known = extents_cached(fd, 0);
	assert_true(known > 0);
	assert_int_equal(file_extents(fd, &who, &here, 0, UINT64_MAX, a, 8), 3);
	assert_true(extents_cached(fd, 0) >= known);
	/* The middle is not asked for on its own account: the beginning is known. */
	assert_int_equal(file_extents(fd, &who, &here, 2, 1, a, 8), 1);
	assert_true(extents_cached(fd, 0) >= known);
	close(fd);
}

/* Pages that have no block yet keep their place in line, and their data. */
static void test_delayed_allocation_is_kept(void **state)
{
	struct wire_identity who = { 0 };
	struct disk_place here = { 0 };
	struct wire_extent a[8];
	int fd = file_with_holes();
	char page[4096], again[4096];

	(void)state;
	if (fd < 0 || ioctl(fd, CLEAR_ES_CACHE) < 0)
		skip();
	memset(page, 'y', sizeof(page));
	assert_int_equal(pwrite(fd, page, sizeof(page), 8 * 4096), sizeof(page));
	assert_int_equal(ioctl(fd, CLEAR_ES_CACHE), 0);
	assert_true(extents_cached(fd, 8) > 0);
	assert_int_equal(extents_cached(fd, 0), 0);
	assert_int_equal(file_extents(fd, &who, &here, 0, UINT64_MAX, a, 8), 3);
	assert_true(extents_cached(fd, 8) > 0);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	assert_int_equal(pread(fd, again, sizeof(again), 8 * 4096), sizeof(again));
	assert_memory_equal(page, again, sizeof(page));
	assert_int_equal(file_extents(fd, &who, &here, 0, UINT64_MAX, a, 8), 4);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_there),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_block_device),
		cmocka_unit_test(test_extents),
		cmocka_unit_test(test_what_was_forgotten_stays_so),
		cmocka_unit_test(test_what_was_known_stays_so),
		cmocka_unit_test(test_delayed_allocation_is_kept),
		cmocka_unit_test(test_extents_unknown),
		cmocka_unit_test(test_reopen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
