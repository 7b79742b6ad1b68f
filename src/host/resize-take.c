/* SPDX-License-Identifier: Apache-2.0 */
/* What a resize has the guest's agent keep out of use, and give back. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "host/resize-parts.h"

static enum balloon_untaken untaken_of(enum wire_untaken untaken)
{
	switch (untaken) {
	case WIRE_UNTAKEN_NONE:
		return BALLOON_UNTAKEN_NONE;
	case WIRE_UNTAKEN_SCARCE:
	case WIRE_UNTAKEN_TIME:
		return BALLOON_UNTAKEN_SCARCE;
	case WIRE_UNTAKEN_PRESSURE:
	case WIRE_UNTAKEN_HUGETLB:
		return BALLOON_UNTAKEN_SHORT;
	default:
		return BALLOON_UNTAKEN_REFUSED;
	}
}

/* Fewer than were asked for, and than there were, are those that went unasked. */
static void taking_ended(struct resize *r)
{
	uint64_t now = r->vm->taken_superpages;

	r->take = take_free(r->take);
	r->b->is_taking = false;
	if (now >= r->take_asked || now >= r->b->taken_superpages)
		r->b->taken_superpages = now;
}

/* Of one that failed it is not known what the agent may still do: it is told again. */
static void on_taken(struct take *take, enum wire_untaken untaken, const char *error,
		     void *userdata)
{
	struct resize *r = userdata;

	(void)take;
	log_debug("%s: %llu superpages are out of use: %s", r->vm->config.name,
		  (unsigned long long)r->vm->taken_superpages, wire_untaken_name(untaken));
	if (error[0]) {
		resize_note(r, "superpages: %s", error);
		r->take_cut = true;
	}
	r->seen.take_done = true;
	/* Whoever uses huge pages himself is not short for that: by pages, then. */
	r->seen.untaken =
		untaken == WIRE_UNTAKEN_HUGETLB ? BALLOON_UNTAKEN_REFUSED : untaken_of(untaken);
	taking_ended(r);
	resize_decide(r);
}

void resize_take(struct resize *r, uint64_t superpages)
{
	int e;

	if (r->take)
		taking_ended(r);
	r->take_cut = r->seen.take_done = false;
	r->take_asked = superpages;
	e = take_start(r->vm, superpages, on_taken, r, &r->take);
	r->b->is_taking = e >= 0;
	if (e >= 0)
		return;
	resize_note(r, "superpages: %s", strerror(-e));
	r->seen.untaken = BALLOON_UNTAKEN_REFUSED;
	r->seen.take_done = true;
}

uint64_t resize_taken_lost(const struct resize *r)
{
	uint64_t was = r->b->taken_superpages, is = r->vm->taken_superpages;

	/* What is being given back on order is not lost. */
	if (r->take && r->take_asked < was)
		was = r->take_asked;
	return was > is ? was - is : 0;
}

void resize_taken_see(struct resize *r)
{
	struct balloon_seen *s = &r->seen;

	s->can_take = !r->has_mems && !take_obstacle(r->vm);
	/* One that has greeted anew is about to tell. */
	if (s->gave_back || !r->vm->taken_told || !resize_taken_lost(r))
		return;
	s->gave_back = true;
	s->untaken = untaken_of(r->vm->untaken);
}

void resize_take_end(struct resize *r)
{
	r->take_cut = r->take_cut || r->take;
	if (r->take)
		taking_ended(r);
}
