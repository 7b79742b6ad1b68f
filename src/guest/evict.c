/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/evict.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "guest/census.h"

#define PIECE_PAGES   SCAN_CHUNK_PAGES
#define EXTENTS_PIECE 512

enum fate {
	FATE_MOVED,
	FATE_GONE,
	FATE_MAPPED,
	FATE_DIRTY,
	FATE_HOT,
	FATE_HELD,
	FATE_WANTED, /* whole folio */
	FATE_PART,   /* of a folio that is not wanted whole */
};

/* One piece of a run, while it is worked on. */
struct piece {
	int fd;
	uint64_t index;
	unsigned count;
	uint8_t fates[PIECE_PAGES];
};

static enum fate page_fate(const struct scan_page *p)
{
	if (p->kind != SCAN_FILE)
		return FATE_GONE;
	if (p->flags & SCAN_MAPPED)
		return FATE_MAPPED;
	if (p->flags & (SCAN_DIRTY | SCAN_WRITEBACK))
		return FATE_DIRTY;
	if (p->flags & (SCAN_ACTIVE | SCAN_WORKINGSET))
		return FATE_HOT;
	return page_evictable(p) ? FATE_WANTED : FATE_HELD;
}

/* Pages whose blocks are not where the host believes them to be keep FATE_MOVED. */
static int piece_locate(struct piece *piece, const struct wire_identity *identity,
			const struct disk_place *place, uint64_t block, uint8_t *ret_located)
{
	struct wire_extent items[EXTENTS_PIECE];
	int n = file_extents(piece->fd, identity, place, piece->index, piece->count, items,
			     EXTENTS_PIECE);

	if (n < 0)
		return n;
	memset(ret_located, 0, piece->count);
	for (int i = 0; i < n; i++) {
		/* The extent's first page, on the blocks that the host counts with. */
		if (items[i].block - items[i].index != block - piece->index)
			continue;
		for (unsigned j = 0; j < piece->count; j++) {
			uint64_t index = piece->index + j;

			if (index >= items[i].index && index - items[i].index < items[i].count)
				ret_located[j] = 1;
		}
	}
	return 0;
}

/* Of a large folio, each page must be wanted for the whole to be. */
static void piece_mark_parts(struct piece *piece, const struct scan_page *pages)
{
	for (unsigned i = 0; i < piece->count;) {
		unsigned size = 1u << pages[i].order, before = pages[i].offset, whole = 0, end = i;

		if (pages[i].kind != SCAN_FILE || size == 1) {
			i++;
			continue;
		}
		for (; end < piece->count && end - i < size - before; end++)
			whole += piece->fates[end] == FATE_WANTED;
		for (unsigned j = i; j < end; j++)
			if (whole != size && piece->fates[j] == FATE_WANTED)
				piece->fates[j] = FATE_PART;
		i = end;
	}
}

static void split_and_drop(const struct piece *piece, unsigned at, unsigned count)
{
	size_t size = (size_t)count * WIRE_BLOCK_BYTES;
	off_t offset = (off_t)(piece->index + at) * WIRE_BLOCK_BYTES;
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, piece->fd, offset);

	if (map == MAP_FAILED)
		return;
	/* Paging out a part of a mapped folio splits it (facts.md): neighbours stay cached. */
	if (madvise(map, size, MADV_POPULATE_READ) == 0)
		(void)madvise(map, size, MADV_PAGEOUT);
	munmap(map, size);
	(void)posix_fadvise(piece->fd, offset, (off_t)size, POSIX_FADV_DONTNEED);
}

static void piece_drop(const struct piece *piece)
{
	for (unsigned i = 0, end; i < piece->count; i = end) {
		uint8_t fate = piece->fates[i];

		for (end = i + 1; end < piece->count && piece->fates[end] == fate; end++)
			;
		if (fate == FATE_WANTED)
			(void)posix_fadvise(piece->fd,
					    (off_t)(piece->index + i) * WIRE_BLOCK_BYTES,
					    (off_t)(end - i) * WIRE_BLOCK_BYTES,
					    POSIX_FADV_DONTNEED);
		else if (fate == FATE_PART)
			split_and_drop(piece, i, end - i);
	}
}

