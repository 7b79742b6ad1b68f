/* SPDX-License-Identifier: Apache-2.0 */
/* Copies counted by set algebra against copies counted one block at a time. */
#include "policy-test.h"

#include "base/cleanup.h"
#include "policy/duplicates.h"
#include "policy/holders.h"

#define _cleanup_world_ _cleanup_(world_done)

static void test_by_hand(void **state)
{
	static const struct image_drawing images[WORLD_IMAGES] = { { "base", .host = "xxxxxx.." },
								   { "own", .host = NULL } };
	static const struct guest_drawing guests[WORLD_GUESTS] = {
		{ "a", .cache = { "mmc..m.m", "cc" } },
		{ "b", .cache = { "c.c...m." } },
	};
	_cleanup_world_ struct world w;
	struct duplicates d;
	struct duplicates_guest of_guest;

	(void)state;
	world_draw(&w, images, guests);
	assert_int_equal(duplicates_measure(&w.snapshot, 0, &d), 0);
	assert_true(d.known);
	assert_int_equal(d.resident, 6);
	assert_int_equal(d.distinct, 8);
	assert_int_equal(d.copies, 6 + 5 + 3);
	assert_int_equal(d.duplicate, 4);
	assert_int_equal(d.guest_only, 2);
	assert_int_equal(d.holders[0], 2);
	assert_int_equal(d.holders[1], 2);
	assert_int_equal(d.holders[2], 2);
	assert_int_equal(d.holders[3], 0);
	assert_int_equal(duplicates_factor_permille(d.copies, d.distinct), 1750);

	assert_int_equal(duplicates_measure(&w.snapshot, 1, &d), 0);
	assert_false(d.known);
	assert_int_equal(d.resident, 0);
	assert_int_equal(d.guest_only, 2);
	assert_int_equal(d.duplicate, 0);

	duplicates_measure_guest(&w.snapshot, 0, &of_guest);
	assert_int_equal(of_guest.held, 7);
	assert_int_equal(of_guest.duplicate, 4);
	assert_int_equal(of_guest.evictable_duplicate, 1);
	duplicates_measure_guest(&w.snapshot, 1, &of_guest);
	assert_int_equal(of_guest.held, 3);
	assert_int_equal(of_guest.duplicate, 2);
	assert_int_equal(of_guest.evictable_duplicate, 2);
	assert_int_equal(duplicates_factor_permille(0, 0), 0);
}

#define MANY   40
#define BLOCKS 300

/* More guests than the histogram has rows, so that the last one has to hold the rest. */
static void test_against_counting(void **state)
{
	static struct snapshot_guest guests[MANY];
	static struct snapshot_holding holdings[MANY];
	static struct blockset *held[MANY];

	(void)state;
	for (uint64_t seed = 1; seed < 50; seed++) {
		struct dice dice = dice_new(seed);
		size_t n = 1 + dice_roll(&dice, MANY);
		uint32_t density = 1 + dice_roll(&dice, 4);
		unsigned counts[BLOCKS] = {};
		uint64_t rows[DUPLICATES_HOLDERS_MAX + 1] = {}, once = 0, multi = 0;
		_cleanup_(blockset_freep) struct blockset *resident = blockset_new();
		struct snapshot_image image = { .path = "base", .resident = resident };
		struct snapshot s = { .images = &image,
				      .n_images = 1,
				      .guests = guests,
				      .n_guests = n,
				      .holdings = holdings,
				      .n_holdings = n };
		struct duplicates d;

		for (size_t g = 0; g < n; g++) {
			held[g] = blockset_new();
			holdings[g] = (struct snapshot_holding){ .guest = g, .held = held[g] };
			for (size_t b = 0; b < BLOCKS; b++)
				if (dice_roll(&dice, 5) < density) {
					assert_int_equal(blockset_add(held[g], b, 1), 0);
					counts[b]++;
				}
		}
		for (size_t b = 0; b < BLOCKS; b++) {
			once += counts[b] == 1;
			multi += counts[b] > 1;
			if (dice_roll(&dice, 3) == 0)
				continue;
			assert_int_equal(blockset_add(resident, b, 1), 0);
			rows[counts[b] < DUPLICATES_HOLDERS_MAX ? counts[b]
								: DUPLICATES_HOLDERS_MAX]++;
		}
		assert_int_equal(duplicates_measure(&s, 0, &d), 0);
		for (size_t i = 0; i <= DUPLICATES_HOLDERS_MAX; i++)
			assert_int_equal(d.holders[i], rows[i]);

		_cleanup_(holders_done) struct holders holders = {};

		for (size_t g = 0; g < n; g++)
			assert_int_equal(holders_add(&holders, held[g]), 0);
		_cleanup_(blockset_freep) struct blockset *set_once = holders_once(&holders);
		_cleanup_(blockset_freep) struct blockset *set_multi = holders_multi(&holders);
		_cleanup_(blockset_freep) struct blockset *set_any = holders_any(&holders);

		assert_int_equal(blockset_count(set_once), once);
		assert_int_equal(blockset_count(set_multi), multi);
		assert_int_equal(blockset_count(set_any), once + multi);
		assert_int_equal(blockset_and_count(set_once, set_multi), 0);
		for (size_t g = 0; g < n; g++)
			blockset_free(held[g]);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_hand),
		cmocka_unit_test(test_against_counting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
