/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include <string.h>

#include "guest/stamp.h"

#define SECOND ((uint64_t)1 << STAMP_SECOND_SHIFT)
#define START  (1000 * SECOND + SECOND / 2)
#define NSEC   1000000000ull

static struct stamp_clock clock_at(uint64_t now_ns)
{
	return (struct stamp_clock){ .now_ns = now_ns, .began_ns = START };
}

static uint16_t stamp_at(uint64_t ns, unsigned tag, unsigned uses)
{
	return stamp_make(stamp_second(ns >> STAMP_SECOND_SHIFT), tag, uses);
}

static struct watch_heat heat_after(uint64_t from, uint64_t seconds)
{
	struct stamp_clock now = clock_at(from + seconds * SECOND);

	return stamp_heat(stamp_at(from, 5, 1), 5, &now);
}

/* What is said of an age in whole seconds of the stamp: at least. */
static uint32_t said(uint64_t age)
{
	return age ? (uint32_t)((age - 1) * SECOND / NSEC) : 0;
}

static void test_stamp_holds_its_parts(void **state)
{
	(void)state;
	for (unsigned uses = 0; uses <= STAMP_USES_MAX; uses++)
		for (unsigned tag = 0; tag <= STAMP_TAG_MASK; tag++) {
			uint16_t stamp = stamp_at(START, tag, uses);
			struct stamp_clock now = clock_at(START);
			struct watch_heat heat = stamp_heat(stamp, tag, &now);

			assert_int_not_equal(stamp, 0);
			assert_true(heat.known);
			assert_int_equal(heat.uses, uses);
			assert_int_equal(heat.age_sec, 0);
			assert_false(stamp_fits(stamp, tag ^ 1));
			assert_false(stamp_heat(stamp, tag ^ 1, &now).known);
		}
}

/* The second wraps every 249: wherever it stands, an age below STAMP_OLDEST is right. */
static void test_age_wraps(void **state)
{
	(void)state;
	for (uint64_t from = START; from < START + 300 * SECOND; from += SECOND)
		for (uint64_t age = 0; age < STAMP_OLDEST; age++) {
			struct watch_heat heat = heat_after(from, age);

			assert_true(heat.known);
			assert_int_equal(heat.age_sec, said(age));
		}
	assert_int_equal(heat_after(START, STAMP_SECONDS).age_sec, 0);
}

static void sweep_one(uint16_t *stamp, uint64_t now_ns)
{
	_Alignas(8) uint16_t stamps[STAMPS_A_WORD] = { 0, *stamp };

	stamp_sweep(stamps, STAMPS_A_WORD, now_ns);
	*stamp = stamps[1];
}

/* The time is read once for many pages, some of which are used meanwhile. */
static void test_used_since_the_time_was_read(void **state)
{
	(void)state;
	for (uint64_t ahead = 1; ahead <= STAMP_SECONDS - STAMP_OLDEST; ahead++) {
		uint16_t stamp = stamp_at(START + ahead * SECOND, 5, 1);
		struct stamp_clock now = clock_at(START);

		assert_int_equal(stamp_heat(stamp, 5, &now).age_sec, 0);
		sweep_one(&stamp, START);
		assert_int_equal(stamp, stamp_at(START + ahead * SECOND, 5, 1));
	}
}

static void test_sweep(void **state)
{
	_Alignas(8) uint16_t stamps[STAMP_OLDEST + STAMPS_A_WORD] = { 0 };
	struct stamp_clock now = clock_at(START + (STAMP_OLDEST - 1) * SECOND);

	(void)state;
	for (unsigned i = 0; i < STAMP_OLDEST; i++)
		stamps[i] = stamp_at(START + i * SECOND, i & STAMP_TAG_MASK, i & STAMP_USES_MAX);
	stamps[STAMP_OLDEST + 1] = stamp_make(STAMP_LONG_AGO, 9, 2);
	/* Again and again: what is long ago stays so, without wrapping, and is longer ago each
	 * time. */
	for (uint64_t later = 0, sweeps = 1; later <= 1000; later += 56, sweeps++) {
		now.now_ns = START + (STAMP_OLDEST - 1 + later) * SECOND;
		stamp_sweep(stamps, STAMP_OLDEST + STAMPS_A_WORD, now.now_ns);
		for (unsigned i = 0; i < STAMP_OLDEST; i++) {
			struct watch_heat heat = stamp_heat(stamps[i], i & STAMP_TAG_MASK, &now);
			uint64_t age = STAMP_OLDEST - 1 + later - i;

			assert_true(heat.known);
			assert_int_equal(heat.uses, i & STAMP_USES_MAX);
			if (age < STAMP_OLD)
				assert_int_equal(heat.age_sec, said(age));
			else
				assert_in_range(heat.age_sec, said(STAMP_OLD), said(age));
		}
		assert_int_equal(stamps[STAMP_OLDEST], 0);
		assert_int_equal(
			stamps[STAMP_OLDEST + 1],
			stamp_make(sweeps < 5 ? STAMP_LONG_AGO + sweeps : STAMP_LONGEST_AGO, 9, 2));
	}
	for (unsigned i = 0; i < STAMP_OLDEST; i++)
		assert_int_equal(stamp_heat(stamps[i], i & STAMP_TAG_MASK, &now).age_sec,
				 said(STAMP_OLD_MAX));
}

