/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/holders.h"

#include <errno.h>

#include "base/cleanup.h"

#define _cleanup_set_ _cleanup_(blockset_freep)

void holders_done(struct holders *holders)
{
	for (size_t i = 0; i < HOLDERS_SLICES; i++)
		holders->slices[i] = blockset_free(holders->slices[i]);
}

int holders_add(struct holders *holders, const struct blockset *held)
{
	_cleanup_set_ struct blockset *carry = blockset_copy(held);

	if (!carry)
		return -ENOMEM;
	for (size_t i = 0; blockset_count(carry) > 0; i++) {
		if (i == HOLDERS_SLICES)
			return -EOVERFLOW;
		struct blockset *slice = holders->slices[i];

		if (!slice) {
			holders->slices[i] = TAKE_PTR(carry);
			return 0;
		}
		struct blockset *next = blockset_and(slice, carry);

		if (!next)
			return -ENOMEM;
		/* An exclusive or: the set knows no such thing itself. */
		blockset_or_with(slice, carry);
		blockset_andnot_with(slice, next);
		blockset_free(carry);
		carry = next;
	}
	return 0;
}

static struct blockset *slices_union(const struct holders *holders, size_t from)
{
	struct blockset *all = blockset_new();

	for (size_t i = from; all && i < HOLDERS_SLICES && holders->slices[i]; i++)
		blockset_or_with(all, holders->slices[i]);
	return all;
}

struct blockset *holders_any(const struct holders *holders)
{
	return slices_union(holders, 0);
}

struct blockset *holders_multi(const struct holders *holders)
{
	return slices_union(holders, 1);
}

struct blockset *holders_once(const struct holders *holders)
{
	_cleanup_set_ struct blockset *multi = holders_multi(holders);

	if (!multi)
		return NULL;
	return holders->slices[0] ? blockset_andnot(holders->slices[0], multi) : blockset_new();
}

/* Blocks of @within that exactly @n guests hold: those whose slices spell n. */
static int count_exactly(const struct holders *holders, const struct blockset *within, size_t n,
			 uint64_t *ret)
{
	_cleanup_set_ struct blockset *set = blockset_copy(within);

	if (!set)
		return -ENOMEM;
	*ret = 0;
	for (size_t i = 0; i < HOLDERS_SLICES && blockset_count(set) > 0; i++, n >>= 1) {
		const struct blockset *slice = holders->slices[i];

		if (!slice && (n & 1))
			return 0;
		if (slice && (n & 1))
			blockset_and_with(set, slice);
		else if (slice)
			blockset_andnot_with(set, slice);
	}
	*ret = n ? 0 : blockset_count(set);
	return 0;
}

int holders_histogram(const struct holders *holders, const struct blockset *within,
		      uint64_t *ret_rows, size_t n_rows)
{
	uint64_t left = blockset_count(within);

	for (size_t n = 0; n + 1 < n_rows; n++) {
		uint64_t count = 0;
		/* Most images have few holders: nothing is looked for once every block is found. */
		int r = left ? count_exactly(holders, within, n, &count) : 0;

		if (r < 0)
			return r;
		ret_rows[n] = count;
		left -= count;
	}
	ret_rows[n_rows - 1] = left;
	return 0;
}
