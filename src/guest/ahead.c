/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/ahead.h"

#include <string.h>

/* While more is to come than is kept free: the stock balloon takes 50 MiB meanwhile. */
#define CLOSE_USEC 50000u
/* While what is free is all that the balloon wants; somebody else may take it. */
#define COVERED_USEC 500000u
/* While there is nothing to take: a look costs an emulated guest a millisecond, and what comes to
 * the cache wakes the agent. */
#define STUCK_USEC 2000000u
/* What a page of a long piece takes an emulated guest, of CPU time; a short one takes several times
 * as much (SPAN_WORTH_PAGES). A fifth of a second beyond is saved up, and a twentieth of a CPU goes
 * on: over old source files of four pages each it went on for two seconds, which a build had to do
 * without (lab/run wave). */
#define PAGE_USEC	 6
#define DEAR_PERMILLE	 50
#define DEAR_WINDOW_USEC 4000000u
/* A turn takes 20 ms: what the host took of the CPU meanwhile may count as the guest's. */
#define TURN_USEC_MAX 100000u

void ahead_init(struct ahead *a, uint64_t now_usec)
{
	*a = (struct ahead){ .hint = WIRE_HINT_NONE };
	budget_init(&a->dear, DEAR_PERMILLE, DEAR_WINDOW_USEC, now_usec, 0);
}

uint64_t ahead_pages(const struct balloon_view *view)
{
	if (!view->inflates)
		return 0;
	if (view->left_pages == UINT64_MAX)
		return AHEAD_UNKNOWN_PAGES;
	return view->left_pages < AHEAD_MOST_PAGES ? view->left_pages : AHEAD_MOST_PAGES;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static bool is_unknown(const struct ahead *a)
{
	return a->view.left_pages == UINT64_MAX;
}

/* What was announced, less what is free and not announced already. */
static void allow(struct ahead *a, uint64_t spare)
{
	uint64_t all = is_unknown(a) ? AHEAD_UNKNOWN_PAGES : a->view.left_pages, before;

	/* Some of it may have been taken since. */
	if (a->new_pages > all)
		a->new_pages = all;
	before = all - a->new_pages;

	a->allowed_pages += less(a->new_pages, less(spare, before));
	a->new_pages = 0;
}

void ahead_measure(struct ahead *a, const struct nodes *n, uint64_t ret[NODES_MAX])
{
	uint64_t spare = 0, all = 0, lacking;

	memset(ret, 0, NODES_MAX * sizeof(*ret));
	for (unsigned i = 0; i < n->count; i++) {
		spare += less(n->nodes[i].free_pages, n->nodes[i].high_pages);
		all += n->nodes[i].unmapped_pages;
	}
	allow(a, spare);
	lacking = less(ahead_pages(&a->view), spare);
	if (lacking > a->allowed_pages)
		lacking = a->allowed_pages;
	if (lacking > all)
		lacking = all;
	a->is_short = lacking > 0;
	for (unsigned i = 0; lacking && i < n->count; i++)
		ret[i] = (lacking * n->nodes[i].unmapped_pages + all - 1) / all;
}

void ahead_settle(struct ahead *a, uint64_t pages, uint64_t cpu_usec)
{
	a->evicted_pages += pages;
	a->allowed_pages = less(a->allowed_pages, pages);
	if (cpu_usec > TURN_USEC_MAX)
		cpu_usec = TURN_USEC_MAX;
	if (cpu_usec)
		a->dear_usec += cpu_usec - pages * PAGE_USEC;
}

uint64_t ahead_rest_usec(struct ahead *a, uint64_t now_usec)
{
	return budget_wait_usec(&a->dear, now_usec, a->dear_usec);
}

/* What is announced at a look; of an unknown target, what was taken of what is kept free. */
static uint64_t announced(const struct balloon_view *now, const struct balloon_view *before)
{
	uint64_t taken = less(now->taken_pages, before->taken_pages);

	if (!before->inflates)
		return now->left_pages == UINT64_MAX ? AHEAD_UNKNOWN_PAGES : now->left_pages;
	if (now->left_pages == UINT64_MAX || before->left_pages == UINT64_MAX)
		return taken;
	return less(now->taken_pages + now->left_pages, before->taken_pages + before->left_pages);
}

bool ahead_look(struct ahead *a, uint64_t now_usec)
{
	struct balloon_view before = a->view;

	a->view = a->balloon ? balloon_look(a->balloon, now_usec) : (struct balloon_view){ 0 };
	if (!a->view.inflates) {
		a->new_pages = a->allowed_pages = 0;
		a->is_short = false;
		return false;
	}
	a->new_pages += announced(&a->view, &before);
	a->inflations += !before.inflates;
	return !before.inflates;
}

uint64_t ahead_wait_usec(const struct ahead *a, bool is_stuck)
{
	if (!a->balloon)
		return UINT64_MAX;
	if (!a->view.inflates)
		return balloon_fd(a->balloon) < 0 ? BALLOON_POLL_USEC : UINT64_MAX;
	if (is_unknown(a))
		return BALLOON_POLL_USEC;
	if (is_stuck)
		return STUCK_USEC;
	return a->view.left_pages > AHEAD_MOST_PAGES && a->allowed_pages ? CLOSE_USEC
									 : COVERED_USEC;
}
