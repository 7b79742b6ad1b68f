/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include <errno.h>

#include "host/config.h"
#include "host/url.h"

static char folder[64];
static struct config config;
static struct config_messages messages;

static void put(const char *name, const char *text)
{
	test_write(folder, name, text, strlen(text));
}

static int load(void)
{
	config_done(&config);
	config_messages_done(&messages);
	return config_load(folder, &config, &messages);
}

static void assert_message(size_t index, bool error, const char *start, const char *part)
{
	char want[256];

	assert_true(index < messages.n_items);
	snprintf(want, sizeof(want), "%s/%s", folder, start);
	if (strncmp(messages.items[index].text, want, strlen(want)) != 0 ||
	    !strstr(messages.items[index].text, part))
		fail_msg("\"%s\" is not \"%s...%s\"", messages.items[index].text, want, part);
	assert_int_equal(messages.items[index].error, error);
}

static void test_nothing(void **state)
{
	(void)state;
	assert_int_equal(load(), 0);
	assert_int_equal(config.n_vms, 0);
	assert_int_equal(messages.n_items, 0);
	rmdir(strcat(strcpy((char[80]){ 0 }, folder), "/vms.d"));
	assert_int_equal(load(), 0);
	assert_int_equal(config_load("/nonexistent", &config, &messages), -ENOENT);
}

static void test_whole(void **state)
{
	(void)state;
	put("pagepact.conf", "# what everybody may know\n[pagepact]\n"
			     "public_images = /a/base.raw\t/b/other.raw   # two\n"
			     "public_images = /c\n"
			     "trusted_processes = process_api agent-x\n");
	put("vms.d/b.conf", "[vm]\r\nname = alpha\r\nqmp = /run/alpha.sock\r\n"
			    "agent = serial:/run/agent.sock\r\nact = yes   # default no\r\n"
			    "domain = blue\r\ncache_limit = 12.5%\r\nreclaim_cache_first = no\r\n"
			    "balloon_floor = 25%\r\n");
	put("vms.d/a.conf", "[ vm ] ; is not a comment here\n");
	put("vms.d/c.conf", "; nothing but the socket\n\n  [vm]  # its own\n  qmp=/run/c.sock");
	put("vms.d/readme", "nonsense");
	put("vms.d/.hidden.conf", "nonsense");
	assert_int_equal(load(), 0);
	assert_int_equal(config.public_images.n_items, 3);
	assert_string_equal(config.public_images.items[0], "/a/base.raw");
	assert_string_equal(config.public_images.items[1], "/b/other.raw");
	assert_string_equal(config.public_images.items[2], "/c");
	assert_int_equal(config.trusted_processes.n_items, 2);
	assert_string_equal(config.trusted_processes.items[1], "agent-x");
	assert_int_equal(config.n_vms, 2);
	assert_string_equal(config.vms[0].name, "alpha");
	assert_string_equal(config.vms[0].qmp, "/run/alpha.sock");
	assert_int_equal(config.vms[0].agent.scheme, URL_SERIAL);
	assert_string_equal(config.vms[0].agent.path, "/run/agent.sock");
	assert_true(config.vms[0].act);
	assert_string_equal(config.vms[0].domain, "blue");
	assert_int_equal(config.vms[0].cache_limit.kind, LIMIT_TEXT_PERMILLE);
	assert_int_equal(config.vms[0].cache_limit.permille, 125);
	assert_int_equal(config.vms[1].cache_limit.kind, LIMIT_TEXT_DEFAULT);
	assert_int_equal(config.vms[0].cache_first, CONFIG_NO);
	assert_int_equal(config.vms[0].balloon_floor.permille, 250);
	assert_int_equal(config.vms[1].balloon_floor.kind, LIMIT_TEXT_DEFAULT);
	assert_int_equal(config.vms[1].cache_first, CONFIG_UNSET);
	assert_string_equal(config.vms[1].name, "c");
	assert_int_equal(config.vms[1].agent.scheme, URL_NONE);
	assert_false(config.vms[1].act);
	assert_string_equal(config.vms[1].domain, "c");
	assert_int_equal(messages.n_items, 1);
	assert_message(0, true, "vms.d/a.conf:1: ", "nothing may follow");
}

