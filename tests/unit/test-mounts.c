/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of a test stands for /proc; what its mountinfos tell are directories in it, said to
 * be mount points of the mount that they really lie in.
 */
#include "guest-test.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "guest/mounts.h"

#define DEVICE(maj, min) ((uint32_t)(maj) << 20 | (min))

static char top[] = "/tmp/pagepact-mounts-XXXXXX";
static unsigned mount_id;
static struct mounts mounts;

__attribute__((format(printf, 1, 2))) static char *in_top(const char *format, ...)
{
	static char path[512];
	int n = snprintf(path, sizeof(path), "%s/", top);
	va_list ap;

	va_start(ap, format);
	vsnprintf(path + n, sizeof(path) - (size_t)n, format, ap);
	va_end(ap);
	return path;
}

static void write_mountinfo(const char *process, const char *text)
{
	FILE *f = fopen(in_top("%s/mountinfo", process), "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* A process whose root directory is the test's, in a namespace of this number. */
static void add_process(const char *process, unsigned namespace, const char *text)
{
	char link[32];

	assert_int_equal(mkdir(in_top("%s", process), 0700), 0);
	assert_int_equal(mkdir(in_top("%s/ns", process), 0700), 0);
	snprintf(link, sizeof(link), "mnt:[%u]", namespace);
	assert_int_equal(symlink(link, in_top("%s/ns/mnt", process)), 0);
	assert_int_equal(symlink(top, in_top("%s/root", process)), 0);
	write_mountinfo(process, text);
}

static void begin_anew(void)
{
	mounts_end(&mounts);
	mounts.stale = true;
	assert_int_equal(mounts_begin(&mounts), 0);
}

static bool is_directory(int fd, const char *path)
{
	struct stat a, b;

	return fd >= 0 && fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino;
}

static int setup(void **state)
{
	struct statx st;

	(void)state;
	memcpy(strrchr(top, '-'), "-XXXXXX", 7);
	assert_non_null(mkdtemp(top));
	assert_int_equal(statx(AT_FDCWD, top, 0, STATX_MNT_ID, &st), 0);
	mount_id = (unsigned)st.stx_mnt_id;
	add_process("self", 1, "");
	assert_int_equal(mkdir(in_top("a"), 0700), 0);
	assert_int_equal(mkdir(in_top("b"), 0700), 0);
	mounts_init(&mounts, top);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	mounts_done(&mounts);
	return nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

__attribute__((format(printf, 1, 2))) static void write_own(const char *format, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	write_mountinfo("self", text);
	begin_anew();
}

static void test_own_namespace(void **state)
{
	int fd;

	(void)state;
	write_own("%u 1 8:1 / %s/a rw - ext4 d rw\n%u 1 8:2 / %s/b rw - xfs d rw\n", mount_id, top,
		  mount_id, top);
	fd = mounts_open(&mounts, DEVICE(8, 1));
	assert_true(is_directory(fd, in_top("a")));
	/* No O_PATH, which old kernels take no handles with. */
	assert_int_equal(fcntl(fd, F_GETFL) & O_PATH, 0);
	assert_int_equal(mounts_open(&mounts, DEVICE(8, 1)), fd);
	assert_true(is_directory(mounts_open(&mounts, DEVICE(8, 2)), in_top("b")));
	assert_int_equal(mounts_open(&mounts, DEVICE(8, 3)), -ENODEV);
	mounts_end(&mounts);
	assert_int_equal(fcntl(fd, F_GETFL), -1);
	assert_int_equal(errno, EBADF);
}

static void test_another_mount_is_in_the_way(void **state)
{
	(void)state;
	write_own("%u 1 8:1 / %s/a rw - ext4 d rw\n%u 1 8:2 / %s/c rw - ext4 d rw\n", mount_id + 1,
		  top, mount_id, top);
	assert_int_equal(mounts_open(&mounts, DEVICE(8, 1)), -ENODEV);
	assert_true(mounts_open(&mounts, DEVICE(8, 2)) < 0); /* not there */
	/* A second mount of the same file system helps. */
	write_own("%u 1 8:1 / %s/a rw - ext4 d rw\n%u 1 8:1 / %s/b rw - ext4 d rw\n", mount_id + 1,
		  top, mount_id, top);
	assert_true(is_directory(mounts_open(&mounts, DEVICE(8, 1)), in_top("b")));
}

static void test_links_are_not_followed(void **state)
{
	(void)state;
	assert_int_equal(symlink("a", in_top("link")), 0);
	write_own("%u 1 8:1 / %s/link rw - ext4 d rw\n", mount_id, top);
	assert_true(mounts_open(&mounts, DEVICE(8, 1)) < 0);
	assert_int_equal(mkdir(in_top("a/inner"), 0700), 0);
	write_own("%u 1 8:1 / %s/link/inner rw - ext4 d rw\n", mount_id, top);
	assert_int_equal(mounts_open(&mounts, DEVICE(8, 1)), -ELOOP);
}

static void test_below_a_network_file_system(void **state)
{
	(void)state;
	write_own("%u 1 8:1 / %s/a rw - ext4 d rw\n9 1 0:9 / %s rw - nfs4 s:/ rw\n", mount_id, top,
		  top);
	assert_int_equal(mounts_open(&mounts, DEVICE(8, 1)), -EOPNOTSUPP);
	assert_int_equal(mounts_open(&mounts, DEVICE(0, 9)), -ENODEV);
	/* Another namespace has a better way to it. */
	char text[256];
	snprintf(text, sizeof(text), "1 1 0:5 / / rw - tmpfs t rw\n%u 1 8:1 / /b rw - ext4 d rw\n",
		 mount_id);
	add_process("10", 2, text);
	begin_anew();
	mounts.elsewhere[0].device = 0; /* as if ten seconds had passed */
	assert_true(is_directory(mounts_open(&mounts, DEVICE(8, 1)), in_top("b")));
}

static void test_other_namespaces(void **state)
{
	char text[256];

	(void)state;
	snprintf(text, sizeof(text), "%u 1 8:1 / /a rw - ext4 d rw\n", mount_id);
	add_process("7", 1, text); /* our own: its list is known */
	add_process("8", 2, text); /* its root directory is in a mount that is not told */
	begin_anew();
	assert_int_equal(mounts_open(&mounts, DEVICE(8, 1)), -ENODEV);
	snprintf(text, sizeof(text),
		 "1 1 0:5 / / rw - overlay o rw\n%u 1 8:2 / /b rw - ext4 d rw\n", mount_id);
	add_process("9", 2, text);
	begin_anew();
	assert_true(is_directory(mounts_open(&mounts, DEVICE(8, 2)), in_top("b")));
	/* The next batch goes there without looking for it. */
	begin_anew();
	assert_true(is_directory(mounts_open(&mounts, DEVICE(8, 2)), in_top("b")));
	assert_int_equal(mounts.searches, 0);
	/* It has gone from there. */
	write_mountinfo("9", "1 1 0:5 / / rw - overlay o rw\n");
	begin_anew();
	assert_int_equal(mounts_open(&mounts, DEVICE(8, 2)), -ENODEV);
	assert_int_equal(mounts.searches, 1);
	/* And is not looked for all the time. */
	begin_anew();
	assert_int_equal(mounts_open(&mounts, DEVICE(8, 2)), -ENODEV);
	assert_int_equal(mounts.searches, 0);
}

static void test_a_root_directory_on_the_network(void **state)
{
	char text[256];

	(void)state;
	snprintf(text, sizeof(text), "1 1 0:5 / / rw - nfs n rw\n%u 1 8:1 / /a rw - ext4 d rw\n",
		 mount_id);
	add_process("8", 2, text);
	begin_anew();
	assert_int_equal(mounts_open(&mounts, DEVICE(8, 1)), -EOPNOTSUPP);
}

static void test_bounds(void **state)
{
	char name[16];

	(void)state;
	for (unsigned i = 0; i < MOUNTS_NAMESPACES_MAX + 20; i++) {
		snprintf(name, sizeof(name), "%u", 100 + i);
		add_process(name, 100 + i, "1 1 0:5 / / rw - overlay o rw\n");
	}
	begin_anew();
	for (unsigned i = 0; i < 3 * MOUNTS_OPEN_MAX; i++)
		assert_int_equal(mounts_open(&mounts, DEVICE(9, i)),
				 i < MOUNTS_SEARCHES_MAX ? -ENODEV : -EAGAIN);
	assert_int_equal(mounts.searches, MOUNTS_SEARCHES_MAX);
	assert_int_equal(mounts.elsewhere_next, MOUNTS_SEARCHES_MAX);
	assert_int_equal(mounts.open_count, MOUNTS_OPEN_MAX);
	/* More devices than descriptors are kept. */
	char text[4096] = "";
	for (unsigned i = 0; i < 2 * MOUNTS_OPEN_MAX; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "%u 1 8:%u / %s/a rw - ext4 d rw\n", mount_id, i, top);
	write_mountinfo("self", text);
	begin_anew();
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < 2 * MOUNTS_OPEN_MAX; i++)
			assert_true(is_directory(mounts_open(&mounts, DEVICE(8, i)), in_top("a")));
	mounts_end(&mounts);
	for (unsigned i = 0; i < MOUNTS_OPEN_MAX; i++)
		assert_int_equal(fcntl(mounts.open[i].fd, F_GETFL), -1);
}

static void test_a_list_that_is_not_understood(void **state)
{
	(void)state;
	write_mountinfo("self", "something else\n");
	assert_int_equal(mounts_begin(&mounts), -EBADMSG);
	write_mountinfo("self", "1 1 8:1 / / rw - ext4 d rw\n");
	assert_int_equal(mounts_begin(&mounts), 0);
	mounts_done(&mounts);
	unlink(in_top("self/mountinfo"));
	assert_int_equal(mounts_begin(&mounts), -ENOENT);
}

static void test_subvolumes(void **state)
{
	struct subvolume_list *found;

	(void)state;
	write_own("%u 1 0:50 / %s/a rw - btrfs d rw,subvolid=257,subvol=/a\n"
		  "%u 1 0:50 / %s/b rw - btrfs d rw,subvolid=256,subvol=/b\n"
		  "%u 1 0:51 / %s/b rw - btrfs d rw,subvolid=300,subvol=/b\n",
		  mount_id, top, mount_id, top, mount_id, top);
	found = mounts_subvolumes(&mounts, DEVICE(0, 50), false);
	/* And the topmost. */
	assert_int_equal(found->count, 3);
	assert_int_equal(found->ids[0], 257);
	assert_int_equal(found->ids[1], 256);
	assert_int_equal(found->ids[2], 5);
	subvolumes_add(found, 999);
	assert_ptr_equal(mounts_subvolumes(&mounts, DEVICE(0, 50), true), found);
	assert_int_equal(found->count, 4);
	/* Some time later it is read anew. */
	found->usec = 1;
	assert_int_equal(mounts_subvolumes(&mounts, DEVICE(0, 50), false)->count, 4);
	assert_int_equal(mounts_subvolumes(&mounts, DEVICE(0, 50), true)->count, 3);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_own_namespace),
		test(test_another_mount_is_in_the_way),
		test(test_links_are_not_followed),
		test(test_below_a_network_file_system),
		test(test_other_namespaces),
		test(test_a_root_directory_on_the_network),
		test(test_bounds),
		test(test_a_list_that_is_not_understood),
		test(test_subvolumes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
