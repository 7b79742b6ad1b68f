/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many guests hold each block, for all blocks at once.
 *
 * A number of guests for each block, written in binary across sets: slice k holds the blocks whose
 * number has bit k. Adding a guest is adding 1 to the numbers of its blocks, with the carry going
 * from slice to slice, so the cost is that of a few set operations and no block is looked at alone.
 */
#ifndef PAGEPACT_POLICY_HOLDERS_H
#define PAGEPACT_POLICY_HOLDERS_H

#include "base/blockset.h"

#define HOLDERS_SLICES 16 /* for up to 65,535 guests */

/** struct holders - all zero: nobody holds anything */
struct holders {
	struct blockset *slices[HOLDERS_SLICES];
};

/** holders_done() - release what it holds; all zero is allowed, and is what it leaves */
void holders_done(struct holders *holders);

/** holders_add() - one guest more holds @held. Return: 0; -ENOMEM or -EOVERFLOW: then unusable */
int holders_add(struct holders *holders, const struct blockset *held);

/** holders_any(), _once(), _multi() - blocks held by >= 1, exactly 1, >= 2; a new set or NULL */
struct blockset *holders_any(const struct holders *holders);
struct blockset *holders_once(const struct holders *holders);
struct blockset *holders_multi(const struct holders *holders);

/**
 * holders_histogram() - how many blocks of @within are held by exactly n guests
 * @ret_rows: [n]; the last of @n_rows (>= 2): by that many or more
 *
 * Return: 0 or -ENOMEM.
 */
int holders_histogram(const struct holders *holders, const struct blockset *within,
		      uint64_t *ret_rows, size_t n_rows);

#endif
