/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/spans.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 1024
#define BUCKETS	   8192
#define NONE	   UINT32_MAX
#define COUNT_MAX  (127 * SPAN_PIECE_PAGES)

/* Ages and lengths by their powers of two, the largest first: leading zeros of 32 bits, of which an
 * age of 65536 (the largest, and 1) has 15, and a length of 65535 has 16. */
#define AGE_FIRST    15
#define LENGTH_FIRST 16
#define LENGTH_BITS  4
#define AGES	     17u
#define RANKS	     (2 * AGES << LENGTH_BITS)

void spans_done(struct spans *s)
{
	free(s->items);
	free(s->files);
	free(s->buckets);
	*s = (struct spans){ 0 };
}

static struct span *span_at(const struct spans *s, uint32_t n)
{
	return &s->items[(s->first + n) & (s->room - 1)];
}

static int items_grow(struct spans *s)
{
	uint32_t room = s->room ? s->room * 2 : ROOM_FIRST;

	if (room > SPANS_MAX)
		return -ENOBUFS;
	struct span *items = malloc(room * sizeof(*items));
	if (!items)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->count; i++)
		items[i] = *span_at(s, i);
	free(s->items);
	s->items = items;
	s->room = room;
	s->first = 0;
	return 0;
}

static uint32_t *bucket_of(const struct spans *s, const struct file_key *key)
{
	uint64_t hash = (key->mapping >> 6 ^ key->inode) * 0x9e3779b97f4a7c15u;

	return &s->buckets[hash >> 51 & (BUCKETS - 1)];
}

static bool key_equal(const struct file_key *a, const struct file_key *b)
{
	return a->mapping == b->mapping && a->inode == b->inode && a->device == b->device &&
	       a->generation == b->generation;
}

static int files_grow(struct spans *s)
{
	uint32_t room = s->files_room ? s->files_room * 2 : ROOM_FIRST;

	if (!s->buckets) {
		s->buckets = malloc(BUCKETS * sizeof(*s->buckets));
		if (!s->buckets)
			return -ENOMEM;
		for (uint32_t i = 0; i < BUCKETS; i++)
			s->buckets[i] = NONE;
		s->files_free = NONE;
	}
	if (room > SPANS_FILES_MAX)
		return -ENOBUFS;
	struct spans_file *files = realloc(s->files, room * sizeof(*files));
	if (!files)
		return -ENOMEM;
	s->files = files;
	s->files_room = room;
	return 0;
}

static int file_enter(struct spans *s, const struct file_key *key, uint32_t *ret)
{
	uint32_t n;

	if (s->buckets)
		for (n = *bucket_of(s, key); n != NONE; n = s->files[n].next)
			if (key_equal(&s->files[n].key, key)) {
				*ret = n;
				return 0;
			}
	if (!s->buckets || (s->files_free == NONE && s->files_count == s->files_room)) {
		int r = files_grow(s);

		if (r < 0)
			return r;
	}
	n = s->files_free;
	if (n != NONE)
		s->files_free = s->files[n].next;
	else
		n = s->files_count++;
	s->files[n] = (struct spans_file){ .key = *key, .next = *bucket_of(s, key) };
	*bucket_of(s, key) = n;
	*ret = n;
	return 0;
}

static void file_leave(struct spans *s, uint32_t n)
{
	uint32_t *at = bucket_of(s, &s->files[n].key);

	if (--s->files[n].spans)
		return;
	while (*at != n)
		at = &s->files[*at].next;
	*at = s->files[n].next;
	s->files[n].next = s->files_free;
	s->files_free = n;
}

/* No folio is cut. */
static uint32_t count_max(uint64_t index)
{
	return COUNT_MAX - (uint32_t)(index % SPAN_PIECE_PAGES);
}

