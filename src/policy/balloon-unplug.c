/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/balloon-parts.h"

#define SUPERPAGE_BYTES ((uint64_t)2 << 20)
#define TAKE_GOOD_PART	8

static const struct plugged_device *fullest(const struct look *l)
{
	return plugged_fullest(&l->seen->plugged, l->run->unplugged);
}

/* Whole blocks of what is left to take; 0: by pages. */
static uint64_t unplug_bytes(const struct look *l, uint64_t bytes)
{
	const struct plugged_device *d = fullest(l);

	if (!d || l->goal->by == BALLOON_BY_PAGES)
		return 0;
	/* One block is a step, however large. */
	bytes = look_least(bytes, look_most(l->rules->step_bytes, d->block_bytes));
	return look_least(bytes, d->bytes) / d->block_bytes * d->block_bytes;
}

uint64_t look_take_bytes(const struct look *l, uint64_t bytes)
{
	if (!l->seen->can_take || l->run->has_taken_all || l->goal->by == BALLOON_BY_PAGES)
		return 0;
	return bytes / SUPERPAGE_BYTES * SUPERPAGE_BYTES;
}

static void superpages_end(struct look *l, uint64_t bytes)
{
	const struct plugged_device *d = fullest(l);

	if (l->run->has_taken_all && l->run->untaken == BALLOON_UNTAKEN_REFUSED)
		look_end(l, BALLOON_SUPERPAGES_ENDED,
			 "its agent could not take more superpages out of use, or the host would "
			 "not page them out");
	else if (l->run->has_taken_all)
		look_end(l, BALLOON_SUPERPAGES_ENDED,
			 "the guest has no more superpages that are free as a whole");
	else if (!l->seen->plugged.n && !l->seen->can_take)
		look_end(l, BALLOON_SUPERPAGES_ENDED,
			 "no superpages can be had of it any more: its agent, or the host's swap, "
			 "has gone");
	else if (l->seen->can_take)
		look_end(l, BALLOON_SUPERPAGES_ENDED,
			 "what is left to take, %.1f MiB, is less than a superpage", MIB(bytes));
	else if (d)
		look_end(l, BALLOON_SUPERPAGES_ENDED,
			 "what is left to take, %.1f MiB, is less than a block of %.1f MiB",
			 MIB(bytes), MIB(d->block_bytes));
	else if (l->run->unplugged)
		look_end(l, BALLOON_SUPERPAGES_ENDED,
			 "the guest could not empty another block: what is left in them is in use, "
			 "and cannot be moved");
	else
		look_end(l, BALLOON_SUPERPAGES_ENDED,
			 "its virtio-mem devices have nothing plugged in any more");
}

bool look_unplug(struct look *l, uint64_t bytes)
{
	uint64_t whole = unplug_bytes(l, bytes);

	if (whole) {
		look_step(l, whole);
		l->run->is_unplugging = true;
		l->run->unplugging = fullest(l)->index;
		l->next->unplug_bytes = whole;
	} else if (l->goal->by == BALLOON_BY_SUPERPAGES && !look_take_bytes(l, bytes)) {
		superpages_end(l, bytes);
	} else {
		return false;
	}
	return true;
}

void look_step_any(struct look *l, uint64_t bytes)
{
	uint64_t whole = look_take_bytes(l, bytes);

	if (!whole && l->goal->by == BALLOON_BY_SUPERPAGES) {
		superpages_end(l, bytes);
		return;
	}
	look_step(l, whole ? whole : bytes);
	l->run->is_taking = whole > 0;
	l->run->is_by_pages = !whole;
	l->next->take_bytes = whole;
}

void look_take_end(struct look *l)
{
	if (l->seen->untaken == BALLOON_UNTAKEN_SHORT) {
		look_leave(l, look_least(look_reached(l), l->goal->original_bytes));
		l->next->quarantine = true;
		look_end(l, BALLOON_PRESSURE,
			 "its agent takes no more out of use: the guest is short of memory");
		return;
	}
	l->run->is_taking = false;
	/* Where it had a good part, there are more once more is evicted. */
	l->run->has_taken_all = l->run->step_from_bytes - look_reached(l) <
				(l->run->step_from_bytes - l->run->target_bytes) / TAKE_GOOD_PART;
	l->run->untaken = l->seen->untaken;
	look_set(l, look_reached(l));
}

uint64_t look_pages(struct look *l, uint64_t bytes)
{
	uint64_t plugged = plugged_bytes(&l->seen->plugged), actual = l->seen->actual_bytes;
	uint64_t most = actual > plugged + PAGE_BYTES ? actual - plugged - PAGE_BYTES : 0;

	if (most >= bytes || most >= l->rules->step_least_bytes)
		return look_least(bytes, most);
	look_end(l, BALLOON_PAGES_ENDED,
		 "its balloon holds all that it can, which is what the guest has without the "
		 "%.1f MiB that are plugged in",
		 MIB(plugged));
	return 0;
}

void look_unplug_end(struct look *l)
{
	l->run->is_unplugging = false;
	l->run->unplugged |= 1U << l->run->unplugging;
	look_set(l, look_reached(l));
}
