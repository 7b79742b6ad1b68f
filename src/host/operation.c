/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operation.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/operation-parts.h"
#include "host/report.h"

/* Each round takes a survey; a fixpoint is reached in four or five. */
#define ROUNDS_MAX 16
/* A delay of the policy that is waited for rather than reported. */
#define RETRY_MAX_USEC (5 * (uint64_t)USEC_PER_SEC)
#define NAME_USEC      (5 * (uint64_t)USEC_PER_SEC)
/* For all names together: files without one are shown by their inode numbers. */
#define NAMING_USEC (30 * (uint64_t)USEC_PER_SEC)
/* Free page reporting gives back a sixteenth of the free list every 2 s (mm/page_reporting.c). */
#define RETURN_USEC	 (15 * (uint64_t)USEC_PER_SEC)
#define RETURN_CALM_USEC (5 * (uint64_t)USEC_PER_SEC)

static void round_start(struct operation *o);
static void order_next(struct operation *o);

struct operation *operation_free(struct operation *o)
{
	if (!o)
		return NULL;
	if (o->call)
		call_error(o->call, "failed", "the daemon is stopping");
	/* Only we ask guests, and what answers them is about to go. */
	holds_cancel(o->m);
	hold_free(o->hold);
	for (size_t i = 0; i < o->m->n_vms; i++)
		vm_cancel(o->m->vms[i]);
	sd_event_source_disable_unref(o->timer);
	carry_free(o->carry);
	freeing_free(o->freeing);
	plan_done(&o->plan);
	survey_free(o->survey);
	free(o->files);
	free(o->was);
	json_decref(o->files_json);
	json_decref(o->refusals);
	free(o);
	return NULL;
}

/* The picture stays for `status`. */
void operation_end(struct operation *o)
{
	struct manager *m = o->m;

	if (o->survey) {
		survey_free(m->last);
		m->last = TAKE_PTR(o->survey);
	}
	m->operation = NULL;
	o->call = NULL;
	operation_free(o);
}

void operation_fail(struct operation *o, int error, const char *what)
{
	call_error(o->call, error == -ETIMEDOUT ? "timeout" : "failed", "%s: %s", what,
		   strerror(abs(error)));
	/* What is half known is no picture to show. */
	o->survey = survey_free(o->survey);
	operation_end(o);
}

void operation_progress(struct operation *o, const char *stage, uint64_t done, uint64_t total)
{
	call_progress(o->call, json_pack("{ss si sI sI}", "stage", stage, "round", (int)o->round,
					 "done", (json_int_t)done, "total", (json_int_t)total));
}

static void on_survey_progress(struct survey *s, const char *stage, size_t done, size_t total,
			       void *userdata)
{
	(void)s;
	operation_progress(userdata, stage, done, total);
}

static void dup_reply(struct operation *o)
{
	json_t *reply = report_duplicates(o->survey, o->request.vm);

	if (o->files_json)
		json_object_set(reply, "files", o->files_json);
	call_reply(o->call, reply);
	operation_end(o);
}

static void name_next(struct operation *o);

static void on_named(struct vm *vm, int result, const char *path, size_t length, void *userdata)
{
	struct operation *o = userdata;

	(void)vm;
	json_array_append_new(o->files_json, report_file_json(o->survey, &o->files[o->named],
							      result == 0 ? path : NULL, length));
	o->named++;
	name_next(o);
}

static void name_next(struct operation *o)
{
	for (; o->named < o->n_files; o->named++) {
		const struct report_file *f = &o->files[o->named];
		struct vm *vm = o->survey->vms[f->vm].vm;

		operation_progress(o, "name", o->named, o->n_files);
		/* The guest may have been reset since it was scanned. */
		if (!vm->scan || f->file >= vm->scan->n_files)
			continue;
		if (now_usec() < o->naming_until_usec &&
		    vm_name(vm, &vm->scan->files[f->file].file.identity, now_usec() + NAME_USEC,
			    on_named, o) >= 0)
			return;
		json_array_append_new(o->files_json, report_file_json(o->survey, f, NULL, 0));
	}
	dup_reply(o);
}

static void dup_finish(struct operation *o)
{
	int n = 0;

	if (o->request.files)
		n = report_files(o->survey, o->request.vm, o->request.files, &o->files);
	if (n < 0) {
		operation_fail(o, n, "cannot list files");
		return;
	}
	o->n_files = (size_t)n;
	if (o->request.files)
		o->files_json = json_array();
	o->naming_until_usec = now_usec() + NAMING_USEC;
	name_next(o);
}

static int resident_note(struct operation *o)
{
	o->was = calloc(o->m->n_vms + 1, sizeof(*o->was));
	if (!o->was)
		return -ENOMEM;
	for (size_t i = 0; i < o->m->n_vms; i++)
		if (vm_resident_bytes(o->m->vms[i], &o->was[i].bytes) >= 0)
			o->was[i].pid = vm_pid(o->m->vms[i]);
	return 0;
}

