/* SPDX-License-Identifier: Apache-2.0 */
/* Fills the queues from what memory holds. */
#include <errno.h>

#include "base/clock.h"
#include "guest/page.h"
#include "guest/shed.h"
#include "guest/superpage.h"

void shed_sweep_begin(struct shed *s, const struct ram *ram, bool by_superpage)
{
	if (!s->overflowed)
		walk_begin(&s->walk, s->batch.memmap, ram);
	/* What lies before is looked at by the one after. */
	s->incomplete = s->overflowed;
	s->overflowed = false;
	s->by_superpage = by_superpage;
	s->sweeping = true;
}

struct chunk {
	const struct scan_page *pages;
	const struct scan_owner *owners;
	unsigned owners_count;
	uint64_t now_usec;
};

/* Whether a page of the chunk is cold and may go; its age is in @ret_age_sec then. */
static bool page_cold(struct shed *s, const struct chunk *c, unsigned i,
		      uint16_t *ret_age_sec)
{
	const struct scan_page *p = &c->pages[i];

	if (!page_evictable(p) || p->owner >= c->owners_count || !c->owners[p->owner].inode ||
	    !file_magic_opens(c->owners[p->owner].magic))
		return false;
	struct heat_view heat = heat_look(s->heat, p, s->walk.start + i - p->offset,
					  c->owners[p->owner].mapping, c->now_usec);
	s->guessed |= heat.guessed;
	*ret_age_sec = heat.age_sec;
	return !heat.hot;
}

static int page_push(struct shed *s, const struct chunk *c, unsigned i, uint16_t age_sec,
		     enum shed_queue to)
{
	const struct scan_page *p = &c->pages[i];
	const struct scan_owner *o = &c->owners[p->owner];
	struct file_key key = {
		.mapping = o->mapping,
		.inode = o->inode,
		.magic = o->magic,
		.device = o->device,
		.generation = o->generation,
	};
	int r = spans_push(&s->queues[to], &key, p->index, 1, age_sec);

	if (r == -ENOBUFS || r == -ENOMEM)
		s->incomplete = true;
	return r;
}

/* Whether nothing but free pages and cold ones, and at least one of these, are in a superpage. */
static bool superpage_completes(struct shed *s, const struct chunk *c, unsigned at)
{
	unsigned cold = 0, nothing = 0;
	uint16_t age_sec;

	for (unsigned i = at; i < at + SUPERPAGE_PAGES; i++) {
		if (c->pages[i].kind == SCAN_FREE)
			nothing++;
		else if (page_cold(s, c, i, &age_sec))
			cold++;
		else
			return false;
	}
	return cold && cold + nothing == SUPERPAGE_PAGES;
}

static int chunk_take(struct shed *s, const struct chunk *c)
{
	enum shed_queue to = SHED_FRESH;
	uint16_t age_sec;

	for (unsigned i = 0; i < s->walk.count; i++) {
		uint64_t frame = s->walk.start + i;
		int r;

		if (frame % SUPERPAGE_PAGES == 0)
			to = s->by_superpage && i + SUPERPAGE_PAGES <= s->walk.count &&
					     superpage_completes(s, c, i)
				     ? SHED_SUPER
				     : SHED_FRESH;
		if (!page_cold(s, c, i, &age_sec))
			continue;
		r = page_push(s, c, i, age_sec, to);
		if (r == -ENOBUFS || r == -ENOMEM) {
			s->overflowed = true;
			walk_return(&s->walk, frame);
			return 0;
		}
		if (r < 0)
			return r;
	}
	return 1;
}

static int sweep_end(struct shed *s)
{
	s->sweeping = false;
	for (int i = 0; i < SHED_QUEUES; i++) {
		int r = spans_sort(&s->queues[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

int shed_sweep_step(struct shed *s)
{
	int r = walk_step(&s->walk);

	if (r > 0) {
		struct chunk c = { .pages = memmap_pages(s->batch.memmap), .now_usec = now_usec() };

		c.owners = memmap_owners(s->batch.memmap, &c.owners_count);
		r = chunk_take(s, &c);
	}
	if (r > 0)
		return r;
	return r < 0 ? r : sweep_end(s);
}
