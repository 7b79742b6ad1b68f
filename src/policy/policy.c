/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy.h"

#include <errno.h>

#include "base/cleanup.h"
#include "policy/state.h"
#include "policy/steps.h"
#include "policy/view.h"

/*
 * A round is what a guest under emulation gives up in about a second (facts: 400 MiB in 0.5 s) and
 * what free page reporting returns in a few of its 2 s cycles. The delay lets the guest's own
 * reclaim and the next scan see what was done. Ten minutes is how long evicted pages are watched.
 */
const struct policy_config policy_config_default = {
	.round_domain_bytes = (uint64_t)1 << 30,
	.round_guest_bytes = (uint64_t)512 << 20,
	.min_run_blocks = 1,
	.start_available_permille = 0,
	.stop_available_permille = 0,
	.delay_usec = 1000000,
	.backoff_usec = 30000000,
	.owed_usec = 600000000,
	.scan_age_max_usec = 60000000,
	.resident_age_max_usec = 60000000,
};

/* Orders of one step, of the first that has anything to give or to wait for. */
static int group_decide(struct view *view, size_t group, struct plan *plan)
{
	for (size_t i = 0; i < PLAN_STEPS; i++) {
		struct step_result result = {};
		int r = steps[i].collect(view, group, plan, &result);

		if (r < 0)
			return r;
		plan->offers[i].offered_bytes += result.offered_blocks * BLOCK_BYTES;
		plan->offers[i].ordered_bytes += result.ordered_blocks * BLOCK_BYTES;
		if (result.waits && (!plan->retry_usec || result.retry_usec < plan->retry_usec))
			plan->retry_usec = result.retry_usec;
		if (!steps[i].by_itself &&
		    (result.offered_blocks || result.waits || result.blocked))
			return 0;
	}
	return 0;
}

/* Between the watermarks it goes on as it was: what was begun is finished, and not begun anew. */
static bool watermarks_allow(const struct snapshot_host *host, const struct policy_config *config,
			     struct policy_state *state)
{
	if (!host->memory_total_bytes || !config->stop_available_permille)
		return false;

	double available =
		1000.0 * (double)host->memory_available_bytes / (double)host->memory_total_bytes;

	if (available < config->start_available_permille)
		state->acting = true;
	else if (available >= config->stop_available_permille)
		state->acting = false;
	return state->acting;
}

static void offers_title(struct plan *plan)
{
	for (size_t i = 0; i < PLAN_STEPS; i++) {
		plan->offers[i].title = steps[i].title;
		plan->offers[i].by_itself = steps[i].by_itself;
	}
}

int policy_decide(const struct snapshot *snapshot, const struct policy_config *config,
		  struct policy_state *state, const struct policy_request *request,
		  struct plan *ret)
{
	_cleanup_(plan_done) struct plan plan = {};
	_cleanup_(view_done) struct view view = {
		.snapshot = snapshot,
		.config = config,
		.state = state,
		.request = request,
	};
	int r = snapshot_check(snapshot);

	if (r < 0)
		return r;
	state_observe(state, snapshot, config);
	r = view_build(&view, &plan);
	if (r < 0)
		return r;
	offers_title(&plan);
	if (!watermarks_allow(&snapshot->host, config, state) && !request->asked)
		r = plan_add_refusal(&plan, SNAPSHOT_NONE, SNAPSHOT_NONE, PLAN_STEPS,
				     "the host is not short of memory");
	else
		for (size_t i = 0; r == 0 && i < view.n_groups; i++)
			r = group_decide(&view, i, &plan);
	if (r < 0)
		return r;
	*ret = plan;
	plan = (struct plan){};
	return 0;
}
