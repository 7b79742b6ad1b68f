/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/steps.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/pick.h"
#include "policy/state.h"

#define _cleanup_set_ _cleanup_(blockset_freep)

#define PATH_SHOWN_MAX 80
#define MIB(blocks)    ((double)(blocks)*BLOCK_BYTES / (1 << 20))

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void result_wait(struct step_result *result, uint64_t retry_usec)
{
	if (!result->waits || retry_usec < result->retry_usec)
		result->retry_usec = retry_usec;
	result->waits = true;
}

/* The end of a path that is too long for a line says more than its beginning. */
static const char *path_tail(const char *path)
{
	size_t length = strlen(path);

	if (length <= PATH_SHOWN_MAX)
		return path;
	path += length - PATH_SHOWN_MAX;
	/* Not from the middle of a character. */
	while ((*path & 0xc0) == 0x80)
		path++;
	return path;
}

static int inputs_fill(const struct view *view, struct plan_order *order)
{
	const struct view_image *v = &view->images[order->image];
	const struct blockset *resident = view->snapshot->images[order->image].resident;
	struct plan_inputs *inputs = &order->inputs;

	inputs->resident = blockset_count(resident);
	inputs->owed = blockset_and_count(v->owed, resident);
	return holders_histogram(&v->holders, resident, inputs->holders, PLAN_HOLDERS);
}

/* Step 0: what guests have free comes back through their balloon devices, unasked. */
static int free_collect(struct view *view, size_t group, struct plan *plan,
			struct step_result *result)
{
	(void)plan;
	for (size_t i = view->groups[group].first_guest; i != VIEW_NONE; i = view->guests[i].next) {
		const struct snapshot_guest *guest = &view->snapshot->guests[i];

		if (view->guests[i].wanted && guest->free_page_reporting)
			result->offered_blocks += guest->free_bytes / BLOCK_BYTES;
	}
	return 0;
}

/* Takes over @blocks. */
static int trim_order(struct view *view, size_t image, struct blockset *blocks, uint64_t eligible,
		      struct plan *plan)
{
	_cleanup_set_ struct blockset *held = holders_any(&view->images[image].holders);
	struct plan_order order = {
		.step = PLAN_STEP_HOST,
		.action = PLAN_TRIM,
		.guest = SNAPSHOT_NONE,
		.image = image,
		.blocks = blocks,
		.n_blocks = blockset_count(blocks),
		.inputs = { .eligible = eligible },
	};
	int r = held ? inputs_fill(view, &order) : -ENOMEM;

	if (r < 0) {
		blockset_free(blocks);
		return r;
	}
	order.inputs.held = blockset_count(held);
	(void)snprintf(
		order.reason, sizeof(order.reason),
		"the host drops %.1f MiB of %s: exactly one guest holds each of these blocks, "
		"and keeps it",
		MIB(order.n_blocks), path_tail(view->snapshot->images[image].path));
	return plan_add_order(plan, &order);
}

static int image_trim(struct view *view, struct view_group *group, size_t index, struct plan *plan,
		      struct step_result *result)
{
	const struct view_image *image = &view->images[index];

	if (image->trim_waits)
		result_wait(result, image->trim_retry_usec);
	if (image->trim_waits || !image->trims)
		return 0;

	uint64_t offered = blockset_count(image->trims);
	_cleanup_set_ struct blockset *picked = blockset_copy(image->trims);

	if (!picked)
		return -ENOMEM;
	result->offered_blocks += offered;

	uint64_t n = pick_first(picked, group->left_blocks);

	if (!n)
		return 0;
	group->left_blocks -= n;
	result->ordered_blocks += n;
	return trim_order(view, index, TAKE_PTR(picked), offered, plan);
}

/*
 * A domain waits with its evictions for the trims of public images that its guests reach; the
 * orders for those are in the plan of the public images' own group.
 */
