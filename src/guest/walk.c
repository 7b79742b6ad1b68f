/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/walk.h"

void walk_begin(struct walk *w, struct memmap *memmap, const struct ram *ram)
{
	*w = (struct walk){ .memmap = memmap, .ram = *ram, .next = ram->ranges[0].start };
}

static uint64_t range_end(const struct walk *w)
{
	return w->ram.ranges[w->range].start + w->ram.ranges[w->range].count;
}

int walk_step(struct walk *w)
{
	/* Stays at the end once it is there. */
	while (w->range < w->ram.count && w->next >= range_end(w))
		if (++w->range < w->ram.count)
			w->next = w->ram.ranges[w->range].start;
	if (w->range >= w->ram.count)
		return 0;

	uint64_t end = range_end(w), usec;
	/* Up to the next multiple, so that no superpage lies in two chunks. */
	unsigned count = (unsigned)(SCAN_CHUNK_PAGES - w->next % SCAN_CHUNK_PAGES);
	int r;

	if (count > end - w->next)
		count = (unsigned)(end - w->next);
	r = memmap_scan(w->memmap, w->next, count, &usec);
	if (r < 0)
		return r;
	if (usec > w->chunk_max_usec)
		w->chunk_max_usec = usec;
	w->start = w->next;
	w->count = count;
	w->next += count;
	return 1;
}

void walk_return(struct walk *w, uint64_t frame)
{
	w->next = frame;
}
