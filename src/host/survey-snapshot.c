/* SPDX-License-Identifier: Apache-2.0 */
/* The survey's end: what was found, as the policy wants it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/hostmem.h"
#include "host/survey.h"

/* Names a guest's disk by what both sides know: the PCI address, else the serial number. */
bool survey_disk_matches(const struct wire_disk *theirs, const struct inventory_disk *ours)
{
	if (ours->pci[0] && theirs->pci_address[0])
		return strcmp(ours->pci, theirs->pci_address) == 0;
	/* virtio-blk cuts serial numbers at 20 bytes. */
	return ours->serial[0] && theirs->serial[0] &&
	       strncmp(ours->serial, theirs->serial, 20) == 0;
}

static void disks_match(struct survey *s)
{
	for (size_t i = 0; i < s->n_disks; i++) {
		struct survey_disk *d = &s->disks[i];
		const struct vm *vm = s->vms[d->vm].vm;

		size_t number;
		const struct inventory_disk *disk = survey_disk_now(d, &number);

		if (!s->vms[d->vm].scanned || !vm->scan || !disk)
			continue;
		for (unsigned n = 0; n < vm->scan->n_disks; n++)
			if (survey_disk_matches(&vm->scan->disks[n], disk))
				d->scan_disk = n;
	}
}

static struct snapshot_holding *holding_of(struct survey *s, size_t vm, size_t image)
{
	for (size_t i = 0; i < s->snapshot.n_holdings; i++)
		if (s->holdings[i].guest == vm && s->holdings[i].image == image)
			return &s->holdings[i];
	return NULL;
}

/* A row for every image that a guest can reach; its sets only when all of them are known. */
static int holdings_list(struct survey *s)
{
	s->holdings = calloc(s->n_disks * INVENTORY_LAYERS_MAX + 1, sizeof(*s->holdings));
	if (!s->holdings)
		return -ENOMEM;
	for (size_t image = 0; image < s->n_images; image++)
		for (size_t i = 0; i < s->n_disks; i++)
			for (size_t n = 0; n < s->disks[i].n_layers; n++)
				if (s->disks[i].images[n] == image &&
				    !holding_of(s, s->disks[i].vm, image))
					s->holdings[s->snapshot.n_holdings++] =
						(struct snapshot_holding){ .guest = s->disks[i].vm,
									   .image = image };
	return 0;
}

static int holding_know(struct snapshot_holding *h)
{
	if (h->held)
		return 0;
	h->held = blockset_new();
	h->evictable = blockset_new();
	h->cold = blockset_new();
	h->warm = blockset_new();
	return h->held && h->evictable && h->cold && h->warm ? 0 : -ENOMEM;
}

static void holding_unknow(struct snapshot_holding *h)
{
	blockset_free((struct blockset *)h->held);
	blockset_free((struct blockset *)h->evictable);
	blockset_free((struct blockset *)h->cold);
	blockset_free((struct blockset *)h->warm);
	h->held = h->evictable = h->cold = h->warm = NULL;
}

/* One disk of unknown layout makes unknown what its guest caches of all images of its chain. */
static int holdings_know(struct survey *s)
{
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < s->n_disks; i++) {
			const struct survey_disk *d = &s->disks[i];
			bool known =
				d->map && s->vms[d->vm].scanned && !s->vms[d->vm].vm->scan->cut;

			for (size_t n = 0; n < d->n_layers; n++) {
				struct snapshot_holding *h = holding_of(s, d->vm, d->images[n]);

				if (pass == 0 && known && holding_know(h) < 0)
					return -ENOMEM;
				if (pass == 1 && !known)
					holding_unknow(h);
			}
		}
	return 0;
}

struct placing {
	struct survey *survey;
	size_t vm;
};

static int extent_place(struct survey *s, const struct survey_disk *d, const struct wire_run *run,
			size_t layer, uint64_t block, uint64_t count)
{
	struct snapshot_holding *h = holding_of(s, d->vm, d->images[layer]);
	const struct blockset *by_age;
	int r;

	s->vms[d->vm].placed_pages += count;
	if (!h || !h->held)
		return 0;
	r = blockset_add((struct blockset *)h->held, block, count);
	if (r < 0 || !scan_run_evictable(run))
		return r;
	r = blockset_add((struct blockset *)h->evictable, block, count);
	if (r < 0 || run->age == UINT16_MAX)
		return r;
	by_age = run->age >= WIRE_HOT_SEC ? h->cold : h->warm;
	return blockset_add((struct blockset *)by_age, block, count);
}

static int piece_place(const struct scan *scan, const struct scan_file *file,
		       const struct wire_run *run, uint64_t index, uint64_t block, uint64_t count,
		       void *userdata)
{
	struct placing *p = userdata;
	const struct survey_disk *d = survey_disk_find(p->survey, p->vm, file->file.disk);

	(void)scan;
	(void)index;
	if (!d || !d->map) {
		p->survey->vms[p->vm].unplaced[WIRE_PLACED] += count;
		return 0;
	}
	while (count) {
		uint64_t n, file_block;
		size_t layer;
		bool placed = imagemap_lookup(d->map, block, &n, &layer, &file_block);

		if (n > count)
			n = count;
		if (!placed)
			p->survey->vms[p->vm].unplaced[WIRE_PLACED] += n;
		else if (extent_place(p->survey, d, run, layer, file_block, n) < 0)
			return -ENOMEM;
		block += n;
		count -= n;
	}
	return 0;
}

