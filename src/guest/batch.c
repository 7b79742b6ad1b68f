/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/batch.h"

#include <string.h>

#include "base/cleanup.h"

int batch_begin(struct batch *b, uint64_t now_usec)
{
	if (now_usec - b->places_usec > BATCH_PLACES_USEC) {
		b->disks.count = b->places_count = b->places_next = 0;
		b->places_usec = now_usec;
	}
	return mounts_begin(b->mounts);
}

void batch_end(struct batch *b)
{
	for (unsigned i = 0; i < b->files_count; i++)
		close_p(&b->files[i].fd);
	b->files_count = b->files_next = 0;
	mounts_end(b->mounts);
}

/* Where the next is entered: in the place of the oldest, when all are taken. */
static unsigned slot_take(unsigned *count, unsigned *next, unsigned max)
{
	unsigned at = *next;

	*next = (at + 1) % max;
	if (*count < max)
		++*count;
	return at;
}

int batch_file(struct batch *b, const struct file_key *key)
{
	for (unsigned i = 0; i < b->files_count; i++)
		if (memcmp(&b->files[i].key, key, sizeof(*key)) == 0)
			return b->files[i].fd;

	int fd = file_open_key(b->memmap, b->mounts, key);
	if (fd < 0)
		return fd;
	bool full = b->files_count == BATCH_FILES_MAX;
	unsigned at = slot_take(&b->files_count, &b->files_next, BATCH_FILES_MAX);
	if (full)
		close_p(&b->files[at].fd);
	b->files[at].key = *key;
	b->files[at].fd = fd;
	return fd;
}

/* Return: its number among the places. */
static unsigned place_find(struct batch *b, dev_t device)
{
	unsigned at;

	for (at = 0; at < b->places_count; at++)
		if (b->places[at].device == device)
			return at;
	at = slot_take(&b->places_count, &b->places_next, BATCH_PLACES_MAX);
	b->places[at].device = device;
	b->places[at].found = disk_find(&b->disks, device, &b->places[at].place);
	return at;
}

const struct wire_disk *batch_disk(struct batch *b, dev_t device, struct disk_place *ret_place)
{
	unsigned at = place_find(b, device);

	if (b->places[at].found < 0)
		return NULL;
	*ret_place = b->places[at].place;
	return &b->disks.disks[b->places[at].place.disk];
}