static void test_warnings(void **state)
{
	(void)state;
	put("pagepact.conf", "[pagepact]\ncolour = blue\n[image]\nx = y\n");
	put("vms.d/a.conf", "stray = 1\n[vm]\nqmp = /a\nballoon\033 = 3\nqmp = /b\n");
	assert_int_equal(load(), 0);
	assert_int_equal(messages.n_items, 5);
	assert_message(0, false, "pagepact.conf:2: ", "unknown key \"colour\"");
	assert_message(1, false, "pagepact.conf:4: ", "section [image]");
	assert_message(2, false, "vms.d/a.conf:1: ", "\"stray\" is in section []");
	assert_message(3, false, "vms.d/a.conf:4: ", "unknown key \"balloon?\"");
	assert_message(4, false, "vms.d/a.conf:5: ", "given twice");
	assert_int_equal(config.n_vms, 1);
	assert_string_equal(config.vms[0].qmp, "/b");
}

static void test_refusals(void **state)
{
	static const char *const cases[][3] = {
		{ "[vm]\nact = yes\n", ": ", "add qmp = " },
		{ "", ": ", "add qmp = " },
		{ "[vm]\nqmp = run/a\n", ":2: ", "must begin with /" },
		{ "[vm]\nqmp =\n", ":2: ", "must begin with /" },
		{ "[vm]\nqmp = unix:/a\n", ":2: ", "without \"unix:\"" },
		{ "[vm]\n\nqmp = /a\nact = perhaps\n", ":4: ", "yes or no, not \"perhaps\"" },
		{ "[vm]\nqmp = /a\nagent = /b\n", ":3: ", "serial:/PATH" },
		{ "[vm]\nqmp = /a\nagent = vsock:3:5\n", ":3: ", "serial:/PATH" },
		{ "[vm]\nqmp = /a\nagent = serial:b\n", ":3: ", "must begin with /" },
		{ "[vm]\nqmp = /a\nname = a b\n", ":3: ", "is no name" },
		{ "[vm]\nqmp = /a\ndomain = ../x\n", ":3: ", "is no name" },
		{ "[vm]\nqmp = /a\ncache_limit = 200%\n", ":3: ", "not \"200%\"" },
		{ "[vm]\nqmp = /a\ncache_limit =\n", ":3: ", "cache_limit must be" },
		{ "[vm]\nqmp = /a\nballoon_floor = 101%\n", ":3: ", "not \"101%\"" },
		{ "[vm]\nqmp = /a\nballoon_floor = off\n", ":3: ", "balloon_floor must be" },
		{ "[vm]\nqmp = /a\nballoon_floor = default\n", ":3: ", "balloon_floor must be" },
		{ "[vm]\nqmp = /a\nballoon_floor = 0\n", ":3: ", "balloon_floor must be" },
		{ "[vm]\nqmp = /a\nballoon_floor =\n", ":3: ", "balloon_floor must be" },
		{ "[vm]\nqmp = /a\nreclaim_cache_first = maybe\n", ":3: ", "must be yes or no" },
		{ "[vm\nqmp = /a\n", ":1: ", "must end with ]" },
		{ "[vm]\nqmp /a\n", ":2: ", "KEY = VALUE" },
		{ "[vm]\n= /a\n", ":2: ", "no key" },
		{ "[vm]\nqmp = /a\001b\n", ":2: ", "control character" },
	};

	(void)state;
	put("vms.d/z.conf", "[vm]\nqmp = /z\n");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char start[64];

		put("vms.d/a.conf", cases[i][0]);
		assert_int_equal(load(), 0);
		snprintf(start, sizeof(start), "vms.d/a.conf%s", cases[i][1]);
		assert_int_equal(messages.n_items, 1);
		assert_message(0, true, start, cases[i][2]);
		assert_int_equal(config.n_vms, 1);
		assert_string_equal(config.vms[0].name, "z");
	}
	put("pagepact.conf", "[pagepact]\npublic_images = /a b\n");
	assert_int_equal(load(), -EINVAL);
	assert_message(0, true, "pagepact.conf:2: ", "\"b\" must begin with /");
}

static void test_twice(void **state)
{
	(void)state;
	put("vms.d/1.conf", "[vm]\nname = a\nqmp = /1\nagent = serial:/a1\n");
	put("vms.d/2.conf", "[vm]\nname = a\nqmp = /2\n");
	put("vms.d/3.conf", "[vm]\nname = b\nqmp = /1\n");
	put("vms.d/4.conf", "[vm]\nname = c\nqmp = /4\nagent = serial:/a1\n");
	put("vms.d/5.conf", "[vm]\nname = d\nqmp = /5\n");
	assert_int_equal(load(), 0);
	assert_int_equal(config.n_vms, 2);
	assert_string_equal(config.vms[1].name, "d");
	assert_int_equal(messages.n_items, 3);
	assert_message(0, true, "vms.d/2.conf: ", "named \"a\"");
	assert_message(1, true, "vms.d/3.conf: ", "same qmp socket");
	assert_message(2, true, "vms.d/4.conf: ", "same agent address");
}

