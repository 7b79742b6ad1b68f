/* SPDX-License-Identifier: Apache-2.0 */
#include "host/hold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/hold-runs.h"
#include "host/operation.h"
#include "host/touch.h"

/* Looking and sending together: what is older is no news, and an order may wait for it. */
#define HOLD_USEC (20 * (uint64_t)USEC_PER_SEC)
/* 128 KiB at once leave room in the link's queue for whatever else the guest is to be told. */
#define SEND_MESSAGES 4
#define SEND_USEC     (USEC_PER_SEC / 10)
/* What is said is true for 60 s (struct wire_held). */
#define AGAIN_USEC (30 * (uint64_t)USEC_PER_SEC)
#define TICK_USEC  (5 * (uint64_t)USEC_PER_SEC)
/* A report older than this says nothing of now. */
#define REPORT_USEC (30 * (uint64_t)USEC_PER_SEC)

/* An event of QEMU's comes at most once a second while a balloon moves. */
#define INFLATED_USEC  (10 * (uint64_t)USEC_PER_SEC)
#define INFLATED_BYTES (16 << 20)
/* HELD is true for so long: wire/message.h. */
#define TOLD_USEC (60 * (uint64_t)USEC_PER_SEC)
/* Left for the telling. */
#define TELL_USEC (5 * (uint64_t)USEC_PER_SEC)

struct told {
	char pci_address[16];
	char serial[32];
	struct hold_runs runs;
	size_t sent;
	bool begun;
};

struct hold {
	struct manager *m;
	struct vm *vm;
	struct survey *survey;
	sd_event_source *timer;
	uint64_t deadline_usec;
	bool touch;
	struct touch *touching;
	struct told *disks;
	size_t n_disks;
	uint64_t blocks;
	hold_done_fn *done;
	void *userdata;
};

struct hold *hold_free(struct hold *h)
{
	if (!h)
		return NULL;
	sd_event_source_disable_unref(h->timer);
	touch_free(h->touching);
	survey_free(h->survey);
	for (size_t i = 0; i < h->n_disks; i++)
		hold_runs_done(&h->disks[i].runs);
	free(h->disks);
	free(h);
	return NULL;
}

/* Whose blocks the guest may know to be held: public, or within its sharing domain alone. */
static bool image_tellable(const struct survey *s, size_t image, const struct vm *vm)
{
	if (s->images[image].reason[0] || !s->images[image].residency.blocks)
		return false;
	if (s->images[image].is_public)
		return true;
	/* Who else reads it is not known: nobody is told. */
	for (size_t i = 0; i < s->n_vms; i++)
		if (!s->vms[i].chains_known &&
		    strcmp(s->vms[i].vm->config.domain, vm->config.domain) != 0)
			return false;
	for (size_t i = 0; i < s->n_disks; i++)
		for (size_t n = 0; n < s->disks[i].n_layers; n++)
			if (s->disks[i].images[n] == image &&
			    strcmp(s->vms[s->disks[i].vm].vm->config.domain, vm->config.domain) !=
				    0)
				return false;
	return true;
}

/* As the guest itself calls it, if it has said so; else as QEMU does. */
static void disk_name(const struct vm *vm, const struct inventory_disk *disk, struct told *t)
{
	snprintf(t->pci_address, sizeof(t->pci_address), "%s", disk->pci);
	/* virtio-blk cuts serial numbers at 20 bytes. */
	snprintf(t->serial, sizeof(t->serial), "%.20s", disk->serial);
	for (unsigned n = 0; vm->scan && n < vm->scan->n_disks; n++)
		if (survey_disk_matches(&vm->scan->disks[n], disk)) {
			memcpy(t->pci_address, vm->scan->disks[n].pci_address,
			       sizeof(t->pci_address));
			memcpy(t->serial, vm->scan->disks[n].serial, sizeof(t->serial));
		}
}

static int disk_add(struct hold *h, const struct survey_disk *d)
{
	const struct blockset *resident[INVENTORY_LAYERS_MAX] = { 0 };
	struct told *t = &h->disks[h->n_disks];
	size_t number;
	const struct inventory_disk *disk = survey_disk_now(d, &number);

	if (h->survey->vms[d->vm].vm != h->vm || !d->map || d->reason[0] || !disk)
		return 0;
	for (size_t n = 0; n < d->n_layers; n++)
		if (image_tellable(h->survey, d->images[n], h->vm))
			resident[n] = h->touch ? touch_found(h->touching, d->images[n])
					       : h->survey->images[d->images[n]].residency.blocks;
	disk_name(h->vm, disk, t);
	/* Without a name it is not known which one is meant. */
	if (!t->pci_address[0] && !t->serial[0])
		return 0;
	int r = hold_runs_list(d->map, resident, &t->runs);
	if (r >= 0)
		h->n_disks++;
	return r;
}

