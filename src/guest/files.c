/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define FILES_FIRST 256

void files_reset(struct files *f)
{
	free(f->entries);
	free(f->slots);
	free(f->extents);
	memset(f, 0, sizeof(*f));
}

static uint32_t identity_hash(const struct wire_identity *i)
{
	uint64_t h = (i->inode ^ (uint64_t)i->device << 32) * 0x9e3779b97f4a7c15u;

	return (uint32_t)((h ^ i->generation ^ i->kind) >> 17);
}

static bool identity_equal(const struct wire_identity *a, const struct wire_identity *b)
{
	return a->inode == b->inode && a->device == b->device && a->generation == b->generation &&
	       a->kind == b->kind;
}

static uint32_t *slot_of(const struct files *f, const struct wire_identity *identity)
{
	uint32_t at = identity_hash(identity);

	for (;; at++) {
		uint32_t *slot = &f->slots[at & (f->slots_count - 1)];

		if (!*slot || identity_equal(&f->entries[*slot - 1].identity, identity))
			return slot;
	}
}

/* Doubles the table, so that it is never more than half full. */
static int files_grow(struct files *f)
{
	uint32_t room = f->room ? f->room * 2 : FILES_FIRST;
	struct file_entry *entries = reallocarray(f->entries, room, sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	f->entries = entries;

	uint32_t *slots = calloc((size_t)room * 2, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(f->slots);
	f->slots = slots;
	f->slots_count = room * 2;
	f->room = room;
	for (uint32_t i = 0; i < f->count; i++)
		*slot_of(f, &f->entries[i].identity) = i + 1;
	return 0;
}

int files_find(struct files *f, const struct wire_identity *identity, bool *ret_new)
{
	*ret_new = false;
	if (f->count) {
		uint32_t slot = *slot_of(f, identity);

		if (slot)
			return (int)slot - 1;
	}
	if (f->count == WIRE_FILES_MAX)
		return -E2BIG;
	if (f->count == f->room) {
		int r = files_grow(f);

		if (r < 0)
			return r;
	}
	f->entries[f->count] = (struct file_entry){ .identity = *identity };
	*slot_of(f, identity) = f->count + 1;
	*ret_new = true;
	return (int)f->count++;
}

struct wire_extent *files_extents_room(struct files *f, uint32_t want, uint32_t *ret_max)
{
	uint32_t need = f->extents_count + want;

	if (need > FILES_EXTENTS_MAX)
		need = FILES_EXTENTS_MAX;
	if (need > f->extents_room) {
		uint32_t room = f->extents_room ? f->extents_room * 2 : FILES_FIRST;
		if (room < need)
			room = need;
		void *extents = reallocarray(f->extents, room, sizeof(*f->extents));

		if (!extents)
			return NULL;
		f->extents = extents;
		f->extents_room = room;
	}
	*ret_max = need - f->extents_count;
	return f->extents + f->extents_count;
}

uint32_t files_placed(const struct files *f, const struct file_entry *e, uint64_t index,
		      uint32_t count)
{
	const struct wire_extent *items = f->extents + e->extents_first;
	uint32_t low = 0, high = e->extents_count, placed = 0;

	/* The first extent that ends after the run's start. */
	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (items[middle].index + items[middle].count <= index)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < e->extents_count && items[low].index < index + count; low++) {
		uint64_t start = items[low].index > index ? items[low].index : index;
		uint64_t end = items[low].index + items[low].count;

		if (end > index + count)
			end = index + count;
		placed += (uint32_t)(end - start);
	}
	return placed;
}
