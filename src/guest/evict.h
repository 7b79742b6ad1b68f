/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evicts exactly the pages that it was asked for, and no others, from the page cache.
 *
 * How it works
 *
 * posix_fadvise(POSIX_FADV_DONTNEED) alone is not exact: it starts writeback of what is dirty,
 * drops hot pages as readily as cold ones, drops a large folio only when the range covers it
 * whole, and tells nothing (findings 1.6). So each range is looked at first (memmap_peek(), the
 * very pages in the file's cache), and only pages that are clean, unmapped, held by nobody and
 * not hot at that moment are asked for, in ranges that begin and end with their folios. Of a
 * folio that is wanted in part, the part is mapped and paged out first, which makes the kernel
 * split the folio. Then the range is looked at again, and only what is no longer there counts as
 * evicted.
 *
 * Between the look and the kernel's act a page may be dirtied or mapped: the kernel then refuses
 * it or, when dirtied, begins its writeback early. No data is lost by either.
 */
#ifndef PAGEPACT_GUEST_EVICT_H
#define PAGEPACT_GUEST_EVICT_H

#include "guest/disk.h"
#include "guest/file.h"
#include "guest/memmap.h"
#include "wire/message.h"

/**
 * evict_find() - find the file that has this identity, as file_find(), and prove its generation
 * @mounts: between mounts_begin() and mounts_end(), as below
 *
 * Return: a file descriptor that names it; -ESTALE when the file is gone or replaced; or another
 * -errno.
 */
int evict_find(struct memmap *memmap, struct mounts *mounts,
	       const struct disk_table *disks, const struct wire_identity *identity);

/**
 * evict_file() - carry out one EVICT message
 * @ret: what became of the pages; always filled, and sums to what was asked
 *
 * Trouble with the file as a whole is in @ret->status.
 */
void evict_file(struct memmap *memmap, struct mounts *mounts, struct disk_table *disks,
		const struct wire_evict *order, struct wire_result *ret);

#endif