static int disks_list(struct hold *h)
{
	int r = 0;

	h->disks = calloc(h->survey->n_disks + 1, sizeof(*h->disks));
	if (!h->disks)
		return -ENOMEM;
	for (size_t i = 0; r >= 0 && i < h->survey->n_disks; i++)
		r = disk_add(h, &h->survey->disks[i]);
	for (size_t i = 0; r >= 0 && i < h->n_disks; i++)
		r = hold_runs_cut(&h->disks[i].runs, HOLD_RUNS_MAX / h->n_disks);
	return r;
}

/* Return: 1 when the disk has been told of, 0 when there is more, or -errno. */
static int disk_send(struct hold *h, struct told *t)
{
	static struct {
		struct wire_held head;
		struct wire_held_run items[WIRE_ITEMS_MAX];
	} m;
	size_t n = t->runs.n_items - t->sent;

	if (t->begun && !n)
		return 1;
	n = n < WIRE_ITEMS_MAX ? n : WIRE_ITEMS_MAX;
	m.head =
		(struct wire_held){ .flags = t->begun ? 0 : WIRE_HELD_FIRST, .count = (uint32_t)n };
	memcpy(m.head.pci_address, t->pci_address, sizeof(t->pci_address));
	memcpy(m.head.serial, t->serial, sizeof(t->serial));
	if (n)
		memcpy(m.items, t->runs.items + t->sent, n * sizeof(m.items[0]));
	int r = vm_held(h->vm, &m.head, (uint32_t)(sizeof(m.head) + n * sizeof(m.items[0])));
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		h->blocks += m.items[i].count;
	t->sent += n;
	t->begun = true;
	return 0;
}

static void hold_end(struct hold *h, int result)
{
	h->timer = sd_event_source_disable_unref(h->timer);
	if (result != -ECANCELED) {
		h->vm->held_usec = now_usec();
		h->vm->held_evicted_bytes = h->vm->report.evicted_bytes;
		if (vm_resident_bytes(h->vm, &h->vm->held_resident_bytes) < 0)
			h->vm->held_resident_bytes = 0;
	}
	h->done(h, result, h->blocks, h->userdata);
}

static int on_send(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct hold *h = userdata;
	size_t disk = 0;
	int r = 0;

	(void)usec;
	for (int n = 0; n < SEND_MESSAGES && disk < h->n_disks;) {
		r = disk_send(h, &h->disks[disk]);
		if (r < 0)
			break;
		disk += r > 0;
		n += r == 0;
	}
	if (disk == h->n_disks)
		hold_end(h, 0);
	else if (r < 0 && r != -ENOBUFS)
		hold_end(h, r);
	else if (now_usec() > h->deadline_usec)
		hold_end(h, -ETIMEDOUT);
	else if (sd_event_source_set_time_relative(s, SEND_USEC) < 0 ||
		 sd_event_source_set_enabled(s, SD_EVENT_ONESHOT) < 0)
		hold_end(h, -EIO);
	return 0;
}

static int on_late(sd_event_source *s, uint64_t usec, void *userdata)
{
	(void)s;
	(void)usec;
	hold_end(userdata, -ETIMEDOUT);
	return 0;
}

static int timer_set(struct hold *h, uint64_t usec, sd_event_time_handler_t handler)
{
	h->timer = sd_event_source_disable_unref(h->timer);
	return sd_event_add_time_relative(h->m->event, &h->timer, CLOCK_MONOTONIC, usec, 0, handler,
					  h);
}

static void tell(struct hold *h)
{
	int r = disks_list(h);

	if (r >= 0)
		r = timer_set(h, 0, on_send);
	if (r < 0)
		hold_end(h, r);
}

static void on_touched(struct touch *t, void *userdata)
{
	(void)t;
	tell(userdata);
}

/* Of the guest's own disks. */
static bool image_wanted(const struct survey *s, size_t image, void *userdata)
{
	const struct hold *h = userdata;

	if (!image_tellable(s, image, h->vm))
		return false;
	for (size_t i = 0; i < s->n_disks; i++)
		for (size_t n = 0; n < s->disks[i].n_layers; n++)
			if (s->disks[i].images[n] == image && s->vms[s->disks[i].vm].vm == h->vm)
				return true;
	return false;
}

