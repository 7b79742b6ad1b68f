/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include <sys/stat.h>

#include "guest/settings-parse.h"

#define CONF	"/etc/pagepact/agent.conf"
#define CMDLINE "/proc/cmdline"
#define SMBIOS	"/sys/firmware/dmi/tables/DMI"

static struct settings settings;
static char warnings[8192];
static unsigned warnings_count;

static void warn(const char *where, const char *what, void *userdata)
{
	size_t size = strlen(warnings);

	assert_ptr_equal(userdata, &settings);
	snprintf(warnings + size, sizeof(warnings) - size, "%s: %s\n", where, what);
	warnings_count++;
}

static void read_below(const char *root)
{
	warnings[0] = '\0';
	warnings_count = 0;
	settings_read(root, CONF, &settings, warn, &settings);
}

static void read_all(void)
{
	read_below(tree);
}

static void assert_limit(enum limit_text_kind kind, uint64_t value, enum wire_origin origin)
{
	assert_int_equal(settings.limit.kind, kind);
	assert_int_equal(settings.limit.bytes, kind == LIMIT_TEXT_BYTES ? value : 0);
	assert_int_equal(settings.limit.permille, kind == LIMIT_TEXT_PERMILLE ? value : 0);
	assert_int_equal(settings.origin, origin);
}

static void assert_defaults(void)
{
	assert_limit(LIMIT_TEXT_OFF, 0, WIRE_ORIGIN_NONE);
	assert_int_equal(settings.cpu_permille, 10);
	assert_int_equal(settings.evict_cpu_permille, 500);
	assert_int_equal(settings.evict_bytes_per_sec, 4ull << 30);
	assert_int_equal(settings.hot_sec, 30);
	assert_true(settings.slab);
	assert_false(settings.cache_first);
}

static void assert_warning(const char *text)
{
	if (!strstr(warnings, text))
		fail_msg("\"%s\" is not in \"%s\"", text, warnings);
}

static void test_nothing(void **state)
{
	(void)state;
	read_all();
	assert_defaults();
	assert_string_equal(warnings, "");
	/* Nobody need listen. */
	tree_put(CMDLINE, "unmapped_page_control=x\n");
	settings_read(tree, CONF, &settings, NULL, NULL);
	assert_defaults();
}

