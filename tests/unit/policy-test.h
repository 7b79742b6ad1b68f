/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small worlds for tests of the policy: guests and images whose caches are drawn as text, a
 * character a block, and a stand-in for carrying a plan out.
 */
#ifndef PAGEPACT_TESTS_POLICY_TEST_H
#define PAGEPACT_TESTS_POLICY_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "policy/plan.h"
#include "policy/policy.h"

#define WORLD_IMAGES	 6
#define WORLD_GUESTS	 6
#define WORLD_START_USEC 1000000000

/*
 * A guest's cache of an image: '.' nothing, 'm' held and not to be had (mapped, dirty, hot), 'u'
 * evictable, 'w' evictable and used lately, 'c' evictable and cold. NULL: cannot reach the image;
 * "?": its cache is not known. The host's: 'x' resident; NULL: not known.
 */
struct guest_drawing {
	const char *name;
	const char *domain;
	bool observe;
	bool silent;
	const char *order_refusal;
	const char *cache[WORLD_IMAGES];
};

struct image_drawing {
	const char *path;
	const char *host;
	bool is_public;
	const char *trim_refusal;
	const char *order_refusal;
};

struct world {
	struct snapshot snapshot;
	struct snapshot_image images[WORLD_IMAGES];
	struct snapshot_guest guests[WORLD_GUESTS];
	struct snapshot_holding holdings[WORLD_IMAGES * WORLD_GUESTS];
	struct blockset *resident[WORLD_IMAGES];
	struct blockset *held[WORLD_IMAGES][WORLD_GUESTS];
	struct blockset *evictable[WORLD_IMAGES][WORLD_GUESTS];
	struct blockset *cold[WORLD_IMAGES][WORLD_GUESTS];
	struct blockset *warm[WORLD_IMAGES][WORLD_GUESTS];
	struct policy_state state;
	struct policy_config config;
	struct policy_request request;
};

/* Nothing that a case did not ask for: no quotas, no delays. */
static const struct policy_config config_plain = {
	.backoff_usec = 30000000,
	.owed_usec = 600000000,
	.scan_age_max_usec = 60000000,
	.resident_age_max_usec = 60000000,
};

static inline struct blockset *drawn(const char *drawing, const char *chars)
{
	struct blockset *set = blockset_new();

	assert_non_null(set);
	for (size_t i = 0; drawing[i]; i++)
		if (strchr(chars, drawing[i]))
			assert_int_equal(blockset_add(set, i, 1), 0);
	return set;
}

static inline void world_add_holding(struct world *w, size_t image, size_t guest, const char *cache)
{
	struct snapshot_holding *holding = &w->holdings[w->snapshot.n_holdings++];

	*holding = (struct snapshot_holding){ .guest = guest, .image = image };
	if (*cache == '?')
		return;
	holding->held = w->held[image][guest] = drawn(cache, "muwc");
	holding->evictable = w->evictable[image][guest] = drawn(cache, "uwc");
	/* Both ways of saying that no block is known to be cold, or warm. */
	if (strchr(cache, 'c'))
		holding->cold = w->cold[image][guest] = drawn(cache, "c");
	if (strchr(cache, 'w') || strchr(cache, 'c'))
		holding->warm = w->warm[image][guest] = drawn(cache, "w");
}

/* The lists end with an entry without a path or name, or at their bounds. */
static inline void world_draw(struct world *w, const struct image_drawing *images,
			      const struct guest_drawing *guests)
{
	*w = (struct world){ .config = config_plain, .request = { .asked = true } };
	w->snapshot = (struct snapshot){
		.now_usec = WORLD_START_USEC,
		.images = w->images,
		.guests = w->guests,
		.holdings = w->holdings,
		.host = { .memory_total_bytes = 1000, .pressure_some_permille = -1 },
	};
	for (size_t g = 0; g < WORLD_GUESTS && guests[g].name; g++, w->snapshot.n_guests++)
		w->guests[g] = (struct snapshot_guest){
			.name = guests[g].name,
			.domain = guests[g].domain,
			.act = !guests[g].observe,
			.order_refusal = guests[g].order_refusal,
			.agent_live = !guests[g].silent,
			.scan_usec = WORLD_START_USEC,
		};
	for (size_t i = 0; i < WORLD_IMAGES && images[i].path; i++, w->snapshot.n_images++) {
		w->images[i] = (struct snapshot_image){
			.device = 1,
			.inode = i + 1,
			.path = images[i].path,
			.size_bytes = (uint64_t)1 << 30,
			.is_public = images[i].is_public,
			.trim_refusal = images[i].trim_refusal,
			.order_refusal = images[i].order_refusal,
			.resident_usec = WORLD_START_USEC,
		};
		if (images[i].host)
			w->images[i].resident = w->resident[i] = drawn(images[i].host, "x");
		for (size_t g = 0; g < w->snapshot.n_guests; g++)
			if (guests[g].cache[i])
				world_add_holding(w, i, g, guests[g].cache[i]);
	}
}

