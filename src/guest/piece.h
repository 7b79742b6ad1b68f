/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One piece of an open file's page cache, evicted exactly: of the pages that somebody wants gone,
 * those that are clean, unmapped and held by nobody at that moment, and no others.
 *
 * How it works
 *
 * posix_fadvise(POSIX_FADV_DONTNEED) alone is not exact: it starts writeback of what is dirty,
 * drops hot pages as readily as cold ones, drops a large folio only when the range covers it
 * whole, and tells nothing. So the piece is looked at first (memmap_peek(), the
 * very pages in the file's cache), only what is evictable and wanted is asked for, in ranges that
 * begin and end with their folios, and the piece is looked at again: only what is no longer there
 * counts as evicted. A part of a folio is left alone, or where the caller wants it, mapped and
 * paged out first, which makes the kernel split the folio.
 *
 * Between the look and the kernel's act a page may be dirtied or mapped: the kernel then refuses
 * it or, when dirtied, begins its writeback early. No data is lost by either.
 */
#ifndef PAGEPACT_GUEST_PIECE_H
#define PAGEPACT_GUEST_PIECE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/memmap.h"

/* Looked at in one go: finding a page in the cache takes several times as long as passing it in a
 * scan, and the RCU read lock is held for as long (test_agent.py measures it). */
#define PIECE_PAGES 512

enum fate {
	FATE_MOVED, /* not where the asker believes */
	FATE_GONE,  /* was not cached */
	FATE_MAPPED,
	FATE_DIRTY,
	FATE_HOT,
	FATE_HELD,   /* locked, pinned or unevictable */
	FATE_OTHER,  /* not wanted for the asker's own reasons */
	FATE_PART,   /* is still there: its folio was not wanted whole */
	FATE_FAILED, /* is still there: the kernel refused */
	FATE_EVICTED,
	FATES,
};

/**
 * struct piece - pages [index, index + count) of an open file
 * @split: take large folios apart where they are wanted in part
 * @fates: what became of each page, after piece_evict()
 */
struct piece {
	int fd;
	bool split;
	uint64_t index;
	unsigned count;
	uint8_t fates[PIECE_PAGES];
};

/**
 * piece_judge_fn - whether an evictable page is wanted gone
 * @i: its number in the piece
 * @page: as it is now
 * @frame: the page frame of the head of its folio
 *
 * Return: FATE_EVICTED for yes; FATE_MOVED, FATE_HOT or FATE_OTHER for why not. All pages of a
 * folio should be judged alike.
 */
typedef enum fate piece_judge_fn(unsigned i, const struct scan_page *page, uint64_t frame,
				 void *userdata);

/**
 * piece_evict() - evict of the piece what is evictable and wanted
 * @check: looks at the owner of the file's cache (memmap_owners()) between the look and the act: a
 * negative result ends it, with nothing evicted. May be NULL.
 *
 * Return: 0 and the fates are filled, or -errno.
 */
int piece_evict(struct memmap *memmap, struct piece *piece, piece_judge_fn *judge,
		int (*check)(const struct scan_owner *owner, void *userdata), void *userdata);

/**
 * piece_drain() - have this CPU's batch of pages on their way to the LRU lists emptied
 *
 * Pages that were read or used just now wait in it, and the batch's reference looks like
 * somebody's.
 */
void piece_drain(void);

#endif
