/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/touch.h"
#include "image-test.h"

#define BYTES  (4 * MIB)
#define BLOCKS (BYTES / 4096)

static struct test_image images[2];
static struct survey_image surveyed[2];
static struct survey survey;
static struct touch *touching;
static bool is_done;

static int setup(void **state)
{
	sigset_t set;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	survey = (struct survey){ .images = surveyed, .n_images = 2 };
	assert_true(sd_event_default(&survey.spec.event) >= 0);
	is_done = false;
	for (int i = 0; i < 2; i++) {
		image_make(&images[i], BYTES);
		image_cache(&images[i], 0, BYTES, POSIX_FADV_RANDOM);
		surveyed[i] = (struct survey_image){ .path = images[i].path,
						     .dev = images[i].ref.dev,
						     .ino = images[i].ref.ino,
						     .residency.blocks = blockset_new() };
		assert_int_equal(blockset_add(surveyed[i].residency.blocks, 0, BLOCKS), 0);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	touching = touch_free(touching);
	for (int i = 0; i < 2; i++) {
		blockset_free(surveyed[i].residency.blocks);
		image_done(&images[i]);
	}
	sd_event_unref(survey.spec.event);
	return 0;
}

static bool wants_first(const struct survey *s, size_t image, void *userdata)
{
	(void)s;
	(void)userdata;
	return image == 0;
}

static bool wants_all(const struct survey *s, size_t image, void *userdata)
{
	(void)s;
	(void)image;
	(void)userdata;
	return true;
}

static void on_done(struct touch *t, void *userdata)
{
	(void)t;
	(void)userdata;
	assert_false(is_done);
	is_done = true;
}

static void touch_all(touch_wanted_fn *wanted, uint64_t blocks_max, uint64_t deadline_usec)
{
	uint64_t end = now_usec() + 20 * USEC_PER_SEC;

	assert_int_equal(
		touch_start(&survey, deadline_usec, blocks_max, wanted, on_done, NULL, &touching),
		0);
	while (!is_done && now_usec() < end)
		assert_true(sd_event_run(survey.spec.event, USEC_PER_SEC) >= 0);
	assert_true(is_done);
}

/* What has left since the survey is not there; of what is not wanted nothing is known. */
static void test_finds_what_is_there(void **state)
{
	uint64_t there;

	(void)state;
	assert_int_equal(posix_fadvise(images[0].fd, 0, BYTES / 2, POSIX_FADV_DONTNEED), 0);
	touch_all(wants_first, 2 * BLOCKS, now_usec() + 20 * USEC_PER_SEC);
	assert_null(touch_found(touching, 1));
	assert_non_null(touch_found(touching, 0));
	there = blockset_count(touch_found(touching, 0));
	assert_int_equal(blockset_count_run(touch_found(touching, 0), 0, BLOCKS / 2), 0);
	/* The machine itself may page some out. */
	assert_in_range(there, BLOCKS / 4, BLOCKS / 2);
}

static void test_one_that_cannot_be_touched_does_not_stop_the_next(void **state)
{
	(void)state;
	surveyed[0].ino++;
	touch_all(wants_all, 2 * BLOCKS, now_usec() + 20 * USEC_PER_SEC);
	assert_null(touch_found(touching, 0));
	assert_non_null(touch_found(touching, 1));
}

static void test_nothing_is_touched_too_late(void **state)
{
	(void)state;
	touch_all(wants_all, 2 * BLOCKS, now_usec());
	assert_null(touch_found(touching, 0));
	assert_null(touch_found(touching, 1));
}

static void test_what_is_more_than_the_reader_has_is_told_untouched(void **state)
{
	(void)state;
	assert_int_equal(posix_fadvise(images[1].fd, 0, BYTES, POSIX_FADV_DONTNEED), 0);
	touch_all(wants_all, BLOCKS, now_usec() + 20 * USEC_PER_SEC);
	assert_true(touch_found(touching, 0) != surveyed[0].residency.blocks);
	/* Nobody looked at it. */
	assert_ptr_equal(touch_found(touching, 1), surveyed[1].residency.blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_finds_what_is_there, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_one_that_cannot_be_touched_does_not_stop_the_next, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_is_touched_too_late, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_is_more_than_the_reader_has_is_told_untouched, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
