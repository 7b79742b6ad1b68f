/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's array of struct pages, read in chunks by the programs of scan.bpf.c. */
#ifndef PAGEPACT_GUEST_MEMMAP_H
#define PAGEPACT_GUEST_MEMMAP_H

#include <stddef.h>
#include <stdint.h>

#include "guest/scan.h"

struct memmap;

/**
 * memmap_open() - load the programs into the kernel
 * @ret_reason: text that says what is missing, for people; may be cut to @reason_size
 *
 * Return: 0, or -errno with @ret_reason filled: no BTF, no BPF, no permission, a kernel whose
 * struct page is not one that we know.
 */
int memmap_open(struct memmap **ret, char *ret_reason, size_t reason_size);

/**
 * memmap_close() - unload. NULL is allowed.
 *
 * Return: NULL.
 */
struct memmap *memmap_close(struct memmap *m);

enum memmap_clears {
	MEMMAP_CLEARS_UNKNOWN,
	MEMMAP_CLEARS,
	MEMMAP_CLEARS_NOT,
};

/**
 * memmap_clears() - whether the kernel clears each page that it gives out (init_on_alloc)
 */
enum memmap_clears memmap_clears(const struct memmap *m);

/**
 * memmap_scan() - describe the pages [pfn, pfn + count)
 * @count: at most SCAN_CHUNK_PAGES
 * @ret_usec: how long the RCU read lock was held at most, in microseconds; may be NULL
 *
 * Return: 0 or -errno. The answer is in memmap_pages() and memmap_owners().
 */
int memmap_scan(struct memmap *m, uint64_t pfn, unsigned count, uint64_t *ret_usec);

/**
 * memmap_peek() - describe what is cached of the pages [index, index + count) of an open file
 * @count: at most SCAN_CHUNK_PAGES
 *
 * Pages that are not cached come out as SCAN_FREE. The file is owner 0.
 *
 * Return: 0 or -errno. The answer is in memmap_pages() and memmap_owners().
 */
int memmap_peek(struct memmap *m, int fd, uint64_t index, unsigned count);

/**
 * memmap_presence() - as memmap_peek(), cheaper, telling of each page only whether it is cached
 * (SCAN_FILE) or not (SCAN_FREE)
 */
int memmap_presence(struct memmap *m, int fd, uint64_t index, unsigned count);

/**
 * memmap_glance() - whether anything is cached of each of several pieces of files
 * @glances: filled but for what they answer
 * @count: at most GLANCES_MAX
 *
 * Return: 0 or -errno.
 */
int memmap_glance(struct memmap *m, struct scan_glance *glances, unsigned count);

/**
 * memmap_pages() - the last chunk's pages, valid until the next call
 */
const struct scan_page *memmap_pages(const struct memmap *m);

/**
 * memmap_frames() - page frame numbers, after memmap_peek() only
 *
 * Return: for each page the frame of the first page of its folio; UINT64_MAX where nothing is
 * cached. Valid until the next call.
 */
const uint64_t *memmap_frames(const struct memmap *m);

/**
 * memmap_owners() - the last chunk's owners, valid until the next call
 */
const struct scan_owner *memmap_owners(const struct memmap *m, unsigned *ret_count);

#endif
