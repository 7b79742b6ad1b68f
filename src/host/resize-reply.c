/* SPDX-License-Identifier: Apache-2.0 */
/* What a resize tells: progress, its answer, the ledger, the log. */
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/resize-parts.h"

static const char *stage(const struct resize *r)
{
	switch (r->run.phase) {
	case BALLOON_PHASE_EVICT:
		return "evict";
	case BALLOON_PHASE_STEP:
		return r->run.is_unplugging ? "unplug" : r->run.is_taking ? "take" : "inflate";
	case BALLOON_PHASE_GROW:
		return "deflate";
	case BALLOON_PHASE_CALM:
		return r->seen.report.pressure != BALLOON_BLIND &&
				       r->seen.report.pressure > balloon_rules_default.pressure_hold
			       ? "pressure"
			       : "look";
	default:
		return "look";
	}
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static void done_of(const struct resize *r, uint64_t *ret_done, uint64_t *ret_total)
{
	uint64_t total = distance(r->goal.wanted_bytes, r->run.from_bytes);
	uint64_t left = distance(r->goal.wanted_bytes, r->seen.actual_bytes);

	*ret_total = r->run.from_bytes ? total : 0;
	*ret_done = left < *ret_total ? *ret_total - left : 0;
}

void resize_progress(struct resize *r)
{
	uint64_t done, total;
	char text[96];

	if (!r->call || r->is_ending)
		return;
	done_of(r, &done, &total);
	snprintf(text, sizeof(text), "%.1f MiB, to %.1f MiB",
		 (double)r->seen.actual_bytes / (1 << 20),
		 (double)r->goal.wanted_bytes / (1 << 20));
	call_progress(r->call, json_pack("{ss ss sI sI ss}", "vm", r->vm->config.name, "stage",
					 stage(r), "done", (json_int_t)done, "total",
					 (json_int_t)total, "message", text));
}

static void returned_see(const struct resize *r, struct balloon_result *result)
{
	uint64_t now;

	result->returned_known = r->host_first_known && vm_resident_bytes(r->vm, &now) >= 0;
	if (result->returned_known)
		result->returned_bytes = r->host_first_bytes > now ? r->host_first_bytes - now : 0;
}

static uint64_t unplugged(const struct resize *r)
{
	uint64_t lacking = plugged_lacking_bytes(&r->seen.plugged);

	return lacking > r->lacking_bytes ? lacking - r->lacking_bytes : 0;
}

static uint64_t taken(const struct resize *r)
{
	uint64_t now = vm_taken_bytes(r->vm);

	return now > r->first_taken_bytes ? now - r->first_taken_bytes : 0;
}

static uint64_t paged_out(const struct resize *r)
{
	uint64_t now = vm_paged_out_bytes(r->vm);

	return now > r->first_out_bytes ? now - r->first_out_bytes : 0;
}

static struct balloon_result result_of(struct resize *r)
{
	struct balloon_result result = {
		.vm = r->vm->config.name,
		.order = r->order,
		.asked_bytes = r->goal.wanted_bytes,
		.original_bytes = r->goal.original_bytes,
		.from_bytes = r->run.from_bytes,
		.actual_bytes = r->seen.actual_bytes,
		.target_bytes = r->b->kept ? balloon_target(r->b) : 0,
		.floor = r->run.floor,
		.cache = r->goal.cache,
		.by = r->goal.by,
		.agent = r->goal.cache != BALLOON_CACHE_OFF && r->seen.can_evict,
		.state = r->is_ending ? r->end.state : BALLOON_RUNNING,
		.evicted_bytes = r->evicted_bytes,
		.unplugged_bytes = unplugged(r),
		.taken_bytes = taken(r),
		.paged_out_bytes = paged_out(r),
		.steps = r->run.steps,
		.usec = now_usec() - r->started_usec,
		.dry_run = r->request.dry_run,
		.notes = r->notes,
	};

	snprintf(result.reason, sizeof(result.reason), "%s",
		 r->is_ending ? r->end.reason : "under way");
	if (result.dry_run)
		result.steps = balloon_steps(&balloon_rules_default, result.from_bytes,
					     result.asked_bytes);
	if (!result.dry_run)
		returned_see(r, &result);
	return result;
}

json_t *resize_json(const struct resize *r)
{
	uint64_t done, total;

	done_of(r, &done, &total);
	return json_pack("{ss ss sI sI sI sI sI si sI}", "state", "running", "stage", stage(r),
			 "asked_bytes", (json_int_t)r->goal.wanted_bytes, "actual_bytes",
			 (json_int_t)r->seen.actual_bytes, "done_bytes", (json_int_t)done,
			 "total_bytes", (json_int_t)total, "floor_bytes",
			 (json_int_t)r->run.floor.bytes, "steps", (int)r->run.steps, "usec",
			 (json_int_t)(now_usec() - r->started_usec));
}

static struct ledger_entry *ledger_enter(struct resize *r)
{
	struct ledger_entry *e = ledger_change(&r->m->ledger, r->order);

	if (e)
		return e;
	e = ledger_add(&r->m->ledger, "");
	e->round = 1;
	snprintf(e->vm, sizeof(e->vm), "%s", r->vm->config.name);
	snprintf(e->reason, sizeof(e->reason), "%s",
		 r->call ? "asked for by command" : "asked for before the guest was restarted");
	r->order = e->id;
	return e;
}

static void ledger_tell(struct resize *r, struct balloon_result *result)
{
	struct ledger_entry *e = ledger_enter(r);
	uint64_t asked = distance(result->asked_bytes, result->from_bytes);
	uint64_t left = distance(result->asked_bytes, result->actual_bytes);

	result->order = r->order;
	e->asked = asked / BLOCK_BYTES;
	e->done = left < asked ? (asked - left) / BLOCK_BYTES : 0;
	e->usec = result->usec;
	balloon_result_free(e->balloon);
	e->balloon = balloon_result_copy(result);
}

void resize_reply_begun(struct resize *r)
{
	struct balloon_result result;

	if (r->order)
		return;
	result = result_of(r);
	ledger_tell(r, &result);
	log_notice("order %" PRIu64 ": balloon %s: from %.1f MiB to %.1f MiB, cache %s, by %s",
		   r->order, r->vm->config.name, (double)result.from_bytes / (1 << 20),
		   (double)result.asked_bytes / (1 << 20), balloon_cache_name(result.cache),
		   balloon_by_name(result.by));
	if (r->request.no_wait && r->call)
		call_reply(TAKE_PTR(r->call), balloon_result_json(&result));
}

/* What is asked for now holds; what could not be had is not tried again by itself. */
static void remember(struct resize *r, const struct balloon_result *result)
{
	struct balloon *b = r->b;

	balloon_guard_end(&b->guard, &balloon_rules_default, &r->end, now_usec());
	if (r->end.state == BALLOON_OTHER_OWNER && !r->end.maybe_guest && b->kept)
		balloon_release(b);
	if (r->end.state != BALLOON_REACHED && r->end.state != BALLOON_RESTARTED)
		b->wanted_bytes = b->kept ? balloon_target(b) : 0;
	if (r->refusal)
		return;
	balloon_result_free(b->last);
	b->last = balloon_result_copy(result);
}

void resize_reply(struct resize *r)
{
	struct balloon_result result = result_of(r);

	if (!result.dry_run && r->is_begun) {
		if (!r->refusal)
			ledger_tell(r, &result);
		log_notice("%s: balloon: %s at %.1f MiB: %s", r->vm->config.name,
			   balloon_state_name(result.state),
			   (double)result.actual_bytes / (1 << 20), result.reason);
		remember(r, &result);
		/* One that is still on its way is looked at until it is there. */
		if (r->b->kept && result.actual_bytes == r->b->entry.original_bytes)
			balloon_release_if_whole(r->b);
	}
	if (r->call && r->refusal)
		call_error(TAKE_PTR(r->call), r->refusal, "%s: %s", r->vm->config.name,
			   result.reason);
	else if (r->call)
		call_reply(TAKE_PTR(r->call), balloon_result_json(&result));
	else if (r->refusal)
		log_notice("%s: not resized: %s", r->vm->config.name, result.reason);
	if (r->stop_call)
		call_reply(TAKE_PTR(r->stop_call), balloon_result_json(&result));
	resize_free(r);
}
