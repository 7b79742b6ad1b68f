/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/pick.h"

#include <errno.h>

int pick_long_runs(struct blockset **set, uint32_t min)
{
	struct block_run run;

	if (min <= 1)
		return 0;

	struct blockset *picked = blockset_new();

	if (!picked)
		return -ENOMEM;
	for (uint64_t at = 0; blockset_next_run(*set, at, &run); at = run.start + run.count)
		if (run.count >= min)
			(void)blockset_add(picked, run.start, run.count);
	blockset_free(*set);
	*set = picked;
	return 0;
}

uint64_t pick_first(struct blockset *set, uint64_t n)
{
	uint64_t count = blockset_count(set);

	if (count <= n)
		return count;

	/* Bisects for the block before which there are @n. */
	uint64_t low = 0, high = BLOCKSET_END;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (blockset_count_run(set, 0, middle) < n)
			low = middle + 1;
		else
			high = middle;
	}
	(void)blockset_remove(set, low, BLOCKSET_END - low);
	return n;
}