/* Of guests that were asked; one that died or was started anew meanwhile has returned nothing. */
static uint64_t returned_bytes(const struct operation *o)
{
	uint64_t sum = 0, bytes;

	for (size_t i = 0; i < o->m->n_vms; i++)
		if ((!o->request.vm || o->request.vm == o->m->vms[i]) && o->was[i].pid > 0 &&
		    vm_pid(o->m->vms[i]) == o->was[i].pid &&
		    vm_resident_bytes(o->m->vms[i], &bytes) >= 0 && bytes < o->was[i].bytes)
			sum += o->was[i].bytes - bytes;
	return sum;
}

static void reclaim_reply(struct operation *o)
{
	json_t *orders = json_array();

	for (uint64_t id = o->first_id; id <= o->m->ledger.count; id++) {
		const struct ledger_entry *e = ledger_find(&o->m->ledger, id);

		if (e)
			json_array_append_new(orders, ledger_order_json(e));
	}
	call_reply(o->call,
		   json_pack("{so sI sI sI sb si so}", "orders", orders, "evicted_bytes",
			     (json_int_t)(o->evicted * BLOCK_BYTES), "trimmed_bytes",
			     (json_int_t)(o->trimmed * BLOCK_BYTES), "host_returned_bytes",
			     (json_int_t)o->returned, "dry_run", o->request.dry_run, "rounds",
			     (int)o->round, "refused", json_incref(o->refusals)));
	operation_end(o);
}

static void refusals_note(struct operation *o)
{
	json_array_clear(o->refusals);
	for (size_t i = 0; i < o->plan.n_refusals; i++) {
		const struct plan_refusal *r = &o->plan.refusals[i];

		json_array_append_new(o->refusals,
				      json_pack("{ss? ss? ss}", "vm",
						r->guest == SNAPSHOT_NONE
							? NULL
							: o->survey->vms[r->guest].vm->config.name,
						"image",
						r->image == SNAPSHOT_NONE
							? NULL
							: o->survey->images[r->image].path,
						"reason", r->reason));
	}
}

static struct ledger_entry *order_enter(struct operation *o, const struct plan_order *order)
{
	struct ledger_entry *e = ledger_add(&o->m->ledger, o->survey->images[order->image].path);

	e->round = o->round;
	e->dry_run = o->request.dry_run;
	e->step = order->step;
	e->action = order->action;
	e->asked = order->n_blocks;
	e->inputs = order->inputs;
	/* Without memory for it, explain knows one thing less. */
	e->blocks = blockset_copy(order->blocks);
	if (e->blocks)
		blockset_optimize(e->blocks);
	if (order->guest != SNAPSHOT_NONE)
		snprintf(e->vm, sizeof(e->vm), "%s", o->survey->vms[order->guest].vm->config.name);
	snprintf(e->reason, sizeof(e->reason), "%s", order->reason);
	return e;
}

static void order_settle(struct operation *o, const struct plan_order *order,
			 const struct ledger_entry *e)
{
	*(order->action == PLAN_TRIM ? &o->trimmed : &o->evicted) += e->done;
	log_notice("order %" PRIu64 ": %s %s%s%s: %" PRIu64 " of %" PRIu64 " pages%s%s; %s", e->id,
		   plan_action_name(e->action), e->vm, *e->vm ? " " : "", e->image, e->done,
		   e->asked, *e->error ? ", " : "", e->error, e->reason);
	if (policy_applied(&o->m->state, &o->survey->snapshot, order, now_usec(),
			   e->done * BLOCK_BYTES) < 0)
		log_warning("order %" PRIu64 ": out of memory, its outcome is not remembered",
			    e->id);
}

static void on_carry_progress(struct carry *c, uint64_t done, uint64_t total, void *userdata)
{
	(void)c;
	operation_progress(userdata, "evict", done * BLOCK_BYTES, total * BLOCK_BYTES);
}

static void on_carried(struct carry *c, void *userdata)
{
	struct operation *o = userdata;
	const struct plan_order *order = &o->plan.orders[o->next_order];

	(void)c;
	order_settle(o, order, ledger_find(&o->m->ledger, o->m->ledger.count));
	o->carry = carry_free(o->carry);
	o->next_order++;
	order_next(o);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	(void)s;
	(void)usec;
	round_start(userdata);
	return 0;
}

static int timer_set(struct operation *o, uint64_t usec, sd_event_time_handler_t handler)
{
	o->timer = sd_event_source_disable_unref(o->timer);
	return sd_event_add_time_relative(o->m->event, &o->timer, CLOCK_MONOTONIC, usec, 0, handler,
					  o);
}

