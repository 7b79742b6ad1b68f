/* SPDX-License-Identifier: Apache-2.0 */
#include "host/resize.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/resize-parts.h"

#define LOOK_USEC	   (USEC_PER_SEC / 4)
#define LOOK_ACCURACY_USEC (LOOK_USEC / 10)
#define REPORT_USEC	   USEC_PER_SEC
#define NOTES_MAX	   16
#define RULES		   (&balloon_rules_default)

void resize_note(struct resize *r, const char *format, ...)
{
	char text[BALLOON_REASON_MAX];
	const json_t *note;
	va_list ap;
	size_t i;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	json_array_foreach (r->notes, i, note)
		if (strcmp(json_string_value(note), text) == 0)
			return;
	if (json_array_size(r->notes) < NOTES_MAX)
		json_array_append_new(r->notes, json_string(text));
}

struct resize *resize_free(struct resize *r)
{
	if (!r)
		return NULL;
	if (r->call)
		call_error(r->call, "failed", "the daemon is stopping, or the guest was detached");
	if (r->stop_call)
		call_error(r->stop_call, "failed",
			   "the daemon is stopping, or the guest was detached");
	r->b->resize = NULL;
	vm_hint_meanwhile(r->vm, WIRE_HINT_GUEST);
	resize_command_cancel(r);
	resize_evict_end(r);
	resize_take_end(r);
	sd_event_source_disable_unref(r->timer);
	json_decref(r->notes);
	free(r);
	return NULL;
}

/* Where the agent says nothing, the balloon's statistics do. */
static struct balloon_report report_of(const struct resize *r)
{
	const struct wire_report *w = &r->vm->report;

	if (r->vm->agent != VM_AGENT_LIVE || !r->vm->report_usec || !w->needed_bytes)
		return r->stats;
	return (struct balloon_report){
		.usec = r->vm->report_usec,
		.needed_bytes = w->needed_bytes,
		.pressure = w->pressure == WIRE_BLIND ? BALLOON_BLIND : w->pressure,
		.oom_kills = w->oom_kills,
		.alloc_stalls = w->alloc_stalls,
	};
}

/* An agent that has not reported yet is about to, or never will. */
static bool agent_reports(const struct resize *r, uint64_t now)
{
	if (r->vm->agent != VM_AGENT_LIVE)
		return false;
	return r->vm->report_usec ? r->vm->report.needed_bytes > 0
				  : now < r->seen.reporting_since_usec + RULES->report_usec;
}

/* A guest without the driver, or with a hung one, has none. */
static bool stats_come(const struct resize *r, uint64_t now)
{
	if (!r->stats_tried)
		return r->vm->inventory && r->vm->inventory->balloon_path[0];
	return r->stats_on && (r->stats.usec || now < r->stats_begun_usec + RULES->report_usec);
}

/* Whoever begins to report is given his time, which who did before has had. */
static void reporting_see(struct resize *r, uint64_t now)
{
	bool agent = r->vm->agent == VM_AGENT_LIVE;

	if (!r->seen.reporting_since_usec || agent != r->agent_was_live)
		r->seen.reporting_since_usec = now;
	r->agent_was_live = agent;
	r->agent_reports = agent_reports(r, now);
	if (r->agent_reports && r->vm->report_usec && r->vm->report.pressure == WIRE_BLIND)
		resize_note(
			r,
			"its memory pressure cannot be seen: its kernel has no PSI, or has it off "
			"(psi=1)");
	r->seen.reporting = r->agent_reports || stats_come(r, now);
}

static void see(struct resize *r, uint64_t now)
{
	struct balloon_seen *s = &r->seen;
	const struct inventory *inv = r->vm->inventory;

	s->now_usec = now;
	s->host_known = vm_resident_bytes(r->vm, &s->host_bytes) >= 0;
	s->host_bytes -= s->host_bytes < r->other_bytes ? s->host_bytes : r->other_bytes;
	s->report = report_of(r);
	reporting_see(r, now);
	s->can_evict = r->vm->agent == VM_AGENT_LIVE && (r->vm->hello.capabilities & WIRE_CAN_FREE);
	/* What the agent keeps may have changed since QEMU was asked. */
	if (s->actual_known)
		s->actual_bytes = balloon_size(r->b, r->all_bytes);
	resize_taken_see(r);
	s->evict_done = r->evicted;
	s->evict_bytes = r->freed.step_bytes[WIRE_STEP_FREE] + freeing_bytes(&r->freed);
	s->migrating = s->migrating || (inv && inv->migrating);
}

