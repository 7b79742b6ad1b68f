/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "host/residency.h"
#include "image-test.h"

#define _cleanup_image_	    _cleanup_(image_done)
#define _cleanup_residency_ _cleanup_(residency_done)

#define STRANGER 12345

static int census(const struct image_ref *ref, void (*as)(void), struct residency *ret)
{
	struct residency_arg arg = { .image = *ref };
	_cleanup_output_ struct output out = { 0 };
	int r = run_child_as(residency_census_child, &arg, as, &out);

	if (r < 0) {
		assert_int_equal(out.size, 0);
		return r;
	}
	assert_true(out.size <= RESIDENCY_OUTPUT_MAX);
	assert_int_equal(residency_decode(out.data, out.size, ret), 0);
	return 0;
}

/* Between two equal looks of the test's own: a machine may evict by itself at any time. */
static void assert_true_census(const struct test_image *image, void (*as)(void))
{
	for (int attempt = 0; attempt < 5; attempt++) {
		_cleanup_free_ uint8_t *before = image_look(image), *after = NULL;
		_cleanup_residency_ struct residency found = { 0 };
		size_t pages = (image->bytes + 4095) / 4096;

		assert_int_equal(census(&image->ref, as, &found), 0);
		after = image_look(image);
		if (memcmp(before, after, pages))
			continue;
		assert_int_equal(found.bytes, image->bytes);
		assert_int_equal(found.covered_blocks, pages);
		for (size_t i = 0; i < pages; i++)
			assert_int_equal(blockset_contains(found.blocks, i), before[i]);
		assert_int_equal(blockset_count(found.blocks), seen_in(before, 0, pages));
		return;
	}
	fail_msg("residency does not stand still");
}

static void test_census(void **state)
{
	_cleanup_image_ struct test_image image = { .fd = -1 };
	_cleanup_free_ uint8_t *seen = NULL;

	(void)state;
	image_make(&image, 72 * MIB + 5000);
	assert_true_census(&image, NULL);
	for (size_t at = 0; at < 8; at++)
		image_cache(&image, at * MIB, (at + 1) << 12, POSIX_FADV_RANDOM);
	image_cache(&image, 63 * MIB, 2 * MIB, POSIX_FADV_SEQUENTIAL);
	image_cache(&image, 72 * MIB, 5000, POSIX_FADV_RANDOM);
	seen = image_look(&image);
	assert_true(seen_in(seen, 0, 18434) >= 36 + 512 + 2);
	assert_true_census(&image, NULL);
}

static void test_empty(void **state)
{
	_cleanup_image_ struct test_image image = { .fd = -1 };
	_cleanup_residency_ struct residency found = { 0 };

	(void)state;
	image_make(&image, 0);
	assert_int_equal(census(&image.ref, NULL, &found), 0);
	assert_int_equal(found.bytes, 0);
	assert_int_equal(blockset_count(found.blocks), 0);
}

static void test_large_and_hollow(void **state)
{
	_cleanup_image_ struct test_image image = { .fd = -1 };
	_cleanup_residency_ struct residency found = { 0 };
	struct cache_counts counts;
	const off_t far = (off_t)1 << 40;

	(void)state;
	image_make(&image, 4096);
	if (residency_counts(image.fd, 0, 1, &counts) == -EOPNOTSUPP) {
		print_message("no cachestat: this takes minutes\n");
		skip();
	}
	assert_int_equal(pwrite(image.fd, "x", 1, far), 1);
	assert_int_equal(ftruncate(image.fd, far + (1 << 20)), 0);
	assert_int_equal(fsync(image.fd), 0);
	assert_int_equal(census(&image.ref, NULL, &found), 0);
	assert_true(found.confirmed);
	assert_true(blockset_contains(found.blocks, (uint64_t)far / 4096));
	assert_true(blockset_count(found.blocks) < 16);
}

static void become_stranger(void)
{
	if (setgid(STRANGER) < 0 || setuid(STRANGER) < 0)
		_exit(EXIT_FAILURE);
}

static void become_stranger_with_fowner(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = 1 << CAP_FOWNER, .permitted = 1 << CAP_FOWNER },
	};

	if (prctl(PR_SET_KEEPCAPS, 1) < 0)
		_exit(EXIT_FAILURE);
	become_stranger();
	if (syscall(SYS_capset, &header, data) < 0)
		_exit(EXIT_FAILURE);
}

/* mincore would say that all of it is cached. */
static void test_no_right(void **state)
{
	_cleanup_image_ struct test_image image = { .fd = -1 };
	_cleanup_residency_ struct residency found = { 0 };
	struct residency_touch_arg touch = { 0 };
	struct block_run all = { 0, 1024 };
	_cleanup_output_ struct output out = { 0 };

	(void)state;
	if (geteuid() != 0) {
		print_message("needs root, to become somebody else\n");
		skip();
	}
	image_make(&image, 4 * MIB);
	image_cache(&image, 0, 4096, POSIX_FADV_RANDOM);
	assert_int_equal(fchmod(image.fd, 0644), 0);
	assert_int_equal(census(&image.ref, become_stranger, &found), -EPERM);
	touch = (struct residency_touch_arg){ image.ref, &all, 1 };
	assert_int_equal(run_child_as(residency_touch_child, &touch, become_stranger, &out),
			 -EPERM);
	assert_int_equal(out.size, 0);
	assert_int_equal(fchmod(image.fd, 0600), 0);
	assert_int_equal(census(&image.ref, become_stranger, &found), -EACCES);
}