static void public_wait(const struct view *view, size_t group, struct step_result *result)
{
	for (size_t g = view->groups[group].first_guest; g != VIEW_NONE; g = view->guests[g].next)
		for (size_t h = view->guests[g].first_holding; h != VIEW_NONE;
		     h = view->next_holding[h]) {
			size_t index = view->snapshot->holdings[h].image;
			const struct view_image *image = &view->images[index];

			if (!view->guests[g].may_act || image->group != view_public(view))
				continue;
			if (image->trim_waits)
				result_wait(result, image->trim_retry_usec);
			else if (image->trims && blockset_count(image->trims) > 0)
				result->blocked = true;
		}
}

/* Step 1: no guest loses a cached page. */
static int host_collect(struct view *view, size_t group, struct plan *plan,
			struct step_result *result)
{
	struct view_group *g = &view->groups[group];
	int r = 0;

	for (size_t i = g->first_image; r == 0 && i != VIEW_NONE; i = view->images[i].next)
		r = image_trim(view, g, i, plan, result);
	if (r == 0)
		public_wait(view, group, result);
	return r;
}

/* Looks at the same candidates one after the other: coldest first. */
enum band {
	BAND_COLD,
	BAND_UNKNOWN,
	BAND_WARM,
	BANDS,
};

/* Pages of two ages on one block count as used. */
static void band_cut(struct blockset *set, const struct snapshot_holding *holding, enum band band)
{
	const struct blockset *only = band == BAND_COLD ? holding->cold : holding->warm;

	if (band != BAND_UNKNOWN && !only)
		blockset_clear(set);
	else if (band != BAND_UNKNOWN)
		blockset_and_with(set, only);
	if (band != BAND_WARM && holding->warm)
		blockset_andnot_with(set, holding->warm);
	if (band == BAND_UNKNOWN && holding->cold)
		blockset_andnot_with(set, holding->cold);
}

/*
 * What a guest may be asked to give up of an image: the host holds it too, and either somebody
 * else uses it as well, or the host cannot drop its own copy and this guest has not used it lately
 * (so far as that is known). What one guest alone holds and the host may drop is left to step 1.
 */
static int evictions_collect(const struct view *view, const struct snapshot_holding *holding,
			     enum band band, struct blockset **ret)
{
	const struct view_image *image = &view->images[holding->image];
	_cleanup_set_ struct blockset *common = blockset_copy(image->shared);
	_cleanup_set_ struct blockset *set = blockset_and(holding->evictable, holding->held);

	if (!common || !set)
		return -ENOMEM;
	if (image->trim_blocked && band != BAND_WARM)
		blockset_or_with(common, image->once);
	blockset_and_with(set, common);
	blockset_and_with(set, view->snapshot->images[holding->image].resident);
	band_cut(set, holding, band);

	int r = pick_long_runs(&set, view->config->min_run_blocks);

	if (r == 0)
		*ret = TAKE_PTR(set);
	return r;
}

/* Takes over @blocks. */
static int evict_order(struct view *view, const struct snapshot_holding *holding, enum band band,
		       struct blockset *blocks, uint64_t eligible, struct plan *plan)
{
	static const char *const ages[BANDS] = { "not used lately", "age unknown", "used lately" };
	const struct view_image *image = &view->images[holding->image];
	struct plan_order order = {
		.step = PLAN_STEP_GUEST,
		.action = PLAN_EVICT,
		.guest = holding->guest,
		.image = holding->image,
		.blocks = blocks,
		.n_blocks = blockset_count(blocks),
		.cold = band == BAND_COLD,
		.inputs = {
			.held = blockset_count(holding->held),
			.evictable = blockset_count(holding->evictable),
			.cold = holding->cold ? blockset_count(holding->cold) : 0,
			.warm = holding->warm ? blockset_count(holding->warm) : 0,
			.eligible = eligible,
		},
	};
	uint64_t alone = order.n_blocks - blockset_and_count(blocks, image->shared);
	int r = inputs_fill(view, &order);

	if (r < 0) {
		blockset_free(blocks);
		return r;
	}
	order.inputs.age_known = order.inputs.cold + order.inputs.warm >= order.inputs.evictable;
	(void)snprintf(order.reason, sizeof(order.reason),
		       "guest %s gives up %.1f MiB of %s that the host holds too: %s, %s",
		       view->snapshot->guests[holding->guest].name, MIB(order.n_blocks),
		       path_tail(view->snapshot->images[holding->image].path), ages[band],
		       !alone			 ? "more than one guest uses it"
		       : alone == order.n_blocks ? "the host cannot drop its own copy"
						 : "shared, or the host cannot drop its own copy");
	return plan_add_order(plan, &order);
}

