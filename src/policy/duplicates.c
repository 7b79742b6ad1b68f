/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/duplicates.h"

#include <errno.h>

#include "base/cleanup.h"
#include "policy/holders.h"

/* Adds every known holding of the image to @holders; their sizes and whether all are known. */
static int holders_collect(const struct snapshot *snapshot, size_t image, struct holders *holders,
			   uint64_t *ret_held, bool *ret_known)
{
	size_t n;
	const struct snapshot_holding *users = snapshot_holdings(snapshot, image, &n);

	*ret_held = 0;
	*ret_known = true;
	for (size_t i = 0; i < n; i++) {
		if (!users[i].held) {
			*ret_known = false;
			continue;
		}
		int r = holders_add(holders, users[i].held);

		if (r < 0)
			return r;
		*ret_held += blockset_count(users[i].held);
	}
	return 0;
}

int duplicates_measure(const struct snapshot *snapshot, size_t image, struct duplicates *ret)
{
	_cleanup_(holders_done) struct holders holders = {};
	_cleanup_(blockset_freep) struct blockset *empty = blockset_new();
	const struct blockset *resident = snapshot->images[image].resident;
	struct duplicates d = {};
	uint64_t held;
	bool known;
	int r = holders_collect(snapshot, image, &holders, &held, &known);

	if (r < 0)
		return r;
	_cleanup_(blockset_freep) struct blockset *any = holders_any(&holders);

	if (!any || !empty)
		return -ENOMEM;
	d.known = known && resident;
	if (!resident)
		resident = empty;
	d.resident = blockset_count(resident);
	d.duplicate = blockset_and_count(resident, any);
	d.guest_only = blockset_count(any) - d.duplicate;
	d.distinct = d.resident + d.guest_only;
	d.copies = d.resident + held;
	r = holders_histogram(&holders, resident, d.holders, ARRAY_SIZE(d.holders));
	if (r < 0)
		return r;
	*ret = d;
	return 0;
}

void duplicates_measure_guest(const struct snapshot *snapshot, size_t guest,
			      struct duplicates_guest *ret)
{
	*ret = (struct duplicates_guest){};
	for (size_t i = 0; i < snapshot->n_holdings; i++) {
		const struct snapshot_holding *holding = &snapshot->holdings[i];
		const struct blockset *resident = snapshot->images[holding->image].resident;

		if (holding->guest != guest || !holding->held)
			continue;
		ret->held += blockset_count(holding->held);
		if (!resident)
			continue;
		ret->duplicate += blockset_and_count(holding->held, resident);
		if (holding->evictable)
			ret->evictable_duplicate +=
				blockset_and_count(holding->evictable, resident);
	}
}

uint64_t duplicates_factor_permille(uint64_t copies, uint64_t distinct)
{
	/* A set has less than 2^32 blocks and there are few of them: no overflow. */
	return distinct ? copies * 1000 / distinct : 0;
}
