/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include <errno.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "host/journal-parse.h"

#define BOOT "01234567-89ab-cdef-0123-456789abcdef"

static char folder[64], runtime[80];

static const struct journal_entry alpha = {
	.vm = "alpha",
	.qmp = "/run/alpha/qmp.sock",
	.uuid = "5c8f0d4e-7f1c-4b7e-9d0e-3f1f4a3b2c1d",
	.pid = 4711,
	.start_ticks = 123456,
	.boot_id = BOOT,
	.original_bytes = 1ULL << 30,
	.target_bytes = 3ULL << 28,
	.stats_path = "/machine/peripheral/b\"\\\xc3\xa4",
	.stats_seconds = UINT32_MAX,
};

/* With two devices, as the second version has them. */
static struct journal_entry with_mems(void)
{
	struct journal_entry entry = alpha;

	strcpy(entry.mems.devices[0].id, "vm0");
	entry.mems.devices[0].requested_bytes = 512ULL << 20;
	entry.mems.devices[0].bytes = 510ULL << 20;
	strcpy(entry.mems.devices[1].id, "vm-1.b_c");
	entry.mems.n = 2;
	return entry;
}

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/journal.d/%s", runtime, name);
	return path;
}

static void put(const char *name, const char *text, size_t size)
{
	_cleanup_close_ int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, size), size);
}

/* A /proc of its own in @folder with one process. */
static void put_process(int pid, const char *stat, const char *boot_id)
{
	char command[256], name[64];

	snprintf(command, sizeof(command), "mkdir -p %s/proc/%d %s/proc/sys/kernel/random", folder,
		 pid, folder);
	assert_int_equal(system(command), 0);
	snprintf(name, sizeof(name), "proc/%d/stat", pid);
	test_write(folder, name, stat, strlen(stat));
	test_write(folder, "proc/sys/kernel/random/boot_id", boot_id, strlen(boot_id));
}

