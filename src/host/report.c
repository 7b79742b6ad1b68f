/* SPDX-License-Identifier: Apache-2.0 */
#include "host/report.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/balloon-notes.h"
#include "host/balloons.h"
#include "host/cache-limit.h"
#include "host/hint.h"
#include "host/set-up.h"
#include "host/take.h"
#include "policy/duplicates.h"
#include "version.h"

static json_int_t bytes(uint64_t pages)
{
	return (json_int_t)(pages * BLOCK_BYTES);
}

static uint64_t own_rss_bytes(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/statm", "re");
	uint64_t pages = 0;

	if (!f || fscanf(f, "%*u %" SCNu64, &pages) != 1)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static json_t *host_json(void)
{
	struct snapshot_host h;

	hostmem_read("", &h);
	return json_pack("{sI sI sI sI so}", "memory_total_bytes", (json_int_t)h.memory_total_bytes,
			 "memory_free_bytes", (json_int_t)h.memory_free_bytes,
			 "memory_available_bytes", (json_int_t)h.memory_available_bytes,
			 "page_cache_bytes", (json_int_t)h.page_cache_bytes,
			 "pressure_some_avg10_permille",
			 h.pressure_some_permille < 0 ? json_null()
						      : json_integer(h.pressure_some_permille));
}

static json_t *census_json(const struct scan *s)
{
	const struct wire_census *c = &s->end.census;
	uint64_t unplaced = 0;

	for (unsigned i = 1; i < WIRE_UNPLACED_REASONS; i++)
		unplaced += c->unplaced[i];
	return json_pack("{sI sI sI sI sI sI sI sI sI sI sI sI sI}", "free_bytes", bytes(c->free),
			 "anonymous_bytes", bytes(c->anonymous), "shmem_bytes", bytes(c->shmem),
			 "mapped_file_bytes", bytes(c->mapped_file), "unmapped_clean_bytes",
			 bytes(c->unmapped_clean), "unmapped_dirty_bytes", bytes(c->unmapped_dirty),
			 "slab_bytes", bytes(c->slab), "other_bytes", bytes(c->other),
			 "placed_bytes", bytes(c->placed), "unplaced_bytes", bytes(unplaced),
			 "superpages", (json_int_t)c->superpages, "superpages_reclaimable",
			 (json_int_t)c->superpages_reclaimable, "superpages_spoiled",
			 (json_int_t)s->end.superpages_spoiled);
}

/* What its agent says of init_on_alloc: WIRE_CLEARS, WIRE_CLEARS_NOT, or 0: nothing, or nonsense.
 */
static uint32_t clears(const struct vm *vm)
{
	const uint32_t both = WIRE_CLEARS | WIRE_CLEARS_NOT, told = vm->hello.capabilities & both;

	return vm->agent == VM_AGENT_NONE || told == both ? 0 : told;
}

static json_t *clears_json(const struct vm *vm)
{
	return clears(vm) ? json_boolean(clears(vm) == WIRE_CLEARS) : json_null();
}

static json_t *agent_json(const struct vm *vm)
{
	char boot_id[33] = "";

	if (vm->agent == VM_AGENT_NONE)
		return json_null();
	for (int i = 0; i < 16; i++)
		snprintf(boot_id + 2 * i, 3, "%02x", vm->hello.boot_id[i]);
	return json_pack("{ss ss? ss ss ss so so}", "state", vm_agent_name(vm->agent), "reason",
			 vm->agent_reason[0] ? vm->agent_reason : NULL, "version",
			 vm->hello.agent_version, "kernel", vm->hello.kernel, "boot_id", boot_id,
			 "clears_pages", clears_json(vm), "scan_age_usec",
			 vm->scan ? json_integer((json_int_t)(now_usec() - vm->scan->begun_usec))
				  : json_null());
}

static json_t *warnings_json(const struct vm *vm)
{
	const char *hint = hint_note(vm), *limit = cache_limit_note(vm);
	json_t *lines = json_array();

	for (size_t i = 0; vm->inventory && i < vm->inventory->n_notes; i++)
		json_array_append_new(lines, json_string(vm->inventory->notes[i]));
	if (limit)
		json_array_append_new(lines, json_sprintf("page cache limit: %s", limit));
	if (hint)
		json_array_append_new(lines, json_sprintf("hint: %s", hint));
	return lines;
}

/* What `balloon` goes by: with what is plugged in, as far as that is its to set. */
static uint64_t size_bytes(const struct manager *m, const struct vm *vm)
{
	const struct journal_entry *kept = balloons_kept(m, vm);
	const struct virtio_mems *mems = &vm->inventory->virtio_mems;
	uint64_t taken = vm_taken_bytes(vm), bytes;
	struct journal_mems first;
	struct plugged plugged;

	dial_first(mems, &first);
	dial_plugged(kept ? &kept->mems : &first, mems, &plugged);
	bytes = vm->inventory->balloon_bytes + plugged_bytes(&plugged);
	return bytes > taken ? bytes - taken : 0;
}

static json_t *balloon_json(const struct manager *m, const struct vm *vm)
{
	const struct inventory *inv = vm->inventory;
	const char *notes[BALLOON_NOTES_MAX];
	json_t *lines, *json;
	size_t n;

	if (!inv)
		return json_null();
	lines = json_array();
	n = balloon_notes(inv, notes);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(lines, json_string(notes[i]));
	json = json_pack("{so so sI sI so}", "bytes",
			 inv->balloon ? json_integer((json_int_t)inv->balloon_bytes) : json_null(),
			 "size_bytes",
			 inv->balloon ? json_integer((json_int_t)size_bytes(m, vm)) : json_null(),
			 "taken_bytes", (json_int_t)vm_taken_bytes(vm), "memory_bytes",
			 (json_int_t)inv->memory_bytes, "notes", lines);
	(void)json_object_update_new(json, balloons_json(m, vm));
	return json;
}

static json_t *virtio_mems_json(const struct inventory *inv)
{
	json_t *list = json_array();

	for (size_t i = 0; inv && i < inv->virtio_mems.n; i++) {
		const struct virtio_mem *d = &inv->virtio_mems.devices[i];

		json_array_append_new(
			list,
			json_pack("{ss? sI sI sI sI sI}", "id", d->id[0] ? d->id : NULL, "node",
				  (json_int_t)d->node, "block_bytes", (json_int_t)d->block_bytes,
				  "max_bytes", (json_int_t)d->max_bytes, "requested_bytes",
				  (json_int_t)d->requested_bytes, "bytes", (json_int_t)d->bytes));
	}
	return list;
}

static const struct survey_vm *survey_vm_find(const struct survey *s, const struct vm *vm,
					      size_t *ret_index)
{
	for (size_t i = 0; s && i < s->n_vms; i++)
		if (s->vms[i].vm == vm) {
			*ret_index = i;
			return &s->vms[i];
		}
	return NULL;
}

static json_t *duplicate_json(const struct manager *m, const struct vm *vm)
{
	struct duplicates_guest d;
	size_t i;
	const struct survey_vm *v = survey_vm_find(m->last, vm, &i);

	if (!v || !v->scanned)
		return json_null();
	duplicates_measure_guest(&m->last->snapshot, i, &d);
	return json_integer(bytes(d.duplicate));
}

static enum set_up set_up(const struct vm *vm)
{
	return set_up_of(vm->inventory, !take_obstacle(vm));
}

static json_t *vm_json(const struct manager *m, struct vm *vm)
{
	const struct inventory *inv = vm->inventory;
	uint64_t resident;
	bool held = vm_resident_bytes(vm, &resident) >= 0;

	return json_pack(
		"{ss ss ss? sb ss so so so ss? so so so so so so so so so}", "name",
		vm->config.name, "state",
		inv	   ? inv->status
		: vm->busy ? "busy"
			   : "absent",
		"reason", inv || !vm->reason[0] ? NULL : vm->reason, "act", vm->config.act,
		"domain", vm->config.domain, "memory_bytes",
		inv ? json_integer((json_int_t)inv->memory_bytes) : json_null(),
		"host_resident_bytes", held ? json_integer((json_int_t)resident) : json_null(),
		"balloon_bytes",
		inv && inv->balloon ? json_integer((json_int_t)inv->balloon_bytes) : json_null(),
		"set_up", inv ? set_up_name(set_up(vm)) : NULL, "balloon", balloon_json(m, vm),
		"virtio_mem", virtio_mems_json(inv), "agent", agent_json(vm), "census",
		vm->scan ? census_json(vm->scan) : json_null(), "duplicate_bytes",
		duplicate_json(m, vm), "cache_limit", cache_limit_json(vm), "hint", hint_json(vm),
		"report", report_agent_json(vm), "warnings", warnings_json(vm));
}

static json_t *users_json(const struct survey *s, size_t image)
{
	json_t *users = json_array();
	size_t n;
	const struct snapshot_holding *h = snapshot_holdings(&s->snapshot, image, &n);

	for (size_t i = 0; i < n; i++)
		json_array_append_new(users, json_string(s->vms[h[i].guest].vm->config.name));
	return users;
}

static json_t *image_json(const struct survey *s, size_t i)
{
	const struct survey_image *image = &s->images[i];

	return json_pack("{ss sI sI sI so ss ss? so}", "path", image->path, "device",
			 (json_int_t)image->dev, "inode", (json_int_t)image->ino, "size_bytes",
			 (json_int_t)image->bytes, "resident_bytes",
			 image->residency.blocks
				 ? json_integer(bytes(blockset_count(image->residency.blocks)))
				 : json_null(),
			 "trim", image->trim_refusal[0] ? image->trim_refusal : "allowed", "reason",
			 image->reason[0] ? image->reason : NULL, "users", users_json(s, i));
}

/* How many guests there are of each, and what a change would bring. */
static json_t *set_ups_json(const struct manager *m)
{
	size_t guests[SET_UPS + 1] = { 0 }, clearing = 0;
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_vms; i++) {
		const struct vm *vm = m->vms[i];

		guests[set_up(vm)]++;
		clearing += vm->inventory && clears(vm) == WIRE_CLEARS;
	}
	for (size_t i = 0; i < SET_UPS; i++)
		if (guests[i])
			json_array_append_new(
				list, json_pack("{ss sI ss}", "set_up", set_up_name(i), "guests",
						(json_int_t)guests[i], "text", set_up_text(i)));
	if (clearing)
		json_array_append_new(list,
				      json_pack("{ss sI ss}", "set_up", "clears_pages", "guests",
						(json_int_t)clearing, "text", SET_UP_CLEARS_TEXT));
	return list;
}

