/* SPDX-License-Identifier: Apache-2.0 */
#include "file-fake.h"

static void test_other_file_systems(void **state)
{
	const uint64_t others[] = { TMPFS_MAGIC, NFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, 0x65735546,
				    HUGETLBFS_MAGIC };

	(void)state;
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct file_key key = { .mapping = 1, .inode = 2, .magic = others[i], .device = 3 };

		assert_int_equal(key_open(&key), -EOPNOTSUPP);
		assert_int_equal(peeks, 0);
	}
}

static void test_mounted_nowhere(void **state)
{
	struct file_key key = {
		.mapping = 1, .inode = 2, .magic = XFS_SUPER_MAGIC, .device = 0xfffu << 20 | 7
	};

	(void)state;
	assert_int_equal(key_open(&key), -ENODEV);
	assert_int_equal(peeks, 0);
}

static void test_proof(void **state)
{
	char path[] = "/var/tmp/pagepact-test-XXXXXX", byte;
	struct file_key key, other;

	(void)state;
	if (!file_make(path, &key))
		skip();
	int fd = key_open(&key);
	assert_true(fd >= 0);
	assert_int_equal(peeks, 1);
	/* Nobody notices the look that the proof is made by. */
	assert_true(peek_flags & O_PATH);
	assert_int_equal(read(fd, &byte, 1), 1);
	assert_int_equal(write(fd, &byte, 1), -1);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);

	/* Each part of the key must be the same. */
	for (int i = 0; i < 5; i++) {
		other = key;
		other.mapping += i == 0;
		other.inode += i == 1;
		other.magic += i == 2;
		other.device += i == 3;
		other.generation += i == 4;
		owner_set(&other);
		assert_int_equal(key_open(&key), -ESTALE);
		assert_int_equal(peeks, 1);
	}
	owner_set(&key);
	peek_result = -EOPNOTSUPP;
	assert_int_equal(key_open(&key), -EOPNOTSUPP);
	peek_result = 0;
	unlink(path);
}

static void test_left_alone(void **state)
{
	char path[] = "/var/tmp/pagepact-test-XXXXXX";
	struct file_key key;

	(void)state;
	if (!file_make(path, &key))
		skip();
	owner.flags = SCAN_OWNER_LEASED;
	assert_int_equal(key_open(&key), -EBUSY);
	assert_true(peek_flags & O_PATH);
	owner.flags = SCAN_OWNER_WRITE_ERROR;
	assert_int_equal(key_open(&key), -EBUSY);
	owner.flags = 0;

	int holder = open(path, O_RDONLY | O_CLOEXEC);
	unlink(path);
	assert_int_equal(key_open(&key), -ESTALE);
	close(holder);
}

static void test_directory(void **state)
{
	char path[] = "/var/tmp/pagepact-test-XXXXXX", folder[] = "/var/tmp/pagepact-test-XXXXXX";
	struct file_key key;
	struct stat st;

	(void)state;
	if (!file_make(path, &key))
		skip();
	unlink(path);
	assert_non_null(mkdtemp(folder));
	assert_int_equal(stat(folder, &st), 0);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ioctl(fd, FS_IOC_GETVERSION, &key.generation), 0);
	close(fd);
	key.inode = st.st_ino;
	owner_set(&key);
	assert_int_equal(key_open(&key), -EOPNOTSUPP);
	rmdir(folder);
}

static void test_no_such_device(void **state)
{
	struct file_key key = { .mapping = 1,
				.inode = 0xfffu << 20 | 9,
				.magic = FILE_SYSTEM_BDEVFS };

	(void)state;
	assert_int_equal(key_open(&key), -ENOENT);
	assert_int_equal(peeks, 0);
}

static int setup(void **state)
{
	(void)state;
	mounts_init(&mounts, "/proc");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mounts_done(&mounts);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_other_file_systems),
		cmocka_unit_test(test_mounted_nowhere),
		cmocka_unit_test(test_proof),
		cmocka_unit_test(test_left_alone),
		cmocka_unit_test(test_directory),
		cmocka_unit_test(test_no_such_device),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
