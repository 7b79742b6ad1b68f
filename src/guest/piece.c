/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/piece.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "guest/page.h"
#include "wire/message.h"

_Static_assert(PIECE_PAGES <= IOV_MAX && PIECE_PAGES <= PIPE_BUF, "a byte of each page fits");

/* Advice on any memory empties the batch (mm/madvise.c). */
void piece_drain(void)
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
	return page_evictable(p) ? FATE_EVICTED : FATE_HELD;
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
			whole += piece->fates[end] == FATE_EVICTED;
		for (unsigned j = i; j < end; j++)
			if (whole != size && piece->fates[j] == FATE_EVICTED)
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

/* Return: how many ranges the kernel was asked for. */
static unsigned piece_drop(const struct piece *piece)
{
	unsigned asked = 0;

	for (unsigned i = 0, end; i < piece->count; i = end) {
		uint8_t fate = piece->fates[i];

		for (end = i + 1; end < piece->count && piece->fates[end] == fate; end++)
			;
		if (fate == FATE_EVICTED)
			(void)posix_fadvise(piece->fd, (off_t)(piece->index + i) * WIRE_BLOCK_BYTES,
					    (off_t)(end - i) * WIRE_BLOCK_BYTES,
					    POSIX_FADV_DONTNEED);
		else if (fate == FATE_PART && piece->split)
			split_and_drop(piece, i, end - i);
		else
			continue;
		asked++;
	}
	return asked;
}

/* By what the second look finds. */
static void piece_conclude(struct piece *piece, const struct scan_page *after)
{
	for (unsigned i = 0; i < piece->count; i++) {
		bool there = after[i].kind == SCAN_FILE;

		if (piece->fates[i] == FATE_EVICTED && there)
			piece->fates[i] = FATE_FAILED;
		else if (piece->fates[i] == FATE_PART && piece->split && !there)
			piece->fates[i] = FATE_EVICTED;
	}
}

int piece_evict(struct memmap *memmap, struct piece *piece, piece_judge_fn *judge,
		int (*check)(const struct scan_owner *owner, void *userdata), void *userdata)
{
	unsigned owners;
	int r = memmap_peek(memmap, piece->fd, piece->index, piece->count);

	if (r >= 0 && check)
		r = check(memmap_owners(memmap, &owners), userdata);
	if (r < 0)
		return r;

	const struct scan_page *pages = memmap_pages(memmap);
	const uint64_t *frames = memmap_frames(memmap);
	for (unsigned i = 0; i < piece->count; i++) {
		enum fate fate = page_fate(&pages[i]);

		if (fate == FATE_EVICTED)
			fate = judge(i, &pages[i], frames[i], userdata);
		piece->fates[i] = (uint8_t)fate;
	}
	piece_mark_parts(piece, pages);
	if (!piece_drop(piece))
		return 0;
	r = memmap_presence(memmap, piece->fd, piece->index, piece->count);
	if (r < 0)
		return r;
	piece_conclude(piece, memmap_pages(memmap));
	return 0;
}