static int setup(void **state)
{
	(void)state;
	test_folder(folder);
	snprintf(runtime, sizeof(runtime), "%s/run", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	test_folder_remove(folder);
	return 0;
}

static void test_nothing_kept(void **state)
{
	struct journal_entry entry;
	char **names;

	(void)state;
	assert_int_equal(journal_read(runtime, "alpha", &entry), 0);
	assert_int_equal(journal_remove(runtime, "alpha"), 0);
	assert_int_equal(journal_list(runtime, &names), 0);
	journal_list_free(names, 0);
}

static void test_round_trip(void **state)
{
	struct journal_entry entry, longest = alpha;

	(void)state;
	assert_int_equal(journal_write(runtime, &alpha), 0);
	assert_int_equal(journal_read(runtime, "alpha", &entry), 1);
	assert_memory_equal(&entry, &alpha, sizeof(entry));
	/* All that fits into the structure fits into the file. */
	memset(longest.vm, 'v', sizeof(longest.vm) - 1);
	memset(longest.qmp, '"', sizeof(longest.qmp) - 1);
	memset(longest.stats_path, '\\', sizeof(longest.stats_path) - 1);
	longest.qmp[0] = longest.stats_path[0] = '/';
	longest.pid = INT32_MAX;
	longest.start_ticks = longest.original_bytes = longest.target_bytes = INT64_MAX;
	assert_int_equal(journal_write(runtime, &longest), 0);
	assert_int_equal(journal_read(runtime, longest.vm, &entry), 1);
	assert_memory_equal(&entry, &longest, sizeof(entry));
	assert_int_equal(journal_remove(runtime, longest.vm), 0);
	assert_int_equal(journal_read(runtime, longest.vm, &entry), 0);
	assert_int_equal(journal_read(runtime, "alpha", &entry), 1);
}

static void test_mems(void **state)
{
	struct journal_entry entry, kept = with_mems();
	_cleanup_free_ char *text = NULL;

	(void)state;
	assert_int_equal(journal_write(runtime, &kept), 0);
	assert_int_equal(journal_read(runtime, "alpha", &entry), 1);
	assert_memory_equal(&entry, &kept, sizeof(entry));
	/* As long as it can be. */
	memset(kept.qmp, '"', sizeof(kept.qmp) - 1);
	memset(kept.stats_path, '\\', sizeof(kept.stats_path) - 1);
	kept.qmp[0] = kept.stats_path[0] = '/';
	kept.original_bytes = INT64_MAX;
	for (kept.mems.n = 0; kept.mems.n < ARRAY_SIZE(kept.mems.devices); kept.mems.n++) {
		struct journal_mem *mem = &kept.mems.devices[kept.mems.n];

		memset(mem->id, 'm', sizeof(mem->id) - 1);
		mem->requested_bytes = INT64_MAX;
		mem->bytes = INT64_MAX / 10;
	}
	assert_int_equal(journal_format(&kept, &text), 0);
	assert_in_range(strlen(text), 1, JOURNAL_FILE_MAX / 2);
	assert_int_equal(journal_parse(text, strlen(text), &entry), 0);
	assert_memory_equal(&entry, &kept, sizeof(entry));
	strcpy(kept.mems.devices[1].id, "a/b");
	assert_int_equal(journal_write(runtime, &kept), -EINVAL);
}

/* An older daemon knows the first version alone: whoever has no device is told of in that. */
static void test_first_version(void **state)
{
	_cleanup_free_ char *text = NULL;

	(void)state;
	assert_int_equal(journal_format(&alpha, &text), 0);
	assert_non_null(strstr(text, "\"version\": 1,"));
	assert_null(strstr(text, "virtio_mem"));
}

static void test_list(void **state)
{
	static const char *const names[] = { "zulu", "bravo", "b.new" };
	struct journal_entry entry = alpha;
	char **found;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		strcpy(entry.vm, names[i]);
		assert_int_equal(journal_write(runtime, &entry), 0);
	}
	put(".cut.new", "{", 1);
	put("damaged", "{", 1);
	assert_int_equal(journal_list(runtime, &found), 5);
	assert_string_equal(found[0], "alpha");
	assert_string_equal(found[1], "b.new");
	assert_string_equal(found[2], "bravo");
	assert_string_equal(found[3], "damaged");
	assert_string_equal(found[4], "zulu");
	journal_list_free(found, 5);
}

/* A whole entry with one piece of its text replaced. */
static int parse_changed(const struct journal_entry *e, const char *from, const char *to)
{
	_cleanup_free_ char *text = NULL;
	char changed[JOURNAL_FILE_MAX];
	struct journal_entry entry;
	char *at;

	assert_int_equal(journal_format(e, &text), 0);
	at = strstr(text, from);
	assert_non_null(at);
	snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, to,
		 at + strlen(from));
	return journal_parse(changed, strlen(changed), &entry);
}

static void test_strict(void **state)
{
	static const char *const bad[][2] = {
		{ "\"version\": 1", "\"version\": 2" },
		{ "\"version\": 1, ", "" },
		{ "{", "{\"more\": 1, " },
		{ "{", "{\"pid\": 4711, " },
		{ "}", "}}" },
		{ "}", "" },
		{ "\"alpha\"", "\"\"" },
		{ "\"alpha\"", "\"../x\"" },
		{ "\"alpha\"", "\"a\\u0000\"" },
		{ "\"alpha\"", "7" },
		{ "/run/alpha", "run" },
		{ "/run/alpha", "/run/alpha\\n" },
		{ "5c8f0d4e-", "5c8f0d4e" },
		{ "5c8f0d4e", "5c8f0d4g" },
		{ "4711", "0" },
		{ "4711", "-1" },
		{ "4711", "4294972007" },
		{ "4711", "\"4711\"" },
		{ "123456", "-1" },
		{ "123456", "1e300" },
		{ "123456", "9223372036854775808" },
		{ BOOT, "" },
		{ BOOT, BOOT "0" },
		{ "1073741824", "0" },
		{ "1073741824", "-1" },
		{ "1073741824", "1.5" },
		{ "1073741824", "null" },
		{ "805306368", "-1" },
		{ "/machine", "machine" },
		{ "/machine", "/\\u001b" },
		{ "4294967295", "4294967296" },
	};

	(void)state;
	assert_int_equal(parse_changed(&alpha, "alpha", "bravo"), 0);
	assert_int_equal(parse_changed(&alpha, "5c8f0d4e-7f1c-4b7e-9d0e-3f1f4a3b2c1d", ""), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_changed(&alpha, bad[i][0], bad[i][1]) != -EBADMSG)
			fail_msg("%s for %s was taken", bad[i][1], bad[i][0]);
}

