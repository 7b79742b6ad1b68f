/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/parse.h"

#define UNTOUCHED 0xdeadbeefULL

struct parse_case {
	const char *text;
	int result;
	uint64_t value;
};

static void check(int (*parse)(const char *, uint64_t *), const struct parse_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = UNTOUCHED;
		int r = parse(cases[i].text, &value);

		if (r != cases[i].result || value != (r == 0 ? cases[i].value : UNTOUCHED))
			fail_msg("\"%s\": result %d, value %ju", cases[i].text, r,
				 (uintmax_t)value);
	}
}

static void test_u64(void **state)
{
	static const struct parse_case cases[] = {
		{ "0", 0, 0 },
		{ "7", 0, 7 },
		{ "007", 0, 7 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "18446744073709551620", -ERANGE, 0 },
		{ "99999999999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "1K", -EINVAL, 0 },
		{ "1.0", -EINVAL, 0 },
		{ "\xd9\xa1", -EINVAL, 0 },
	};

	(void)state;
	check(parse_u64, cases, ARRAY_SIZE(cases));
}

static void test_size(void **state)
{
	static const struct parse_case cases[] = {
		{ "0", 0, 0 },
		{ "4096", 0, 4096 },
		{ "1K", 0, 1024 },
		{ "1k", 0, 1024 },
		{ "3M", 0, 3 * 1024 * 1024 },
		{ "2g", 0, 2ULL << 30 },
		{ "5T", 0, 5ULL << 40 },
		{ "0T", 0, 0 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "16777215T", 0, 16777215ULL << 40 },
		{ "16777216T", -ERANGE, 0 },
		{ "18014398509481984K", -ERANGE, 0 },
		{ "99999999999999999999G", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ "1KiB", -EINVAL, 0 },
		{ "1KB", -EINVAL, 0 },
		{ "1.5G", -EINVAL, 0 },
		{ "1 M", -EINVAL, 0 },
		{ "-1M", -EINVAL, 0 },
		{ "1P", -EINVAL, 0 },
		{ "1M\n", -EINVAL, 0 },
	};

	(void)state;
	check(parse_size, cases, ARRAY_SIZE(cases));
}

static void test_limit(void **state)
{
	static const struct {
		const char *text;
		int result;
		struct limit_text limit;
		const char *formatted;
	} cases[] = {
		{ "", 0, { LIMIT_TEXT_DEFAULT, 0, 0 }, "default" },
		{ "default", 0, { LIMIT_TEXT_DEFAULT, 0, 0 }, "default" },
		{ "off", 0, { LIMIT_TEXT_OFF, 0, 0 }, "off" },
		{ "0", 0, { LIMIT_TEXT_OFF, 0, 0 }, "off" },
		{ "0M", 0, { LIMIT_TEXT_OFF, 0, 0 }, "off" },
		{ "128M", 0, { LIMIT_TEXT_BYTES, 0, 128 << 20 }, "134217728" },
		{ "1", 0, { LIMIT_TEXT_BYTES, 0, 1 }, "1" },
		{ "9223372036854775807",
		  0,
		  { LIMIT_TEXT_BYTES, 0, INT64_MAX },
		  "9223372036854775807" },
		{ "25%", 0, { LIMIT_TEXT_PERMILLE, 250, 0 }, "25.0%" },
		{ "0.1%", 0, { LIMIT_TEXT_PERMILLE, 1, 0 }, "0.1%" },
		{ "12.5%", 0, { LIMIT_TEXT_PERMILLE, 125, 0 }, "12.5%" },
		{ "100.0%", 0, { LIMIT_TEXT_PERMILLE, 1000, 0 }, "100.0%" },
		{ "9223372036854775808", -ERANGE, { 0 }, "" },
		{ "99999999999999999999", -ERANGE, { 0 }, "" },
		{ "0%", -EINVAL, { 0 }, "" },
		{ "0.0%", -EINVAL, { 0 }, "" },
		{ "100.1%", -EINVAL, { 0 }, "" },
		{ "101%", -EINVAL, { 0 }, "" },
		{ "18446744073709551615%", -EINVAL, { 0 }, "" },
		{ "99999999999999999999%", -EINVAL, { 0 }, "" },
		{ "12.55%", -EINVAL, { 0 }, "" },
		{ "12.%", -EINVAL, { 0 }, "" },
		{ ".5%", -EINVAL, { 0 }, "" },
		{ "%", -EINVAL, { 0 }, "" },
		{ "5%%", -EINVAL, { 0 }, "" },
		{ "5 %", -EINVAL, { 0 }, "" },
		{ "-1", -EINVAL, { 0 }, "" },
		{ "OFF", -EINVAL, { 0 }, "" },
		{ "off ", -EINVAL, { 0 }, "" },
		{ "1.5G", -EINVAL, { 0 }, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct limit_text limit = { LIMIT_TEXT_BYTES, 7, 7 }, again;
		char buffer[LIMIT_TEXT_SIZE];

		assert_int_equal(limit_text_parse(cases[i].text, &limit), cases[i].result);
		if (cases[i].result < 0) {
			assert_int_equal(limit.bytes, 7);
			continue;
		}
		assert_memory_equal(&limit, &cases[i].limit, sizeof(limit));
		assert_string_equal(limit_text_format(&limit, buffer), cases[i].formatted);
		assert_int_equal(limit_text_parse(buffer, &again), 0);
		assert_memory_equal(&limit, &again, sizeof(limit));
	}
}

static void test_bool(void **state)
{
	static const char *const no[] = { "no", "false", "off", "0" };
	static const char *const yes[] = { "yes", "true", "on", "1" };
	static const char *const bad[] = { "", "Yes", "yes ", "2", "y", "none" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
		bool value = true;

		assert_int_equal(parse_bool(no[i], &value), 0);
		assert_false(value);
		assert_int_equal(parse_bool(yes[i], &value), 0);
		assert_true(value);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		bool value = true;

		assert_int_equal(parse_bool(bad[i], &value), -EINVAL);
		assert_true(value);
	}
}

static void test_size_text(void **state)
{
	static const struct {
		const char *text;
		int result;
		struct size_text size;
		int applied;
		uint64_t bytes; /* of 1000, where max is 4096 */
	} cases[] = {
		{ "512", 0, { SIZE_TEXT_BYTES, 512 }, 0, 512 },
		{ "2k", 0, { SIZE_TEXT_BYTES, 2048 }, 0, 2048 },
		{ "-999", 0, { SIZE_TEXT_LESS, 999 }, 0, 1 },
		{ "-1000", 0, { SIZE_TEXT_LESS, 1000 }, -ERANGE, 0 },
		{ "-1G", 0, { SIZE_TEXT_LESS, 1 << 30 }, -ERANGE, 0 },
		{ "+24", 0, { SIZE_TEXT_MORE, 24 }, 0, 1024 },
		{ "+9223372036854775807", 0, { SIZE_TEXT_MORE, INT64_MAX }, -ERANGE, 0 },
		{ "max", 0, { SIZE_TEXT_MAX, 0 }, 0, 4096 },
		{ "9223372036854775808", -ERANGE, { 0 }, 0, 0 },
		{ "99999999999999999999T", -ERANGE, { 0 }, 0, 0 },
		{ "0", -EINVAL, { 0 }, 0, 0 },
		{ "-0", -EINVAL, { 0 }, 0, 0 },
		{ "", -EINVAL, { 0 }, 0, 0 },
		{ "-", -EINVAL, { 0 }, 0, 0 },
		{ "--1M", -EINVAL, { 0 }, 0, 0 },
		{ "+-1M", -EINVAL, { 0 }, 0, 0 },
		{ "1.5G", -EINVAL, { 0 }, 0, 0 },
		{ "50%", -EINVAL, { 0 }, 0, 0 },
		{ "MAX", -EINVAL, { 0 }, 0, 0 },
		{ "maximum", -EINVAL, { 0 }, 0, 0 },
		{ "-max", -EINVAL, { 0 }, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct size_text size = { .kind = SIZE_TEXT_MAX, .bytes = UNTOUCHED };
		uint64_t bytes = UNTOUCHED;

		if (size_text_parse(cases[i].text, &size) != cases[i].result)
			fail_msg("\"%s\"", cases[i].text);
		if (cases[i].result < 0) {
			assert_int_equal(size.bytes, UNTOUCHED);
			continue;
		}
		assert_int_equal(size.kind, cases[i].size.kind);
		assert_int_equal(size.bytes, cases[i].size.bytes);
		assert_int_equal(size_text_apply(&size, 1000, 4096, &bytes), cases[i].applied);
		assert_int_equal(bytes, cases[i].applied < 0 ? UNTOUCHED : cases[i].bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_u64),	  cmocka_unit_test(test_size),
		cmocka_unit_test(test_limit),	  cmocka_unit_test(test_bool),
		cmocka_unit_test(test_size_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
