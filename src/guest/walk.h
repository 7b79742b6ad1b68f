/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over all of memory, a chunk of struct pages at a time. */
#ifndef PAGEPACT_GUEST_WALK_H
#define PAGEPACT_GUEST_WALK_H

#include <stdint.h>

#include "guest/memmap.h"
#include "guest/ram.h"

/**
 * struct walk - where a walk is
 * @start, @count: the page frames of the chunk that was looked at last
 * @chunk_max_usec: the longest that a chunk took so far
 */
struct walk {
	struct memmap *memmap;
	struct ram ram;
	uint64_t start;
	unsigned count;
	uint64_t chunk_max_usec;
	/* Private. */
	unsigned range;
	uint64_t next;
};

/**
 * walk_begin() - stand at the first page frame
 * @ram: as it is now; memory may be plugged in and out during the walk
 */
void walk_begin(struct walk *w, struct memmap *memmap, const struct ram *ram);

/**
 * walk_step() - look at one more chunk
 *
 * No aligned superpage lies in two chunks.
 *
 * Return: 1 and the chunk is in memmap_pages() and memmap_owners(); 0 at the end; or -errno.
 */
int walk_step(struct walk *w);

/** walk_return() - have the next step begin at a page frame of the chunk that was looked at last */
void walk_return(struct walk *w, uint64_t frame);

#endif
