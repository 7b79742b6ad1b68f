/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "guest/superpage.h"

static struct scan_page pages[SUPERPAGE_PAGES];

/* All of them free, then [from, to) as the page given. */
static enum superpage judge(unsigned from, unsigned to, struct scan_page page)
{
	for (unsigned i = 0; i < SUPERPAGE_PAGES; i++)
		pages[i] = i >= from && i < to ? page : (struct scan_page){ .kind = SCAN_FREE };
	return superpage_judge(pages);
}

static enum superpage judge_one(unsigned char kind, unsigned flags)
{
	return judge(7, 8, (struct scan_page){ .kind = kind, .flags = (unsigned short)flags });
}

static void test_free_and_clean_cache_can_go(void **state)
{
	struct scan_page clean = { .kind = SCAN_FILE };

	(void)state;
	assert_int_equal(judge(0, 0, clean), SUPERPAGE_FREE);
	assert_int_equal(judge(0, 1, clean), SUPERPAGE_RECLAIMABLE);
	assert_int_equal(judge(511, 512, clean), SUPERPAGE_RECLAIMABLE);
	assert_int_equal(judge(0, 512, clean), SUPERPAGE_RECLAIMABLE);
	/* Metadata, read a buffer at a time; but for its buffers it would be in the midst of that.
	 */
	assert_int_equal(judge_one(SCAN_FILE, SCAN_NOT_UPTODATE | SCAN_BUFFERS),
			 SUPERPAGE_RECLAIMABLE);
	assert_int_equal(judge_one(SCAN_FILE, SCAN_NOT_UPTODATE), SUPERPAGE_USED);
	assert_int_equal(judge_one(SCAN_FILE, SCAN_LOCKED | SCAN_BUFFERS), SUPERPAGE_USED);
	/* What is hot would go, too: that is for who takes it to judge. */
	assert_int_equal(judge_one(SCAN_FILE, SCAN_ACTIVE | SCAN_REFERENCED),
			 SUPERPAGE_RECLAIMABLE);
}

static void test_a_few_that_could_be_moved_spoil_it(void **state)
{
	struct scan_page mine = { .kind = SCAN_ANONYMOUS };

	(void)state;
	assert_int_equal(judge(0, 1, mine), SUPERPAGE_SPOILED);
	assert_int_equal(judge(0, SUPERPAGE_SPOILERS_MAX, mine), SUPERPAGE_SPOILED);
	assert_int_equal(judge(0, SUPERPAGE_SPOILERS_MAX + 1, mine), SUPERPAGE_USED);
	assert_int_equal(judge_one(SCAN_SHMEM, 0), SUPERPAGE_SPOILED);
	assert_int_equal(judge_one(SCAN_FILE, SCAN_MAPPED), SUPERPAGE_SPOILED);
	assert_int_equal(judge_one(SCAN_FILE, SCAN_DIRTY), SUPERPAGE_SPOILED);
}

static void test_what_nobody_can_move_uses_it_up(void **state)
{
	(void)state;
	assert_int_equal(judge_one(SCAN_SLAB, 0), SUPERPAGE_USED);
	assert_int_equal(judge_one(SCAN_OTHER, 0), SUPERPAGE_USED);
	assert_int_equal(judge_one(SCAN_FILE, SCAN_PINNED), SUPERPAGE_USED);
	assert_int_equal(judge_one(SCAN_FILE, SCAN_UNEVICTABLE), SUPERPAGE_USED);
	assert_int_equal(judge_one(SCAN_FILE, SCAN_WRITEBACK), SUPERPAGE_USED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_free_and_clean_cache_can_go),
		cmocka_unit_test(test_a_few_that_could_be_moved_spoil_it),
		cmocka_unit_test(test_what_nobody_can_move_uses_it_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
