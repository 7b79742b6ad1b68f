/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include <errno.h>

#include "host/qmp-parse.h"

static int count(json_t *message, void *userdata)
{
	(void)message;
	++*(int *)userdata;
	return 0;
}

static int feed(struct qmp_parser *parser, const char *text, int *ret_count)
{
	*ret_count = 0;
	return qmp_parser_feed(parser, text, strlen(text), count, ret_count);
}

static void test_pieces(void **state)
{
	struct qmp_parser parser = { 0 };
	int n;

	(void)state;
	assert_int_equal(feed(&parser, "{}{}\r\n{\"a\":{\"b\":[\"\\\\\",\"{\"]}} ", &n), 0);
	assert_int_equal(n, 3);
	for (const char *p = "{\"a\":\"\\\"}\"}"; *p; p++)
		assert_int_equal(qmp_parser_feed(&parser, p, 1, count, &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(parser.size, 0);
	/* An unfinished one is kept, and released. */
	assert_int_equal(feed(&parser, "{\"a\":", &n), 0);
	assert_int_equal(n, 0);
	qmp_parser_done(&parser);
}

static void test_depth(void **state)
{
	struct qmp_parser parser = { 0 };
	char deep[QMP_DEPTH_MAX * 12];
	int n;

	(void)state;
	for (int extra = 0; extra < 2; extra++) {
		strcpy(deep, "{\"a\":");
		for (int i = 1; i < QMP_DEPTH_MAX + extra; i++)
			strcat(deep, "[");
		for (int i = 1; i < QMP_DEPTH_MAX + extra; i++)
			strcat(deep, "]");
		strcat(deep, "}");
		assert_int_equal(feed(&parser, deep, &n), extra ? -EBADMSG : 0);
		assert_int_equal(n, !extra);
	}
	assert_non_null(strstr(parser.reason, "64 levels"));
	assert_int_equal(feed(&parser, "{}", &n), -EPROTO);
	qmp_parser_done(&parser);
	/* Brackets in strings are no brackets. */
	assert_int_equal(feed(&parser,
			      "{\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
			      "[[[[[[[[[[[[[[[[[[[[[[[[\":1}",
			      &n),
			 0);
	assert_int_equal(n, 1);
	qmp_parser_done(&parser);
}

static void test_bad_input(void **state)
{
	static const struct {
		const char *text;
		int result;
	} cases[] = {
		{ "{]", -EBADMSG },
		{ "{\"a\":1e999}", -EBADMSG },
		{ "{\"a\":\"\xff\"}", -EBADMSG },
		{ "{\"a\":\"\\ud800\"}", -EBADMSG },
		{ "{\"a\":NaN}", -EBADMSG },
		{ "{\"a\":1,\"a\":2}", -EBADMSG },
		{ "{\"a\":99999999999999999999999}", 0 },
		{ "}", -EPROTO },
		{ "7", -EPROTO },
	};
	int n;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct qmp_parser parser = { 0 };

		assert_int_equal(feed(&parser, cases[i].text, &n), cases[i].result);
		assert_true(!parser.reason == !cases[i].result);
		qmp_parser_done(&parser);
	}
	for (int i = 0; i < 2; i++) {
		struct qmp_parser parser = { 0 };

		assert_int_equal(
			qmp_parser_feed(&parser, i ? "{\"\0\":1}" : "{\0}", i ? 7 : 3, count, &n),
			-EBADMSG);
		qmp_parser_done(&parser);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_bad_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