static inline void world_done(struct world *w)
{
	for (size_t i = 0; i < WORLD_IMAGES; i++) {
		blockset_free(w->resident[i]);
		for (size_t g = 0; g < WORLD_GUESTS; g++) {
			blockset_free(w->held[i][g]);
			blockset_free(w->evictable[i][g]);
			blockset_free(w->cold[i][g]);
			blockset_free(w->warm[i][g]);
		}
	}
	policy_state_done(&w->state);
}

/* What the daemon does: decide, and have the decision proven. */
static inline void world_decide(struct world *w, struct plan *ret)
{
	char text[PLAN_REASON_MAX] = "";

	assert_int_equal(policy_decide(&w->snapshot, &w->config, &w->state, &w->request, ret), 0);
	if (plan_check(&w->snapshot, &w->config, &w->request, ret, text) != 0)
		fail_msg("a plan of the policy's own is refused: %s", text);
}

/* Carries one order out as far as @blocks go, and tells the policy. */
static inline void world_apply_blocks(struct world *w, const struct plan_order *order,
				      const struct blockset *blocks)
{
	size_t i = order->image, g = order->guest;
	uint64_t now_usec = w->snapshot.now_usec + 1;

	if (order->action == PLAN_TRIM) {
		blockset_andnot_with(w->resident[i], blocks);
	} else {
		blockset_andnot_with(w->held[i][g], blocks);
		blockset_andnot_with(w->evictable[i][g], blocks);
		if (w->cold[i][g])
			blockset_andnot_with(w->cold[i][g], blocks);
		if (w->warm[i][g])
			blockset_andnot_with(w->warm[i][g], blocks);
	}
	assert_int_equal(policy_applied(&w->state, &w->snapshot, order, now_usec,
					blockset_count(blocks) * BLOCK_BYTES),
			 0);
}

static inline void world_apply(struct world *w, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_orders; i++)
		world_apply_blocks(w, &plan->orders[i], plan->orders[i].blocks);
}

/* A new scan and look-up of everything, @usec later. */
static inline void world_pass(struct world *w, uint64_t usec)
{
	w->snapshot.now_usec += usec;
	for (size_t g = 0; g < w->snapshot.n_guests; g++)
		w->guests[g].scan_usec = w->snapshot.now_usec;
	for (size_t i = 0; i < w->snapshot.n_images; i++)
		w->images[i].resident_usec = w->snapshot.now_usec;
}

/* "trim base 2-3,7; evict a base 0" */
static inline void order_text(const struct world *w, const struct plan_order *order, char *text,
			      size_t size)
{
	struct block_run run;
	size_t at = (size_t)snprintf(
		text, size, "%s %s%s%s ", plan_action_name(order->action),
		order->guest == SNAPSHOT_NONE ? "" : w->guests[order->guest].name,
		order->guest == SNAPSHOT_NONE ? "" : " ", w->images[order->image].path);
	const char *comma = "";

	for (uint64_t b = 0; at < size && blockset_next_run(order->blocks, b, &run);
	     b = (uint64_t)run.start + run.count, comma = ",")
		if (run.count > 1)
			at += (size_t)snprintf(text + at, size - at, "%s%u-%u", comma, run.start,
					       run.start + run.count - 1);
		else
			at += (size_t)snprintf(text + at, size - at, "%s%u", comma, run.start);
	assert_true(at < size);
}

static inline void plan_text(const struct world *w, const struct plan *plan, char *text,
			     size_t size)
{
	size_t at = 0;

	*text = '\0';
	for (size_t i = 0; i < plan->n_orders; i++) {
		if (i > 0)
			at += (size_t)snprintf(text + at, size - at, "; ");
		order_text(w, &plan->orders[i], text + at, size - at);
		at += strlen(text + at);
	}
}

static inline void assert_plan(struct world *w, const char *expected)
{
	struct plan plan;
	char text[1024];

	world_decide(w, &plan);
	plan_text(w, &plan, text, sizeof(text));
	plan_done(&plan);
	assert_string_equal(text, expected);
}

static inline bool plan_refuses(const struct plan *plan, const char *part)
{
	for (size_t i = 0; i < plan->n_refusals; i++)
		if (strstr(plan->refusals[i].reason, part))
			return true;
	return false;
}

/* A generator that is the same on every machine: xorshift64*. */
struct dice {
	uint64_t state;
};

static inline uint32_t dice_roll(struct dice *dice, uint32_t sides)
{
	dice->state ^= dice->state >> 12;
	dice->state ^= dice->state << 25;
	dice->state ^= dice->state >> 27;
	return (uint32_t)((dice->state * 2685821657736338717u) >> 33) % sides;
}

static inline struct dice dice_new(uint64_t seed)
{
	return (struct dice){ seed * 0x9e3779b97f4a7c15u + 1 };
}

#endif