static void order_next(struct operation *o)
{
	for (; o->next_order < o->plan.n_orders; o->next_order++) {
		const struct plan_order *order = &o->plan.orders[o->next_order];
		struct ledger_entry *e = order_enter(o, order);
		int r;

		if (o->request.dry_run)
			continue;
		r = carry_start(o->survey, order, e, on_carry_progress, on_carried, o, &o->carry);
		if (r >= 0) {
			operation_progress(o, plan_action_name(order->action), o->next_order,
					   o->plan.n_orders);
			return;
		}
		snprintf(e->error, sizeof(e->error), "%s", strerror(-r));
		e->kept_failed = e->asked;
		order_settle(o, order, e);
	}
	if (o->request.dry_run || o->round >= ROUNDS_MAX)
		operation_wait(o);
	else
		round_start(o);
}

/* Nothing to do now: done, or to be tried again when the policy's delay has passed. */
static void plan_empty(struct operation *o)
{
	uint64_t now = now_usec(), retry = o->plan.retry_usec;

	if (!retry || o->request.dry_run || o->round >= ROUNDS_MAX || retry > now + RETRY_MAX_USEC)
		operation_wait(o);
	else if (timer_set(o, retry > now ? retry - now : 0, on_timer) < 0)
		operation_wait(o);
}

static void plan_make(struct operation *o)
{
	struct policy_request request = {
		.guest = o->request.vm ? o->request.vm->config.name : NULL,
		.asked = true,
	};
	uint64_t done = (o->evicted + o->trimmed) * BLOCK_BYTES;
	char text[PLAN_REASON_MAX] = "";
	int r;

	if (o->request.bytes && done >= o->request.bytes) {
		operation_wait(o);
		return;
	}
	request.bytes = o->request.bytes ? o->request.bytes - done : 0;
	plan_done(&o->plan);
	o->next_order = 0;
	r = policy_decide(&o->survey->snapshot, &o->m->policy, &o->m->state, &request, &o->plan);
	if (r >= 0)
		r = plan_check(&o->survey->snapshot, &o->m->policy, &request, &o->plan, text);
	if (r == -EINVAL)
		log_error("A plan failed its check, nothing is done: %s", text);
	if (r < 0) {
		operation_fail(o, r, "cannot decide");
		return;
	}
	refusals_note(o);
	if (o->plan.n_orders)
		order_next(o);
	else
		plan_empty(o);
}

static void on_survey_done(struct survey *s, int result, void *userdata)
{
	struct operation *o = userdata;

	(void)s;
	if (result < 0)
		operation_fail(o, result, "cannot look at the guests and images");
	else if (o->request.kind == OPERATION_RECLAIM)
		plan_make(o);
	else
		dup_finish(o);
}

static void round_start(struct operation *o)
{
	int r;

	plan_done(&o->plan);
	o->survey = survey_free(o->survey);
	o->round++;
	r = manager_survey(o->m, on_survey_progress, on_survey_done, o, &o->survey);
	if (r < 0)
		operation_fail(o, r, "cannot look at the guests and images");
}

static void wait_end(struct operation *o)
{
	if (o->request.kind == OPERATION_FREE)
		operation_free_reply(o);
	else
		reclaim_reply(o);
}

static int on_wait(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct operation *o = userdata;
	uint64_t now = now_usec();

	(void)s;
	(void)usec;
	o->returned = returned_bytes(o);
	if (o->returned > o->returned_most + (1 << 20)) {
		o->returned_most = o->returned;
		o->calm_since_usec = now;
	}
	operation_progress(o, "wait", o->returned, o->evicted * BLOCK_BYTES);
	if (now > o->waiting_since_usec + RETURN_USEC ||
	    now > o->calm_since_usec + RETURN_CALM_USEC || timer_set(o, USEC_PER_SEC, on_wait) < 0)
		wait_end(o);
	return 0;
}

void operation_wait(struct operation *o)
{
	o->waiting_since_usec = o->calm_since_usec = now_usec();
	if (!o->evicted || timer_set(o, USEC_PER_SEC, on_wait) < 0)
		wait_end(o);
}

int operation_start(struct manager *m, struct call *call, const struct operation_request *request)
{
	struct operation *o;
	int r;

	if (m->operation)
		return -EBUSY;
	holds_cancel(m);
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	*o = (struct operation){
		.m = m,
		.call = call,
		.request = *request,
		.round = 1,
		.first_id = m->ledger.count + 1,
		.refusals = json_array(),
	};
	m->operation = o;
	r = resident_note(o);
	if (r >= 0 && request->kind == OPERATION_FREE)
		r = operation_free_begin(o);
	else if (r >= 0)
		r = manager_survey(m, on_survey_progress, on_survey_done, o, &o->survey);
	if (r < 0) {
		m->operation = NULL;
		o->call = NULL;
		operation_free(o);
	}
	return r;
}
