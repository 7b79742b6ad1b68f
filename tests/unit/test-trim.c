/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>

#include "host/residency.h"
#include "host/trim.h"
#include "image-test.h"

#define _cleanup_image_ _cleanup_(image_done)
#define RUNS_MAX	8192

/* Everything a trim is judged by, as the test itself sees it. */
struct outcome {
	struct trim_result result;
	size_t asked_before;
	size_t asked_after;
	size_t others_before;
	size_t others_lost;
};

/* From storage, by children. */
static size_t blocks_read(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_CHILDREN, &usage), 0);
	return (size_t)usage.ru_inblock;
}

static struct outcome trim(const struct test_image *image, const struct block_run *runs, size_t n,
			   bool no_cachestat)
{
	struct trim_arg arg = { image->ref, runs, n, no_cachestat };
	const size_t pages = (image->bytes + 4095) / 4096;
	_cleanup_free_ uint8_t *before = image_look(image), *after = NULL;
	_cleanup_free_ uint8_t *asked = calloc(pages, 1);
	_cleanup_output_ struct output out = { 0 };
	struct outcome found = { 0 };
	size_t read_before = blocks_read();

	assert_int_equal(run_child(trim_child, &arg, &out), 0);
	assert_int_equal(blocks_read(), read_before);
	assert_true(out.size <= TRIM_OUTPUT_MAX);
	assert_int_equal(trim_decode(out.data, out.size, &found.result), 0);
	after = image_look(image);
	for (size_t i = 0; i < n; i++)
		for (size_t page = runs[i].start; page < runs[i].start + runs[i].count; page++)
			if (page < pages)
				asked[page] = 1;
	for (size_t i = 0; i < pages; i++) {
		found.asked_before += asked[i] && before[i];
		found.asked_after += asked[i] && after[i];
		found.others_before += !asked[i] && before[i];
		found.others_lost += !asked[i] && before[i] && !after[i];
	}
	return found;
}

static size_t alternate(struct block_run *runs, size_t pages, uint32_t length)
{
	size_t n = 0;

	for (uint32_t at = 0; at + length <= pages && n < RUNS_MAX; at += 2 * length)
		runs[n++] = (struct block_run){ at, length };
	return n;
}

static void print_outcome(const char *what, const struct outcome *found)
{
	const struct trim_result *r = &found->result;

	print_message("%s: asked %zu gone %zu failed %zu; %zu others, %zu lost; %zu usec\n", what,
		      (size_t)r->asked_pages, (size_t)r->trimmed_pages,
		      (size_t)r->kept_failed_pages, found->others_before, found->others_lost,
		      (size_t)r->usec);
}

/*
 * A machine may evict by itself at any time (one with DAMON does), and the test cannot tell who did
 * it: nothing lost in one of a few attempts is what proves that we do not lose anything.
 */
static void assert_exact(uint32_t length, bool no_cachestat)
{
	_cleanup_free_ struct block_run *runs = calloc(RUNS_MAX, sizeof(*runs));
	char what[40];

	snprintf(what, sizeof(what), "runs of %u KiB%s", length * 4,
		 no_cachestat ? ", kpageflags" : "");
	for (int attempt = 0; attempt < 3; attempt++) {
		_cleanup_image_ struct test_image image = { .fd = -1 };
		struct outcome found;
		size_t n;

		image_make(&image, 64 * MIB);
		image_cache(&image, 0, image.bytes, POSIX_FADV_SEQUENTIAL);
		n = alternate(runs, image.bytes / 4096, length);
		found = trim(&image, runs, n, no_cachestat);
		print_outcome(what, &found);
		assert_int_equal(found.result.asked_pages, n * length);
		if (found.others_lost || found.asked_before < 8192 - 1024)
			continue;
		assert_true(found.result.trimmed_pages * 100 >= found.asked_before * 95);
		assert_true(found.asked_after * 100 <= found.asked_before * 5);
		assert_int_equal(found.result.kept_dirty_pages, 0);
		return;
	}
	fail_msg("neighbours were lost");
}

static void test_runs_of_64k(void **state)
{
	(void)state;
	assert_exact(16, false);
}

static void test_runs_of_4k(void **state)
{
	(void)state;
	assert_exact(1, false);
}

static void test_runs_of_4m(void **state)
{
	(void)state;
	assert_exact(1024, false);
}

static void test_without_cachestat(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("needs root, for /proc/kpageflags\n");
		skip();
	}
	assert_exact(16, true);
}

/*
 * 1 MiB of 4 is made dirty: it stays so, and only the rest goes. Had we started writeback, less
 * would be dirty afterwards; so it would if somebody calls sync(2) just now, hence the attempts.
 */
