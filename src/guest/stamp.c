/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/stamp.h"

#include <string.h>

#define NSEC_PER_SEC 1000000000u

_Static_assert(EVICTED_CLASSES == WIRE_AGE_CLASSES, "an entry holds every class of age");

/* In seconds of 2^30 ns. A use since the time was read is one of now. */
static unsigned stamp_age(unsigned second, uint64_t now_ns)
{
	unsigned now = stamp_second(now_ns >> STAMP_SECOND_SHIFT);
	unsigned age = (now + STAMP_SECONDS - second) % STAMP_SECONDS;

	return age < STAMP_OLDEST ? age : 0;
}

/* The second of the use may have been almost over, and this one just begun. */
static uint32_t age_sec(uint64_t seconds)
{
	return seconds ? (uint32_t)(((seconds - 1) << STAMP_SECOND_SHIFT) / NSEC_PER_SEC) : 0;
}

struct watch_heat stamp_heat(uint16_t stamp, unsigned tag, const struct stamp_clock *clock)
{
	unsigned second = stamp & UINT8_MAX;

	if (second == STAMP_NEVER)
		return (struct watch_heat){
			.known = clock->sensed_ns >= STAMP_SENSED_NS,
			.age_sec = (uint32_t)((clock->now_ns - clock->began_ns) / NSEC_PER_SEC),
		};
	if (!stamp_fits(stamp, tag))
		return (struct watch_heat){ .known = false };
	return (struct watch_heat){
		.known = true,
		.uses = stamp_uses(stamp),
		.age_sec = age_sec(second < STAMP_FIRST
					   ? STAMP_OLD + (second - STAMP_LONG_AGO) * STAMP_STEP
					   : stamp_age(second, clock->now_ns)),
	};
}

/* Return: what the sweep makes of it. */
static unsigned second_swept(unsigned second, uint64_t now_ns)
{
	if (second >= STAMP_FIRST)
		return stamp_age(second, now_ns) < STAMP_OLD ? second : STAMP_LONG_AGO;
	return second == STAMP_NEVER || second == STAMP_LONGEST_AGO ? second : second + 1;
}

static void sweep_one(uint16_t *at, uint64_t now_ns)
{
	uint16_t stamp = __atomic_load_n(at, __ATOMIC_RELAXED);
	unsigned second = stamp & UINT8_MAX, swept = second_swept(second, now_ns);

	if (swept == second)
		return;
	/* A use that comes in between wins. */
	__atomic_compare_exchange_n(at, &stamp,
				    (uint16_t)((stamp & ~(unsigned)UINT8_MAX) | swept), false,
				    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void stamp_sweep(uint16_t *stamps, size_t count, uint64_t now_ns)
{
	for (size_t i = 0; i < count; i += STAMPS_A_WORD) {
		uint64_t word;

		/* Most frames were never seen used. */
		memcpy(&word, &stamps[i], sizeof(word));
		if (!word)
			continue;
		for (size_t j = i; j < i + STAMPS_A_WORD; j++)
			sweep_one(&stamps[j], now_ns);
	}
}

unsigned watch_age_class(struct watch_heat heat)
{
	unsigned age_class = 0;

	if (!heat.known)
		return WIRE_AGE_CLASSES - 1;
	while (age_class < WIRE_AGE_CLASSES - 1 && heat.age_sec >> (age_class + 1))
		age_class++;
	return age_class;
}

void evicted_insert(uint64_t *table, uint64_t counts[static WIRE_AGE_CLASSES],
		    const struct watch_run *page, unsigned age_class, uint64_t now_ns)
{
	uint64_t file = evicted_file(page->device, page->inode);
	uint64_t *entry = &table[evicted_slot(file, page->index)];
	unsigned second = evicted_second(now_ns >> STAMP_SECOND_SHIFT);
	uint64_t new = evicted_make(evicted_tag(file, page->index), second, age_class);

	/* More than the table holds within a minute: those that were first stay, as a sample of
	 * all. A later one in their place would never be there when its page comes back. */
	if (evicted_is_young(__atomic_load_n(entry, __ATOMIC_RELAXED), second))
		return;
	__atomic_store_n(entry, new, __ATOMIC_RELAXED);
	counts[age_class]++;
}

bool evicted_came_back(const uint64_t *table, const struct watch_run *page, uint64_t now_ns)
{
	uint64_t file = evicted_file(page->device, page->inode);
	const uint64_t *entry = &table[evicted_slot(file, page->index)];

	return evicted_has_returned(__atomic_load_n(entry, __ATOMIC_RELAXED),
				    evicted_tag(file, page->index),
				    evicted_second(now_ns >> STAMP_SECOND_SHIFT));
}
