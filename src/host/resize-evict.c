/* SPDX-License-Identifier: Apache-2.0 */
/* What a resize has the guest's agent evict: first it is told what the host holds. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/operation.h"
#include "host/resize-parts.h"

/* What the agent is told is true for 60 s (wire/message.h). */
#define TOLD_USEC (45 * (uint64_t)USEC_PER_SEC)
/* For others' telling to end; then without. */
#define HOLD_USEC (20 * (uint64_t)USEC_PER_SEC)

static void evict_ended(struct resize *r, const char *error)
{
	if (error[0])
		resize_note(r, "eviction in the guest: %s", error);
	r->evicted_bytes += freeing_bytes(&r->freed);
	r->evicted = true;
	resize_decide(r);
}

static void on_progress(struct freeing *f, uint64_t done_bytes, void *userdata)
{
	(void)f;
	(void)done_bytes;
	resize_progress(userdata);
}

static void on_freed(struct freeing *f, void *userdata)
{
	struct resize *r = userdata;

	(void)f;
	r->freeing = freeing_free(r->freeing);
	evict_ended(r, r->freed.error);
}

static void free_start(struct resize *r)
{
	int e = freeing_start(r->vm, r->evict_bytes, r->evict_whole, &r->freed, on_progress,
			      on_freed, r, &r->freeing);

	if (e < 0)
		evict_ended(r, freeing_failure(e));
}

/* It is a hint: without it, the guest is asked all the same. */
static void on_held(struct hold *h, int result, uint64_t blocks, void *userdata)
{
	struct resize *r = userdata;

	(void)h;
	r->m->hold = hold_free(r->m->hold);
	r->hold = NULL;
	if (result >= 0)
		r->told_usec = now_usec();
	if (result < 0)
		resize_note(r, "it was not told what the host holds: %s", strerror(-result));
	else
		log_debug("%s: told of %llu blocks that the host holds", r->vm->config.name,
			  (unsigned long long)blocks);
	free_start(r);
}

static void hold_begin(struct resize *r)
{
	int e;

	r->hold_wanted = false;
	e = hold_start(r->m, r->vm, true, on_held, r, &r->m->hold);
	if (e < 0)
		free_start(r);
	else
		r->hold = r->m->hold;
}

void resize_evict(struct resize *r, uint64_t bytes, bool is_whole)
{
	r->evict_whole = is_whole;
	r->evict_bytes = bytes;
	r->freed = (struct ledger_entry){ 0 };
	if (r->told_usec && now_usec() < r->told_usec + TOLD_USEC) {
		free_start(r);
		return;
	}
	r->hold_wanted = true;
	r->hold_until_usec = now_usec() + HOLD_USEC;
	resize_evict_look(r, now_usec());
}

/* One survey looks at the images at a time: a person's goes first, and other guests' resizes. */
void resize_evict_look(struct resize *r, uint64_t now)
{
	if (!r->hold_wanted)
		return;
	if (!r->m->hold && !r->m->operation) {
		hold_begin(r);
		return;
	}
	if (now < r->hold_until_usec)
		return;
	r->hold_wanted = false;
	resize_note(r, "it was not told what the host holds: that is being looked at for others");
	free_start(r);
}

void resize_evict_end(struct resize *r)
{
	r->hold_wanted = false;
	if (r->hold)
		r->m->hold = hold_free(r->m->hold);
	r->hold = NULL;
	if (r->freeing)
		r->evicted_bytes += freeing_bytes(&r->freed);
	r->freeing = freeing_free(r->freeing);
}
