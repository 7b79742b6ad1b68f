/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "guest/slab.h"

#define ANY_USEC UINT64_MAX

/* The tree of one test, as @root of the calls. */
static char root[64];

static const char *under(const char *path)
{
	static char whole[256];

	snprintf(whole, sizeof(whole), "%s%s", root, path);
	return whole;
}

static void make_folder(const char *path)
{
	char part[256];

	for (const char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(p - path), path);
		mkdir(under(part), 0700);
	}
}

static void put(const char *path, const char *text)
{
	make_folder(path);
	FILE *f = fopen(under(path), "we");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static const char *get(const char *path)
{
	static char text[4096];
	FILE *f = fopen(under(path), "re");

	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/pagepact-test-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#define SLABINFO                                                                                   \
	"slabinfo - version: 2.1\n"                                                                \
	"# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : "      \
	"tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> "      \
	"<sharedavail>\n"

/* One line of slabinfo. */
static const char *cache_text(const char *name, unsigned active, unsigned per_slab, unsigned pages,
			      unsigned slabs)
{
	static char text[256];

	snprintf(text, sizeof(text),
		 "%-17s %6u %6u %6u %4u %4u : tunables %4u %4u %4u : slabdata %6u %6u %6u\n", name,
		 active, slabs * per_slab, 64, per_slab, pages, 0, 0, 0, slabs, slabs, 0);
	return text;
}

static void put_shrink(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", name);
	put(path, "");
}

static bool was_shrunk(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", name);
	return strcmp(get(path), "1") == 0;
}

static void test_only_where_it_pays(void **state)
{
	struct slab_result result;
	char text[4096] = SLABINFO;

	(void)state;
	/* 10 objects in use of 8 a slab need 2 of 5 slabs: 3 of 2 pages could go. */
	strcat(text, cache_text("pays", 10, 8, 2, 5));
	strcat(text, cache_text("less", 17, 8, 2, 5));
	strcat(text, cache_text("full", 40, 8, 2, 5));
	strcat(text, cache_text("none", 0, 8, 2, 0));
	put("/proc/slabinfo", text);
	put_shrink("pays");
	put_shrink("less");
	put_shrink("full");
	put_shrink("none");
	assert_int_equal(slab_shrink(root, 3 * 8192 + 1, ANY_USEC, &result), 0);
	assert_int_equal(result.caches_tried, 0);
	assert_int_equal(slab_shrink(root, 3 * 8192, ANY_USEC, &result), 0);
	assert_int_equal(result.caches_tried, 1);
	assert_true(was_shrunk("pays"));
	assert_false(was_shrunk("less"));
	assert_int_equal(slab_shrink(root, 1, ANY_USEC, &result), 0);
	assert_int_equal(result.caches_tried, 2);
	assert_true(was_shrunk("less"));
	assert_false(was_shrunk("full"));
	assert_int_equal(slab_shrink(root, 0, ANY_USEC, &result), 0);
	assert_int_equal(result.caches_tried, 4);
	assert_true(was_shrunk("full") && was_shrunk("none"));
	/* The kernel kept them all. */
	assert_int_equal(result.freed_bytes, 0);
	assert_int_equal(result.caches_told, 0);
}

static void test_merged_caches_once(void **state)
{
	struct slab_result result;
	char text[4096] = SLABINFO;

	(void)state;
	strcat(text, cache_text("kmalloc-192", 0, 21, 1, 9));
	strcat(text, cache_text("biovec-12", 0, 21, 1, 8));
	strcat(text, cache_text("a/b", 0, 21, 1, 7));
	put("/proc/slabinfo", text);
	put_shrink(":0000192");
	put_shrink("a!b");
	assert_int_equal(symlink(":0000192", under("/sys/kernel/slab/kmalloc-192")), 0);
	assert_int_equal(symlink(":0000192", under("/sys/kernel/slab/biovec-12")), 0);
	assert_int_equal(slab_shrink(root, 1, ANY_USEC, &result), 0);
	assert_int_equal(result.caches_tried, 2);
	assert_true(was_shrunk(":0000192") && was_shrunk("a!b"));
}

static void test_one_error_stops_nobody(void **state)
{
	struct slab_result result = { .caches_tried = 77 };
	char text[4096] = SLABINFO;

	(void)state;
	strcat(text, cache_text("gone", 0, 8, 1, 9));
	strcat(text, cache_text("folder", 0, 8, 1, 8));
	put("/proc/slabinfo", text);
	put("/sys/kernel/slab/folder/shrink/x", "");
	assert_int_equal(slab_shrink(root, 1, ANY_USEC, &result), -EISDIR);
	assert_int_equal(result.caches_tried, 77);
	strcat(text, cache_text("well", 0, 8, 1, 7));
	put("/proc/slabinfo", text);
	put_shrink("well");
	assert_int_equal(slab_shrink(root, 1, ANY_USEC, &result), 0);
	assert_int_equal(result.caches_tried, 1);
	assert_true(was_shrunk("well"));
}

static void test_quota(void **state)
{
	struct slab_result result;
	char text[4096] = SLABINFO;

	(void)state;
	strcat(text, cache_text("pays", 0, 8, 1, 9));
	put("/proc/slabinfo", text);
	put_shrink("pays");
	assert_int_equal(slab_shrink(root, 1, 0, &result), 0);
	assert_int_equal(result.caches_tried, 0);
	assert_false(was_shrunk("pays"));
}

static void test_not_there(void **state)
{
	struct slab_result result;
	uint64_t bytes;

	(void)state;
	put("/proc/slabinfo", SLABINFO);
	assert_int_equal(slab_shrink(root, 1, ANY_USEC, &result), -EOPNOTSUPP);
	put("/proc/meminfo", "Slab: 2 kB\nSReclaimable: 1 kB\n");
	assert_int_equal(slab_press(root, 1 << 20, UINT64_MAX, &bytes), -EOPNOTSUPP);
	/* An empty directory is where debugfs is not mounted. */
	make_folder("/sys/kernel/debug/");
	assert_int_equal(slab_press(root, 1 << 20, UINT64_MAX, &bytes), -EOPNOTSUPP);
	make_folder("/sys/kernel/slab/");
	assert_int_equal(unlink(under("/proc/slabinfo")), 0);
	assert_int_equal(slab_shrink(root, 1, ANY_USEC, &result), -EOPNOTSUPP);
}

/* Lines that mean nothing leave the others as they are. */
static void test_odd_lines(void **state)
{
	struct slab_result result;
	char text[8192] = SLABINFO, name[100];

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	strcat(text, cache_text(name, 0, 8, 1, 90));
	strcat(text, cache_text("of two words", 0, 8, 1, 90));
	strcat(text, cache_text("zero", 0, 0, 1, 90));
	strcat(text, "large 0 0 64 64 4096 : tunables 0 0 0 : slabdata 9 9223372036854775807 0\n");
	strcat(text, "half 1 2 3 4\n\n");
	strcat(text, cache_text("well", 0, 8, 1, 9));
	put("/proc/slabinfo", text);
	put_shrink(name);
	put_shrink("of");
	put_shrink("zero");
	put_shrink("large");
	put_shrink("half");
	put_shrink("well");
	assert_int_equal(slab_shrink(root, 0, ANY_USEC, &result), 0);
	assert_int_equal(result.caches_tried, 1);
	assert_true(was_shrunk("well"));
}

/* ------------------------------------------------------------------ what changed */

#define NEXT_PIPE "/next-pipe"

static int pipe_open(const char *path)
{
	int fd = open(under(path), O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		_exit(1);
	return fd;
}

static void pipe_write(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		_exit(1);
	close(fd);
}

/* Waits until somebody reads @path. Who opens it next finds another pipe there: this one may still
 * be open here by then, and would end before it told them anything. */
static int pipe_open_once(const char *path)
{
	int fd = pipe_open(path);
	char whole[256];

	snprintf(whole, sizeof(whole), "%s", under(path));
	if (rename(under(NEXT_PIPE), whole) < 0)
		_exit(1);
	return fd;
}

/* Tells @before to who opens @path first, and @after to those who open it when @mark was written.
 */
static pid_t serve(const char *path, const char *before, const char *mark, const char *after)
{
	uint64_t deadline = now_usec() + 20 * USEC_PER_SEC;
	struct stat st = { 0 };
	pid_t pid;

	make_folder(path);
	assert_int_equal(mkfifo(under(path), 0600), 0);
	assert_int_equal(mkfifo(under(NEXT_PIPE), 0600), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid)
		return pid;
	pipe_write(pipe_open_once(path), before);
	/* The first reader closed it before it wrote there. */
	while (stat(under(mark), &st) < 0 || st.st_size == 0)
		if (now_usec() > deadline)
			_exit(1);
	pipe_write(pipe_open(path), after);
	_exit(0);
}

static void served(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_most_first(void **state)
{
	char before[16384] = SLABINFO, after[16384] = SLABINFO, name[SLAB_NAME_MAX];
	struct slab_result result;

	(void)state;
	/* New caches come first. "gone" and "grown" gave nothing, nor did "still", which is full.
	 */
	strcat(after, cache_text("new", 0, 8, 1, 500));
	strcat(before, cache_text("gone", 0, 8, 1, 90));
	strcat(before, cache_text("grown", 0, 8, 1, 50));
	strcat(after, cache_text("grown", 0, 8, 1, 60));
	strcat(before, cache_text("still", 400, 8, 1, 50));
	strcat(after, cache_text("still", 0, 8, 1, 0));
	for (unsigned i = 1; i <= SLAB_TOLD_MAX + 1; i++) {
		snprintf(name, sizeof(name), "cache-%u", i);
		strcat(before, cache_text(name, 0, 8, 1, 100));
		strcat(after, cache_text(name, 0, 8, 1, 100 - i));
		put_shrink(name);
	}
	put_shrink("gone");
	put_shrink("grown");
	put_shrink("still");
	pid_t pid = serve("/proc/slabinfo", before, "/sys/kernel/slab/grown/shrink", after);

	assert_int_equal(slab_shrink(root, 1, ANY_USEC, &result), 0);
	served(pid);
	assert_int_equal(result.caches_tried, SLAB_TOLD_MAX + 3);
	assert_int_equal(result.freed_bytes, 4096 * (17 * 18 / 2));
	assert_int_equal(result.caches_told, SLAB_TOLD_MAX);
	for (unsigned i = 0; i < SLAB_TOLD_MAX; i++) {
		snprintf(name, sizeof(name), "cache-%u", 17 - i);
		assert_string_equal(result.caches[i].name, name);
		assert_int_equal(result.caches[i].before_bytes, 100 * 4096);
		assert_int_equal(result.caches[i].after_bytes, (100 - (17 - i)) * 4096);
	}
}

static void test_bytes(void **state)
{
	uint64_t all = 77, reclaimable = 77;

	(void)state;
	assert_int_equal(slab_bytes(root, &all, &reclaimable), -ENOENT);
	put("/proc/meminfo", "MemTotal:  1 kB\nSlab:  300 kB\nSUnreclaim: 100 kB\n");
	assert_int_equal(slab_bytes(root, &all, &reclaimable), -ENODATA);
	put("/proc/meminfo", "Slab: 18446744073709551615 kB\nSReclaimable: 1 kB\n");
	assert_int_equal(slab_bytes(root, &all, &reclaimable), -ERANGE);
	assert_int_equal(all, 77);
	put("/proc/meminfo", "MemTotal:  1 kB\nKReclaimable: 9 kB\nSlab:            300 kB\n"
			     "SReclaimable:    200 kB\nSUnreclaim:      100 kB\n");
	assert_int_equal(slab_bytes(root, &all, &reclaimable), 0);
	assert_int_equal(all, 300 * 1024);
	assert_int_equal(reclaimable, 200 * 1024);
}

/* ------------------------------------------------------------------ shrinkers */

#define SHRINKERS "/sys/kernel/debug/shrinker/"

static void put_shrinker(const char *name, const char *count)
{
	char path[256];

	snprintf(path, sizeof(path), SHRINKERS "%s/count", name);
	put(path, count);
	snprintf(path, sizeof(path), SHRINKERS "%s/scan", name);
	put(path, "");
}

/* 4,000 objects wanted of 8,000, in proportion; no more than so many, and half that in a round. */
static void test_press_is_bounded(void **state)
{
	char expected[4096] = "";
	uint64_t bytes = 77;

	(void)state;
	put("/proc/meminfo", "Slab: 300 kB\nSReclaimable: 200 kB\n");
	put_shrinker("sb-ext4:vda1-7", "1 400 0\n21 0 200\n");
	put_shrinker("sb-tmpfs-8", "");
	put_shrinker("sb-xfs:vdb-9", "x 5\n1 7400\n");
	put_shrinker("mm-shadow-1", "1 900 900\n");
	assert_int_equal(slab_press(root, 4000 * 640, UINT64_MAX, &bytes), 0);
	assert_int_equal(bytes, 0);
	assert_string_equal(get(SHRINKERS "sb-ext4:vda1-7/scan"),
			    "1 0 128\n1 0 73\n21 1 101\n1 0 128\n1 0 73\n21 1 101\n");
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 3701 / 128; i++)
			strcat(expected, "1 0 128\n");
		strcat(expected, "1 0 117\n");
	}
	assert_string_equal(get(SHRINKERS "sb-xfs:vdb-9/scan"), expected);
	assert_string_equal(get(SHRINKERS "sb-tmpfs-8/scan"), "");
	assert_string_equal(get(SHRINKERS "mm-shadow-1/scan"), "");
}

static void test_press_no_more_than_there_is(void **state)
{
	uint64_t bytes;

	(void)state;
	put("/proc/meminfo", "Slab: 300 kB\nSReclaimable: 200 kB\n");
	put_shrinker("sb-ext4:vda1-7", "1 30\n");
	assert_int_equal(slab_press(root, UINT64_MAX, UINT64_MAX, &bytes), 0);
	assert_string_equal(get(SHRINKERS "sb-ext4:vda1-7/scan"), "1 0 30\n1 0 30\n");
	put_shrinker("sb-ext4:vda1-7", "1 18446744073709551615 18446744073709551615\n");
	assert_int_equal(slab_press(root, 100 * 640, UINT64_MAX, &bytes), 0);
	assert_string_equal(get(SHRINKERS "sb-ext4:vda1-7/scan"),
			    "1 0 101\n1 1 101\n1 0 101\n1 1 101\n");
	put_shrinker("sb-ext4:vda1-7", "1 30\n");
	assert_int_equal(slab_press(root, 639, UINT64_MAX, &bytes), 0);
	assert_string_equal(get(SHRINKERS "sb-ext4:vda1-7/scan"), "");
}

static void test_press_stops_when_it_is_enough(void **state)
{
	uint64_t bytes;

	(void)state;
	put_shrinker("sb-ext4:vda1-7", "1 4000\n");
	pid_t pid =
		serve("/proc/meminfo", "Slab: 3000 kB\nSReclaimable: 2000 kB\n",
		      SHRINKERS "sb-ext4:vda1-7/scan", "Slab: 3000 kB\nSReclaimable: 1000 kB\n");

	assert_int_equal(slab_press(root, 1000 * 1024, UINT64_MAX, &bytes), 0);
	served(pid);
	assert_int_equal(bytes, 1000 * 1024);
	assert_string_equal(get(SHRINKERS "sb-ext4:vda1-7/scan"), "1 0 128\n");
}

static void test_press_refused(void **state)
{
	uint64_t bytes = 77;

	(void)state;
	put("/proc/meminfo", "Slab: 300 kB\nSReclaimable: 200 kB\n");
	put(SHRINKERS "sb-ext4:vda1-7/count", "1 30\n");
	assert_int_equal(slab_press(root, 1 << 20, UINT64_MAX, &bytes), -ENOENT); /* no scan */
	assert_int_equal(bytes, 77);
	put_shrinker("sb-xfs:vdb-9", "1 30\n");
	assert_int_equal(slab_press(root, 1 << 20, UINT64_MAX, &bytes), 0);
	assert_string_equal(get(SHRINKERS "sb-xfs:vdb-9/scan"), "1 0 30\n1 0 30\n");
}

#define unit(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(test_only_where_it_pays),
		unit(test_merged_caches_once),
		unit(test_one_error_stops_nobody),
		unit(test_quota),
		unit(test_not_there),
		unit(test_odd_lines),
		unit(test_most_first),
		unit(test_bytes),
		unit(test_press_is_bounded),
		unit(test_press_no_more_than_there_is),
		unit(test_press_stops_when_it_is_enough),
		unit(test_press_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