static void test_cmdline(void **state)
{
	static const struct {
		const char *text;
		enum limit_text_kind kind;
		uint64_t value;
	} cases[] = {
		{ "quiet unmapped_page_control ro\n", LIMIT_TEXT_DEFAULT, 0 },
		{ "unmapped_page_control=default", LIMIT_TEXT_DEFAULT, 0 },
		{ "unmapped_page_control=\n", LIMIT_TEXT_DEFAULT, 0 },
		{ "unmapped_page_control=128M\n", LIMIT_TEXT_BYTES, 128 << 20 },
		{ "unmapped-page_control=7\n", LIMIT_TEXT_BYTES, 7 },
		{ "a unmapped_page_control=12.5%\tb\n", LIMIT_TEXT_PERMILLE, 125 },
		{ "unmapped_page_control=off\n", LIMIT_TEXT_OFF, 0 },
		{ "unmapped_page_control=0\n", LIMIT_TEXT_OFF, 0 },
		{ "unmapped_page_control=1M unmapped_page_control=2M\n", LIMIT_TEXT_BYTES,
		  2 << 20 },
		{ "unmapped_page_control=\"3M\"\n", LIMIT_TEXT_BYTES, 3 << 20 },
		{ "\"unmapped_page_control=3M\"\n", LIMIT_TEXT_BYTES, 3 << 20 },
		{ "unmapped_page_control=\"3M\n", LIMIT_TEXT_BYTES, 3 << 20 },
		{ "x=\"a unmapped_page_control=9M b\" unmapped_page_control=4M\n", LIMIT_TEXT_BYTES,
		  4 << 20 },
		{ "unmapped_page_control=5M -- unmapped_page_control=9M\n", LIMIT_TEXT_BYTES,
		  5 << 20 },
		{ "unmapped_page_control=5M --=x unmapped_page_control=9M\n", LIMIT_TEXT_BYTES,
		  9 << 20 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		tree_put(CMDLINE, cases[i].text);
		read_all();
		assert_limit(cases[i].kind, cases[i].value, WIRE_ORIGIN_CMDLINE);
		assert_string_equal(warnings, "");
	}
}

static void test_cmdline_without(void **state)
{
	static const char *const cases[] = {
		"",
		"\n",
		"\"",
		"\"\"",
		"=unmapped_page_control",
		"unmapped_page_controls=1M unmapped_page_contro unmapped_page_control.x=2",
		"x=\"unmapped_page_control=9M y",
		"a b=\" unmapped_page_control=9M\" c",
		"-- unmapped_page_control=9M",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		tree_put(CMDLINE, cases[i]);
		read_all();
		assert_limit(LIMIT_TEXT_OFF, 0, WIRE_ORIGIN_NONE);
		assert_string_equal(warnings, "");
	}
}

/* A bad word is as if it were absent: the good one before it counts. */
static void test_cmdline_bad(void **state)
{
	(void)state;
	tree_put(CMDLINE, "unmapped_page_control=6M unmapped_page_control=\"1 G\x1b\" quiet\n");
	read_all();
	assert_limit(LIMIT_TEXT_BYTES, 6 << 20, WIRE_ORIGIN_CMDLINE);
	assert_string_equal(warnings,
			    "/proc/cmdline: unmapped_page_control must be a size (128M), a share "
			    "of memory (10%), off or default, not \"1 G?\": ignored\n");
}

/* Two structures before ours, with strings and without, as SeaBIOS makes them, and the end. */
#define BIOS	"\x00\x05\x00\x00\x01SeaBIOS\0pagepact.cache_limit=1M\0\0"
#define BARE	"\x20\x0b\x00\x20\0\0\0\0\0\0\0\0\0"
#define OEM(n)	"\x0b\x05\x00\x0e" n
#define THE_END "\x7f\x04\x00\x7f\0\0"

#define SMBIOS_PUT(text) tree_put_bytes(SMBIOS, text, sizeof(text) - 1)

static void test_smbios(void **state)
{
	(void)state;
	SMBIOS_PUT(BIOS BARE OEM("\x03") "hello\0pagepact.cache_limit=64M\0last\0\0" THE_END);
	read_all();
	assert_limit(LIMIT_TEXT_BYTES, 64 << 20, WIRE_ORIGIN_SMBIOS);
	SMBIOS_PUT(OEM("\x01") "unmapped_page_control=10%\0\0" BARE THE_END);
	read_all();
	assert_limit(LIMIT_TEXT_PERMILLE, 100, WIRE_ORIGIN_SMBIOS);
	SMBIOS_PUT(OEM("\x01") "unmapped_page_control\0\0");
	read_all();
	assert_limit(LIMIT_TEXT_DEFAULT, 0, WIRE_ORIGIN_SMBIOS);
	SMBIOS_PUT(OEM("\x01") "pagepact.cache_limit=1M\0\0" OEM(
		"\x01") "pagepact.cache_limit=off\0\0" THE_END);
	read_all();
	assert_limit(LIMIT_TEXT_OFF, 0, WIRE_ORIGIN_SMBIOS);
	assert_string_equal(warnings, "");
}

/* What QEMU 7.2 makes of -smbios type=11,value=hello,value=pagepact.cache_limit=12.5% */
static void test_smbios_qemu(void **state)
{
	(void)state;
	read_below(fixture("smbios"));
	assert_limit(LIMIT_TEXT_PERMILLE, 125, WIRE_ORIGIN_SMBIOS);
	assert_string_equal(warnings, "");
}

static void test_smbios_without(void **state)
{
	(void)state;
	/* Beyond its count, of another type, after the end, and a longer word. */
	SMBIOS_PUT(BIOS OEM("\x01") "pagepact.cache_limits=1M\0pagepact.cache_limit=2M\0\0" THE_END
			   OEM("\x01") "pagepact.cache_limit=3M\0\0");
	read_all();
	assert_limit(LIMIT_TEXT_OFF, 0, WIRE_ORIGIN_NONE);
	/* Too short for a count. */
	SMBIOS_PUT("\x0b\x04\x00\x0e"
		   "pagepact.cache_limit=3M\0\0" THE_END);
	read_all();
	assert_limit(LIMIT_TEXT_OFF, 0, WIRE_ORIGIN_NONE);
	assert_string_equal(warnings, "");
}

/* Cut at every place: never a value that was not all there. */
static void test_smbios_cut(void **state)
{
	static const char table[] = BIOS BARE OEM("\x02") "x\0pagepact.cache_limit=64M\0\0" THE_END;
	size_t whole = sizeof(table) - 1 - 6 - 1;

	(void)state;
	for (size_t size = 0; size < sizeof(table); size++) {
		tree_put_bytes(SMBIOS, table, size);
		read_all();
		if (size < whole)
			assert_limit(LIMIT_TEXT_OFF, 0, WIRE_ORIGIN_NONE);
		else
			assert_limit(LIMIT_TEXT_BYTES, 64 << 20, WIRE_ORIGIN_SMBIOS);
		assert_string_equal(warnings, "");
	}
}

static void test_smbios_bad(void **state)
{
	(void)state;
	SMBIOS_PUT(OEM("\x04") "pagepact.cache_limit=101%\0pagepact.cache_limit=\0"
			       "pagepact.cache_limit\0unmapped_page_control=1\n2\0\0" THE_END);
	read_all();
	assert_limit(LIMIT_TEXT_OFF, 0, WIRE_ORIGIN_NONE);
	assert_int_equal(warnings_count, 4);
	assert_warning("SMBIOS type 11: pagepact.cache_limit must be a size");
	assert_warning("not \"101%\": ignored");
	assert_warning("SMBIOS type 11: pagepact.cache_limit has no value, ignored: it must be");
	assert_warning("SMBIOS type 11: unmapped_page_control must be");
	assert_warning("not \"1?2\": ignored");
}

/* More than is read: what comes before still counts. */
static void test_long(void **state)
{
	static const char start[] = OEM("\x01") "pagepact.cache_limit=64M\0\0"
						"\x01\x05\x00\x01\x00";
	static char table[SETTINGS_SOURCE_MAX + 100];

	(void)state;
	memset(table, 'x', sizeof(table));
	memcpy(table, start, sizeof(start) - 1);
	tree_put_bytes(SMBIOS, table, sizeof(table));
	read_all();
	assert_limit(LIMIT_TEXT_BYTES, 64 << 20, WIRE_ORIGIN_SMBIOS);
	assert_string_equal(warnings, "");
}

static void test_conf(void **state)
{
	(void)state;
	tree_put(CONF, "# ours\n[agent]\ncache_limit = 256M # enough\nscan_cpu_permille=1000\n"
		       "evict_cpu_permille = 1\nevict_bytes_per_second = 1M\nhot_seconds = 120\n"
		       "slab = no\nreclaim_cache_first = yes\n");
	read_all();
	assert_string_equal(warnings, "");
	assert_limit(LIMIT_TEXT_BYTES, 256 << 20, WIRE_ORIGIN_FILE);
	assert_int_equal(settings.cpu_permille, 1000);
	assert_int_equal(settings.evict_cpu_permille, 1);
	assert_int_equal(settings.evict_bytes_per_sec, 1 << 20);
	assert_int_equal(settings.hot_sec, 120);
	assert_false(settings.slab);
	assert_true(settings.cache_first);
	tree_put(CONF, "[agent]\ncache_limit = off\nslab = yes\n");
	read_all();
	assert_limit(LIMIT_TEXT_OFF, 0, WIRE_ORIGIN_FILE);
}

static void test_conf_bad(void **state)
{
	(void)state;
	tree_put(CONF, "cache_limit = 1M\n[agent]\ncache_limit =\nscan_cpu_permille = 0\n"
		       "scan_cpu_permille = 1001\nevict_cpu_permille = 5 %\n"
		       "evict_bytes_per_second = 1048575\nhot_seconds = 121\n"
		       "hot_seconds = -1\nslab = perhaps\nnonsense\ncpu = 3\n[other]\nslab = no\n"
		       "[agent\nslab = no\n[agent]\nreclaim_cache_first = first\n");
	read_all();
	assert_defaults();
	assert_warning(CONF ":1: \"cache_limit\" is in section [], ignored");
	assert_warning(CONF ":3: cache_limit must be a size (128M), a share of memory (10%), off "
			    "or default, not \"\": ignored\n");
	assert_warning(CONF ":4: scan_cpu_permille must be 1 to 1000 thousandths of a CPU, not "
			    "\"0\": ignored\n");
	assert_warning(CONF ":5: scan_cpu_permille is given twice: the last one counts\n");
	assert_warning(CONF ":5: scan_cpu_permille must be");
	assert_warning(CONF ":6: evict_cpu_permille must be");
	assert_warning(CONF ":7: evict_bytes_per_second must be a size from 1M to 1024T");
	assert_warning(CONF ":8: hot_seconds must be 1 to 120 seconds, not \"121\"");
	assert_warning(CONF ":9: hot_seconds must be");
	assert_warning(CONF ":10: slab must be yes or no, not \"perhaps\": ignored\n");
	assert_warning(CONF ":11: a line must be [SECTION], KEY = VALUE or # a comment: line "
			    "ignored\n");
	assert_warning(CONF ":12: unknown key \"cpu\", ignored\n");
	assert_warning(CONF ":14: \"slab\" is in section [other], ignored");
	assert_warning(CONF ":15: a section must end with ]: line ignored\n");
	assert_warning(CONF ":16: \"slab\" is in section [], ignored");
	assert_warning(CONF ":18: reclaim_cache_first must be yes or no, not \"first\": ignored\n");
	assert_int_equal(warnings_count, 17);
}

/* What is bad spoils nothing else. */
static void test_conf_rest(void **state)
{
	(void)state;
	tree_put(CONF, "[agent]\ncache_limit = 5M\n???\ncache_limit = many\nhot_seconds = 60\n");
	read_all();
	assert_limit(LIMIT_TEXT_BYTES, 5 << 20, WIRE_ORIGIN_FILE);
	assert_int_equal(settings.hot_sec, 60);
	tree_put_bytes(CONF, "[agent]\nhot_seconds = 60\n\0", 26);
	read_all();
	assert_defaults();
	assert_warning(CONF ":1: it has a NUL byte in it and is no text: line ignored\n");
}

static void test_conf_warnings_end(void **state)
{
	char text[SETTINGS_WARNINGS_MAX * 4] = "";

	(void)state;
	for (int i = 0; i < SETTINGS_WARNINGS_MAX + 10; i++)
		strcat(text, "?\n");
	strcat(text, "[agent]\nslab=0\n");
	tree_put(CONF, text);
	read_all();
	assert_int_equal(warnings_count, SETTINGS_WARNINGS_MAX + 1);
	assert_warning(CONF ":33: too many warnings: the others are not shown\n");
	assert_false(settings.slab);
}

static void test_precedence(void **state)
{
	(void)state;
	tree_put(CONF, "[agent]\ncache_limit = 1M\nhot_seconds = 60\n");
	SMBIOS_PUT(OEM("\x01") "pagepact.cache_limit=2M\0\0" THE_END);
	tree_put(CMDLINE, "unmapped_page_control=3M\n");
	read_all();
	assert_limit(LIMIT_TEXT_BYTES, 3 << 20, WIRE_ORIGIN_CMDLINE);
	assert_int_equal(settings.hot_sec, 60);
	tree_put(CMDLINE, "unmapped_page_control=0\n");
	read_all();
	assert_limit(LIMIT_TEXT_OFF, 0, WIRE_ORIGIN_CMDLINE);
	tree_put(CMDLINE, "unmapped_page_control=bad\n");
	read_all();
	assert_limit(LIMIT_TEXT_BYTES, 2 << 20, WIRE_ORIGIN_SMBIOS);
	assert_int_equal(warnings_count, 1);
	tree_drop(CMDLINE);
	SMBIOS_PUT(OEM("\x01") "pagepact.cache_limit=2MB\0\0" THE_END);
	read_all();
	assert_limit(LIMIT_TEXT_BYTES, 1 << 20, WIRE_ORIGIN_FILE);
	tree_drop(SMBIOS);
	read_all();
	assert_limit(LIMIT_TEXT_BYTES, 1 << 20, WIRE_ORIGIN_FILE);
	assert_string_equal(warnings, "");
}

/* A folder or a FIFO where a file should be: told of, and nobody waits. */
static void test_unreadable(void **state)
{
	char path[128];

	(void)state;
	tree_put(CONF "/x", "");
	tree_put("/proc/x", "");
	snprintf(path, sizeof(path), "%s" CMDLINE, tree);
	assert_int_equal(mkfifo(path, 0600), 0);
	read_all();
	assert_defaults();
	assert_warning(CONF ": cannot be read, ignored: ");
	assert_warning(CMDLINE ": cannot be read, ignored: ");
	assert_int_equal(warnings_count, 2);
}

/* The shipped file says the defaults, in comments: with these taken away it changes nothing. */
static void test_shipped(void **state)
{
	struct settings_reader reader = { .where = CONF, .warn = warn, .userdata = &settings };
	char path[512], line[256], text[8192] = "";
	unsigned keys = 0;
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%.*s../../units/agent.conf",
		 (int)(strrchr(__FILE__, '/') + 1 - __FILE__), __FILE__);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		bool key = line[0] == '#' && line[1] >= 'a' && line[1] <= 'z';

		keys += key;
		strcat(text, line + key);
		assert_true(key || strchr("#[\n", line[0]));
	}
	fclose(f);
	read_all();
	settings_parse_conf(&reader, text, strlen(text), &settings);
	assert_string_equal(warnings, "");
	assert_int_equal(settings.origin, WIRE_ORIGIN_FILE);
	settings.origin = WIRE_ORIGIN_NONE;
	assert_defaults();
	assert_int_equal(keys, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_cmdline, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_cmdline_without, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_cmdline_bad, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_smbios, tree_make, tree_remove),
		cmocka_unit_test(test_smbios_qemu),
		cmocka_unit_test_setup_teardown(test_smbios_without, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_smbios_cut, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_smbios_bad, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_long, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_conf, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_conf_bad, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_conf_rest, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_conf_warnings_end, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_precedence, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_unreadable, tree_make, tree_remove),
		cmocka_unit_test_setup_teardown(test_shipped, tree_make, tree_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