/* Counts each page once, by what the second look finds. */
static void piece_count(const struct piece *piece, const struct scan_page *after,
			struct wire_result *ret)
{
	for (unsigned i = 0; i < piece->count; i++) {
		uint8_t fate = piece->fates[i];
		bool there = after[i].kind == SCAN_FILE;

		ret->kept_moved += fate == FATE_MOVED;
		ret->kept_gone += fate == FATE_GONE;
		ret->kept_mapped += fate == FATE_MAPPED;
		ret->kept_dirty += fate == FATE_DIRTY;
		ret->kept_hot += fate == FATE_HOT;
		ret->evicted += fate >= FATE_WANTED && !there;
		ret->kept_partial += fate == FATE_PART && there;
		ret->kept_failed += fate == FATE_HELD || (fate == FATE_WANTED && there);
	}
}

static int piece_evict(struct memmap *memmap, struct piece *piece,
		       const struct wire_identity *identity, const struct disk_place *place,
		       uint64_t block, struct wire_result *ret)
{
	uint8_t located[PIECE_PAGES];
	unsigned owners;
	int r = memmap_peek(memmap, piece->fd, piece->index, piece->count);

	if (r < 0)
		return r;
	/* A write that failed left its data in the cache alone; a lease is broken by nobody. */
	if (memmap_owners(memmap, &owners)[0].flags)
		return -EBUSY;

	const struct scan_page *pages = memmap_pages(memmap);
	for (unsigned i = 0; i < piece->count; i++)
		piece->fates[i] = (uint8_t)page_fate(&pages[i]);
	r = piece_locate(piece, identity, place, block, located);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < piece->count; i++)
		if (!located[i])
			piece->fates[i] = FATE_MOVED;
	piece_mark_parts(piece, pages);
	piece_drop(piece);
	r = memmap_peek(memmap, piece->fd, piece->index, piece->count);
	if (r < 0)
		return r;
	piece_count(piece, memmap_pages(memmap), ret);
	return 0;
}

static int order_open(const struct mount_table *mounts, struct disk_table *disks,
		      const struct wire_evict *order, struct disk_place *ret_place)
{
	int r = disk_find(disks, order->identity.device, ret_place);

	return r < 0 ? r : file_open(mounts, disks, &order->identity);
}

static int run_evict(struct memmap *memmap, struct piece *piece, const struct wire_evict *order,
		     const struct wire_evict_run *run, const struct disk_place *place,
		     struct wire_result *ret)
{
	for (uint32_t done = 0; done < run->count; done += piece->count) {
		int r;

		piece->index = run->index + done;
		piece->count = run->count - done < PIECE_PAGES ? run->count - done : PIECE_PAGES;
		r = piece_evict(memmap, piece, &order->identity, place, run->block + done, ret);
		if (r < 0) {
			ret->kept_failed += run->count - done;
			return r;
		}
	}
	return 0;
}

void evict_file(struct memmap *memmap, const struct mount_table *mounts, struct disk_table *disks,
		const struct wire_evict *order, struct wire_result *ret)
{
	uint64_t start = now_usec();
	struct disk_place place = { 0 };
	_cleanup_close_ int fd = order_open(mounts, disks, order, &place);
	struct piece piece = { .fd = fd };

	*ret = (struct wire_result){ .status = fd < 0 ? -fd : 0 };
	for (uint32_t i = 0; i < order->count; i++) {
		const struct wire_evict_run *run = &order->items[i];

		ret->asked += run->count;
		if (ret->status) {
			ret->kept_failed += run->count;
			continue;
		}
		int r = run_evict(memmap, &piece, order, run, &place, ret);
		if (r < 0)
			ret->status = -r;
	}
	ret->usec = now_usec() - start;
}
