/* SPDX-License-Identifier: Apache-2.0 */
/* What a resize is to come to, from the first look at the guest. */
#include "base/clock.h"
#include "host/resize-parts.h"

#define PAGE_BYTES 4096

/* With all plugged in that the operator gave it. */
static uint64_t memory_bytes(const struct resize *r)
{
	const struct balloon *b = r->b;

	return r->vm->inventory
		       ? dial_most_bytes(r->vm->inventory, b->kept ? &b->entry.mems : &b->mems)
		       : r->goal.memory_bytes;
}

static uint64_t floor_config(const struct resize *r)
{
	const struct limit_text *floor = &r->vm->config.balloon_floor;

	switch (floor->kind) {
	case LIMIT_TEXT_BYTES:
		return floor->bytes;
	case LIMIT_TEXT_PERMILLE:
		return memory_bytes(r) / 1000 * floor->permille;
	default:
		return 0;
	}
}

static void refuse(struct resize *r, const char *code, const char *what)
{
	r->refusal = code;
	resize_fail(r, what);
}

/* What no virtio-mem device can do is not begun by one. */
static enum balloon_by by_of(const struct resize *r)
{
	const struct inventory *inv = r->vm->inventory;

	if (r->request.by != BALLOON_BY_AUTO)
		return r->request.by;
	if (r->request.cache == BALLOON_CACHE_ONLY)
		return BALLOON_BY_PAGES;
	return inv && inv->vfio ? BALLOON_BY_SUPERPAGES : BALLOON_BY_AUTO;
}

/* By superpages alone it gives and gets whole blocks, and no more is taken than is asked for. */
static uint64_t whole_blocks(struct resize *r, uint64_t original, uint64_t wanted)
{
	const struct plugged_device *fullest = plugged_fullest(&r->seen.plugged, 0);
	uint64_t actual = r->seen.actual_bytes, whole = wanted;

	if (by_of(r) != BALLOON_BY_SUPERPAGES)
		return wanted;
	if (wanted > actual)
		whole = plugged_whole_bytes(&r->seen.plugged, original, wanted);
	else if (fullest)
		whole = actual - (actual - wanted) / fullest->block_bytes * fullest->block_bytes;
	else
		whole = actual - (actual - wanted) / WIRE_SUPERPAGE_BYTES * WIRE_SUPERPAGE_BYTES;
	if (whole != wanted)
		resize_note(r, "by superpages it goes by whole blocks: %.1f MiB in place of %.1f",
			    (double)whole / (1 << 20), (double)wanted / (1 << 20));
	return whole;
}

/* Without what devices had that are gone. */
static uint64_t owed_bytes(const struct resize *r)
{
	const struct journal_entry *entry = &r->b->entry;

	return entry->original_bytes - dial_gone_bytes(&entry->mems, &r->seen.plugged);
}

/* The first look tells what a relative size is relative to. */
void resize_begin(struct resize *r)
{
	uint64_t memory = memory_bytes(r), actual = r->seen.actual_bytes, wanted;
	uint64_t original = r->b->kept ? owed_bytes(r) : actual;
	char text[BALLOON_REASON_MAX * 2];

	if (!memory) {
		resize_fail(r, "QEMU does not tell how much memory it has");
		return;
	}
	/* Two answers of QEMU's make it, and blocks may have come or gone between them. */
	memory = memory > original ? memory : original;
	/* What somebody else has given since is not taken by "max". */
	if (size_text_apply(&r->request.size, actual, original > actual ? original : actual,
			    &wanted) < 0) {
		refuse(r, "invalid", "that would be no memory at all");
		return;
	}
	wanted = (wanted + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	if (wanted > memory) {
		snprintf(text, sizeof(text), "it has %.1f MiB of memory, and cannot have %.1f MiB",
			 (double)memory / (1 << 20), (double)wanted / (1 << 20));
		refuse(r, "invalid", text);
		return;
	}
	wanted = whole_blocks(r, original, wanted);
	r->goal = (struct balloon_goal){
		.wanted_bytes = wanted,
		.original_bytes = original,
		.held_bytes = r->b->kept ? balloon_target(r->b) : 0,
		.memory_bytes = memory,
		.floor_config_bytes = floor_config(r),
		.cache = r->request.cache,
		.by = by_of(r),
		.deadline_usec = r->started_usec + r->request.timeout_usec,
		.deflate_on_oom = r->vm->inventory && r->vm->inventory->deflate_on_oom,
		.plan_only = r->request.dry_run,
	};
	if (!r->request.dry_run &&
	    balloon_guard_refusal(&r->b->guard, now_usec(), wanted < actual, text)) {
		refuse(r, "refused", text);
		return;
	}
	r->is_begun = true;
	r->lacking_bytes = plugged_lacking_bytes(&r->seen.plugged);
	r->first_taken_bytes = vm_taken_bytes(r->vm);
	r->first_out_bytes = vm_paged_out_bytes(r->vm);
	r->host_first_known = vm_resident_bytes(r->vm, &r->host_first_bytes) >= 0;
	if (!r->host_first_known)
		resize_note(r,
			    "what the host holds of its memory cannot be known (its RAM is not all "
			    "in shared memfds): what comes back is by the guest's word");
	if (!r->request.dry_run && r->goal.cache == BALLOON_CACHE_OFF)
		vm_hint_meanwhile(r->vm, WIRE_HINT_NONE);
	if (!r->request.dry_run) {
		r->b->guard.restarted_usec = r->b->guard.resume_bytes = 0;
		r->b->wanted_bytes = wanted;
		r->b->wanted_cache = r->request.cache;
		r->b->wanted_by = r->request.by;
	}
	resize_decide(r);
}
