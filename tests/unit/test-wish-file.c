/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "host/wish-file.h"

static char dir[] = "/tmp/pagepact-wishes-XXXXXX", state_dir[64];

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

static int keep(const char *name, const char *text)
{
	return wish_file_write(state_dir, "limits.d", name, text);
}

static int kept(const char *name, char text[static WISH_TEXT_SIZE])
{
	return wish_file_read(state_dir, "limits.d", name, text);
}

static void test_nothing_kept(void **state)
{
	char text[WISH_TEXT_SIZE];

	(void)state;
	assert_int_equal(kept("a", text), 0);
}

static void test_round_trip(void **state)
{
	static const char *const texts[] = { "9223372036854775807", "100%", "off", "x" };
	char text[WISH_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(keep("a", texts[i]), 0);
		assert_int_equal(kept("a", text), 1);
		assert_string_equal(text, texts[i]);
	}
	assert_int_equal(kept("b", text), 0);
	/* Another folder is another wish. */
	assert_int_equal(wish_file_read(state_dir, "hints.d", "a", text), 0);
	assert_int_equal(wish_file_write(state_dir, "hints.d", "a", "cache"), 0);
	assert_int_equal(kept("a", text), 1);
	assert_string_equal(text, "x");
}

/* A write that was cut short by a crash leaves its own file, which the next one takes over. */
static void test_left_over(void **state)
{
	char text[WISH_TEXT_SIZE];

	(void)state;
	put(".a.new", "123", 3);
	assert_int_equal(keep("a", "off"), 0);
	assert_int_equal(access(path_of(".a.new"), F_OK), -1);
	assert_int_equal(kept("a", text), 1);
	assert_string_equal(text, "off");
}

static void test_damaged(void **state)
{
	static const struct {
		const char *text;
		size_t size;
	} bad[] = {
		{ "", 0 },
		{ "\n", 1 },
		{ "16M", 3 },
		{ "16M\n\n", 5 },
		{ "off\0\n", 5 },
		{ "\0off\n", 5 },
		{ "0000000000000000000000000000000000000001\n", 41 },
	};
	char text[WISH_TEXT_SIZE] = "before";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put("bad", bad[i].text, bad[i].size);
		assert_int_equal(kept("bad", text), -EBADMSG);
		assert_string_equal(text, "before");
	}
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	assert_int_equal(kept("fifo", text), -EBADMSG);
	assert_int_equal(symlink("a", path_of("link")), 0);
	assert_int_equal(kept("link", text), -ELOOP);
}

static void test_cannot_be_kept(void **state)
{
	(void)state;
	assert_int_equal(wish_file_write("/proc/none", "limits.d", "a", "off"), -ENOENT);
	assert_int_equal(mkdir(path_of("is-a-directory"), 0700), 0);
	assert_int_equal(keep("is-a-directory", "off"), -EISDIR);
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
