/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot made ready for decisions: who belongs together, who may take part, who holds what how
 * often. Lives for one call of policy_decide().
 */
#ifndef PAGEPACT_POLICY_VIEW_H
#define PAGEPACT_POLICY_VIEW_H

#include "policy/holders.h"
#include "policy/policy.h"

#define VIEW_NONE SIZE_MAX

/**
 * struct view_image
 * @group: that it belongs to; VIEW_NONE: to none, because nobody uses it or two domains do
 * @next: the next image of the same group, or VIEW_NONE
 * @known: the host's residency is known, young, and newer than our last trim
 * @waits: it is not, but the next snapshot will show it
 * @trims: what the host may trim, before quotas; NULL: none
 * @trim_blocked: the host may not trim anything of it, whoever holds it
 * @trim_waits: something, but not yet
 * @trim_retry_usec: when, if so
 * @once: blocks that exactly one guest holds
 * @shared: blocks that two or more guests hold, or one holds and the host keeps for another
 * @owed: blocks that the host keeps for guests
 */
struct view_image {
	size_t group;
	size_t next;
	bool known;
	bool waits;
	struct blockset *trims;
	bool trim_blocked;
	bool trim_waits;
	uint64_t trim_retry_usec;
	struct holders holders;
	struct blockset *once;
	struct blockset *shared;
	struct blockset *owed;
};

/**
 * struct view_guest
 * @group: its domain
 * @next: the next guest of the same group, or VIEW_NONE
 * @first_holding: of its list, or VIEW_NONE
 * @wanted: the request is for it
 * @scanned: its agent answers and its scan is young
 * @may_act: wanted, scanned, opted in, and nothing speaks against it
 * @acted_usec: when it was last asked to evict anything
 * @left_blocks: of its quota in this round
 */
struct view_guest {
	size_t group;
	size_t next;
	size_t first_holding;
	bool wanted;
	bool scanned;
	bool may_act;
	uint64_t acted_usec;
	uint64_t left_blocks;
};

/**
 * struct view_group - guests or images that share a step and a budget
 * @takes_share: gets a part of a limited request, whether or not it has anything to give
 * @left_blocks: of its budget in this round
 */
struct view_group {
	size_t first_guest;
	size_t first_image;
	bool takes_share;
	uint64_t left_blocks;
};

/**
 * struct view
 * @groups: one for each domain, in order of its name; the last one is that of public images
 * @next_holding: for each holding the next of the same guest, or VIEW_NONE
 */
struct view {
	const struct snapshot *snapshot;
	const struct policy_config *config;
	const struct policy_state *state;
	const struct policy_request *request;
	struct view_image *images;
	struct view_guest *guests;
	size_t *next_holding;
	struct view_group *groups;
	size_t n_groups;
};

/**
 * view_build() - all of it
 * @plan: refusals are added to it
 *
 * Return: 0, -ENOENT (the request is for a guest that does not exist), or -ENOMEM. The view is to
 * be given to view_done() in any case.
 */
int view_build(struct view *view, struct plan *plan);

/** view_done() - release what it holds */
void view_done(struct view *view);

/** view_public() - the group of public images */
static inline size_t view_public(const struct view *view)
{
	return view->n_groups - 1;
}

#endif
