/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of cached pages to be looked at, oldest first: pieces of files, by the files' keys.
 *
 * It is a list of hints: pages may have left, or be in it twice; whoever takes a span looks at the
 * pages themselves. Bounded: what does not fit is refused, and the owner of the queue finds it
 * again by a sweep over memory. What it took beyond a little goes back when it is empty: the guest
 * is short of memory then.
 */
#ifndef PAGEPACT_GUEST_SPANS_H
#define PAGEPACT_GUEST_SPANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/file.h"

/* 16 bytes each: 1 MiB. Streams of large files take few; many small files take one each. */
#define SPANS_MAX 65536
/* 48 bytes each: 1.5 MiB. */
#define SPANS_FILES_MAX 32768
/* A folio is at most this long, and begins at a multiple of its length: mm/filemap.c allocates none
 * above the order of a superpage. */
#define SPAN_PIECE_PAGES 512
/* A piece of a file costs an emulated guest some 180 us, and 4 us a page (by clocks put into the
 * agent, in the wave): a page of one that is shorter costs seven times as much, or more, as a page
 * of a long one. */
#define SPAN_WORTH_PAGES 8

struct span {
	uint64_t index;
	uint32_t file;
	uint16_t count;
	uint16_t age_sec;
};

struct spans_file {
	struct file_key key;
	uint32_t spans; /* that name it; 0: the entry is free */
	uint32_t next;	/* of its bucket, or of the free ones */
};

struct spans {
	struct span *items; /* a ring */
	uint32_t first, count, room;
	uint64_t pages;
	struct spans_file *files;
	uint32_t files_count, files_room, files_free;
	uint32_t *buckets;
};

/**
 * spans_done() - empty the queue and free its memory
 */
void spans_done(struct spans *s);

/**
 * spans_push() - put pages of a file at the end
 * @age_sec: for spans_sort()
 *
 * Pages that follow those put last are joined with them.
 *
 * Return: 0; -ENOBUFS when the queue is full; -ENOMEM.
 */
int spans_push(struct spans *s, const struct file_key *key, uint64_t index, uint32_t count,
	       uint16_t age_sec);

/**
 * spans_is_short() - whether the first span is there, and not worth an open file: shorter than
 * SPAN_WORTH_PAGES, and not the rest of a longer one, whose file is open
 */
bool spans_is_short(const struct spans *s);

/**
 * spans_look() - what spans_pop() would take, once @n more spans had been taken whole
 *
 * Return: 1, or 0 when there are no more than @n.
 */
int spans_look(const struct spans *s, uint32_t n, struct file_key *ret_key, uint64_t *ret_index,
	       uint32_t *ret_count);

/**
 * spans_pop() - take pages from the front: at most up to the next multiple of SPAN_PIECE_PAGES, so
 * that no folio is cut in two
 * @ret_key: whose pages
 *
 * Return: 1, or 0 when the queue is empty.
 */
int spans_pop(struct spans *s, struct file_key *ret_key, uint64_t *ret_index, uint32_t *ret_count);

/**
 * spans_sort() - those worth an open file first; of these and of the rest the oldest, by powers of
 * two; of the same power, the longest, likewise
 *
 * Equals keep their order.
 *
 * Return: 0 or -ENOMEM, with the order as it was.
 */
int spans_sort(struct spans *s);

#endif