json_t *report_status(const struct manager *m)
{
	json_t *vms = json_array(), *images = json_array();

	for (size_t i = 0; i < m->n_vms; i++)
		json_array_append_new(vms, vm_json(m, m->vms[i]));
	for (size_t i = 0; m->last && i < m->last->n_images; i++)
		json_array_append_new(images, image_json(m->last, i));
	return json_pack("{so s{ss sI sI sb} so so so}", "host", host_json(), "daemon", "version",
			 PAGEPACT_VERSION, "rss_bytes", (json_int_t)own_rss_bytes(), "uptime_usec",
			 (json_int_t)(now_usec() - m->started_usec), "dry_run", m->dry_run, "vms",
			 vms, "images", images, "set_ups", set_ups_json(m));
}

static json_t *image_duplicates_json(const struct survey_image *image, const struct duplicates *d)
{
	json_t *holders = json_array();
	size_t last = 0;

	for (size_t n = 0; n <= DUPLICATES_HOLDERS_MAX; n++)
		if (d->holders[n])
			last = n;
	for (size_t n = 1; n <= last; n++)
		json_array_append_new(holders, json_integer(bytes(d->holders[n])));
	return json_pack("{ss sI sI sI sI sI sb ss? so}", "path", image->path, "resident_bytes",
			 bytes(d->resident), "cached_bytes", bytes(d->distinct), "copies_bytes",
			 bytes(d->copies), "duplicate_bytes", bytes(d->duplicate),
			 "guest_only_bytes", bytes(d->guest_only), "known", d->known, "reason",
			 image->reason[0] ? image->reason : NULL, "holders", holders);
}

