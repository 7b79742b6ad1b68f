/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/pick.h"
#include "policy/state.h"

#define _cleanup_set_ _cleanup_(blockset_freep)

#define SECONDS(usec) ((unsigned long long)(usec) / 1000000)

static uint64_t age_usec(const struct view *view, uint64_t at_usec)
{
	uint64_t now_usec = view->snapshot->now_usec;

	return now_usec > at_usec ? now_usec - at_usec : 0;
}

static int domain_compare(const void *a, const void *b)
{
	const struct snapshot_guest *x = *(const struct snapshot_guest *const *)a;
	const struct snapshot_guest *y = *(const struct snapshot_guest *const *)b;

	return strcmp(snapshot_domain(x), snapshot_domain(y));
}

/* Numbers the domains by their names, so that no guest's behaviour can change the numbers. */
static int groups_number(struct view *view)
{
	const struct snapshot *s = view->snapshot;
	_cleanup_free_ const struct snapshot_guest **sorted =
		calloc(s->n_guests + 1, sizeof(struct snapshot_guest *));

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_guests; i++)
		sorted[i] = &s->guests[i];
	qsort(sorted, s->n_guests, sizeof(struct snapshot_guest *), domain_compare);

	size_t group = 0;

	for (size_t i = 0; i < s->n_guests; i++) {
		if (i > 0 && !snapshot_same_domain(sorted[i - 1], sorted[i]))
			group++;
		view->guests[sorted[i] - s->guests].group = group;
	}
	view->n_groups = (s->n_guests ? group + 1 : 0) + 1;
	return 0;
}

/* The lists run in the order of the snapshot because they are built from its end. */
static void lists_build(struct view *view)
{
	const struct snapshot *s = view->snapshot;

	for (size_t i = 0; i < view->n_groups; i++)
		view->groups[i] =
			(struct view_group){ .first_guest = VIEW_NONE, .first_image = VIEW_NONE };
	for (size_t i = s->n_guests; i-- > 0;) {
		struct view_group *group = &view->groups[view->guests[i].group];

		view->guests[i].first_holding = VIEW_NONE;
		view->guests[i].next = group->first_guest;
		group->first_guest = i;
	}
	for (size_t i = s->n_holdings; i-- > 0;) {
		struct view_guest *guest = &view->guests[s->holdings[i].guest];

		view->next_holding[i] = guest->first_holding;
		guest->first_holding = i;
	}
	for (size_t i = s->n_images; i-- > 0;) {
		struct view_image *image = &view->images[i];

		image->next = VIEW_NONE;
		if (image->group == VIEW_NONE)
			continue;
		image->next = view->groups[image->group].first_image;
		view->groups[image->group].first_image = i;
	}
}

/*
 * Which group an image belongs to, by who can reach it and by nothing that anybody does. What two
 * domains reach takes no part: that the host holds a block of it tells one domain what the other
 * has read.
 */
static size_t image_group(const struct view *view, size_t image)
{
	size_t n, group = VIEW_NONE;
	const struct snapshot_holding *users = snapshot_holdings(view->snapshot, image, &n);

	if (view->snapshot->images[image].is_public)
		return n ? view_public(view) : VIEW_NONE;
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && view->guests[users[i].guest].group != group)
			return VIEW_NONE;
		group = view->guests[users[i].guest].group;
	}
	return group;
}

/* Why a guest takes no part, or NULL. */
static const char *guest_refusal(const struct view *view, const struct snapshot_guest *guest,
				 bool scanned)
{
	if (!guest->act)
		return "only observed: acting is not opted in (act = no)";
	if (guest->order_refusal)
		return guest->order_refusal;
	if (!guest->agent_live)
		return "its agent does not answer";
	if (!guest->scan_usec)
		return "it was not scanned yet";
	if (!scanned && age_usec(view, guest->scan_usec) > view->config->scan_age_max_usec)
		return "its last scan is too old";
	return NULL;
}

static int guest_build(struct view *view, struct plan *plan, size_t index)
{
	const struct snapshot_guest *guest = &view->snapshot->guests[index];
	struct view_guest *v = &view->guests[index];
	const char *only = view->request->guest;

	v->wanted = !only || strcmp(only, guest->name) == 0;
	v->scanned = guest->agent_live && guest->scan_usec &&
		     age_usec(view, guest->scan_usec) <= view->config->scan_age_max_usec;
	for (size_t i = v->first_holding; i != VIEW_NONE; i = view->next_holding[i]) {
		const struct snapshot_holding *holding = &view->snapshot->holdings[i];
		const struct policy_record *record = state_find(
			view->state, guest->name, &view->snapshot->images[holding->image]);

		if (record && record->acted_usec > v->acted_usec)
			v->acted_usec = record->acted_usec;
	}

	const char *refusal = guest_refusal(view, guest, v->scanned);

	v->may_act = v->wanted && !refusal;
	if (v->wanted && guest->act)
		view->groups[v->group].takes_share = true;
	return v->wanted && refusal
		       ? plan_add_refusal(plan, index, SNAPSHOT_NONE, PLAN_STEPS, "%s", refusal)
		       : 0;
}