/* For how long a guest is not to be asked about an image because it was in vain; 0: ask. */
static uint64_t eviction_backoff(const struct view *view, const struct snapshot_holding *holding)
{
	const struct snapshot *s = view->snapshot;
	uint64_t end_usec = state_backoff_end(
		state_find(view->state, s->guests[holding->guest].name, &s->images[holding->image]),
		view->config);

	return s->now_usec < end_usec ? end_usec - s->now_usec : 0;
}

/* When the guest's or the host's side is not yet seen as our last act left it: wait, do not act. */
static bool eviction_waits(const struct view *view, const struct snapshot_holding *holding,
			   struct step_result *result)
{
	const struct snapshot_guest *guest = &view->snapshot->guests[holding->guest];
	bool unseen = view->images[holding->image].waits ||
		      (view->guests[holding->guest].acted_usec &&
		       view->guests[holding->guest].acted_usec >= guest->scan_usec);

	if (unseen)
		result_wait(result, view->snapshot->now_usec);
	return unseen || !view->images[holding->image].known;
}

static int holding_evict(struct view *view, size_t index, enum band band, struct plan *plan,
			 struct step_result *result)
{
	const struct snapshot_holding *holding = &view->snapshot->holdings[index];
	struct view_guest *guest = &view->guests[holding->guest];
	struct view_group *group = &view->groups[guest->group];
	_cleanup_set_ struct blockset *picked = NULL;
	uint64_t later_usec = guest->acted_usec + view->config->delay_usec;
	uint64_t backoff_usec = eviction_backoff(view, holding);

	if (backoff_usec)
		return band == BAND_COLD
			       ? plan_add_refusal(
					 plan, holding->guest, holding->image, PLAN_STEP_GUEST,
					 "asking it brought next to nothing; again in %llu s",
					 (unsigned long long)backoff_usec / 1000000 + 1)
			       : 0;
	if (eviction_waits(view, holding, result))
		return 0;

	int r = evictions_collect(view, holding, band, &picked);

	if (r < 0)
		return r;

	uint64_t offered = blockset_count(picked);

	result->offered_blocks += offered;
	if (offered && guest->acted_usec && view->snapshot->now_usec < later_usec) {
		result_wait(result, later_usec);
		return 0;
	}

	uint64_t n = pick_first(picked, min_u64(group->left_blocks, guest->left_blocks));

	if (!n)
		return 0;
	group->left_blocks -= n;
	guest->left_blocks -= n;
	result->ordered_blocks += n;
	return evict_order(view, holding, band, TAKE_PTR(picked), offered, plan);
}

static int guest_evict(struct view *view, size_t guest, enum band band, struct plan *plan,
		       struct step_result *result)
{
	if (!view->guests[guest].may_act)
		return 0;
	for (size_t i = view->guests[guest].first_holding; i != VIEW_NONE;
	     i = view->next_holding[i]) {
		const struct snapshot_holding *holding = &view->snapshot->holdings[i];

		if (view->images[holding->image].group == VIEW_NONE || !holding->held ||
		    !holding->evictable)
			continue;

		int r = holding_evict(view, i, band, plan, result);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Step 2: a guest that reads it again is served from the host's memory. */
static int guest_collect(struct view *view, size_t group, struct plan *plan,
			 struct step_result *result)
{
	int r = 0;

	for (enum band band = 0; band < BANDS; band++)
		for (size_t i = view->groups[group].first_guest; r == 0 && i != VIEW_NONE;
		     i = view->guests[i].next)
			r = guest_evict(view, i, band, plan, result);
	return r;
}

const struct step steps[PLAN_STEPS] = {
	[PLAN_STEP_FREE] = { "guests' free memory, returned by free page reporting", true,
			     free_collect },
	[PLAN_STEP_HOST] = { "host's copies of blocks that exactly one guest holds", false,
			     host_collect },
	[PLAN_STEP_GUEST] = { "guests' copies of blocks that the host holds too", false,
			      guest_collect },
};