/* A report that the next step waits for is asked for at once. */
static void report_ask(struct resize *r, uint64_t now)
{
	bool waits = (r->run.phase == BALLOON_PHASE_LOOK || r->run.phase == BALLOON_PHASE_CALM) &&
		     r->vm->report_usec <= r->run.phase_usec;

	if (waits || now >= r->vm->report_usec + REPORT_USEC)
		vm_report_ask(r->vm);
}

/* Nothing was begun: an error is the answer. */
static void refusal_see(struct resize *r, enum balloon_phase phase)
{
	struct balloon_next *e = &r->end;

	if (r->run.steps || phase > BALLOON_PHASE_LOOK)
		return;
	if (e->state == BALLOON_FLOOR)
		r->refusal = "refused";
	else if (e->state == BALLOON_OTHER_OWNER)
		r->refusal = "busy";
	else if (e->state == BALLOON_FAILED)
		r->refusal = "failed";
	/* Whoever is at it may be done in a moment. */
	if (e->state == BALLOON_OTHER_OWNER)
		e->state = BALLOON_FAILED;
}

void resize_end_now(struct resize *r)
{
	(void)sd_event_source_set_time_relative(r->timer, 0);
	(void)sd_event_source_set_enabled(r->timer, SD_EVENT_ONESHOT);
}

static void end_begin(struct resize *r, enum balloon_phase phase)
{
	r->is_ending = true;
	r->settle_until_usec = now_usec() + RULES->settle_usec;
	resize_evict_end(r);
	resize_take_end(r);
	/* The size that is left reckons with what was lost. */
	if (r->seen.gave_back)
		r->b->taken_superpages = r->vm->taken_superpages;
	refusal_see(r, phase);
	if (r->end.set)
		resize_set(r, r->end.bytes, NULL, 0);
	else
		resize_end_now(r);
}

/* What is to be unplugged is said once, and absolutely: it may have to be said again. */
static void set(struct resize *r, const struct balloon_next *next)
{
	const struct journal_mems *first = r->b->kept ? &r->b->entry.mems : &r->b->mems;
	const struct plugged_device *d = plugged_fullest(&r->seen.plugged, r->run.unplugged);
	struct journal_mem unplug = { 0 };

	if (!next->unplug_bytes || !d) {
		resize_set(r, next->bytes, NULL,
			   next->take_bytes
				   ? balloon_taken(r->b) + next->take_bytes / WIRE_SUPERPAGE_BYTES
				   : 0);
		return;
	}
	unplug = first->devices[d->index];
	unplug.requested_bytes = d->bytes - next->unplug_bytes;
	/* Somebody may have asked it for less already. */
	if (unplug.requested_bytes > d->requested_bytes)
		unplug.requested_bytes = d->requested_bytes;
	resize_set(r, next->bytes, &unplug, 0);
}

void resize_decide(struct resize *r)
{
	enum balloon_phase phase = r->run.phase;
	struct balloon_next next;

	if (r->is_ending || resize_is_asking(r) || r->is_set_lost)
		return;
	see(r, now_usec());
	balloon_next(RULES, &r->goal, &r->run, &r->seen, &next);
	if (r->run.phase != BALLOON_PHASE_EVICT)
		r->evicted = false;
	switch (next.act) {
	case BALLOON_EVICT:
		resize_evict(r, next.bytes, next.is_whole);
		break;
	case BALLOON_SET:
		set(r, &next);
		break;
	case BALLOON_END:
		r->end = next;
		end_begin(r, phase);
		break;
	default:
		break;
	}
	if (r->run.phase >= BALLOON_PHASE_CALM && !r->is_ending)
		resize_reply_begun(r);
	report_ask(r, r->seen.now_usec);
}