static int vm_place(struct survey *s, size_t vm)
{
	struct placing p = { .survey = s, .vm = vm };
	const struct wire_census *c = &s->vms[vm].vm->scan->end.census;

	for (unsigned i = 1; i < WIRE_UNPLACED_REASONS; i++)
		s->vms[vm].unplaced[i] = c->unplaced[i];
	s->vms[vm].cached_pages = c->mapped_file + c->unmapped_clean + c->unmapped_dirty;
	return scan_pieces(s->vms[vm].vm->scan, piece_place, &p);
}

static void trim_refusal_of(struct survey_image *image)
{
	const struct openers *o = &image->openers;
	char *text = image->trim_refusal;
	size_t size = sizeof(image->trim_refusal);

	if (image->block_device)
		snprintf(text, size,
			 "it is a block device: mounts and devices stacked on it are "
			 "not seen");
	else if (!image->openers_known)
		snprintf(text, size, "it could not be learned who has it open");
	else if (o->count)
		snprintf(text, size, "%s %d (%s) has it %s",
			 o->listed[0].kind == OPENER_LOOP ? "loop device" : "process",
			 o->listed[0].pid, o->listed[0].name,
			 o->listed[0].kind == OPENER_MAP ? "mapped" : "open");
	else if (!o->complete)
		snprintf(text, size, "who has it open is not known: %s%s", o->reason,
			 o->n_unknown ? "; see trusted_processes in pagepact.conf(5)" : "");
}

static int images_fill(struct survey *s)
{
	s->snapshot_images = calloc(s->n_images + 1, sizeof(*s->snapshot_images));
	if (!s->snapshot_images)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_images; i++) {
		struct survey_image *image = &s->images[i];

		trim_refusal_of(image);
		s->snapshot_images[i] = (struct snapshot_image){
			.device = image->dev,
			.inode = image->ino,
			.path = image->path,
			.size_bytes = image->bytes,
			.is_public = image->is_public,
			.trim_refusal = image->trim_refusal[0] ? image->trim_refusal : NULL,
			.order_refusal = image->reason[0] ? image->reason : NULL,
			.resident = image->residency.blocks,
			.resident_usec = image->looked_usec,
		};
	}
	return 0;
}

static int guests_fill(struct survey *s)
{
	s->snapshot_guests = calloc(s->n_vms + 1, sizeof(*s->snapshot_guests));
	if (!s->snapshot_guests)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_vms; i++) {
		const struct survey_vm *v = &s->vms[i];
		const struct scan *scan = v->scanned ? v->vm->scan : NULL;

		s->snapshot_guests[i] = (struct snapshot_guest){
			.name = v->vm->config.name,
			.domain = v->vm->config.domain,
			.act = v->vm->config.act,
			.order_refusal = scan ? NULL : v->reason,
			.agent_live = scan && v->vm->agent == VM_AGENT_LIVE,
			.scan_usec = scan ? scan->begun_usec : 0,
			.free_bytes = scan ? scan->end.census.free * BLOCK_BYTES : 0,
			.free_page_reporting =
				v->vm->inventory && v->vm->inventory->free_page_reporting,
		};
	}
	return 0;
}

/* A guest may have been reset, or have gone, since it was scanned. */
static void scans_check(struct survey *s)
{
	for (size_t i = 0; i < s->n_vms; i++) {
		struct survey_vm *v = &s->vms[i];

		if (!v->scanned || (v->vm->scan && v->vm->inventory))
			continue;
		v->scanned = false;
		snprintf(v->reason, sizeof(v->reason), "%s",
			 v->vm->inventory ? "the guest was restarted after its scan"
					  : v->vm->reason);
	}
}

int survey_build_snapshot(struct survey *s)
{
	int r;

	scans_check(s);
	disks_match(s);
	r = holdings_list(s);
	if (r >= 0)
		r = holdings_know(s);
	for (size_t i = 0; r >= 0 && i < s->n_vms; i++)
		if (s->vms[i].scanned && s->vms[i].vm->scan)
			r = vm_place(s, i);
	if (r >= 0)
		r = images_fill(s);
	if (r >= 0)
		r = guests_fill(s);
	if (r < 0)
		return r;
	s->taken_usec = now_usec();
	s->snapshot.now_usec = s->taken_usec;
	hostmem_read("", &s->snapshot.host);
	s->snapshot.images = s->snapshot_images;
	s->snapshot.n_images = s->n_images;
	s->snapshot.guests = s->snapshot_guests;
	s->snapshot.n_guests = s->n_vms;
	s->snapshot.holdings = s->holdings;
	return snapshot_check(&s->snapshot);
}

void survey_snapshot_done(struct survey *s)
{
	for (size_t i = 0; i < s->snapshot.n_holdings; i++)
		holding_unknow(&s->holdings[i]);
	free(s->holdings);
	free(s->snapshot_images);
	free(s->snapshot_guests);
}
