/* SPDX-License-Identifier: Apache-2.0 */
/* The operation `free`: one guest is asked to free memory by its own order of reclaim. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/operation-parts.h"

#define SCAN_USEC (120 * (uint64_t)USEC_PER_SEC)

void operation_free_reply(struct operation *o)
{
	const struct ledger_entry *e = o->entry;

	call_reply(o->call,
		   json_pack("{ss sI sI sI so ss ss si sI sI sI ss? sb}", "vm",
			     o->request.vm->config.name, "order", (json_int_t)e->id, "asked_bytes",
			     (json_int_t)o->request.bytes, "freed_bytes",
			     (json_int_t)freeing_bytes(e), "steps", ledger_steps_json(e), "stopped",
			     wire_stopped_name(e->stopped), "brake", wire_brake_name(e->brake),
			     "messages", (int)e->turns, "told_held_bytes",
			     (json_int_t)(e->held * BLOCK_BYTES), "host_returned_bytes",
			     (json_int_t)o->returned, "usec", (json_int_t)e->usec, "error",
			     e->error[0] ? e->error : NULL, "dry_run", false));
	operation_end(o);
}

static void on_progress(struct freeing *f, uint64_t done_bytes, void *userdata)
{
	struct operation *o = userdata;

	(void)f;
	operation_progress(o, "free", done_bytes < o->request.bytes ? done_bytes : o->request.bytes,
			   o->request.bytes);
}

static void on_freed(struct freeing *f, void *userdata)
{
	struct operation *o = userdata;
	const struct ledger_entry *e = o->entry;

	(void)f;
	log_notice("order %" PRIu64 ": free %s: %" PRIu64 " of %" PRIu64 " pages, %s%s%s", e->id,
		   e->vm, e->done, e->asked, wire_stopped_name(e->stopped), *e->error ? ", " : "",
		   e->error);
	o->freeing = freeing_free(o->freeing);
	o->evicted = e->done;
	operation_wait(o);
}

const struct vm *operation_freeing(const struct manager *m)
{
	return m->operation && m->operation->freeing ? m->operation->request.vm : NULL;
}

static void free_start(struct operation *o)
{
	struct ledger_entry *e = o->entry;
	int r = freeing_start(o->request.vm, o->request.bytes, false, e, on_progress, on_freed, o,
			      &o->freeing);

	if (r >= 0)
		return;
	snprintf(e->error, sizeof(e->error), "%s", freeing_failure(r));
	operation_free_reply(o);
}

/* It is a hint: without it, the guest is asked all the same. */
static void on_held(struct hold *h, int result, uint64_t blocks, void *userdata)
{
	struct operation *o = userdata;

	(void)h;
	o->hold = hold_free(o->hold);
	o->entry->held = blocks;
	if (result < 0)
		log_info("%s: cannot be told what the host holds: %s", o->entry->vm,
			 strerror(-result));
	free_start(o);
}

static void free_begin(struct operation *o)
{
	struct vm *vm = o->request.vm;
	struct ledger_entry *e = ledger_add(&o->m->ledger, "");

	e->free = true;
	e->round = 1;
	e->asked = (o->request.bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
	e->before_known = vm->report_usec > 0;
	e->before = vm->report;
	snprintf(e->vm, sizeof(e->vm), "%s", vm->config.name);
	snprintf(e->reason, sizeof(e->reason), "asked for by command");
	o->entry = e;
	operation_progress(o, "look", 0, 1);
	if (hold_start(o->m, vm, false, on_held, o, &o->hold) < 0)
		free_start(o);
}

/* What the order could find at most: which of it was used lately, the agent knows alone. */
static void on_scan(struct vm *vm, int result, const char *error, void *userdata)
{
	struct operation *o = userdata;
	const struct wire_census *c;

	if (result < 0) {
		call_error(o->call, result == -ETIMEDOUT ? "timeout" : "failed", "%s: %s",
			   vm->config.name, error);
		operation_end(o);
		return;
	}
	c = &vm->scan->end.census;
	call_reply(o->call,
		   json_pack("{ss sn sI sI s[{ss sI} {ss sn} {ss sI}] sn sn si sI sI sI sn sb}",
			     "vm", vm->config.name, "order", "asked_bytes",
			     (json_int_t)o->request.bytes, "freed_bytes", (json_int_t)0, "steps",
			     "step", "free", "bytes", (json_int_t)(c->free * BLOCK_BYTES), "step",
			     "slab", "bytes", "step", "unmapped_clean", "bytes",
			     (json_int_t)(c->unmapped_clean * BLOCK_BYTES), "stopped", "brake",
			     "messages", 0, "told_held_bytes", (json_int_t)0, "host_returned_bytes",
			     (json_int_t)0, "usec", (json_int_t)0, "error", "dry_run", true));
	operation_end(o);
}

int operation_free_begin(struct operation *o)
{
	if (!o->request.dry_run) {
		free_begin(o);
		return 0;
	}
	operation_progress(o, "scan", 0, 1);
	return vm_scan(o->request.vm, now_usec() + SCAN_USEC, on_scan, o);
}