/* How many of the pages the last span takes in. */
static uint32_t last_extend(struct spans *s, const struct file_key *key, uint64_t index,
			    uint32_t count, uint16_t age_sec)
{
	struct span *last = s->count ? span_at(s, s->count - 1) : NULL;

	if (!last || last->index + last->count != index || last->age_sec != age_sec ||
	    !key_equal(&s->files[last->file].key, key))
		return 0;
	if (count > count_max(last->index) - last->count)
		count = count_max(last->index) - last->count;
	last->count = (uint16_t)(last->count + count);
	s->pages += count;
	return count;
}

int spans_push(struct spans *s, const struct file_key *key, uint64_t index, uint32_t count,
	       uint16_t age_sec)
{
	uint32_t taken = last_extend(s, key, index, count, age_sec);

	for (uint32_t done = taken, n; done < count; done += n) {
		uint32_t file;
		int r = s->count == s->room ? items_grow(s) : 0;

		if (r >= 0)
			r = file_enter(s, key, &file);
		if (r < 0)
			return r;
		n = count_max(index + done);
		if (n > count - done)
			n = count - done;
		*span_at(s, s->count++) = (struct span){ .index = index + done,
							 .file = file,
							 .count = (uint16_t)n,
							 .age_sec = age_sec };
		s->files[file].spans++;
		s->pages += n;
	}
	return 0;
}

bool spans_is_short(const struct spans *s)
{
	const struct span *first;

	if (!s->count)
		return false;
	first = span_at(s, 0);
	return first->count < SPAN_WORTH_PAGES &&
	       (!first->index || first->index % SPAN_PIECE_PAGES);
}

int spans_look(const struct spans *s, uint32_t n, struct file_key *ret_key, uint64_t *ret_index,
	       uint32_t *ret_count)
{
	const struct span *span;
	uint32_t count;

	if (n >= s->count)
		return 0;
	span = span_at(s, n);
	count = (uint32_t)(SPAN_PIECE_PAGES - span->index % SPAN_PIECE_PAGES);
	*ret_key = s->files[span->file].key;
	*ret_index = span->index;
	*ret_count = count < span->count ? count : span->count;
	return 1;
}

int spans_pop(struct spans *s, struct file_key *ret_key, uint64_t *ret_index, uint32_t *ret_count)
{
	struct span *span;

	if (!spans_look(s, 0, ret_key, ret_index, ret_count))
		return 0;
	span = span_at(s, 0);
	s->pages -= *ret_count;
	span->index += *ret_count;
	span->count = (uint16_t)(span->count - *ret_count);
	if (!span->count) {
		file_leave(s, span->file);
		s->first = (s->first + 1) & (s->room - 1);
		s->count--;
	}
	if (!s->count && s->room + s->files_room > 2 * ROOM_FIRST)
		spans_done(s);
	return 1;
}

/* Ages within a factor of two are one: of those, the longer first. */
static unsigned rank_of(const struct span *span)
{
	unsigned age = (unsigned)__builtin_clz(span->age_sec + 1u) - AGE_FIRST;
	unsigned length = (unsigned)__builtin_clz(span->count) - LENGTH_FIRST;

	return ((span->count < SPAN_WORTH_PAGES ? AGES : 0) + age) << LENGTH_BITS | length;
}

int spans_sort(struct spans *s)
{
	struct span *items = malloc(s->room * sizeof(*items));
	uint32_t starts[RANKS + 1] = { 0 };

	if (!s->count || !items) {
		free(items);
		return s->count ? -ENOMEM : 0;
	}
	for (uint32_t i = 0; i < s->count; i++)
		starts[rank_of(span_at(s, i)) + 1]++;
	for (uint32_t i = 1; i <= RANKS; i++)
		starts[i] += starts[i - 1];
	for (uint32_t i = 0; i < s->count; i++) {
		const struct span *span = span_at(s, i);

		items[starts[rank_of(span)]++] = *span;
	}
	free(s->items);
	s->items = items;
	s->first = 0;
	return 0;
}