/* Does the request concern this image; and the share of the public images, if it is one. */
static bool image_wanted(struct view *view, size_t index)
{
	size_t n;
	const struct snapshot_holding *users = snapshot_holdings(view->snapshot, index, &n);
	bool wanted = false;

	for (size_t i = 0; i < n; i++) {
		if (!view->guests[users[i].guest].wanted)
			continue;
		wanted = true;
		if (view->images[index].group == view_public(view) &&
		    view->snapshot->guests[users[i].guest].act)
			view->groups[view_public(view)].takes_share = true;
	}
	return wanted;
}

/* What the host holds for guests that gave up their own copies and have not read it again. */
static int owed_build(const struct view *view, struct view_image *v, size_t index)
{
	size_t n;
	const struct snapshot_holding *users = snapshot_holdings(view->snapshot, index, &n);

	v->owed = blockset_new();
	if (!v->owed)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct policy_record *record =
			state_find(view->state, view->snapshot->guests[users[i].guest].name,
				   &view->snapshot->images[index]);

		if (record && record->owed)
			blockset_or_with(v->owed, record->owed);
	}
	return 0;
}

static int holders_build(const struct view *view, struct view_image *v, size_t index)
{
	size_t n;
	const struct snapshot_holding *users = snapshot_holdings(view->snapshot, index, &n);
	int r = owed_build(view, v, index);

	for (size_t i = 0; r == 0 && i < n; i++)
		if (users[i].held)
			r = holders_add(&v->holders, users[i].held);
	if (r < 0)
		return r;
	v->once = holders_once(&v->holders);
	v->shared = holders_multi(&v->holders);
	if (!v->once || !v->shared)
		return -ENOMEM;
	blockset_or_with(v->shared, v->owed);
	return 0;
}

/* Why the host may not trim anything of an image; NULL: it may, as far as its users go. */
static const char *users_refusal(const struct view *view, struct view_image *v, size_t index,
				 size_t *ret_guest)
{
	size_t n;
	const struct snapshot_image *image = &view->snapshot->images[index];
	const struct snapshot_holding *users = snapshot_holdings(view->snapshot, index, &n);

	for (size_t i = 0; i < n; i++) {
		const struct snapshot_guest *guest = &view->snapshot->guests[users[i].guest];
		const struct policy_record *record = state_find(view->state, guest->name, image);

		*ret_guest = users[i].guest;
		if (!guest->agent_live)
			return "whose agent does not answer";
		if (!users[i].held)
			return "whose cache is not known";
		if (!view->guests[users[i].guest].scanned)
			return "whose last scan is too old";
		/* It may have dropped since what the scan says that it holds. */
		if (record && record->acted_usec >= guest->scan_usec) {
			v->trim_waits = true;
			v->trim_retry_usec = view->snapshot->now_usec;
		}
	}
	return NULL;
}

/* Blocks of an image whose only holder is a guest that may act. */
static int trims_collect(const struct view *view, struct view_image *v, size_t index)
{
	size_t n;
	const struct snapshot_holding *users = snapshot_holdings(view->snapshot, index, &n);
	_cleanup_set_ struct blockset *held = blockset_new();

	if (!held)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (view->guests[users[i].guest].may_act && users[i].held)
			blockset_or_with(held, users[i].held);
	v->trims = blockset_and(v->once, held);
	if (!v->trims)
		return -ENOMEM;
	blockset_and_with(v->trims, view->snapshot->images[index].resident);
	blockset_andnot_with(v->trims, v->owed);
	return pick_long_runs(&v->trims, view->config->min_run_blocks);
}

static int trims_build(const struct view *view, struct plan *plan, struct view_image *v,
		       size_t index)
{
	const struct snapshot_image *image = &view->snapshot->images[index];
	const struct policy_record *record = state_find(view->state, "", image);
	uint64_t now_usec = view->snapshot->now_usec;
	uint64_t backoff_usec = state_backoff_end(record, view->config);
	size_t guest;

	v->trim_blocked = true;
	if (image->trim_refusal)
		return plan_add_refusal(plan, SNAPSHOT_NONE, index, PLAN_STEP_HOST, "%s",
					image->trim_refusal);
	const char *refusal = users_refusal(view, v, index, &guest);

	if (refusal)
		return plan_add_refusal(plan, guest, index, PLAN_STEP_HOST, "guest %s has it, %s",
					view->snapshot->guests[guest].name, refusal);
	v->trim_blocked = false;
	if (now_usec < backoff_usec)
		return plan_add_refusal(plan, SNAPSHOT_NONE, index, PLAN_STEP_HOST,
					"trimming it brought next to nothing; again in %llu s",
					SECONDS(backoff_usec - now_usec) + 1);
	if (v->trim_waits)
		return 0;

	int r = trims_collect(view, v, index);

	if (r == 0 && record && now_usec < record->acted_usec + view->config->delay_usec &&
	    blockset_count(v->trims) > 0) {
		v->trim_waits = true;
		v->trim_retry_usec = record->acted_usec + view->config->delay_usec;
	}
	return r;
}