/* A sweep a minute is often enough: no stamp lives to look new. */
static void test_sweeps_a_minute_apart(void **state)
{
	(void)state;
	for (uint64_t from = START; from < START + 60 * SECOND; from += 7 * SECOND) {
		uint16_t stamp = stamp_at(from, 3, 1);
		uint64_t swept = START;

		for (uint64_t t = from; t < from + 600 * SECOND; t += 20 * SECOND) {
			struct stamp_clock now = clock_at(t);

			if (t - swept >= 60 * NSEC) {
				sweep_one(&stamp, t);
				swept = t;
			}
			uint64_t least = (t - from) / SECOND;
			uint64_t heard = stamp_heat(stamp, 3, &now).age_sec;

			assert_true(heard >= said(least < STAMP_OLD ? least : STAMP_OLD));
			assert_true(heard <= (t - from) / NSEC);
		}
	}
}

/* Used at the end of a second and looked at when the next begins. */
static void test_age_is_at_least(void **state)
{
	uint16_t stamp = stamp_at(START - 1 + SECOND / 2, 3, 1);
	struct stamp_clock now = clock_at(START + SECOND / 2);

	(void)state;
	assert_int_equal(stamp_heat(stamp, 3, &now).age_sec, 0);
	now.now_ns += 2 * SECOND;
	assert_int_equal(stamp_heat(stamp, 3, &now).age_sec, 2);
}

static void test_never_stamped(void **state)
{
	struct stamp_clock now = clock_at(START + 90 * NSEC);

	(void)state;
	now.sensed_ns = STAMP_SENSED_NS - 1;
	assert_false(stamp_heat(0, 0, &now).known);
	now.sensed_ns = STAMP_SENSED_NS;
	assert_true(stamp_heat(0, 0, &now).known);
	assert_int_equal(stamp_heat(0, 17, &now).age_sec, 90);
	assert_int_equal(stamp_heat(0, 17, &now).uses, 0);
}

static void test_tags_differ(void **state)
{
	unsigned same = 0, file = 0;
	uint64_t mapping = 0xffff888012345678ull;

	(void)state;
	for (uint64_t i = 0; i < 6400; i++) {
		assert_true(stamp_tag(mapping, i) <= STAMP_TAG_MASK);
		same += stamp_tag(mapping, i) == stamp_tag(mapping, i + 1);
		file += stamp_tag(mapping, i) == stamp_tag(mapping + 1088, i); /* an ext4 inode */
	}
	/* One of 64 by chance: 100. */
	assert_true(same < 200);
	assert_true(file < 200);
}

static void test_age_classes(void **state)
{
	static const struct {
		uint32_t age_sec;
		unsigned age_class;
	} wanted[] = { { 0, 0 },   { 1, 0 },   { 2, 1 },    { 3, 1 },	      { 4, 2 },
		       { 7, 2 },   { 8, 3 },   { 15, 3 },   { 16, 4 },	      { 31, 4 },
		       { 32, 5 },  { 63, 5 },  { 64, 6 },   { 127, 6 },	      { 128, 7 },
		       { 255, 7 }, { 256, 7 }, { 9999, 7 }, { UINT32_MAX, 7 } };

	(void)state;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		assert_int_equal(watch_age_class((struct watch_heat){
					 .known = true, .age_sec = wanted[i].age_sec }),
				 wanted[i].age_class);
	assert_int_equal(watch_age_class((struct watch_heat){ .known = false }), 7);
}

struct evicted {
	uint64_t table[EVICTED_SLOTS];
	uint64_t counts[WIRE_AGE_CLASSES];
};

static struct evicted *evicted_new(void)
{
	static struct evicted e;

	memset(&e, 0, sizeof(e));
	return &e;
}

static uint64_t entry_of(const struct evicted *e, const struct watch_run *page)
{
	uint64_t file = evicted_file(page->device, page->inode);
	uint64_t entry = e->table[evicted_slot(file, page->index)];

	return entry >> EVICTED_TAG_SHIFT == evicted_tag(file, page->index) ? entry : 0;
}

static int young_at(uint64_t entry, uint64_t ns)
{
	return evicted_is_young(entry, evicted_second(ns >> STAMP_SECOND_SHIFT));
}

static void test_evicted_for_a_minute(void **state)
{
	struct evicted *e = evicted_new();
	struct watch_run page = { .device = 0x800001, .inode = 12, .index = 99 };

	(void)state;
	evicted_insert(e->table, e->counts, &page, 3, START);
	uint64_t entry = entry_of(e, &page);
	assert_int_equal(evicted_class(entry), 3);
	assert_true(young_at(entry, START));
	assert_true(young_at(entry, START - SECOND)); /* a program's clock, behind */
	assert_true(young_at(entry, START + 59 * NSEC));
	assert_false(young_at(entry, START + 61 * NSEC));
	assert_false(young_at(entry, START + 100000 * SECOND));
	assert_false(young_at(0, START));
	assert_int_equal(e->counts[3], 1);
}