static void test_strict_mems(void **state)
{
	static const char *const bad[][2] = {
		{ "\"version\": 2", "\"version\": 1" },
		{ "\"version\": 2", "\"version\": 3" },
		{ "\"vm0\"", "\"\"" },
		{ "\"vm0\"", "\"0vm\"" },
		{ "\"vm0\"", "\"vm/0\"" },
		{ "\"vm0\"", "\"..\"" },
		{ "\"vm0\"", "7" },
		{ "536870912", "-1" },
		{ "536870912", "9223372036854775808" },
		{ "534773760", "-1" },
		{ "534773760", "1073741824" },
		{ "534773760", "\"1\"" },
		{ "{\"id\"", "{\"more\": 1, \"id\"" },
		{ "[{", "[7, {" },
		{ "[{", "[" },
	};
	struct journal_entry entry = with_mems();
	_cleanup_free_ char *text = NULL;
	char *at;

	(void)state;
	assert_int_equal(parse_changed(&entry, "vm0", "vm2"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_changed(&entry, bad[i][0], bad[i][1]) != -EBADMSG)
			fail_msg("%s for %s was taken", bad[i][1], bad[i][0]);
	/* None at all is the first version's to say. */
	assert_int_equal(journal_format(&entry, &text), 0);
	at = strstr(text, "[{");
	strcpy(at, "[]}");
	assert_int_equal(journal_parse(text, strlen(text), &entry), -EBADMSG);
}

static void test_damaged(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct journal_entry entry = { .pid = 7 };
	char long_text[JOURNAL_FILE_MAX + 1];

	(void)state;
	assert_int_equal(journal_format(&alpha, &text), 0);
	for (size_t n = 0; n < strlen(text); n++) {
		put("alpha", text, n);
		assert_int_equal(journal_read(runtime, "alpha", &entry), -EBADMSG);
	}
	put("other", text, strlen(text));
	assert_int_equal(journal_read(runtime, "other", &entry), -EBADMSG);
	memset(long_text, ' ', sizeof(long_text));
	memcpy(long_text, text, strlen(text));
	put("alpha", long_text, sizeof(long_text) - 1);
	assert_int_equal(journal_read(runtime, "alpha", &entry), 1);
	entry.pid = 7;
	put("alpha", long_text, sizeof(long_text));
	assert_int_equal(journal_read(runtime, "alpha", &entry), -EBADMSG);
	assert_int_equal(entry.pid, 7);
}

/* Whatever a good entry would be read from, it is a file of that name. */
static void test_no_file(void **state)
{
	struct journal_entry entry = alpha;
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fifo = -1;
	char away[96];

	(void)state;
	strcpy(entry.vm, "fifo");
	assert_int_equal(journal_format(&entry, &text), 0);
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	fifo = open(path_of("fifo"), O_RDWR | O_CLOEXEC);
	assert_int_equal(write(fifo, text, strlen(text)), strlen(text));
	assert_int_equal(journal_read(runtime, "fifo", &entry), -EBADMSG);
	strcpy(entry.vm, "link");
	assert_int_equal(journal_write(runtime, &entry), 0);
	assert_int_equal(journal_read(runtime, "link", &entry), 1);
	snprintf(away, sizeof(away), "%s/away", folder);
	assert_int_equal(rename(path_of("link"), away), 0);
	assert_int_equal(symlink(away, path_of("link")), 0);
	assert_int_equal(journal_read(runtime, "link", &entry), -EBADMSG);
}

static void test_cannot_be_kept(void **state)
{
	struct journal_entry bad = alpha;

	(void)state;
	assert_int_equal(journal_write("/proc/none", &alpha), -ENOENT);
	strcpy(bad.vm, "is-a-directory");
	assert_int_equal(mkdir(path_of("is-a-directory"), 0700), 0);
	assert_int_equal(journal_write(runtime, &bad), -EISDIR);
	assert_int_equal(access(path_of(".is-a-directory.new"), F_OK), -1);
	strcpy(bad.vm, "../alpha");
	assert_int_equal(journal_write(runtime, &bad), -EINVAL);
	bad = alpha;
	bad.original_bytes = 0;
	assert_int_equal(journal_write(runtime, &bad), -EINVAL);
	bad = alpha;
	bad.boot_id[0] = '\0';
	assert_int_equal(journal_write(runtime, &bad), -EINVAL);
}

/* On a file system that is full, the entry that was there stays. */
static void test_no_space(void **state)
{
	struct journal_entry entry, second = alpha;
	char full[96];

	(void)state;
	snprintf(full, sizeof(full), "%s/full", folder);
	assert_int_equal(mkdir(full, 0700), 0);
	if (mount("none", full, "tmpfs", 0, "size=8k") < 0)
		skip();
	assert_int_equal(journal_write(full, &alpha), 0);
	test_write(full, "filler", folder, sizeof(folder));
	second.target_bytes = 1;
	assert_int_equal(journal_write(full, &second), -ENOSPC);
	assert_int_equal(journal_read(full, "alpha", &entry), 1);
	assert_int_equal(entry.target_bytes, alpha.target_bytes);
	assert_int_equal(umount(full), 0);
}

#define REST " 1 4711 4711 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 4 0 123456 99 1 7\n"

static void test_process(void **state)
{
	struct journal_entry entry = { .original_bytes = 5 };

	(void)state;
	put_process(4711, "4711 (a) S 1 (b\n) c) S" REST, BOOT "\n");
	assert_int_equal(journal_process(folder, 4711, &entry), 0);
	assert_int_equal(entry.pid, 4711);
	assert_int_equal(entry.start_ticks, 123456);
	assert_string_equal(entry.boot_id, BOOT);
	assert_int_equal(entry.original_bytes, 5);
	put_process(5, "5 (qemu) Z" REST, BOOT "\n");
	assert_int_equal(journal_process(folder, 5, &entry), -ESRCH);
	put_process(6, "6 (qemu) S 1 2", BOOT "\n");
	assert_int_equal(journal_process(folder, 6, &entry), -EBADMSG);
	assert_int_equal(journal_process(folder, 7, &entry), -ESRCH);
	assert_int_equal(journal_process(folder, 0, &entry), -ESRCH);
	assert_int_equal(entry.pid, 4711);
}

static void test_is_live(void **state)
{
	struct journal_entry entry = alpha;
	pid_t child;

	(void)state;
	put_process(4711, "4711 (qemu) S" REST, BOOT "\n");
	assert_true(journal_is_live(folder, &entry));
	entry.start_ticks++;
	assert_false(journal_is_live(folder, &entry));
	entry = alpha;
	entry.boot_id[0] = 'f';
	assert_false(journal_is_live(folder, &entry));
	/* What cannot be known is not known to have ended. */
	put_process(4711, "4711 (qemu) S 1 2", BOOT "\n");
	assert_true(journal_is_live(folder, &alpha));
	/* A process that has ended, and whose parent has not asked yet, is none. */
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	assert_int_equal(journal_process("", child, &entry), 0);
	assert_true(journal_is_live("", &entry));
	kill(child, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)child, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	assert_false(journal_is_live("", &entry));
	assert_int_equal(waitpid(child, NULL, 0), child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_kept),   cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_mems),	       cmocka_unit_test(test_first_version),
		cmocka_unit_test(test_strict_mems),    cmocka_unit_test(test_list),
		cmocka_unit_test(test_strict),	       cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_cannot_be_kept), cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_no_space),       cmocka_unit_test(test_process),
		cmocka_unit_test(test_is_live),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