static int image_build(struct view *view, struct plan *plan, size_t index)
{
	const struct snapshot_image *image = &view->snapshot->images[index];
	const struct policy_record *record = state_find(view->state, "", image);
	struct view_image *v = &view->images[index];
	const char *refusal = NULL;

	if (!image_wanted(view, index))
		return 0;
	if (v->group == VIEW_NONE)
		refusal = "guests of more than one sharing domain reach it, and it is not public";
	else if (image->order_refusal)
		refusal = image->order_refusal;
	else if (!image->resident || !image->resident_usec)
		refusal = "what the host caches of it is not known";
	else if (age_usec(view, image->resident_usec) > view->config->resident_age_max_usec)
		refusal = "what the host caches of it was looked up too long ago";
	if (refusal)
		return plan_add_refusal(plan, SNAPSHOT_NONE, index, PLAN_STEPS, "%s", refusal);

	if (record && record->acted_usec >= image->resident_usec) {
		v->waits = v->trim_waits = true;
		v->trim_retry_usec = view->snapshot->now_usec;
		return 0;
	}
	v->known = true;

	int r = holders_build(view, v, index);

	return r < 0 ? r : trims_build(view, plan, v, index);
}

static int request_check(const struct view *view)
{
	const char *only = view->request->guest;

	for (size_t i = 0; only && i < view->snapshot->n_guests; i++)
		if (strcmp(view->snapshot->guests[i].name, only) == 0)
			return 0;
	return only ? -ENOENT : 0;
}

/* Each group's part of what this round may take. */
static void budgets_set(struct view *view)
{
	uint64_t round = view->config->round_domain_bytes / BLOCK_BYTES;
	uint64_t wanted = view->request->bytes / BLOCK_BYTES;
	size_t n = 0, rank = 0;

	for (size_t i = 0; i < view->n_groups; i++)
		n += view->groups[i].takes_share;
	for (size_t i = 0; i < view->n_groups; i++) {
		struct view_group *group = &view->groups[i];

		group->left_blocks = 0;
		if (!group->takes_share)
			continue;
		group->left_blocks = view->config->round_domain_bytes ? round : UINT64_MAX;
		if (view->request->bytes) {
			uint64_t share = wanted / n + (rank < wanted % n);

			if (group->left_blocks > share)
				group->left_blocks = share;
		}
		rank++;
	}
	for (size_t i = 0; i < view->snapshot->n_guests; i++)
		view->guests[i].left_blocks =
			view->config->round_guest_bytes
				? view->config->round_guest_bytes / BLOCK_BYTES
				: UINT64_MAX;
}

int view_build(struct view *view, struct plan *plan)
{
	const struct snapshot *s = view->snapshot;
	int r = request_check(view);

	if (r < 0)
		return r;
	view->images = calloc(s->n_images + 1, sizeof(*view->images));
	view->guests = calloc(s->n_guests + 1, sizeof(*view->guests));
	view->next_holding = calloc(s->n_holdings + 1, sizeof(*view->next_holding));
	/* One for each domain, of which there are at most as many as guests, and the public one. */
	view->groups = calloc(s->n_guests + 1, sizeof(*view->groups));
	if (!view->images || !view->guests || !view->next_holding || !view->groups)
		return -ENOMEM;
	r = groups_number(view);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->n_images; i++)
		view->images[i].group = image_group(view, i);
	lists_build(view);
	for (size_t i = 0; r == 0 && i < s->n_guests; i++)
		r = guest_build(view, plan, i);
	for (size_t i = 0; r == 0 && i < s->n_images; i++)
		r = image_build(view, plan, i);
	if (r == 0)
		budgets_set(view);
	return r;
}

void view_done(struct view *view)
{
	for (size_t i = 0; view->images && i < view->snapshot->n_images; i++) {
		struct view_image *image = &view->images[i];

		blockset_free(image->trims);
		blockset_free(image->once);
		blockset_free(image->shared);
		blockset_free(image->owed);
		holders_done(&image->holders);
	}
	free(view->images);
	free(view->guests);
	free(view->next_holding);
	free(view->groups);
}