static bool dirty_stays(bool no_cachestat)
{
	_cleanup_image_ struct test_image image = { .fd = -1 };
	_cleanup_free_ char *data = calloc(1, MIB);
	const struct block_run all = { 0, 1024 };
	struct cache_counts before = { 0 }, after = { 0 };
	struct outcome found;
	bool known;

	image_make(&image, 4 * MIB);
	image_cache(&image, 0, image.bytes, POSIX_FADV_SEQUENTIAL);
	assert_int_equal(pwrite(image.fd, data, MIB, MIB + 4096), MIB);
	known = residency_counts(image.fd, 0, 1024, &before) == 0;
	found = trim(&image, &all, 1, no_cachestat);
	assert_true(found.result.trimmed_pages > 0);
	assert_int_equal(found.asked_after,
			 found.result.kept_dirty_pages + found.result.kept_failed_pages);
	if (!known)
		return found.result.kept_dirty_pages >= 256;
	assert_int_equal(residency_counts(image.fd, 0, 1024, &after), 0);
	return before.dirty >= 256 && before.writeback == 0 && after.dirty == before.dirty &&
	       after.writeback == 0 && found.result.kept_dirty_pages == before.dirty;
}

static void assert_dirty_stays(bool no_cachestat)
{
	for (int attempt = 0; attempt < 3; attempt++)
		if (dirty_stays(no_cachestat))
			return;
	fail_msg("writeback was started, or dirty pages went");
}

static void test_dirty_stays(void **state)
{
	(void)state;
	assert_dirty_stays(false);
}

static void test_dirty_stays_without_cachestat(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("needs root, for /proc/kpageflags\n");
		skip();
	}
	assert_dirty_stays(true);
}

/* What is not cached is not read, what lies beyond the end is gone, what others map stays. */
static void test_gone_and_mapped(void **state)
{
	_cleanup_image_ struct test_image image = { .fd = -1 };
	const struct block_run runs[] = { { 0, 512 }, { 512, 512 }, { 2000, 2000 }, { 9000, 1 } };
	struct outcome found;
	void *map;

	(void)state;
	image_make(&image, 8 * MIB + 100);
	image_cache(&image, 0, MIB, POSIX_FADV_RANDOM);
	image_cache(&image, 2 * MIB, MIB, POSIX_FADV_RANDOM);
	map = mmap(NULL, MIB, PROT_READ, MAP_SHARED, image.fd, 2 * MIB);
	assert_true(map != MAP_FAILED);
	assert_int_equal(madvise(map, MIB, MADV_POPULATE_READ), 0);
	found = trim(&image, runs, ARRAY_SIZE(runs), false);
	munmap(map, MIB);
	assert_int_equal(found.result.asked_pages, 512 + 512 + 2000 + 1);
	assert_int_equal(found.result.kept_gone_pages, 256 + 256 + 2000 + 1);
	assert_int_equal(found.result.trimmed_pages, 256);
	assert_int_equal(found.result.kept_failed_pages, 256);
	assert_int_equal(found.asked_after, 256);
}

static void become_stranger(void)
{
	if (setgid(12345) < 0 || setuid(12345) < 0)
		_exit(EXIT_FAILURE);
}

static void test_refused(void **state)
{
	_cleanup_image_ struct test_image image = { .fd = -1 };
	const struct block_run all = { 0, 256 };
	_cleanup_output_ struct output out = { 0 }, none = { 0 };
	_cleanup_free_ uint8_t *seen = NULL;
	struct trim_arg arg;

	(void)state;
	image_make(&image, MIB);
	image_cache(&image, 0, MIB, POSIX_FADV_RANDOM);
	arg = (struct trim_arg){ .image = image.ref, .runs = &all, .n_runs = 1 };
	arg.image.ino++;
	assert_int_equal(run_child(trim_child, &arg, &none), -ESTALE);
	if (geteuid() != 0) {
		print_message("needs root, to become somebody else\n");
		skip();
	}
	arg.image.ino--;
	assert_int_equal(fchmod(image.fd, 0644), 0);
	assert_int_equal(run_child_as(trim_child, &arg, become_stranger, &out), -EPERM);
	assert_int_equal(out.size, 0);
	seen = image_look(&image);
	assert_true(seen_in(seen, 0, 256) > 200);
}

static void test_decode_bad(void **state)
{
	_cleanup_image_ struct test_image image = { .fd = -1 };
	_cleanup_output_ struct output out = { 0 };
	const struct block_run all = { 0, 10 };
	struct trim_arg arg;
	struct trim_result result;

	(void)state;
	image_make(&image, MIB);
	arg = (struct trim_arg){ .image = image.ref, .runs = &all, .n_runs = 1 };
	assert_int_equal(run_child(trim_child, &arg, &out), 0);
	for (size_t size = 0; size < out.size; size++)
		assert_int_equal(trim_decode(out.data, size, &result), -EBADMSG);
	for (size_t i = 0; i < out.size; i++) {
		out.data[i] = (char)(out.data[i] ^ 0x80);
		if (trim_decode(out.data, out.size, &result) == 0)
			assert_int_equal(result.asked_pages, 10);
		out.data[i] = (char)(out.data[i] ^ 0x80);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_of_64k),
		cmocka_unit_test(test_runs_of_4k),
		cmocka_unit_test(test_runs_of_4m),
		cmocka_unit_test(test_without_cachestat),
		cmocka_unit_test(test_dirty_stays),
		cmocka_unit_test(test_dirty_stays_without_cachestat),
		cmocka_unit_test(test_gone_and_mapped),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_decode_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
