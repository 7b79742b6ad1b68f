/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/held.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void disk_forget(struct held *h, struct held_disk *d)
{
	h->runs -= d->count;
	free(d->runs);
	*d = h->disks[--h->count];
	h->disks[h->count] = (struct held_disk){ 0 };
}

void held_done(struct held *h)
{
	while (h->count)
		disk_forget(h, &h->disks[h->count - 1]);
}

/* A disk has its PCI address, its serial number, or both. */
static struct held_disk *disk_of(const struct held *h, const char *pci_address, const char *serial)
{
	for (unsigned i = 0; i < h->count; i++) {
		const struct held_disk *d = &h->disks[i];

		if (strncmp(d->pci_address, pci_address, sizeof(d->pci_address)) == 0 &&
		    strncmp(d->serial, serial, sizeof(d->serial)) == 0)
			return (struct held_disk *)d;
	}
	return NULL;
}

static bool runs_ascend(const struct held_disk *d, const struct wire_held *m)
{
	uint64_t end =
		d && d->count ? d->runs[d->count - 1].block + d->runs[d->count - 1].count : 0;

	for (uint32_t i = 0; i < m->count; i++) {
		if (m->items[i].block < end)
			return false;
		end = m->items[i].block + m->items[i].count;
	}
	return true;
}

static struct held_disk *disk_enter(struct held *h, const struct wire_held *m)
{
	struct held_disk *d = disk_of(h, m->pci_address, m->serial);

	if (d && m->flags & WIRE_HELD_FIRST) {
		disk_forget(h, d);
		d = NULL;
	}
	if (d || h->count == WIRE_DISKS_MAX)
		return d;
	d = &h->disks[h->count++];
	memcpy(d->pci_address, m->pci_address, sizeof(d->pci_address));
	memcpy(d->serial, m->serial, sizeof(d->serial));
	return d;
}

int held_take(struct held *h, const struct wire_held *m, uint64_t now_usec)
{
	struct held_disk *d = disk_of(h, m->pci_address, m->serial);
	bool is_first = !d || m->flags & WIRE_HELD_FIRST;

	if (m->count > HELD_RUNS_MAX - (h->runs - (d && is_first ? d->count : 0)))
		return -ENOBUFS;
	if (!runs_ascend(is_first ? NULL : d, m))
		return -EBADMSG;
	d = disk_enter(h, m);
	if (!d)
		return -ENOBUFS;
	if (is_first)
		d->usec = now_usec;
	if (!m->count)
		return 0;
	struct wire_held_run *runs = realloc(d->runs, (d->count + m->count) * sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	memcpy(runs + d->count, m->items, m->count * sizeof(*runs));
	d->runs = runs;
	d->count += m->count;
	h->runs += m->count;
	return 0;
}

bool held_any(struct held *h, uint64_t now_usec)
{
	for (unsigned i = h->count; i-- > 0;)
		if (now_usec - h->disks[i].usec > HELD_USEC_MAX)
			disk_forget(h, &h->disks[i]);
	return h->runs > 0;
}

const struct held_disk *held_of(const struct held *h, const struct wire_disk *disk)
{
	const struct held_disk *d = disk_of(h, disk->pci_address, disk->serial);

	return d && d->count ? d : NULL;
}

bool held_has(const struct held_disk *d, uint64_t block)
{
	uint32_t from = 0, to = d->count;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;
		const struct wire_held_run *run = &d->runs[middle];

		if (block < run->block)
			to = middle;
		else if (block - run->block >= run->count)
			from = middle + 1;
		else
			return true;
	}
	return false;
}
