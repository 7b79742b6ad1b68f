/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the stamps of page frames and the table of evicted pages mean (layouts: events.h): decoding
 * and ageing, without the kernel.
 */
#ifndef PAGEPACT_GUEST_STAMP_H
#define PAGEPACT_GUEST_STAMP_H

#include "guest/watch.h"

/* Seconds of 2^30 ns after which a stamp says "long ago": with a sweep every minute none comes
 * near the 249 after which it would look new, and more than the last class of ages begins with. */
#define STAMP_OLD 128
/* So many it is older, at least, with each sweep after: not quite a minute. */
#define STAMP_STEP    55
#define STAMP_OLD_MAX (STAMP_OLD + (STAMP_LONGEST_AGO - STAMP_LONG_AGO) * STAMP_STEP)
/* None is so old, with a minute to spare: it is one of a time to come. */
#define STAMP_OLDEST 240

/* How long the sensor must have been on before a page without a stamp is known to be unused. */
#define STAMP_SENSED_NS 10000000000ull

/**
 * struct stamp_clock - when it is
 * @now_ns: CLOCK_MONOTONIC
 * @began_ns: when the watch began
 * @sensed_ns: how long the sensor has been on since then, in total
 */
struct stamp_clock {
	uint64_t now_ns;
	uint64_t began_ns;
	uint64_t sensed_ns;
};

/**
 * stamp_heat() - what a frame's stamp says of the page in it
 * @tag: the page's stamp_tag()
 */
struct watch_heat stamp_heat(uint16_t stamp, unsigned tag, const struct stamp_clock *clock);

/**
 * stamp_sweep() - mark stamps older than STAMP_OLD as "long ago", and those as longer ago
 * @stamps: BPF programs may write them meanwhile; aligned to 8 bytes
 * @count: a multiple of STAMPS_A_WORD
 *
 * To be called a minute after the last time, not earlier. Called too late, a stamp can look
 * younger than it is, never older.
 */
void stamp_sweep(uint16_t *stamps, size_t count, uint64_t now_ns);

/**
 * evicted_insert() - remember an evicted page for a minute
 * @table: of EVICTED_SLOTS
 * @counts: of followed pages by class of age: the new one is added. Where one that is not a minute
 * old has its place, that one stays, and the new one is not followed: more than the table holds in
 * a minute are followed as a sample. In the place of one that came back the new one is put
 */
void evicted_insert(uint64_t *table, uint64_t counts[static WIRE_AGE_CLASSES],
		    const struct watch_run *page, unsigned age_class, uint64_t now_ns);

/**
 * evicted_came_back() - whether a page came back within a minute of its eviction, in the last five
 */
bool evicted_came_back(const uint64_t *table, const struct watch_run *page, uint64_t now_ns);

#endif
