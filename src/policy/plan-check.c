/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proof that a plan does no harm. It shares no code with what makes plans, so that one mistake
 * cannot be in both; it knows nothing of what is preferable, only of what must never happen.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/plan.h"
#include "policy/policy.h"

#define _cleanup_set_ _cleanup_(blockset_freep)

struct check {
	const struct snapshot *s;
	const struct policy_config *config;
	const struct policy_request *request;
	const struct plan *plan;
	char *text; /* PLAN_REASON_MAX bytes, or NULL */
};

static int fault(const struct check *c, size_t order, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fault(const struct check *c, size_t order, const char *format, ...)
{
	char what[PLAN_REASON_MAX - 40];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	if (c->text && order != SIZE_MAX)
		(void)snprintf(c->text, PLAN_REASON_MAX, "order %zu %s", order, what);
	else if (c->text)
		(void)snprintf(c->text, PLAN_REASON_MAX, "the plan %s", what);
	return -EINVAL;
}

static bool is_subset(const struct blockset *a, const struct blockset *b)
{
	return b && blockset_and_count(a, b) == blockset_count(a);
}

static bool is_young(const struct check *c, uint64_t at_usec, uint64_t age_max_usec)
{
	return at_usec && (c->s->now_usec <= at_usec || c->s->now_usec - at_usec <= age_max_usec);
}

static const char *guest_fault(const struct check *c, size_t index)
{
	const struct snapshot_guest *guest = &c->s->guests[index];

	if (!guest->act)
		return "concerns a guest that is not opted in";
	if (guest->order_refusal)
		return "concerns a guest that must get no orders";
	if (!guest->agent_live)
		return "concerns a guest whose agent does not answer";
	if (!is_young(c, guest->scan_usec, c->config->scan_age_max_usec))
		return "concerns a guest that was not scanned lately";
	if (c->request->guest && strcmp(c->request->guest, guest->name) != 0)
		return "concerns a guest that the request is not for";
	return NULL;
}

static const char *image_fault(const struct check *c, size_t index)
{
	const struct snapshot_image *image = &c->s->images[index];
	size_t n;
	const struct snapshot_holding *users = snapshot_holdings(c->s, index, &n);

	if (image->order_refusal)
		return "is about an image about which nothing must be done";
	if (!image->resident)
		return "is about an image of which it is not known what the host caches";
	if (!is_young(c, image->resident_usec, c->config->resident_age_max_usec))
		return "is about an image that was not looked at lately";
	for (size_t i = 1; i < n && !image->is_public; i++)
		if (!snapshot_same_domain(&c->s->guests[users[0].guest],
					  &c->s->guests[users[i].guest]))
			return "is about an image of two sharing domains";
	return NULL;
}

/* Each block of a trim is held by one guest, no more, and that guest may act. */
static int trim_holders(const struct check *c, size_t order)
{
	const struct plan_order *o = &c->plan->orders[order];
	size_t n;
	const struct snapshot_holding *users = snapshot_holdings(c->s, o->image, &n);
	_cleanup_set_ struct blockset *found = blockset_new();

	if (!found)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct snapshot_guest *guest = &c->s->guests[users[i].guest];

		if (!users[i].held || !guest->agent_live ||
		    !is_young(c, guest->scan_usec, c->config->scan_age_max_usec))
			return fault(c, order, "trims what guest %s may hold unseen", guest->name);
		_cleanup_set_ struct blockset *part = blockset_and(o->blocks, users[i].held);

		if (!part)
			return -ENOMEM;
		if (blockset_count(part) == 0)
			continue;
		const char *wrong = guest_fault(c, users[i].guest);

		if (wrong)
			return fault(c, order, "%s", wrong);
		if (blockset_and_count(found, part) > 0)
			return fault(c, order, "trims blocks that two guests hold");
		blockset_or_with(found, part);
	}
	return is_subset(o->blocks, found) ? 0
					   : fault(c, order, "trims blocks that no guest holds");
}

static int trim_check(const struct check *c, size_t order)
{
	const struct plan_order *o = &c->plan->orders[order];

	if (o->step != PLAN_STEP_HOST || o->guest != SNAPSHOT_NONE)
		return fault(c, order, "is no trim of step 1");
	if (c->s->images[o->image].trim_refusal)
		return fault(c, order, "trims an image that must not be");
	return trim_holders(c, order);
}

static int evict_check(const struct check *c, size_t order)
{
	const struct plan_order *o = &c->plan->orders[order];

	if (o->step != PLAN_STEP_GUEST || o->guest >= c->s->n_guests)
		return fault(c, order, "is no eviction of step 2");

	const struct snapshot_holding *holding = snapshot_holding_find(c->s, o->guest, o->image);
	const char *wrong = guest_fault(c, o->guest);

	if (wrong)
		return fault(c, order, "%s", wrong);
	if (!holding || !is_subset(o->blocks, holding->held) ||
	    !is_subset(o->blocks, holding->evictable))
		return fault(c, order, "asks for blocks that the guest cannot give up");
	if (o->cold && !is_subset(o->blocks, holding->cold))
		return fault(c, order, "calls blocks cold that are not");
	return 0;
}