static void test_not_text(void **state)
{
	char *large = malloc(CONFIG_FILE_MAX + 1);
	char path[128];

	(void)state;
	memset(large, '#', CONFIG_FILE_MAX + 1);
	memcpy(large, "[vm]\nqmp = /a\n", 14);
	test_write(folder, "vms.d/large.conf", large, CONFIG_FILE_MAX + 1);
	test_write(folder, "vms.d/most.conf", large, CONFIG_FILE_MAX);
	test_write(folder, "vms.d/nul.conf", "[vm]\nqmp = /b\0c\n", 16);
	snprintf(path, sizeof(path), "%s/vms.d/fifo.conf", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/vms.d/gone.conf", folder);
	assert_int_equal(symlink("nowhere", path), 0);
	assert_int_equal(load(), 0);
	assert_int_equal(messages.n_items, 4);
	assert_message(0, true, "vms.d/fifo.conf: ", "not a regular file");
	assert_message(1, true, "vms.d/gone.conf: ", "No such file");
	assert_message(2, true, "vms.d/large.conf: ", "64 KiB");
	assert_message(3, true, "vms.d/nul.conf:1: ", "NUL byte");
	assert_int_equal(config.n_vms, 1);
	assert_string_equal(config.vms[0].name, "most");
	free(large);
}

static void test_many_messages(void **state)
{
	char *text = calloc(1, 32 * 1024);

	(void)state;
	for (int i = 0; i < 1000; i++)
		strcat(text, "x = 1\n");
	put("vms.d/a.conf", text);
	assert_int_equal(load(), 0);
	assert_int_equal(messages.n_items, CONFIG_MESSAGES_MAX);
	assert_message(CONFIG_MESSAGES_MAX - 1, false, "vms.d/a.conf:128: ", "too many messages");
	free(text);
}

static void test_names(void **state)
{
	char longest[80];

	(void)state;
	memset(longest, 'a', sizeof(longest));
	longest[63] = '\0';
	assert_int_equal(config_check_name("a"), 0);
	assert_int_equal(config_check_name("0.A_z-9"), 0);
	assert_int_equal(config_check_name(longest), 0);
	longest[63] = 'a';
	longest[64] = '\0';
	assert_int_equal(config_check_name(longest), -EINVAL);
	assert_int_equal(config_check_name(""), -EINVAL);
	assert_int_equal(config_check_name(".a"), -EINVAL);
	assert_int_equal(config_check_name("-a"), -EINVAL);
	assert_int_equal(config_check_name("a/b"), -EINVAL);
	assert_int_equal(config_check_name("a\303\244"), -EINVAL);
}

static void test_default_name(void **state)
{
	(void)state;
	put("vms.d/a b.conf", "[vm]\nqmp = /a\n");
	put("vms.d/v1.2.conf", "[vm]\nqmp = /b\n");
	assert_int_equal(load(), 0);
	assert_message(0, true, "vms.d/a b.conf: ", "add name = NAME");
	assert_int_equal(config.n_vms, 1);
	assert_string_equal(config.vms[0].name, "v1.2");
}

static void test_urls(void **state)
{
	char longest[URL_PATH_SIZE + 16] = "serial:/";
	const char *reason = NULL;
	char text[128];
	struct url url;

	(void)state;
	memset(longest + 8, 'x', URL_PATH_SIZE - 2);
	assert_int_equal(url_parse(longest, &url, NULL), 0);
	assert_int_equal(url_format(&url, text, sizeof(text)), 0);
	assert_string_equal(text, longest);
	assert_int_equal(url_format(&url, text, 20), -ENOBUFS);
	strcat(longest, "x");
	assert_int_equal(url_parse(longest, &url, &reason), -EINVAL);
	assert_non_null(strstr(reason, "108"));
	assert_int_equal(url_parse("serial:", &url, &reason), -EINVAL);
	assert_int_equal(url_parse("SERIAL:/a", &url, &reason), -EINVAL);
	assert_int_equal(url_format(&(struct url){ 0 }, text, sizeof(text)), 0);
	assert_string_equal(text, "");
}

static int setup(void **state)
{
	char path[96];

	(void)state;
	test_folder(folder);
	snprintf(path, sizeof(path), "%s/vms.d", folder);
	return mkdir(path, 0700);
}

static int teardown(void **state)
{
	(void)state;
	config_done(&config);
	config_messages_done(&messages);
	test_folder_remove(folder);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing),  TEST(test_whole),	       TEST(test_warnings),
		TEST(test_refusals), TEST(test_twice),	       TEST(test_not_text),
		TEST(test_names),    TEST(test_many_messages), TEST(test_default_name),
		TEST(test_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
