/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "guest/mount-list.h"

static struct mount_list list;

static uint32_t device(unsigned maj, unsigned min)
{
	return maj << 20 | min;
}

static void read_fixture(uint32_t only)
{
	int fd = open(fixture("mountinfo"), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(mount_list_read(&list, fd, only), 0);
	/* Wherever it was read to. */
	assert_int_equal(mount_list_read(&list, fd, only), 0);
	close(fd);
}

static int read_text(const char *text)
{
	int fd = memfd_create("mountinfo", MFD_CLOEXEC), r;

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	r = mount_list_read(&list, fd, 0);
	close(fd);
	return r;
}

/* The index of the only mount at this place; -1 for none. */
static int at(const char *path)
{
	int found = -1;

	for (unsigned i = 0; i < list.count; i++)
		if (strcmp(list.text + list.mounts[i].path, path) == 0) {
			assert_int_equal(found, -1);
			found = (int)i;
		}
	return found;
}

static void test_local_file_systems(void **state)
{
	(void)state;
	read_fixture(0);
	assert_true(list.rooted);
	assert_int_equal(at("/"), 0);
	assert_int_equal(list.mounts[0].device, device(254, 1));
	assert_int_equal(list.mounts[0].id, 22);
	assert_int_equal(list.mounts[at("/srv/two words\\and\ttab")].device, device(254, 16));
	/* Half an escape is no escape. */
	assert_true(at("/cut\\04") > 0);
	assert_int_equal(list.mounts[at("/home")].id, 28);
	assert_int_equal(at("/proc"), -1);
	assert_int_equal(at("/tmp"), -1);
	assert_int_equal(at("/net"), -1);
	assert_int_equal(at("/snap"), -1);
}

static void test_subvolumes(void **state)
{
	(void)state;
	read_fixture(0);
	assert_int_equal(list.mounts[at("/data")].device, device(0, 50));
	assert_int_equal(list.mounts[at("/data")].subvolume, 257);
	assert_int_equal(list.mounts[at("/data/root")].subvolume, 256);
	assert_int_equal(list.mounts[at("/home")].subvolume, 0);
}

static void test_bars(void **state)
{
	(void)state;
	read_fixture(0);
	assert_true(list.mounts[at("/net/below")].barred);
	/* Begins with the same letters. */
	assert_false(list.mounts[at("/net2")].barred);
	/* Told before what bars it; the file system has another mount. */
	assert_true(list.mounts[at("/later/deep/er")].barred);
	assert_false(list.mounts[at("/other/way")].barred);
	/* At the very place. */
	assert_true(list.mounts[at("/boot")].barred);
	assert_false(list.mounts[at("/")].barred);
	assert_true(mount_list_has_way(&list));
}

static void test_a_bar_at_the_root_bars_all(void **state)
{
	(void)state;
	assert_int_equal(read_text("1 1 0:9 / / rw - nfs s:/ rw\n"
				   "2 1 8:1 / /local rw - ext4 /dev/sda1 rw\n"),
			 0);
	assert_true(list.rooted);
	assert_true(list.mounts[at("/local")].barred);
	assert_false(mount_list_has_way(&list));
	/* And an unknown kind is a bar. */
	assert_int_equal(read_text("1 1 0:9 / / rw - novelfs s rw\n2 1 8:1 / /l rw - ext4 d rw\n"),
			 0);
	assert_true(list.mounts[at("/l")].barred);
}

static void test_one_device(void **state)
{
	(void)state;
	read_fixture(device(8, 6));
	assert_int_equal(list.count, 2);
	assert_true(list.rooted);
	assert_true(list.mounts[at("/later/deep/er")].barred);
	assert_false(list.mounts[at("/other/way")].barred);
	read_fixture(device(8, 99));
	assert_int_equal(list.count, 0);
	assert_false(mount_list_has_way(&list));
}

static void test_what_is_not_understood(void **state)
{
	static const char *const bad[] = {
		"not a line of mountinfo\n",
		"1 1 8:1 / / rw - ext4 /dev/sda1\n",
		"1 1 8:1 / / rw ext4 /dev/sda1 rw\n",
		"x 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
		"1 1 8 / / rw - ext4 /dev/sda1 rw\n",
		"1 1 4096:1 / / rw - ext4 /dev/sda1 rw\n",
		"1 1 8:1048576 / / rw - ext4 /dev/sda1 rw\n",
		"1 1 8:1 / relative rw - ext4 /dev/sda1 rw\n",
		"1 1 8:1 / / rw - ext4 /dev/sda1 rw\n\n",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(read_text(bad[i]), -EBADMSG);
	assert_int_equal(read_text("1 1 8:1 / /deep rw - ext4 /dev/sda1 rw"), 0);
	assert_int_equal(list.count, 1);
	assert_false(list.rooted);
}

/* Reads what f has. */
static void read_file(FILE *f)
{
	assert_int_equal(fflush(f), 0);
	assert_int_equal(mount_list_read(&list, fileno(f), 0), 0);
	fclose(f);
}

/* Reads `count` lines, each by the format with its number. */
#define read_many(count, ...)                                                                      \
	do {                                                                                       \
		FILE *many_ = tmpfile();                                                           \
		assert_non_null(many_);                                                            \
		for (int i = 1; i <= (count); i++)                                                 \
			fprintf(many_, __VA_ARGS__);                                               \
		read_file(many_);                                                                  \
	} while (0)

static void test_bounds(void **state)
{
	char text[8192];
	FILE *f;

	(void)state;
	/* Of one file system, a few suffice; each subvolume counts. */
	read_many(50, "%d 1 8:1 / /m%d rw - ext4 d rw\n", i, i);
	assert_int_equal(list.count, MOUNTS_PER_DEVICE);
	read_many(50, "%d 1 0:50 / /m rw - btrfs d rw,subvolid=%d,subvol=/%d\n", i, i, i);
	assert_int_equal(list.count, 50);
	/* Bars are not kept, so none is too many. */
	read_many(2 * MOUNTS_MAX, "%d 1 8:%d / /m rw - ext4 d rw\n9 1 0:9 / /m rw - fuse d rw\n", i,
		  i);
	assert_int_equal(list.count, MOUNTS_MAX);
	assert_false(mount_list_has_way(&list));

	/* What does not fit is left out; what is shorter may fit still. */
	f = tmpfile();
	memset(text, 'x', 4000);
	text[4000] = '\0';
	for (int i = 0; i < 20; i++)
		fprintf(f, "%d 1 8:%d / /%s rw - ext4 d rw\n", i, i, text);
	fprintf(f, "99 1 8:99 / /short rw - ext4 d rw\n");
	read_file(f);
	assert_int_equal(list.count, MOUNTS_TEXT_BYTES / 4002 + 1);
	assert_in_range(at("/short"), 0, MOUNTS_MAX);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_local_file_systems),
		cmocka_unit_test(test_subvolumes),
		cmocka_unit_test(test_bars),
		cmocka_unit_test(test_a_bar_at_the_root_bars_all),
		cmocka_unit_test(test_one_device),
		cmocka_unit_test(test_what_is_not_understood),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
