/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ctl/progress.h"
#include "ctl/text.h"

static void check_escape(const char *text, bool utf8, const char *expected)
{
	_cleanup_free_ char *result = text_escape(text, utf8);

	assert_string_equal(result, expected);
}

static void test_escape_plain(void **state)
{
	(void)state;
	check_escape("", true, "");
	check_escape("/usr/lib/x86_64-linux-gnu/libc.so.6", false,
		     "/usr/lib/x86_64-linux-gnu/libc.so.6");
	check_escape("caf\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x98\x80", true,
		     "caf\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x98\x80");
	check_escape("caf\xc3\xa9 \xf0\x9f\x98\x80", false, "caf\\u00e9 \\U0001f600");
}

static void test_escape_control(void **state)
{
	(void)state;
	check_escape("a\x1b[2Jb", true, "a\\x1b[2Jb");
	check_escape("a\nb\tc\r\x7f\x01", true, "a\\x0ab\\x09c\\x0d\\x7f\\x01");
	check_escape("\\x1b", true, "\\\\x1b");
	/* C1, as UTF-8 and as a bare byte: both start a control sequence somewhere. */
	check_escape("\xc2\x9b"
		     "31m",
		     true, "\\u009b31m");
	check_escape("\x9b"
		     "31m",
		     true, "\\x9b31m");
	/* A name that reads backwards, and one that hides. */
	check_escape("a\xe2\x80\xae"
		     "cod.exe",
		     true, "a\\u202ecod.exe");
	check_escape("\xe2\x80\x8b\xef\xbb\xbf\xe2\x81\xa6", true, "\\u200b\\ufeff\\u2066");
	check_escape("\xf3\xa0\x81\x81", true, "\\U000e0041");
}

static void test_escape_broken(void **state)
{
	(void)state;
	check_escape("\xff\xfe", true, "\\xff\\xfe");
	check_escape("\xc3", true, "\\xc3");
	check_escape("\xe2\x82", true, "\\xe2\\x82");
	check_escape("\xf0\x9f\x98", true, "\\xf0\\x9f\\x98");
	/* Overlong "/", surrogate, beyond Unicode. */
	check_escape("\xc0\xaf", true, "\\xc0\\xaf");
	check_escape("\xe0\x80\xaf", true, "\\xe0\\x80\\xaf");
	check_escape("\xed\xa0\x80", true, "\\ud800");
	check_escape("\xf4\x90\x80\x80", true, "\\xf4\\x90\\x80\\x80");
}

/* No byte sequence of length two may leave a control character behind. */
static void test_escape_every_pair(void **state)
{
	(void)state;
	for (unsigned a = 1; a < 256; a++)
		for (unsigned b = 1; b < 256; b++) {
			char text[] = { (char)a, (char)b, 0 };
			_cleanup_free_ char *safe = text_escape(text, false);

			for (const char *p = safe; *p; p++)
				if (*p < 0x20 || *p > 0x7e)
					fail_msg("%02x %02x became %02x", a, b, (unsigned char)*p);
		}
}

static void check_size(long long bytes, const char *expected)
{
	char buffer[TEXT_SIZE_MAX];

	assert_string_equal(text_size(bytes, false, buffer), expected);
}

static void test_size(void **state)
{
	char buffer[TEXT_SIZE_MAX];

	(void)state;
	check_size(0, "0 B");
	check_size(1023, "1023 B");
	check_size(1024, "1.0 KiB");
	check_size(1024 * 1024 - 1, "1024.0 KiB");
	check_size(1024 * 1024, "1.0 MiB");
	check_size(1024LL * 1024 * 1024, "1024.0 MiB");
	check_size(1024LL * 1024 * 1024 * 10, "10.0 GiB");
	check_size(24LL << 30, "24.0 GiB");
	check_size(20LL << 40, "20.0 TiB");
	check_size(432013312, "412.0 MiB");
	check_size(-432013312, "-412.0 MiB");
	check_size(LLONG_MAX, "8388608.0 TiB");
	check_size(LLONG_MIN, "-8388608.0 TiB");
	assert_string_equal(text_size(LLONG_MIN, true, buffer), "-9223372036854775808");
	assert_string_equal(text_size(432013312, true, buffer), "432013312");
}

static void test_numbers(void **state)
{
	char buffer[TEXT_SIZE_MAX];

	(void)state;
	assert_string_equal(text_permille(0, buffer), "0.0");
	assert_string_equal(text_permille(1000, buffer), "100.0");
	assert_string_equal(text_permille(-23, buffer), "-2.3");
	assert_string_equal(text_permille(LLONG_MIN, buffer), "-922337203685477580.8");
	assert_string_equal(text_duration(0, buffer), "0.0 s");
	assert_string_equal(text_duration(3290000, buffer), "3.2 s");
	assert_string_equal(text_duration(120000000, buffer), "2 min");
	assert_string_equal(text_duration(7200000000, buffer), "2 h");
	assert_string_equal(text_duration(86400000000 * 9, buffer), "9 d");
	text_duration(LLONG_MIN, buffer);
	text_duration(LLONG_MAX, buffer);
}

static void check_progress(const char *json, const char *expected)
{
	json_auto_t *parameters = json_loads(json, 0, NULL);
	_cleanup_free_ char *text = progress_text(parameters);

	assert_non_null(parameters);
	assert_string_equal(text, expected);
}

static void test_progress(void **state)
{
	(void)state;
	check_progress("{\"stage\":\"scan\",\"vm\":\"alpha\",\"done\":1,\"total\":4}",
		       "alpha: scan 25 %");
	check_progress("{\"stage\":\"wait\",\"message\":\"for the host\"}", "wait for the host");
	check_progress("{\"stage\":\"map\",\"done\":9,\"total\":4}", "map");
	check_progress("{\"stage\":\"map\",\"done\":-1,\"total\":4}", "map");
	check_progress("{\"stage\":\"map\",\"done\":9223372036854775807,"
		       "\"total\":9223372036854775807}",
		       "map 100 %");
	check_progress("{\"vm\":\"a\\u001b[2J\",\"stage\":\"caf\\u00e9\"}",
		       "a\\x1b[2J: caf\\u00e9");
	check_progress("{}", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape_plain),  cmocka_unit_test(test_escape_control),
		cmocka_unit_test(test_escape_broken), cmocka_unit_test(test_escape_every_pair),
		cmocka_unit_test(test_size),	      cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_progress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