/* A guest caches no more than it has memory. */
static uint64_t touch_blocks(const struct vm *vm)
{
	return vm->inventory ? vm->inventory->memory_bytes / BLOCK_BYTES : 0;
}

static void on_survey(struct survey *s, int result, void *userdata)
{
	struct hold *h = userdata;

	if (result >= 0 && h->touch)
		result = touch_start(s, h->deadline_usec - TELL_USEC, touch_blocks(h->vm),
				     image_wanted, on_touched, h, &h->touching);
	else if (result >= 0)
		tell(h);
	if (result < 0)
		hold_end(h, result);
}

int hold_start(struct manager *m, struct vm *vm, bool touch, hold_done_fn *done, void *userdata,
	       struct hold **ret)
{
	struct hold *h;
	int r;

	if (!vm->config.act || m->dry_run)
		return -EPERM;
	if (vm->agent != VM_AGENT_LIVE || !vm->inventory)
		return -ENOTCONN;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	*h = (struct hold){ .m = m,
			    .vm = vm,
			    .deadline_usec = now_usec() + HOLD_USEC,
			    .touch = touch,
			    .done = done,
			    .userdata = userdata };
	r = timer_set(h, HOLD_USEC, on_late);
	if (r >= 0)
		r = manager_survey_one(m, vm, on_survey, h, &h->survey);
	if (r < 0) {
		hold_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

static bool is_near_limit(const struct vm *vm, uint64_t now)
{
	const struct wire_report *r = &vm->report;

	/* One that has evicted nothing since it was told has no use for more. */
	return vm->report_usec && now < vm->report_usec + REPORT_USEC &&
	       r->limit_bytes != UINT64_MAX && r->limit_state != WIRE_STATE_CANNOT &&
	       r->unmapped_bytes > r->limit_bytes / 10 * 9 &&
	       (!vm->held_usec || r->evicted_bytes > vm->held_evicted_bytes);
}

/* That its balloon inflates is the guest's word, so what the host itself holds of its memory must
 * be less than at the last time; and the hint must be the operator's. What was told is true for a
 * minute, and to take it in costs an emulated guest a tenth of a second. */
static bool is_inflating(struct vm *vm, uint64_t now)
{
	uint64_t resident;

	if (vm->hint != WIRE_HINT_CACHE || !vm->inflated_usec ||
	    now > vm->inflated_usec + INFLATED_USEC ||
	    (vm->held_usec && now < vm->held_usec + TOLD_USEC))
		return false;
	if (vm_resident_bytes(vm, &resident) < 0)
		return true;
	return !vm->held_resident_bytes || resident + INFLATED_BYTES < vm->held_resident_bytes;
}

static void on_held(struct hold *h, int result, uint64_t blocks, void *userdata)
{
	struct manager *m = userdata;

	log_debug("%s: told of %llu blocks that the host holds%s%s", h->vm->config.name,
		  (unsigned long long)blocks, result < 0 ? ": " : "",
		  result < 0 ? strerror(-result) : "");
	m->hold = hold_free(m->hold);
}

/* The first guest after the last one that wants to know. */
static int on_tick(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct manager *m = userdata;
	uint64_t now = now_usec();

	(void)usec;
	for (size_t i = 0; i < m->n_vms && !m->hold; i++) {
		struct vm *vm = m->vms[(m->hold_next + i) % m->n_vms];

		if (now < vm->held_usec + AGAIN_USEC ||
		    (m->operation ? operation_freeing(m) != vm
				  : !is_near_limit(vm, now) && !is_inflating(vm, now)))
			continue;
		if (hold_start(m, vm, is_inflating(vm, now), on_held, m, &m->hold) >= 0)
			m->hold_next = (m->hold_next + i + 1) % m->n_vms;
	}
	(void)sd_event_source_set_time_relative(s, TICK_USEC);
	(void)sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

int holds_begin(struct manager *m)
{
	return sd_event_add_time_relative(m->event, &m->hold_timer, CLOCK_MONOTONIC, TICK_USEC, 0,
					  on_tick, m);
}

void holds_cancel(struct manager *m)
{
	if (m->hold)
		hold_end(m->hold, -ECANCELED);
}

void holds_end(struct manager *m)
{
	holds_cancel(m);
	m->hold_timer = sd_event_source_disable_unref(m->hold_timer);
}
