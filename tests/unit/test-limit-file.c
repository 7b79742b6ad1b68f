/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "host/limit-file.h"

static char dir[] = "/tmp/pagepact-limits-XXXXXX", state_dir[64];

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/limits.d/%s", state_dir, name);
	return path;
}

static void put(const char *name, const char *text, size_t size)
{
	_cleanup_close_ int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, size), size);
}

static int setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(state_dir, sizeof(state_dir), "%s/state", dir);
	return 0;
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static void test_nothing_kept(void **state)
{
	struct limit_text limit;

	(void)state;
	assert_int_equal(limit_file_read(state_dir, "a", &limit), 0);
}

static void test_round_trip(void **state)
{
	static const struct limit_text limits[] = {
		{ LIMIT_TEXT_BYTES, 0, INT64_MAX },
		{ LIMIT_TEXT_PERMILLE, 1000, 0 },
		{ LIMIT_TEXT_OFF, 0, 0 },
		{ LIMIT_TEXT_DEFAULT, 0, 0 },
	};
	struct limit_text limit;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		assert_int_equal(limit_file_write(state_dir, "a", &limits[i]), 0);
		assert_int_equal(limit_file_read(state_dir, "a", &limit), 1);
		assert_memory_equal(&limit, &limits[i], sizeof(limit));
	}
	assert_int_equal(limit_file_read(state_dir, "b", &limit), 0);
}

/* A write that was cut short by a crash leaves its own file, which the next one takes over. */
static void test_left_over(void **state)
{
	const struct limit_text off = { .kind = LIMIT_TEXT_OFF };
	struct limit_text limit;

	(void)state;
	put(".a.new", "123", 3);
	assert_int_equal(limit_file_write(state_dir, "a", &off), 0);
	assert_int_equal(access(path_of(".a.new"), F_OK), -1);
	assert_int_equal(limit_file_read(state_dir, "a", &limit), 1);
	assert_int_equal(limit.kind, LIMIT_TEXT_OFF);
}

static void test_damaged(void **state)
{
	static const struct {
		const char *text;
		size_t size;
	} bad[] = {
		{ "", 0 },	  { "\n", 1 },
		{ "16M", 3 },	  { "16M\n\n", 5 },
		{ "off\0\n", 5 }, { "\0off\n", 5 },
		{ "none\n", 5 },  { "0000000000000000000000000000000000000001\n", 41 },
	};
	struct limit_text limit = { LIMIT_TEXT_BYTES, 0, 7 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put("bad", bad[i].text, bad[i].size);
		assert_int_equal(limit_file_read(state_dir, "bad", &limit), -EBADMSG);
		assert_int_equal(limit.bytes, 7);
	}
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	assert_int_equal(limit_file_read(state_dir, "fifo", &limit), -EBADMSG);
	assert_int_equal(symlink("a", path_of("link")), 0);
	assert_int_equal(limit_file_read(state_dir, "link", &limit), -ELOOP);
}

static void test_cannot_be_kept(void **state)
{
	const struct limit_text off = { .kind = LIMIT_TEXT_OFF };

	(void)state;
	assert_int_equal(limit_file_write("/proc/none", "a", &off), -ENOENT);
	assert_int_equal(mkdir(path_of("is-a-directory"), 0700), 0);
	assert_int_equal(limit_file_write(state_dir, "is-a-directory", &off), -EISDIR);
	assert_int_equal(access(path_of(".is-a-directory.new"), F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_kept),   cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_left_over),      cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_cannot_be_kept),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
