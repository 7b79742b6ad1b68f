/* SPDX-License-Identifier: Apache-2.0 */
#include "host/scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct scan *scan_new(uint64_t id, uint64_t begun_usec, uint64_t ram_pages)
{
	struct scan *s = calloc(1, sizeof(*s));

	if (s) {
		s->id = id;
		s->begun_usec = begun_usec;
		s->pages_max = 2 * ram_pages;
	}
	return s;
}

struct scan *scan_free(struct scan *s)
{
	if (s) {
		free(s->files);
		free(s->extents);
		free(s->runs);
		free(s);
	}
	return NULL;
}

/* Room for @more items behind @count. */
static int grow(void **items, uint32_t *room, uint32_t count, uint32_t more, size_t size)
{
	uint32_t want = *room ? *room : 256;
	void *p;

	if (count + more <= *room)
		return 0;
	while (want < count + more)
		want *= 2;
	p = reallocarray(*items, want, size);
	if (!p)
		return -ENOMEM;
	*items = p;
	*room = want;
	return 0;
}

static int disk_add(struct scan *s, const struct wire_disk *disk)
{
	if (disk->disk != s->n_disks)
		return -EBADMSG;
	s->disks[s->n_disks++] = *disk;
	return 0;
}

static int file_add(struct scan *s, const struct wire_file *file)
{
	int r;

	if (file->file != s->n_files || (file->disk != WIRE_NO_DISK && file->disk >= s->n_disks))
		return -EBADMSG;
	r = grow((void **)&s->files, &s->files_room, s->n_files, 1, sizeof(*s->files));
	if (r < 0)
		return r;
	s->files[s->n_files++] = (struct scan_file){ .file = *file, .extents_first = s->n_extents };
	return 0;
}

static int extents_add(struct scan *s, const struct wire_extents *e)
{
	uint64_t after = 0;
	int r;

	/* They follow their file, sorted and apart from each other. */
	if (!s->n_files || e->file != s->n_files - 1)
		return -EBADMSG;

	struct scan_file *file = &s->files[e->file];
	if (file->extents_count) {
		const struct wire_extent *last = &s->extents[s->n_extents - 1];

		after = last->index + last->count;
	}
	for (uint32_t i = 0; i < e->count; i++) {
		if (e->items[i].index < after)
			return -EBADMSG;
		after = e->items[i].index + e->items[i].count;
	}
	s->cut |= s->n_extents + e->count > SCAN_EXTENTS_MAX;
	if (!e->count || s->n_extents + e->count > SCAN_EXTENTS_MAX)
		return 0;
	r = grow((void **)&s->extents, &s->extents_room, s->n_extents, e->count,
		 sizeof(*s->extents));
	if (r < 0)
		return r;
	memcpy(s->extents + s->n_extents, e->items, e->count * sizeof(*e->items));
	s->n_extents += e->count;
	file->extents_count += e->count;
	return 0;
}

static int runs_add(struct scan *s, const struct wire_pages *p)
{
	int r;

	for (uint32_t i = 0; i < p->count; i++) {
		s->pages += p->items[i].count;
		if (p->items[i].file >= s->n_files || s->pages > s->pages_max)
			return -EBADMSG;
	}
	s->cut |= s->n_runs + p->count > SCAN_RUNS_MAX;
	if (!p->count || s->n_runs + p->count > SCAN_RUNS_MAX)
		return 0;
	r = grow((void **)&s->runs, &s->runs_room, s->n_runs, p->count, sizeof(*s->runs));
	if (r < 0)
		return r;
	memcpy(s->runs + s->n_runs, p->items, p->count * sizeof(*p->items));
	s->n_runs += p->count;
	return 0;
}

int scan_add(struct scan *s, uint16_t type, const union wire_message *m)
{
	switch (type) {
	case WIRE_DISK:
		return disk_add(s, m->disk);
	case WIRE_FILE:
		return file_add(s, m->file);
	case WIRE_EXTENTS:
		return extents_add(s, m->extents);
	case WIRE_PAGES:
		return runs_add(s, m->pages);
	case WIRE_SCAN_END:
		s->end = *m->scan_end;
		return 1;
	default:
		return -EBADMSG;
	}
}

/* The first extent of a file that ends after @index. */
static uint32_t extent_search(const struct wire_extent *items, uint32_t count, uint64_t index)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (items[middle].index + items[middle].count <= index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int run_pieces(const struct scan *s, const struct wire_run *run, scan_piece_fn *fn,
		      void *userdata)
{
	const struct scan_file *file = &s->files[run->file];
	const struct wire_extent *items = s->extents + file->extents_first;
	uint64_t end = run->index + run->count;

	for (uint32_t i = extent_search(items, file->extents_count, run->index);
	     i < file->extents_count && items[i].index < end; i++) {
		uint64_t start = items[i].index > run->index ? items[i].index : run->index;
		uint64_t stop = items[i].index + items[i].count;
		int r;

		if (stop > end)
			stop = end;
		r = fn(s, file, run, start, items[i].block + start - items[i].index, stop - start,
		       userdata);
		if (r != 0)
			return r;
	}
	return 0;
}

int scan_pieces(const struct scan *s, scan_piece_fn *fn, void *userdata)
{
	for (uint32_t i = 0; i < s->n_runs; i++) {
		int r = run_pieces(s, &s->runs[i], fn, userdata);

		if (r != 0)
			return r;
	}
	return 0;
}

bool scan_run_evictable(const struct wire_run *run)
{
	return !(run->flags &
		 (WIRE_PAGE_MAPPED | WIRE_PAGE_DIRTY | WIRE_PAGE_HOT | WIRE_PAGE_HELD));
}