static void test_evicted_tells_pages_apart(void **state)
{
	struct evicted *e = evicted_new();
	struct watch_run page = { .device = 0x800001, .inode = 12, .index = 99 };

	(void)state;
	evicted_insert(e->table, e->counts, &page, 0, START);
	struct watch_run other = page;
	other.index++;
	assert_int_equal(entry_of(e, &other), 0);
	other = page;
	other.index += EVICTED_SLOTS; /* the same place */
	assert_int_equal(entry_of(e, &other), 0);
	other = page;
	other.inode++;
	assert_int_equal(entry_of(e, &other), 0);
	other = page;
	other.device++;
	assert_int_equal(entry_of(e, &other), 0);
	assert_int_not_equal(entry_of(e, &page), 0);
}

/* As a program does. */
static void come_back(struct evicted *e, const struct watch_run *page, uint64_t ns)
{
	uint64_t *entry =
		&e->table[evicted_slot(evicted_file(page->device, page->inode), page->index)];

	*entry = evicted_returned(*entry, evicted_second(ns >> STAMP_SECOND_SHIFT));
}

/* What is displaced before its minute is over could not be followed: it counts no more. */
static void test_evicted_displaced(void **state)
{
	struct evicted *e = evicted_new();
	struct watch_run page = { .device = 1, .inode = 12, .index = 5 };
	struct watch_run other = page;

	(void)state;
	other.index += EVICTED_SLOTS;
	evicted_insert(e->table, e->counts, &page, 2, START);
	evicted_insert(e->table, e->counts, &other, 4, START + 10 * SECOND);
	/* The first stays until its minute is over: the other is not followed. */
	assert_int_equal(e->counts[2], 1);
	assert_int_equal(e->counts[4], 0);
	assert_int_equal(evicted_class(e->table[evicted_slot(evicted_file(1, 12), 5)]), 2);
	evicted_insert(e->table, e->counts, &other, 4, START + 80 * SECOND);
	assert_int_equal(e->counts[2], 1);
	assert_int_equal(e->counts[4], 1);
	/* It came back: there is room for the next. */
	come_back(e, &other, START + 81 * SECOND);
	evicted_insert(e->table, e->counts, &page, 2, START + 81 * SECOND);
	assert_int_equal(e->counts[2], 2);
	assert_false(evicted_came_back(e->table, &other, START + 82 * SECOND));
}

static void test_what_came_back_is_known_for_five_minutes(void **state)
{
	struct evicted *e = evicted_new();
	struct watch_run page = { .device = 0x800001, .inode = 12, .index = 99 };
	struct watch_run neighbour = page, twin = page;

	(void)state;
	neighbour.index++;
	twin.index += EVICTED_SLOTS;
	assert_false(evicted_came_back(e->table, &page, START));
	evicted_insert(e->table, e->counts, &page, 7, START);
	assert_false(evicted_came_back(e->table, &page, START));
	come_back(e, &page, START + 10 * SECOND);
	/* It is not followed any more: it comes back once. */
	assert_false(young_at(entry_of(e, &page), START + 10 * SECOND));
	assert_true(evicted_came_back(e->table, &page, START + 9 * SECOND));
	assert_true(evicted_came_back(e->table, &page, START + 10 * SECOND));
	assert_true(evicted_came_back(e->table, &page, START + 10 * SECOND + 299 * NSEC));
	assert_false(evicted_came_back(e->table, &page, START + 10 * SECOND + 301 * NSEC));
	assert_false(evicted_came_back(e->table, &neighbour, START + 10 * SECOND));
	assert_false(evicted_came_back(e->table, &twin, START + 10 * SECOND));
}

static void test_evicted_spreads(void **state)
{
	struct evicted *e = evicted_new();
	uint64_t left = 0;

	(void)state;
	/* Half as many pages as places, of 64 files. */
	for (uint64_t n = 0; n < EVICTED_SLOTS / 2; n++) {
		struct watch_run page = { .device = 1, .inode = 100 + n % 64, .index = n / 64 };

		evicted_insert(e->table, e->counts, &page, 0, START);
	}
	left = e->counts[0];
	assert_true(left > EVICTED_SLOTS / 2 * 6 / 10);
	assert_true(left <= EVICTED_SLOTS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stamp_holds_its_parts),
		cmocka_unit_test(test_age_wraps),
		cmocka_unit_test(test_used_since_the_time_was_read),
		cmocka_unit_test(test_sweep),
		cmocka_unit_test(test_sweeps_a_minute_apart),
		cmocka_unit_test(test_age_is_at_least),
		cmocka_unit_test(test_never_stamped),
		cmocka_unit_test(test_tags_differ),
		cmocka_unit_test(test_age_classes),
		cmocka_unit_test(test_evicted_for_a_minute),
		cmocka_unit_test(test_what_came_back_is_known_for_five_minutes),
		cmocka_unit_test(test_evicted_tells_pages_apart),
		cmocka_unit_test(test_evicted_displaced),
		cmocka_unit_test(test_evicted_spreads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
