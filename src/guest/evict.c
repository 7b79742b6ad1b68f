/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/evict.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "guest/census.h"

/* Looked at in one go: finding a page in the cache takes several times as long as passing it in a
 * scan, and the RCU read lock is held for as long (test_agent.py measures it). */
#define PIECE_PAGES 512
_Static_assert(PIECE_PAGES <= IOV_MAX && PIECE_PAGES <= PIPE_BUF, "a byte of each page fits");

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
	bool located[PIECE_PAGES];
	struct wire_extent extents[PIECE_PAGES]; /* each has at least one page of the piece */
};

/* Pages that this CPU has read or used just now wait in a batch for the LRU lists, and the batch's
 * reference looks like somebody's. Advice on any memory empties it (mm/madvise.c). */
static void lru_batch_drain(void)
{
	void *page = mmap(NULL, WIRE_BLOCK_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	(void)madvise(page, WIRE_BLOCK_BYTES, MADV_COLD);
	munmap(page, WIRE_BLOCK_BYTES);
}

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

/* Which pages lie on the blocks that the host counts with. */
static int piece_locate(struct piece *piece, const struct wire_identity *identity,
			const struct disk_place *place, uint64_t block)
{
	uint64_t end = piece->index + piece->count;
	int n = file_extents(piece->fd, identity, place, piece->index, piece->count, piece->extents,
			     PIECE_PAGES);

	if (n < 0)
		return n;
	memset(piece->located, 0, sizeof(piece->located));
	for (const struct wire_extent *e = piece->extents; e < piece->extents + n; e++) {
		if (e->block - e->index != block - piece->index)
			continue;
		uint64_t i = e->index > piece->index ? e->index : piece->index;

		for (; i < end && i < e->index + e->count; i++)
			piece->located[i - piece->index] = true;
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

/*
 * Has pages of our own mapping put into the page tables, by letting the kernel copy a byte of each.
 * MADV_POPULATE_READ and process_vm_readv() would mark the folio as used (FOLL_TOUCH), and its
 * other pages would be taken for hot ones from then on; a load of our own would be SIGBUS where the
 * file has become shorter.
 */
static bool map_populate(uint8_t *map, unsigned count)
{
	struct iovec bytes[PIECE_PAGES];
	int ends[2];

	for (unsigned i = 0; i < count; i++)
		bytes[i] = (struct iovec){ map + (size_t)i * WIRE_BLOCK_BYTES, 1 };
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return false;
	ssize_t n = writev(ends[1], bytes, (int)count);
	close(ends[0]);
	close(ends[1]);
	return n == (ssize_t)count;
}

static void split_and_drop(const struct piece *piece, unsigned at, unsigned count)
{
	size_t size = (size_t)count * WIRE_BLOCK_BYTES;
	off_t offset = (off_t)(piece->index + at) * WIRE_BLOCK_BYTES;
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, piece->fd, offset);

	if (map == MAP_FAILED)
		return;
	/* No reading ahead of what may have left meanwhile. */
	(void)madvise(map, size, MADV_RANDOM);
	if (map_populate(map, count)) {
		/* What cannot be paged out is not marked as used when it is unmapped. */
		(void)madvise(map, size, MADV_SEQUENTIAL);
		/* Paging out a part of a mapped folio splits it: its other pages stay cached. */
		(void)madvise(map, size, MADV_PAGEOUT);
	}
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
			(void)posix_fadvise(piece->fd, (off_t)(piece->index + i) * WIRE_BLOCK_BYTES,
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

/* Looks at an open, or only found, file; leaves the pages in memmap_pages(). */
static int file_peek(struct memmap *memmap, int fd, const struct wire_identity *identity,
		     uint64_t index, unsigned count)
{
	unsigned owners;
	int r = memmap_peek(memmap, fd, index, count);

	if (r < 0 || identity->kind == WIRE_FILE_BLOCK_DEVICE)
		return r;
	return memmap_owners(memmap, &owners)->generation == identity->generation ? 0 : -ESTALE;
}

/* Of what file_peek() looked at: a write that failed left its data in the cache alone; a lease is
 * broken by nobody. */
static int file_check(const struct memmap *memmap)
{
	unsigned owners;

	return memmap_owners(memmap, &owners)->flags ? -EBUSY : 0;
}

static int piece_evict(struct memmap *memmap, struct piece *piece,
		       const struct wire_identity *identity, const struct disk_place *place,
		       uint64_t block, struct wire_result *ret)
{
	int r = piece_locate(piece, identity, place, block);

	/* Last of all before the act: asking for extents may have waited for the disk. */
	if (r >= 0)
		r = file_peek(memmap, piece->fd, identity, piece->index, piece->count);
	if (r >= 0)
		r = file_check(memmap);
	if (r < 0)
		return r;

	const struct scan_page *pages = memmap_pages(memmap);
	for (unsigned i = 0; i < piece->count; i++)
		piece->fates[i] = (uint8_t)(piece->located[i] ? page_fate(&pages[i]) : FATE_MOVED);
	piece_mark_parts(piece, pages);
	piece_drop(piece);
	r = memmap_peek(memmap, piece->fd, piece->index, piece->count);
	if (r < 0)
		return r;
	piece_count(piece, memmap_pages(memmap), ret);
	return 0;
}

int evict_find(struct memmap *memmap, struct mounts *mounts,
	       const struct disk_table *disks, const struct wire_identity *identity)
{
	_cleanup_close_ int fd = file_find(mounts, disks, identity);
	int r = fd;

	if (fd >= 0 && identity->kind == WIRE_FILE_REGULAR)
		r = file_peek(memmap, fd, identity, 0, 0);
	return r < 0 ? r : TAKE_FD(fd);
}

/* Pages that the file has; what is asked for beyond is not cached. */
static uint64_t file_pages(int fd, const struct wire_identity *identity,
			   const struct disk_place *place)
{
	struct stat st;

	if (identity->kind == WIRE_FILE_BLOCK_DEVICE)
		return place->blocks;
	if (fstat(fd, &st) < 0)
		return 0;
	return ((uint64_t)st.st_size + WIRE_BLOCK_BYTES - 1) / WIRE_BLOCK_BYTES;
}

static int order_open(struct memmap *memmap, struct mounts *mounts,
		      struct disk_table *disks, const struct wire_identity *identity,
		      struct disk_place *ret_place)
{
	int r = disk_find(disks, identity->device, ret_place);
	_cleanup_close_ int found = r < 0 ? r : evict_find(memmap, mounts, disks, identity);

	if (found >= 0 && identity->kind == WIRE_FILE_REGULAR)
		r = file_check(memmap);
	else
		r = found;
	return r < 0 ? r : file_reopen(found);
}

static int run_evict(struct memmap *memmap, struct piece *piece, const struct wire_evict *order,
		     const struct wire_evict_run *run, const struct disk_place *place,
		     struct wire_result *ret)
{
	uint64_t end = file_pages(piece->fd, &order->identity, place);
	uint64_t there = run->index < end ? end - run->index : 0;
	uint32_t count = run->count < there ? run->count : (uint32_t)there;

	ret->kept_gone += run->count - count;
	for (uint32_t done = 0; done < count; done += piece->count) {
		int r;

		piece->index = run->index + done;
		piece->count = count - done < PIECE_PAGES ? count - done : PIECE_PAGES;
		r = piece_evict(memmap, piece, &order->identity, place, run->block + done, ret);
		if (r < 0) {
			ret->kept_failed += count - done;
			return r;
		}
	}
	return 0;
}

void evict_file(struct memmap *memmap, struct mounts *mounts, struct disk_table *disks,
		const struct wire_evict *order, struct wire_result *ret)
{
	uint64_t start = now_usec();
	struct disk_place place = { 0 };
	_cleanup_close_ int fd = order_open(memmap, mounts, disks, &order->identity, &place);
	struct piece piece = { .fd = fd };

	lru_batch_drain();
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
