/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/rough.h"

#include "base/clock.h"

#define PAGE_BYTES 4096

/* 8 MiB took 20 to 60 ms in emulated guests; Linux 6.1 takes half as much again as it is asked for.
 */
#define PIECE_PAGES 2048
/* Work between two looks at the port. */
#define TURN_USEC 200000
/* What does not go (dirty, mapped, protected) is asked for more and more seldom. */
#define WAIT_MAX_USEC	300000000u
#define AHEAD_WAIT_USEC 250000u

int rough_init(struct rough *r, struct bound *bound, char *ret_reason, size_t reason_size)
{
	int status;

	*r = (struct rough){ .bound = bound, .wait_usec = ROUGH_LOOK_USEC };
	status = reclaim_open("", bound->nodes, &r->reclaim, ret_reason, reason_size);
	rough_look(r);
	return status;
}

void rough_look(struct rough *r)
{
	r->due_usec = 0;
	r->wait_usec = ROUGH_LOOK_USEC;
}

/* Return: as reclaim_cache(). */
static int piece_reclaim(struct rough *r, const uint64_t wanted[NODES_MAX], uint64_t *ret_pages)
{
	struct bound *b = r->bound;
	uint64_t start = clock_usec(CLOCK_THREAD_CPUTIME_ID), left = PIECE_PAGES;
	uint64_t pages[NODES_MAX] = { 0 };
	int status;

	for (unsigned i = 0; i < b->nodes->count; i++) {
		pages[i] = wanted[i] < left ? wanted[i] : left;
		left -= pages[i];
	}
	*ret_pages = 0;
	status = reclaim_cache(&r->reclaim, b->nodes, pages, ret_pages);
	b->shed->evicted_pages += *ret_pages;
	b->cpu_usec += clock_usec(CLOCK_THREAD_CPUTIME_ID) - start;
	return status;
}

int rough_free(struct rough *r, uint64_t bytes, uint64_t *ret_bytes)
{
	const struct nodes *n = r->bound->nodes;
	uint64_t pages[NODES_MAX], wanted = (bytes + PAGE_BYTES - 1) / PAGE_BYTES, all = 0, freed;
	int status = nodes_count(r->bound->nodes);

	*ret_bytes = 0;
	if (status < 0)
		return status;
	for (unsigned i = 0; i < n->count; i++)
		all += n->nodes[i].unmapped_pages;
	if (!all)
		return 0;
	if (wanted > PIECE_PAGES)
		wanted = PIECE_PAGES;
	for (unsigned i = 0; i < n->count; i++)
		pages[i] = (wanted * n->nodes[i].unmapped_pages + all - 1) / all;
	status = piece_reclaim(r, pages, &freed);
	*ret_bytes = freed * PAGE_BYTES;
	return status;
}

/* Return: whether there is more to be done at once. */
static bool excess_reclaim(struct rough *r, uint64_t begun)
{
	struct bound *b = r->bound;
	uint64_t freed;
	int status = 1;

	while (shed_goal_left(&b->goal) && now_usec() - begun < TURN_USEC) {
		status = piece_reclaim(r, b->goal.pages, &freed);
		if (status <= 0 || nodes_count(b->nodes) < 0)
			break;
		b->is_unfinished = true;
		bound_measure(b);
	}
	b->is_unfinished = status > 0 && shed_goal_left(&b->goal);
	if (!shed_goal_left(&b->goal)) {
		r->wait_usec = ROUGH_LOOK_USEC;
		b->state = WIRE_STATE_UNDER;
		return false;
	}
	if (status <= 0) {
		r->wait_usec = r->wait_usec < WAIT_MAX_USEC / 2 ? r->wait_usec * 2 : WAIT_MAX_USEC;
		b->state = WIRE_STATE_KEPT;
	}
	return status > 0;
}

uint64_t rough_turn(struct rough *r)
{
	struct bound *b = r->bound;
	uint64_t now = now_usec(), rest;

	if (b->limit.kind == LIMIT_TEXT_OFF)
		return BOUND_NEVER;
	if (now < r->due_usec)
		return r->due_usec - now;
	r->due_usec = now + r->wait_usec;
	if (nodes_count(b->nodes) < 0)
		return r->wait_usec;
	bound_measure(b);
	bound_sample(b, now);
	if (r->reclaim.way == RECLAIM_NONE) {
		b->state = WIRE_STATE_CANNOT;
		return r->wait_usec;
	}
	rest = brake_holds(&b->brake, now) ? b->brake.until_usec - now
					   : budget_wait_usec(&b->cpu, now, b->cpu_usec);
	if (!shed_goal_left(&b->goal)) {
		b->state = b->limit_pages == UINT64_MAX ? WIRE_STATE_OFF : WIRE_STATE_UNDER;
		r->wait_usec = ROUGH_LOOK_USEC;
		r->due_usec = now + r->wait_usec;
	} else if (rest) {
		b->state = WIRE_STATE_BRAKED;
	} else {
		r->due_usec = excess_reclaim(r, now) ? 0 : now + r->wait_usec;
	}
	return r->due_usec ? r->due_usec - now : 0;
}

uint64_t rough_ahead(struct rough *r)
{
	struct bound *b = r->bound;
	uint64_t share[NODES_MAX], lacking = 0, freed, now = now_usec(), rest;

	if (!b->ahead->view.inflates) {
		r->ahead_due_usec = 0;
		r->ahead_wait_usec = AHEAD_WAIT_USEC;
		return ahead_wait_usec(b->ahead, false);
	}
	rest = budget_wait_usec(&b->cpu, now, b->cpu_usec);
	if (now < r->ahead_due_usec || rest)
		return now < r->ahead_due_usec ? r->ahead_due_usec - now : rest;
	if (nodes_count(b->nodes) < 0)
		return AHEAD_WAIT_USEC;
	ahead_measure(b->ahead, b->nodes, share);
	for (unsigned i = 0; i < b->nodes->count; i++)
		lacking += share[i];
	if (!lacking)
		return AHEAD_WAIT_USEC;
	if (rough_free(r, lacking * PAGE_BYTES, &freed) > 0) {
		r->ahead_wait_usec = AHEAD_WAIT_USEC;
	} else {
		r->ahead_due_usec = now + r->ahead_wait_usec;
		r->ahead_wait_usec = r->ahead_wait_usec < WAIT_MAX_USEC / 2 ? r->ahead_wait_usec * 2
									    : WAIT_MAX_USEC;
	}
	ahead_settle(b->ahead, freed / PAGE_BYTES, 0);
	return r->ahead_due_usec > now ? r->ahead_due_usec - now : 0;
}