static int order_check(const struct check *c, size_t order)
{
	const struct plan_order *o = &c->plan->orders[order];

	if (o->image >= c->s->n_images)
		return fault(c, order, "is about no image");
	if (!o->blocks || !o->n_blocks || blockset_count(o->blocks) != o->n_blocks)
		return fault(c, order, "has no blocks, or another number of them");

	const char *wrong = image_fault(c, o->image);

	if (wrong)
		return fault(c, order, "%s", wrong);
	if (!is_subset(o->blocks, c->s->images[o->image].resident))
		return fault(c, order, "is about blocks that the host does not hold");
	return o->action == PLAN_TRIM ? trim_check(c, order) : evict_check(c, order);
}

/* Two orders that touch the same copies, or the host's and a guest's of one image. */
static int pair_check(const struct check *c, size_t a, size_t b)
{
	const struct plan_order *x = &c->plan->orders[a], *y = &c->plan->orders[b];

	if (x->image == y->image && x->guest == y->guest &&
	    blockset_and_count(x->blocks, y->blocks) > 0)
		return fault(c, b, "repeats blocks of order %zu", a);
	if (x->action == y->action)
		return 0;

	const struct plan_order *trim = x->action == PLAN_TRIM ? x : y;
	const struct plan_order *evict = x->action == PLAN_TRIM ? y : x;

	if (snapshot_holding_find(c->s, evict->guest, trim->image))
		return fault(c, b, "is of another step than order %zu, of an image they share", a);
	return 0;
}

/* Everywhere that blocks of an image are cached: before the plan, or after it. */
static struct blockset *copies(const struct check *c, size_t image, bool after)
{
	size_t n;
	const struct snapshot_holding *users = snapshot_holdings(c->s, image, &n);
	_cleanup_set_ struct blockset *all = blockset_copy(c->s->images[image].resident);

	for (size_t k = 0; all && after && k < c->plan->n_orders; k++)
		if (c->plan->orders[k].image == image && c->plan->orders[k].action == PLAN_TRIM)
			blockset_andnot_with(all, c->plan->orders[k].blocks);
	for (size_t i = 0; all && i < n; i++) {
		if (!users[i].held)
			continue;
		_cleanup_set_ struct blockset *held = blockset_copy(users[i].held);

		if (!held)
			return NULL;
		for (size_t k = 0; after && k < c->plan->n_orders; k++)
			if (c->plan->orders[k].image == image &&
			    c->plan->orders[k].guest == users[i].guest)
				blockset_andnot_with(held, c->plan->orders[k].blocks);
		blockset_or_with(all, held);
	}
	return TAKE_PTR(all);
}

/* The invariant that all of this is for: no block is left without a copy. */
static int copies_check(const struct check *c, size_t order)
{
	size_t image = c->plan->orders[order].image;

	for (size_t i = 0; i < order; i++)
		if (c->plan->orders[i].image == image)
			return 0;

	_cleanup_set_ struct blockset *before = copies(c, image, false);
	_cleanup_set_ struct blockset *after = copies(c, image, true);

	if (!before || !after)
		return -ENOMEM;
	return blockset_equal(before, after)
		       ? 0
		       : fault(c, order, "takes part in dropping the last copy of a block");
}

/* The domain whose budget an order is counted on; NULL for that of the public images. */
static const char *order_domain(const struct check *c, const struct plan_order *order)
{
	size_t n, guest = order->guest;

	if (order->action == PLAN_TRIM) {
		if (c->s->images[order->image].is_public)
			return NULL;
		guest = snapshot_holdings(c->s, order->image, &n)[0].guest;
	}
	return snapshot_domain(&c->s->guests[guest]);
}

static bool same_domain(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Sums up to the order and for its guest and domain, so that the last one of each is decisive. */
static int quota_check(const struct check *c, size_t order)
{
	const struct plan_order *o = &c->plan->orders[order];
	const char *domain = order_domain(c, o);
	uint64_t all = 0, of_guest = 0, of_domain = 0;

	for (size_t i = 0; i <= order; i++) {
		const struct plan_order *other = &c->plan->orders[i];
		uint64_t bytes = other->n_blocks * BLOCK_BYTES;

		all += bytes;
		if (other->action == PLAN_EVICT && other->guest == o->guest)
			of_guest += bytes;
		if (same_domain(order_domain(c, other), domain))
			of_domain += bytes;
	}
	if (c->request->bytes && all > c->request->bytes)
		return fault(c, order, "exceeds what was asked for");
	if (c->config->round_guest_bytes && of_guest > c->config->round_guest_bytes)
		return fault(c, order, "exceeds the guest's quota");
	if (c->config->round_domain_bytes && of_domain > c->config->round_domain_bytes)
		return fault(c, order, "exceeds the domain's quota");
	return 0;
}

int plan_check(const struct snapshot *snapshot, const struct policy_config *config,
	       const struct policy_request *request, const struct plan *plan, char *ret_text)
{
	const struct check c = { snapshot, config, request, plan, ret_text };
	int r = snapshot_check(snapshot);

	if (r < 0)
		return r == -EINVAL ? fault(&c, SIZE_MAX, "is of a malformed snapshot") : r;
	for (size_t i = 0; r == 0 && i < plan->n_orders; i++)
		r = order_check(&c, i);
	for (size_t i = 0; r == 0 && i < plan->n_orders; i++)
		for (size_t k = 0; r == 0 && k < i; k++)
			r = pair_check(&c, k, i);
	for (size_t i = 0; r == 0 && i < plan->n_orders; i++)
		r = copies_check(&c, i);
	for (size_t i = 0; r == 0 && i < plan->n_orders; i++)
		r = quota_check(&c, i);
	return r;
}
