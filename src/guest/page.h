/* SPDX-License-Identifier: Apache-2.0 */
/* What the flags of a page, as a scan describes it, amount to. */
#ifndef PAGEPACT_GUEST_PAGE_H
#define PAGEPACT_GUEST_PAGE_H

#include <stdbool.h>

#include "guest/scan.h"

#define PAGE_DIRTY_FLAGS (SCAN_DIRTY | SCAN_WRITEBACK)
#define PAGE_HELD_FLAGS	 (SCAN_LOCKED | SCAN_UNEVICTABLE | SCAN_PINNED | SCAN_NOT_UPTODATE)

/** page_evictable() - whether the kernel would drop this page when asked */
static inline bool page_evictable(const struct scan_page *p)
{
	return p->kind == SCAN_FILE &&
	       !(p->flags & (SCAN_MAPPED | PAGE_DIRTY_FLAGS | PAGE_HELD_FLAGS));
}

/**
 * page_reclaimable() - whether the kernel would drop this page by itself, asked for it or not
 *
 * Of metadata it is the buffers that are read, one at a time, and the page's own flag stays off for
 * good (end_buffer_read_sync()). We do not ask for such.
 */
static inline bool page_reclaimable(const struct scan_page *p)
{
	struct scan_page read = *p;

	if (read.flags & SCAN_BUFFERS)
		read.flags &= (unsigned short)~SCAN_NOT_UPTODATE;
	return page_evictable(&read);
}

/** page_movable() - whether this page is of a kind that the kernel moves, and not seen to be held;
 * of others than file pages a scan does not tell whether somebody holds them */
static inline bool page_movable(const struct scan_page *p)
{
	return p->kind == SCAN_ANONYMOUS || p->kind == SCAN_SHMEM ||
	       (p->kind == SCAN_FILE && !(p->flags & (SCAN_WRITEBACK | PAGE_HELD_FLAGS)));
}

#endif
