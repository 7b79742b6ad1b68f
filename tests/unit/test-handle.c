/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include <fcntl.h>
#include <linux/magic.h>

#include "guest/handle.h"

static void test_local_file_systems_are_known(void **state)
{
	const uint64_t local[] = { EXT4_SUPER_MAGIC,	 XFS_SUPER_MAGIC,  BTRFS_SUPER_MAGIC,
				   EROFS_SUPER_MAGIC_V1, F2FS_SUPER_MAGIC, MSDOS_SUPER_MAGIC };
	const uint64_t others[] = { TMPFS_MAGIC,
				    NFS_SUPER_MAGIC,
				    OVERLAYFS_SUPER_MAGIC,
				    HUGETLBFS_MAGIC,
				    0x65735546 /* FUSE */,
				    BDEVFS_MAGIC,
				    SMB2_SUPER_MAGIC,
				    0,
				    UINT64_MAX };

	(void)state;
	for (unsigned i = 0; i < sizeof(local) / sizeof(local[0]); i++)
		assert_true(handle_knows(local[i]));
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(handle_knows(others[i]));
}

static void test_refused_without_asking_the_kernel(void **state)
{
	struct handle_target tmpfs = { .magic = TMPFS_MAGIC, .inode = 5 };
	struct handle_target metadata = { .magic = BTRFS_SUPER_MAGIC, .inode = 1, .subvolume = 5 };
	struct handle_target large = { .magic = EXT4_SUPER_MAGIC, .inode = 1ull << 32 };

	(void)state;
	assert_int_equal(handle_open(-1, &tmpfs, O_PATH), -EOPNOTSUPP);
	assert_int_equal(handle_open(-1, &metadata, O_PATH), -EOPNOTSUPP);
	assert_int_equal(handle_open(-1, &large, O_PATH), -ESTALE);
}

static void test_no_mount(void **state)
{
	const uint64_t local[] = { EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
				   EROFS_SUPER_MAGIC_V1 };

	(void)state;
	for (unsigned i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
		struct handle_target t = { .magic = local[i], .inode = 1000, .subvolume = 5 };
		int r = handle_open(-1, &t, O_PATH);

		assert_true(r == -EBADF || r == -EPERM);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_local_file_systems_are_known),
		cmocka_unit_test(test_refused_without_asking_the_kernel),
		cmocka_unit_test(test_no_mount),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
