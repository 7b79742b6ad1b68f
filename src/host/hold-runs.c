/* SPDX-License-Identifier: Apache-2.0 */
#include "host/hold-runs.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

/* 16 MiB: as many as a residency has at most. */
#define LIST_MAX ((size_t)1 << 20)

void hold_runs_done(struct hold_runs *runs)
{
	free(runs->items);
	*runs = (struct hold_runs){ 0 };
}

static int run_add(struct hold_runs *runs, size_t *room, uint64_t block, uint64_t count)
{
	struct wire_held_run *last = runs->n_items ? &runs->items[runs->n_items - 1] : NULL;

	if (last && last->block + last->count == block) {
		last->count += count;
		return 0;
	}
	if (runs->n_items == *room) {
		size_t more = *room ? *room * 2 : 256;
		void *items =
			more > LIST_MAX ? NULL : reallocarray(runs->items, more, sizeof(*last));

		if (!items)
			return more > LIST_MAX ? -E2BIG : -ENOMEM;
		runs->items = items;
		*room = more;
	}
	runs->items[runs->n_items++] = (struct wire_held_run){ block, count };
	return 0;
}

static int extent_add(struct hold_runs *runs, size_t *room, const struct imagemap_extent *e,
		      const struct blockset *resident)
{
	uint64_t end = (uint64_t)e->file_block + e->count;
	struct block_run run;

	for (uint64_t at = e->file_block; blockset_next_run(resident, at, &run) && run.start < end;
	     at = (uint64_t)run.start + run.count) {
		uint64_t last = (uint64_t)run.start + run.count;
		int r = run_add(runs, room, e->start + (run.start - (uint64_t)e->file_block),
				(last < end ? last : end) - run.start);

		if (r < 0)
			return r;
	}
	return 0;
}

int hold_runs_list(const struct imagemap *map, const struct blockset *const *resident,
		   struct hold_runs *ret)
{
	_cleanup_(hold_runs_done) struct hold_runs runs = { 0 };
	size_t n, room = 0;
	const struct imagemap_extent *extents = imagemap_extents(map, &n);
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n; i++)
		if (resident[extents[i].layer])
			r = extent_add(&runs, &room, &extents[i], resident[extents[i].layer]);
	/* A hint need not be whole. */
	if (r < 0 && r != -E2BIG)
		return r;
	*ret = runs;
	runs = (struct hold_runs){ 0 };
	return 0;
}

static int by_count(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

int hold_runs_cut(struct hold_runs *runs, size_t max)
{
	_cleanup_free_ uint64_t *counts = NULL;
	size_t n = 0, ties = 0;

	if (runs->n_items <= max)
		return 0;
	if (max == 0) {
		runs->n_items = 0;
		return 0;
	}
	counts = calloc(runs->n_items, sizeof(*counts));
	if (!counts)
		return -ENOMEM;
	for (size_t i = 0; i < runs->n_items; i++)
		counts[i] = runs->items[i].count;
	qsort(counts, runs->n_items, sizeof(*counts), by_count);
	for (size_t i = 0; i < max; i++)
		ties += counts[i] == counts[max - 1];
	for (size_t i = 0; i < runs->n_items; i++) {
		const struct wire_held_run run = runs->items[i];

		if (run.count < counts[max - 1] || (run.count == counts[max - 1] && !ties))
			continue;
		ties -= run.count == counts[max - 1];
		runs->items[n++] = run;
	}
	runs->n_items = n;
	return 0;
}