void resize_fail(struct resize *r, const char *reason)
{
	r->end = (struct balloon_next){ .act = BALLOON_END, .state = BALLOON_FAILED };
	snprintf(r->end.reason, sizeof(r->end.reason), "%s", reason);
	if (!r->is_begun && !r->refusal)
		r->refusal = "failed";
	r->is_ending = true;
	r->settle_until_usec = now_usec();
	resize_evict_end(r);
	resize_take_end(r);
	resize_end_now(r);
}

static bool is_settled(const struct resize *r)
{
	return !r->end.set || (r->seen.actual_known && r->seen.actual_bytes == r->end.bytes);
}

void resize_polled(struct resize *r)
{
	if (r->is_ending)
		return;
	if (r->is_begun)
		resize_decide(r);
	else if (r->seen.actual_known)
		resize_begin(r);
	else
		resize_fail(r, "the guest claims a size that it cannot have, so what it has is not "
			       "known");
	if (!r->is_ending)
		resize_progress(r);
}

void resize_set_done(struct resize *r)
{
	resize_decide(r);
}

static void ending_look(struct resize *r, uint64_t now)
{
	if (resize_is_asking(r))
		return;
	if ((!is_settled(r) || r->take) && now < r->settle_until_usec)
		resize_poll(r);
	else if (!resize_stats_end(r))
		resize_reply(r);
}

static void blind_look(struct resize *r)
{
	if (r->is_begun)
		resize_decide(r);
	else if (now_usec() > r->started_usec + RULES->blind_usec)
		resize_fail(r, "QEMU does not answer");
}

static int on_look(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct resize *r = userdata;
	uint64_t now = now_usec();

	(void)usec;
	(void)sd_event_source_set_time_relative(s, LOOK_USEC);
	(void)sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	resize_evict_look(r, now);
	if (!resize_is_asking(r) && resize_set_again(r))
		return 0;
	if (r->is_ending)
		ending_look(r, now);
	else if (!r->vm->qmp || !qmp_is_ready(r->vm->qmp) ||
		 now > r->seen.answered_usec + RULES->blind_usec)
		blind_look(r);
	else if (!resize_is_asking(r) && !(r->is_begun && resize_stats_due(r)))
		resize_poll(r);
	return 0;
}

int resize_start(struct balloon *b, struct call *call, const struct resize_request *request)
{
	struct resize *r;
	int e;

	if (b->resize)
		return -EBUSY;
	if (!b->vm->qmp || !qmp_is_ready(b->vm->qmp))
		return -ENOTCONN;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct resize){
		.b = b,
		.m = b->m,
		.vm = b->vm,
		.request = *request,
		.started_usec = now_usec(),
		.pid = vm_pid(b->vm),
		.stats = { .pressure = BALLOON_BLIND,
			   .oom_kills = BALLOON_UNKNOWN,
			   .alloc_stalls = BALLOON_UNKNOWN },
		.notes = json_array(),
	};
	r->seen.answered_usec = r->started_usec;
	b->resize = r;
	r->has_mems = b->vm->inventory && b->vm->inventory->virtio_mems.n;
	r->has_mems = r->has_mems || (b->kept && b->entry.mems.n);
	if (!b->kept)
		b->mems.n = 0;
	e = sd_event_add_time_relative(r->m->event, &r->timer, CLOCK_MONOTONIC, 0,
				       LOOK_ACCURACY_USEC, on_look, r);
	if (e < 0) {
		resize_free(r);
		return e;
	}
	r->call = call;
	return 0;
}

int resize_stop(struct resize *r, struct call *call)
{
	if (r->stop_call)
		return -EBUSY;
	r->stop_call = call;
	r->seen.stop = true;
	return 0;
}

void resize_restarted(struct resize *r)
{
	r->seen.restarted = true;
}

void resize_paused(struct resize *r)
{
	r->seen.paused = true;
}

void resize_replaced(struct resize *r)
{
	/* What was to be set at the end is not for this one either. */
	r->end.set = r->is_set_lost = false;
	if (!r->is_ending)
		resize_fail(r, "its QEMU has ended, and another one answers there now");
}

void resize_migrating(struct resize *r)
{
	r->seen.migrating = true;
}