static void test_each_right(void **state)
{
	_cleanup_image_ struct test_image image = { .fd = -1 };

	(void)state;
	if (geteuid() != 0) {
		print_message("needs root, to become somebody else\n");
		skip();
	}
	image_make(&image, 4 * MIB);
	image_cache(&image, MIB, 65536, POSIX_FADV_RANDOM);
	assert_int_equal(fchmod(image.fd, 0666), 0);
	assert_true_census(&image, become_stranger);
	assert_int_equal(fchmod(image.fd, 0444), 0);
	assert_true_census(&image, become_stranger_with_fowner);
	assert_int_equal(fchown(image.fd, STRANGER, STRANGER), 0);
	assert_true_census(&image, become_stranger);
}

static void test_not_the_image(void **state)
{
	_cleanup_image_ struct test_image image = { .fd = -1 };
	_cleanup_residency_ struct residency found = { 0 };
	char path[80];
	struct image_ref ref;

	(void)state;
	image_make(&image, 4096);
	ref = image.ref;
	ref.ino++;
	assert_int_equal(census(&ref, NULL, &found), -ESTALE);
	ref = image.ref;
	ref.dev++;
	assert_int_equal(census(&ref, NULL, &found), -ESTALE);
	ref = ref_of("/var/tmp");
	assert_int_equal(census(&ref, NULL, &found), -EINVAL);
	ref = ref_of("/dev/null");
	assert_int_equal(census(&ref, NULL, &found), -EINVAL);

	snprintf(path, sizeof(path), "%s.fifo", image.path);
	assert_int_equal(mkfifo(path, 0600), 0);
	ref = ref_of(path);
	assert_int_equal(census(&ref, NULL, &found), -EINVAL);
	unlink(path);
	assert_int_equal(census(&ref, NULL, &found), -ENOENT);
}

/* Waits for readahead that is under way; to be freed. */
static uint8_t *look_settled(const struct test_image *image)
{
	usleep(20000);
	return image_look(image);
}

/*
 * Read as files are, so that the pages have readahead marks: a touch that heeded them would read
 * more. Nothing may come, all that stays must have been found.
 */
static void test_touch(void **state)
{
	_cleanup_image_ struct test_image image = { .fd = -1 };
	const struct block_run asked[] = { { 0, 100 }, { 200, 5000 }, { 8000, 1000 } };
	const size_t pages = 32 * 256 + 1;
	struct residency_touch_arg arg;

	(void)state;
	image_make(&image, 32 * MIB + 1);
	arg = (struct residency_touch_arg){ image.ref, asked, ARRAY_SIZE(asked) };

	for (int attempt = 0; attempt < 50; attempt++) {
		image_cache(&image, 0, 50 << 12, POSIX_FADV_RANDOM);
		image_cache(&image, 8 * MIB, MIB, POSIX_FADV_NORMAL);
		image_cache(&image, 32 * MIB, 1, POSIX_FADV_RANDOM);
		_cleanup_free_ uint8_t *before = look_settled(&image), *after = NULL;
		_cleanup_residency_ struct residency found = { 0 };
		_cleanup_output_ struct output out = { 0 };

		assert_int_equal(run_child(residency_touch_child, &arg, &out), 0);
		after = look_settled(&image);
		for (size_t i = 0; i < pages; i++)
			assert_true(after[i] <= before[i]);
		assert_int_equal(residency_decode(out.data, out.size, &found), 0);
		const uint64_t wanted = 50 + seen_in(before, 200, 5000) + 1;
		assert_true(blockset_count(found.blocks) <= wanted);
		/* The machine pages idle cache out by itself; readahead may be under way. */
		if (memcmp(before, after, pages) || blockset_count(found.blocks) < wanted)
			continue;
		assert_int_equal(blockset_count_run(found.blocks, 0, 50), 50);
		assert_int_equal(blockset_count_run(found.blocks, 2048, 256), 256);
		assert_true(blockset_contains(found.blocks, pages - 1));
		return;
	}
	fail_msg("residency does not stand still");
}

/* Every way to cut or change an answer ends in -EBADMSG or in a set within the image. */
static void test_decode_bad(void **state)
{
	_cleanup_image_ struct test_image image = { .fd = -1 };
	_cleanup_output_ struct output out = { 0 };
	struct residency_arg arg;
	struct residency found = { 0 };

	(void)state;
	image_make(&image, MIB);
	image_cache(&image, 0, 4096, POSIX_FADV_RANDOM);
	image_cache(&image, 65536, 8192, POSIX_FADV_RANDOM);
	arg = (struct residency_arg){ image.ref };
	assert_int_equal(run_child(residency_census_child, &arg, &out), 0);
	assert_true(out.size > 32);
	for (size_t size = 0; size < out.size; size++) {
		_cleanup_free_ char *part = malloc(size + 1);

		memcpy(part, out.data, size);
		assert_int_equal(residency_decode(part, size, &found), -EBADMSG);
	}
	for (size_t bit = 0; bit < out.size * 8; bit++) {
		out.data[bit / 8] = (char)(out.data[bit / 8] ^ 1 << bit % 8);
		if (residency_decode(out.data, out.size, &found) == 0) {
			assert_true(found.covered_blocks <= (found.bytes + 4095) / 4096);
			assert_int_equal(blockset_count(found.blocks),
					 blockset_count_run(found.blocks, 0, found.covered_blocks));
			residency_done(&found);
		}
		out.data[bit / 8] = (char)(out.data[bit / 8] ^ 1 << bit % 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_census),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_large_and_hollow),
		cmocka_unit_test(test_no_right),
		cmocka_unit_test(test_each_right),
		cmocka_unit_test(test_not_the_image),
		cmocka_unit_test(test_touch),
		cmocka_unit_test(test_decode_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
