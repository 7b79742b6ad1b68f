/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ctl/args.h"
#include "ctl/verb.h"

#define WORDS_MAX 8

/* Parses words as the arguments of a program or verb; the last one is followed by NULL. */
static int parse_verb(const char *const words[WORDS_MAX], struct ctl *ctl, struct args *ret)
{
	char *argv[WORDS_MAX + 1] = { 0 };
	int argc = 0;

	while (argc < WORDS_MAX && words[argc]) {
		argv[argc] = (char *)words[argc];
		argc++;
	}
	return args_parse_verb(verb_find(words[0]), argc, argv, ctl, ret);
}

static void test_accepted(void **state)
{
	struct ctl ctl = { 0 };
	struct args args;

	(void)state;
	assert_int_equal(parse_verb((const char *const[WORDS_MAX]){ "dup", "alpha", "--files",
								    "--limit", "5", "--json" },
				    &ctl, &args),
			 0);
	assert_int_equal(args.n_args, 1);
	assert_string_equal(args.arg[0], "alpha");
	assert_string_equal(args.option[0], "");
	assert_string_equal(args.option[1], "5");
	assert_null(args.option[2]);
	assert_true(ctl.json);
	assert_false(ctl.raw_bytes);
}

static void test_bytes_of_reclaim(void **state)
{
	struct ctl ctl = { 0 };
	struct args args;

	(void)state;
	assert_int_equal(parse_verb((const char *const[WORDS_MAX]){ "reclaim", "--bytes", "5M" },
				    &ctl, &args),
			 0);
	assert_string_equal(args.option[0], "5M");
	assert_false(ctl.raw_bytes);
	assert_int_equal(
		parse_verb((const char *const[WORDS_MAX]){ "dup", "--bytes" }, &ctl, &args), 0);
	assert_true(ctl.raw_bytes);
}

static void test_names_that_look_like_options(void **state)
{
	struct ctl ctl = { 0 };
	struct args args;

	(void)state;
	assert_int_equal(
		parse_verb((const char *const[WORDS_MAX]){ "detach", "--", "--json" }, &ctl, &args),
		0);
	assert_string_equal(args.arg[0], "--json");
	assert_false(ctl.json);
}

/* "-256M" is a change of size, wherever it stands; it is no option, and no other number. */
static void test_signed_numbers(void **state)
{
	static const char *const lines[][WORDS_MAX] = {
		{ "balloon", "a", "-256M" },
		{ "balloon", "a", "-256M", "--dry-run" },
		{ "balloon", "--dry-run", "a", "-256M" },
		{ "balloon", "a", "--cache", "only", "-256M" },
		{ "balloon", "--", "a", "-256M" },
	};
	struct ctl ctl = { 0 };
	struct args args;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_equal(parse_verb(lines[i], &ctl, &args), 0);
		assert_int_equal(args.n_args, 2);
		assert_string_equal(args.arg[0], "a");
		assert_string_equal(args.arg[1], "-256M");
	}
	assert_int_equal(
		parse_verb((const char *const[WORDS_MAX]){ "balloon", "a", "--timeout", "-5" },
			   &ctl, &args),
		0);
	assert_string_equal(args.option[4], "-5");
	assert_int_equal(
		parse_verb((const char *const[WORDS_MAX]){ "balloon", "a", "-x" }, &ctl, &args),
		-EINVAL);
}

static void test_refused(void **state)
{
	static const char *const lines[][WORDS_MAX] = {
		{ "dup", "a", "b" },
		{ "dup", "--nonsense" },
		{ "dup", "--limit" },
		{ "dup", "--json=yes" },
		{ "dup", "-q" },
		{ "dup", "-qj" },
		{ "status", "alpha" },
		{ "status", "--timeout", "0" },
		{ "status", "--timeout", "-1" },
		{ "status", "--timeout", "1s" },
		{ "attach", "a" },
		{ "attach", "a", "b", "c" },
		{ "detach" },
		{ "explain" },
		{ "help", "a", "b" },
		/* --verbose or --version */
		{ "dup", "--v" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct args args = { .n_args = 77 };
		struct ctl ctl = { 0 };

		if (parse_verb(lines[i], &ctl, &args) != -EINVAL || args.n_args != 77)
			fail_msg("%s %s was taken", lines[i][0], lines[i][1]);
	}
}

static void test_global(void **state)
{
	char *argv[] = { (char *)"pagepact", (char *)"--socket",
			 (char *)"/x",	     (char *)"--bytes",
			 (char *)"dup",	     (char *)"--json",
			 (char *)"--files",  NULL };
	struct ctl ctl = { 0 };
	int next = -1;

	(void)state;
	assert_int_equal(args_parse_global(7, argv, &ctl, &next), 0);
	assert_int_equal(next, 4);
	assert_string_equal(ctl.socket_path, "/x");
	assert_true(ctl.raw_bytes);
	assert_false(ctl.json);
}

static void test_numbers(void **state)
{
	static const struct {
		const char *text;
		bool size;
		int64_t value;
	} cases[] = {
		{ "1", false, 1 },
		{ "9223372036854775807", false, INT64_MAX },
		{ "9223372036854775808", false, 0 },
		{ "0", false, 0 },
		{ "", false, 0 },
		{ "1M", false, 0 },
		{ "1M", true, 1 << 20 },
		{ "8388608T", true, 0 },
		{ "0K", true, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t value = 0;
		int r = args_number("N", cases[i].text, cases[i].size, &value);

		assert_int_equal(r, cases[i].value ? 0 : -EINVAL);
		assert_int_equal(value, cases[i].value);
	}
}

/* What the parser assumes about the table. */
static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; verb_table[i]; i++) {
		const struct verb *verb = verb_table[i];
		size_t n = 0;

		assert_true(verb->run && verb->summary && verb->cost && verb->usage);
		assert_true(verb->max_args <= ARGS_MAX && verb->min_args <= verb->max_args);
		assert_true(verb->deadline_sec > 0 || verb == &verb_help);
		while (verb->options && verb->options[n].name)
			n++;
		assert_true(n <= ARGS_OPTIONS_MAX);
		assert_ptr_equal(verb_find(verb->name), verb);
	}
	assert_null(verb_find("stat"));
	assert_null(verb_find(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_bytes_of_reclaim),
		cmocka_unit_test(test_names_that_look_like_options),
		cmocka_unit_test(test_signed_numbers),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_global),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
