/* SPDX-License-Identifier: Apache-2.0 */
/* How often blocks are cached: the numbers behind `pagepact dup`. */
#ifndef PAGEPACT_POLICY_DUPLICATES_H
#define PAGEPACT_POLICY_DUPLICATES_H

#include "policy/snapshot.h"

#define DUPLICATES_HOLDERS_MAX 16

/**
 * struct duplicates - one image, in blocks
 * @resident: cached by the host
 * @distinct: cached anywhere
 * @copies: sum over all places
 * @duplicate: cached by the host and by at least one guest
 * @holders: cached by the host and by exactly n guests, [n]; [0] by the host alone; the last row:
 *	by that many guests or more
 * @guest_only: cached by guests and not by the host
 * @known: the host's residency and every user's holding are known; else the numbers leave out what
 *	is not
 */
struct duplicates {
	uint64_t resident;
	uint64_t distinct;
	uint64_t copies;
	uint64_t duplicate;
	uint64_t holders[DUPLICATES_HOLDERS_MAX + 1];
	uint64_t guest_only;
	bool known;
};

/**
 * duplicates_measure() - count the copies of an image's blocks
 *
 * Return: 0 or -ENOMEM.
 */
int duplicates_measure(const struct snapshot *snapshot, size_t image, struct duplicates *ret);

/**
 * struct duplicates_guest - one guest, all images, in blocks
 * @held: cached by it
 * @duplicate: of these, cached by the host too
 * @evictable_duplicate: of these, ones that the guest could give up
 */
struct duplicates_guest {
	uint64_t held;
	uint64_t duplicate;
	uint64_t evictable_duplicate;
};

/** duplicates_measure_guest() - never fails: it only counts */
void duplicates_measure_guest(const struct snapshot *snapshot, size_t guest,
			      struct duplicates_guest *ret);

/** duplicates_factor_permille() - copies for each distinct block; 0 when nothing is cached */
uint64_t duplicates_factor_permille(uint64_t copies, uint64_t distinct);

#endif
