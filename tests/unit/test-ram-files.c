/* SPDX-License-Identifier: Apache-2.0 */
/* A file of memory as a guest's RAM; what swap does to it is tested with guests. */
#include "host-test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/ram-files.h"

#define MIB  (1ull << 20)
#define SIZE (4 * MIB)

static struct ram_files files;

static int make(void **state)
{
	static const char full[SIZE] = { 1 };
	int fd = memfd_create("ram", MFD_CLOEXEC);

	(void)state;
	files = (struct ram_files){ .fds = { fd }, .count = 1 };
	return fd >= 0 && pwrite(fd, full, SIZE, 0) == (ssize_t)SIZE ? 0 : -1;
}

static int drop(void **state)
{
	(void)state;
	ram_files_close(&files);
	return files.count + files.n_out ? -1 : 0;
}

static uint64_t held(void)
{
	uint64_t bytes;

	assert_int_equal(ram_files_bytes(&files, &bytes), 0);
	return bytes;
}

static void punch(uint64_t offset, uint64_t bytes)
{
	assert_int_equal(fallocate(files.fds[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (off_t)offset, (off_t)bytes),
			 0);
}

/* What was said to be out and is in memory counts as held, and is forgotten. */
static void test_what_is_back(void **state)
{
	const struct ram_piece piece = { .bytes = 2 * MIB };
	uint64_t absent;

	(void)state;
	assert_int_equal(held(), SIZE);
	assert_int_equal(ram_files_absent(&files, &piece, &absent), 0);
	assert_int_equal(absent, 0);
	ram_files_out(&files, &piece);
	assert_int_equal(files.n_out, 1);
	assert_int_equal(held(), SIZE);
	assert_int_equal(files.n_out, 0);
}

/* A hole is absent, and has no blocks that were to be taken off twice. */
static void test_what_was_punched_since(void **state)
{
	const struct ram_piece piece = { .offset = MIB, .bytes = 2 * MIB };
	uint64_t absent;

	(void)state;
	punch(2 * MIB, MIB);
	assert_int_equal(ram_files_absent(&files, &piece, &absent), 0);
	assert_int_equal(absent, MIB);
	ram_files_out(&files, &piece);
	assert_int_equal(held(), SIZE - MIB);
	assert_int_equal(files.n_out, 0);
	punch(0, SIZE);
	ram_files_out(&files, &piece);
	assert_int_equal(held(), 0);
}

/* What overlaps with what is known would count twice. */
static void test_each_page_once(void **state)
{
	(void)state;
	ram_files_out(&files, &(struct ram_piece){ .offset = MIB, .bytes = MIB });
	ram_files_out(&files, &(struct ram_piece){ .offset = MIB + 4096, .bytes = MIB });
	ram_files_out(&files, &(struct ram_piece){ .offset = 0, .bytes = MIB + 4096 });
	assert_int_equal(files.n_out, 1);
	/* What goes on where the last one ends is one with it. */
	ram_files_out(&files, &(struct ram_piece){ .offset = 2 * MIB, .bytes = MIB });
	assert_int_equal(files.n_out, 1);
	assert_int_equal(files.out[0].bytes, 2 * MIB);
	ram_files_out(&files, &(struct ram_piece){ .offset = 0, .bytes = MIB });
	assert_int_equal(files.n_out, 2);
}

static void test_which(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(fstat(files.fds[0], &st), 0);
	assert_int_equal(ram_files_find(&files, st.st_dev, st.st_ino), 0);
	assert_int_equal(ram_files_find(&files, st.st_dev, st.st_ino + 1), -ENOENT);
	assert_int_equal(ram_files_find(&files, st.st_dev + 1, st.st_ino), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_is_back, make, drop),
		cmocka_unit_test_setup_teardown(test_what_was_punched_since, make, drop),
		cmocka_unit_test_setup_teardown(test_each_page_once, make, drop),
		cmocka_unit_test_setup_teardown(test_which, make, drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
