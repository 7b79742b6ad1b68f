/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One resize of one guest, carried out: looks, asks policy/balloon.h what is next, and does it.
 *
 * How it works
 *
 * A timer looks every 250 ms: QEMU's account of the guest's size, the host's of its memory, the
 * agent's report or the balloon's statistics. One command of QMP is outstanding at a time, and
 * nothing is decided meanwhile. What was decided is looked at again before it is done: QEMU is
 * asked whether it migrates, and the journal is written, before each target.
 */
#ifndef PAGEPACT_HOST_RESIZE_H
#define PAGEPACT_HOST_RESIZE_H

#include "base/parse.h"
#include "host/balloons.h"

/**
 * struct resize_request - what is wanted
 * @size: of the guest, or the change of it
 * @by: not BALLOON_BY_SUPERPAGES with BALLOON_CACHE_ONLY
 * @timeout_usec: for all of it
 * @no_wait: the call is answered when it has begun
 */
struct resize_request {
	struct size_text size;
	enum balloon_cache cache;
	enum balloon_by by;
	uint64_t timeout_usec;
	bool dry_run;
	bool no_wait;
};

/**
 * resize_start() - begin; the guest has a balloon, runs, and may be acted on unless it is a dry run
 * @call: to be answered when it has ended; NULL: nobody waits
 *
 * Return: 0; or -errno, and @call is still the caller's to answer.
 */
int resize_start(struct balloon *b, struct call *call, const struct resize_request *request);

/** resize_stop() - end it where it is, and answer @call as the other one; one at a time */
int resize_stop(struct resize *r, struct call *call);

/* What QEMU told of the guest. */
void resize_restarted(struct resize *r);
void resize_paused(struct resize *r);
void resize_migrating(struct resize *r);
void resize_replaced(struct resize *r);

/** resize_free() - give up; its calls are answered. Return: NULL. */
struct resize *resize_free(struct resize *r);

/** resize_json() - how far it is; a new reference */
json_t *resize_json(const struct resize *r);

#endif
