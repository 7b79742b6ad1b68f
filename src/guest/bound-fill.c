/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the queues filled that a limit and a hint take from, as far as that is worth its cost. */
#include "base/clock.h"
#include "guest/bound-parts.h"

/* Of a sweep: meanwhile more comes. */
#define SWEEP_TURN_USEC 5000
/* A sweep sorts what it finds by age when it ends; when so much comes meanwhile, nobody waits. */
#define SWEEP_ADDED_PAGES 1024
/* Of a guest's memory, for a hint alone: where less is cached than that, what is short or not known
 * is the kernel's to take: see SPAN_WORTH_PAGES, and a sweep of memory costs an emulated guest two
 * microseconds a page. */
#define WORTH_DIVISOR 4
/* What has been mapped since is in the queue, too. */
#define HISTORY_TIMES 2u
/* When nothing is known to have been missed. */
#define SWEEP_AUDIT_USEC    300000000u
#define SWEEP_WAIT_MAX_USEC 300000000u
/* The youngest pages wait while more are coming: whoever reads has not come to them, or not to the
 * end of their folios. 64 readers' windows of read-ahead (128 KiB each), twice; and an eighth of a
 * small limit. */
#define YOUNG_PAGES   4096
#define YOUNG_DIVISOR 8
#define YOUNG_USEC    2000000
/* For a hint alone: what was hot is so for half a minute, and the kernel takes what it needs. */
#define HINT_KEPT_USEC 30000000u

static uint64_t unmapped_pages(const struct bound *b)
{
	uint64_t unmapped = 0;

	for (unsigned i = 0; i < b->nodes->count; i++)
		unmapped += b->nodes->nodes[i].unmapped_pages;
	return unmapped;
}

bool bound_has_much(const struct bound *b)
{
	uint64_t managed = 0;

	for (unsigned i = 0; i < b->nodes->count; i++)
		managed += b->nodes->nodes[i].managed_pages;
	return bound_has_limit(b) || unmapped_pages(b) >= managed / WORTH_DIVISOR;
}

static void sweep_begin(struct bound *b, uint64_t now)
{
	/* What the last one found was worth it. */
	if (b->shed->evicted_pages != b->swept_evicted)
		b->sweep_wait_usec = BOUND_SWEEP_WAIT_USEC;
	b->swept_evicted = b->shed->evicted_pages;
	shed_sweep_begin(b->shed, b->ram, false);
	b->sweep_added = watch_added(b->shed->heat->watch);
	b->sweep_due_usec = now + b->sweep_wait_usec;
	b->sweep_wait_usec *= 2;
	if (b->sweep_wait_usec > SWEEP_WAIT_MAX_USEC)
		b->sweep_wait_usec = SWEEP_WAIT_MAX_USEC;
}

static uint64_t sweep_due(const struct bound *b)
{
	return b->sweep_due_usec + (b->shed->incomplete ? 0 : SWEEP_AUDIT_USEC);
}

bool bound_sweep_work(struct bound *b, uint64_t begun)
{
	struct shed *s = b->shed;

	if (!s->sweeping && s->incomplete && begun >= b->sweep_due_usec)
		sweep_begin(b, begun);
	while (s->sweeping && now_usec() - begun < SWEEP_TURN_USEC) {
		int r = shed_sweep_step(s);

		if (r <= 0)
			s->sweeping = false;
		if (r < 0)
			s->incomplete = true;
	}
	if (!s->sweeping && !s->incomplete)
		b->sweep_wait_usec = BOUND_SWEEP_WAIT_USEC;
	return s->sweeping;
}

uint64_t bound_young_pages(const struct bound *b)
{
	uint64_t share = b->limit_pages / YOUNG_DIVISOR;

	return share < YOUNG_PAGES ? share : YOUNG_PAGES;
}

/* Whether the queue of those that came last is in order, and has some that are not too young. */
static bool has_old(const struct bound *b, uint64_t now)
{
	const struct shed *s = b->shed;
	uint64_t pages = s->queues[SHED_FRESH].pages;

	if (s->sweeping && watch_added(s->heat->watch) - b->sweep_added < SWEEP_ADDED_PAGES)
		return false;
	if (now > s->added_usec + YOUNG_USEC)
		return pages > 0;
	return pages > bound_young_pages(b);
}

enum shed_queue bound_queue_next(const struct bound *b, uint64_t now)
{
	static const enum shed_queue rest[] = { SHED_SOLE, SHED_SUPER, SHED_SOLE_SUPER };

	if (has_old(b, now))
		return SHED_FRESH;
	for (unsigned i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
		if (b->shed->queues[rest[i]].count)
			return rest[i];
	return SHED_QUEUES;
}

static uint64_t sweep_wait_usec(const struct bound *b, uint64_t now)
{
	if (!bound_has_much(b))
		return BOUND_SWEEP_WAIT_USEC;
	return now < sweep_due(b) ? sweep_due(b) - now : 0;
}

bool bound_is_guessing(const struct bound *b)
{
	return bound_has_limit(b) && b->shed->guessed && b->guess != BOUND_GUESS_OVER;
}

/* With empty queues. Return: microseconds until it is to be called again. */
static uint64_t guess_again(struct bound *b, uint64_t now)
{
	uint64_t wait = heat_sure_usec(b->shed->heat, now);

	if (!bound_is_guessing(b) || b->shed->sweeping)
		return UINT64_MAX;
	if (b->guess == BOUND_GUESS_SWEPT) {
		b->guess = BOUND_GUESS_OVER;
		return UINT64_MAX;
	}
	if (wait)
		return wait;
	b->guess = BOUND_GUESS_SWEPT;
	b->shed->kept_due_usec = 0;
	sweep_begin(b, now);
	return UINT64_MAX;
}

uint64_t bound_queues_fill(struct bound *b, uint64_t now)
{
	struct shed *s = b->shed;
	uint64_t kept, sweep;

	if (bound_queue_next(b, now) != SHED_QUEUES)
		return 0;
	uint64_t sure = guess_again(b, now);
	kept = shed_retry_kept(s, now, bound_has_limit(b) ? 0 : HINT_KEPT_USEC);
	if (!kept && bound_queue_next(b, now) != SHED_QUEUES)
		return 0;
	sweep = sweep_wait_usec(b, now);
	/* What is kept may be all there is; or what left a queue, or had no room in it, is not. */
	if (!sweep && !s->sweeping)
		sweep_begin(b, now);
	/* More that come wake us before. */
	uint64_t old = s->added_usec + YOUNG_USEC + 1;
	if (s->queues[SHED_FRESH].pages && old > now && (!kept || kept > old - now))
		kept = old - now;
	if (kept > sure)
		kept = sure;
	return s->sweeping ? 0 : kept < sweep ? kept : sweep;
}

bool bound_sweep_wanted(const struct bound *b)
{
	return bound_has_limit(b) || !b->sweep_due_usec || b->shed->sweeping;
}

bool bound_sweep_turn(struct bound *b, uint64_t now)
{
	if (!bound_sweep_wanted(b) || budget_wait_usec(&b->cpu, now, b->cpu_usec))
		return false;
	return bound_sweep_work(b, now);
}

void bound_history_forget(struct bound *b)
{
	struct shed *s = b->shed;

	if (bound_has_limit(b) || b->ahead->view.inflates)
		return;
	/* What was counted last may be long ago. */
	if (s->queues[SHED_FRESH].pages > HISTORY_TIMES * unmapped_pages(b) &&
	    nodes_count(b->nodes) >= 0)
		shed_shorten(s, HISTORY_TIMES * unmapped_pages(b));
}
