/* SPDX-License-Identifier: Apache-2.0 */
#include "host/freeing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* An agent answers within the first, so that a person sees progress; it is late after the other. */
#define TURN_USEC   (2 * (uint32_t)USEC_PER_SEC)
#define ANSWER_USEC (TURN_USEC + 10 * (uint64_t)USEC_PER_SEC)
#define TOTAL_USEC  (120 * (uint64_t)USEC_PER_SEC)
/* Between two messages, whatever the agent answers. */
#define PAUSE_USEC (USEC_PER_SEC / 10)
/*
 * How much more than asked for an honest agent frees: folios and superpages go whole, and it evicts
 * in batches. Empty slab pages go by cache, and may be any number.
 */
#define OVERSHOOT_BYTES ((uint64_t)64 << 20)
#define WHOLE_DIVISOR	8

struct freeing {
	struct vm *vm;
	uint64_t bytes;
	bool is_whole;
	struct ledger_entry *entry;
	freeing_progress_fn *progress;
	freeing_done_fn *done;
	void *userdata;
	uint64_t started_usec;
	uint64_t asked_bytes; /* by the message under way */
	sd_event_source *timer;
};

struct freeing *freeing_free(struct freeing *f)
{
	if (!f)
		return NULL;
	vm_give_cancel(f->vm, f);
	sd_event_source_disable_unref(f->timer);
	free(f);
	return NULL;
}

uint64_t freeing_bytes(const struct ledger_entry *entry)
{
	uint64_t sum = 0;

	for (int i = 0; i < WIRE_STEPS; i++)
		if (i != WIRE_STEP_FREE)
			sum += entry->step_bytes[i];
	return sum;
}

/* What was free before counts towards what was asked for. */
static uint64_t done_bytes(const struct ledger_entry *entry)
{
	return entry->step_bytes[WIRE_STEP_FREE] + freeing_bytes(entry);
}

static void freeing_end(struct freeing *f, const char *error)
{
	struct ledger_entry *e = f->entry;

	snprintf(e->error, sizeof(e->error), "%s", error);
	e->done = freeing_bytes(e) / BLOCK_BYTES;
	e->usec = now_usec() - f->started_usec;
	f->done(f, f->userdata);
}

/* Whole superpages are taken of what lies above its watermarks, which is freed first. */
static uint64_t overshoot(const struct freeing *f, uint64_t ram)
{
	return f->is_whole ? OVERSHOOT_BYTES + ram / WHOLE_DIVISOR : OVERSHOOT_BYTES;
}

/*
 * Not: memory that the guest does not have, or more than was asked for. Each answer's sum fits 63
 * bits (wire_decode()), and so does that of those before.
 */
static bool answer_valid(const struct freeing *f, const struct wire_freed *a)
{
	const struct vm *vm = f->vm;
	uint64_t ram = vm->inventory && vm->inventory->memory_bytes
			       ? vm->inventory->memory_bytes
			       : vm->hello.ram_pages * WIRE_BLOCK_BYTES;
	uint64_t before = done_bytes(f->entry);
	uint64_t evicted = a->step_bytes[WIRE_STEP_HELD] + a->step_bytes[WIRE_STEP_SUPERPAGE] +
			   a->step_bytes[WIRE_STEP_COLD];

	return a->asked_bytes == f->asked_bytes &&
	       (f->entry->turns || a->step_bytes[WIRE_STEP_FREE] <= f->bytes) &&
	       a->step_bytes[WIRE_STEP_SLAB] <= ram && evicted <= ram &&
	       evicted <= f->asked_bytes + overshoot(f, ram) &&
	       before + a->step_bytes[WIRE_STEP_FREE] + a->step_bytes[WIRE_STEP_SLAB] + evicted <=
		       INT64_MAX;
}

const char *freeing_failure(int error)
{
	switch (error) {
	case -EREMOTEIO:
		return "the agent refused the order";
	case -EINTR:
		return "the guest was paused or restarted, or its agent, before it answered";
	case -ENOTCONN:
		return "the guest has gone before it answered";
	case -ETIMEDOUT:
		return "the guest did not answer the order";
	case -EBUSY:
		return "the guest had another order all the time";
	default:
		return strerror(-error);
	}
}

static void turn_later(struct freeing *f);

static void on_freed(struct vm *vm, int result, const struct wire_freed *a, void *userdata)
{
	struct freeing *f = userdata;
	struct ledger_entry *e = f->entry;

	(void)vm;
	if (result < 0) {
		freeing_end(f, freeing_failure(result));
		return;
	}
	if (!answer_valid(f, a)) {
		freeing_end(f, "the agent claims what cannot be: more than it was asked for, or "
			       "than the guest has");
		return;
	}
	for (int i = 0; i < WIRE_STEPS; i++)
		if (i != WIRE_STEP_FREE || !e->turns)
			e->step_bytes[i] += a->step_bytes[i];
	e->turns++;
	e->stopped = a->stopped;
	e->brake = a->brake;
	f->progress(f, done_bytes(e), f->userdata);
	if (a->stopped != WIRE_STOPPED_TIME || done_bytes(e) >= f->bytes ||
	    now_usec() > f->started_usec + TOTAL_USEC)
		freeing_end(f, "");
	else
		turn_later(f);
}

static int on_turn(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct freeing *f = userdata;
	uint32_t flags =
		(f->entry->turns ? WIRE_FREE_MORE : 0u) | (f->is_whole ? WIRE_FREE_WHOLE : 0u);
	int r;

	(void)s;
	(void)usec;
	f->asked_bytes = f->bytes - done_bytes(f->entry);
	r = vm_give(f->vm, f->asked_bytes, flags, TURN_USEC, now_usec() + ANSWER_USEC, on_freed, f);
	/* Somebody else's question to this guest is open: after it. */
	if (r == -EBUSY && now_usec() < f->started_usec + TOTAL_USEC)
		turn_later(f);
	else if (r < 0)
		freeing_end(f, freeing_failure(r));
	return 0;
}

static int turn_after(struct freeing *f, uint64_t usec)
{
	f->timer = sd_event_source_disable_unref(f->timer);
	return sd_event_add_time_relative(f->vm->event, &f->timer, CLOCK_MONOTONIC, usec, 0,
					  on_turn, f);
}

static void turn_later(struct freeing *f)
{
	int r = turn_after(f, PAUSE_USEC);

	if (r < 0)
		freeing_end(f, freeing_failure(r));
}

int freeing_start(struct vm *vm, uint64_t bytes, bool is_whole, struct ledger_entry *entry,
		  freeing_progress_fn *progress, freeing_done_fn *done, void *userdata,
		  struct freeing **ret)
{
	struct freeing *f;
	int r;

	if (vm->agent != VM_AGENT_LIVE)
		return -ENOTCONN;
	if (!(vm->hello.capabilities & WIRE_CAN_FREE))
		return -EOPNOTSUPP;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	*f = (struct freeing){
		.vm = vm,
		.bytes = bytes,
		.is_whole = is_whole,
		.entry = entry,
		.progress = progress,
		.done = done,
		.userdata = userdata,
		.started_usec = now_usec(),
	};
	r = turn_after(f, 0);
	if (r < 0) {
		freeing_free(f);
		return r;
	}
	*ret = f;
	return 0;
}