static json_t *vm_duplicates_json(const struct survey *s, size_t i)
{
	const struct survey_vm *v = &s->vms[i];
	struct duplicates_guest d;
	json_t *unplaced = json_object(), *notes = json_array();
	uint64_t sum = 0;

	duplicates_measure_guest(&s->snapshot, i, &d);
	for (unsigned r = 0; r < WIRE_UNPLACED_REASONS; r++) {
		sum += v->unplaced[r];
		if (v->unplaced[r])
			json_object_set_new(unplaced, r ? wire_unplaced_name(r) : "image",
					    json_integer(bytes(v->unplaced[r])));
	}
	for (size_t n = 0; n < s->n_disks; n++)
		if (s->disks[n].vm == i && s->disks[n].reason[0])
			json_array_append_new(notes, json_string(s->disks[n].reason));
	return json_pack("{ss sb ss? sI sI sI sI sI so so}", "name", v->vm->config.name, "known",
			 v->scanned, "reason", v->scanned ? NULL : v->reason, "cached_bytes",
			 bytes(v->cached_pages), "placed_bytes", bytes(v->placed_pages),
			 "unplaced_bytes", bytes(sum), "duplicate_bytes", bytes(d.duplicate),
			 "evictable_duplicate_bytes", bytes(d.evictable_duplicate),
			 "unplaced_reasons", unplaced, "notes", notes);
}

static bool image_used_by(const struct survey *s, size_t image, const struct vm *vm)
{
	size_t i;

	return !vm || (survey_vm_find(s, vm, &i) && snapshot_holding_find(&s->snapshot, i, image));
}

json_t *report_duplicates(const struct survey *s, const struct vm *vm)
{
	json_t *images = json_array(), *vms = json_array();
	struct duplicates sum = { 0 };

	for (size_t i = 0; i < s->n_images; i++) {
		struct duplicates d;

		if (!image_used_by(s, i, vm) || duplicates_measure(&s->snapshot, i, &d) < 0)
			continue;
		sum.distinct += d.distinct;
		sum.copies += d.copies;
		sum.duplicate += d.duplicate;
		json_array_append_new(images, image_duplicates_json(&s->images[i], &d));
	}
	for (size_t i = 0; i < s->n_vms; i++)
		if (!vm || s->vms[i].vm == vm)
			json_array_append_new(vms, vm_duplicates_json(s, i));
	return json_pack("{sI so so s{sI sI sI sI}}", "taken_usec", (json_int_t)s->taken_usec,
			 "images", images, "vms", vms, "totals", "cached_bytes",
			 bytes(sum.distinct), "copies_bytes", bytes(sum.copies), "duplicate_bytes",
			 bytes(sum.duplicate), "copy_factor_permille",
			 (json_int_t)duplicates_factor_permille(sum.copies, sum.distinct));
}
