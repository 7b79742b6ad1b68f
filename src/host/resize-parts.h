/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a resize share, and nobody else. */
#ifndef PAGEPACT_HOST_RESIZE_PARTS_H
#define PAGEPACT_HOST_RESIZE_PARTS_H

#include "host/balloon-result.h"
#include "host/freeing.h"
#include "host/hold.h"
#include "host/resize.h"
#include "host/take.h"

struct resize {
	struct balloon *b;
	struct manager *m;
	struct vm *vm;
	struct call *call, *stop_call;
	struct resize_request request;
	uint64_t started_usec;
	pid_t pid; /* of the QEMU that all of it is for */
	sd_event_source *timer;

	/* The policy's. The goal is known after the first look. */
	bool is_begun;
	struct balloon_goal goal;
	struct balloon_run run;
	struct balloon_seen seen;
	struct balloon_next end;
	bool is_ending;
	const char *refusal; /* the code of an error instead of an answer, or NULL; static */
	uint64_t settle_until_usec;

	/* resize-qmp.c */
	uint64_t command; /* outstanding; 0: none */
	struct qmp *qmp;  /* that it was sent to */
	struct dial dial;
	uint64_t set_bytes, former_bytes;
	struct journal_mem unplug; /* what is to be set in place of a target; or no id */
	bool has_mems;
	bool balloon_known; /* as QEMU told it last, without what is plugged in */
	uint64_t balloon_bytes;
	uint64_t all_bytes;   /* by QEMU's account */
	uint64_t other_bytes; /* plugged in, and not counted in the guest's size */
	bool is_set_lost;     /* the answer is: it is to be set again */

	/* resize-stats.c: without an agent's reports */
	bool stats_tried, stats_on;
	bool agent_was_live, agent_reports; /* at the last look */
	uint64_t stats_begun_usec, stats_asked_usec;
	int64_t stats_update; /* seconds of the guest's last answer */
	struct balloon_report stats;

	/* resize-evict.c */
	struct hold *hold;
	bool hold_wanted;
	uint64_t hold_until_usec, told_usec;
	struct freeing *freeing;
	struct ledger_entry freed; /* by the eviction under way */
	uint64_t evict_bytes;	   /* asked for by it */
	bool evict_whole;
	uint64_t evicted_bytes; /* by all */
	bool evicted;

	/* resize-take.c */
	struct take *take;	  /* under way, or NULL */
	uint64_t take_asked;	  /* by the one under way, or the last */
	bool take_cut;		  /* one ended before its time */
	uint64_t take_superpages; /* of the target that is to be set: in all; 0: none are taken */

	uint64_t lacking_bytes; /* unplugged when it began */
	uint64_t first_taken_bytes, first_out_bytes;
	bool host_first_known;
	uint64_t host_first_bytes;
	uint64_t order;
	json_t *notes;
};

/** resize_note() - something to know about it, once each */
void resize_note(struct resize *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** resize_begin() - the first look tells what a relative size is relative to; or it fails */
void resize_begin(struct resize *r);

/** resize_decide() - after a look, or when something has ended */
void resize_decide(struct resize *r);

/** resize_end_now() - no need to wait for the next look */
void resize_end_now(struct resize *r);

/** resize_fail() - it ends without another look */
void resize_fail(struct resize *r, const char *reason);

/* resize-qmp.c. Each fails with -ESTALE, and the resize ends, where another QEMU answers at the
 * path by now: what was asked of the one before is not for it. Each is answered by resize_polled(),
 * resize_set_done() or nothing: a lost command is tried again by the timer. */
int resize_command(struct resize *r, const char *name, json_t *arguments, qmp_reply_fn *fn);
void resize_poll(struct resize *r);
/**
 * resize_set() - ask whether QEMU migrates, write the journal, set a target
 * @unplug: as in struct dial_request, or NULL
 * @take: in place of that: so many superpages are to be out of use, in all; 0: none are taken, and
 *	those that are too many for the target are given back
 */
void resize_set(struct resize *r, uint64_t bytes, const struct journal_mem *unplug, uint64_t take);
/** resize_is_asking() - whether an answer of QEMU's is awaited */
bool resize_is_asking(const struct resize *r);
/** resize_set_again() - where its answer was lost. Return: whether it was. */
bool resize_set_again(struct resize *r);
void resize_polled(struct resize *r);
void resize_set_done(struct resize *r);
void resize_command_cancel(struct resize *r);

/* resize-stats.c */
/** resize_stats_due() - whether a command was sent for them */
bool resize_stats_due(struct resize *r);
/** resize_stats_end() - set the interval back; resize_decide() follows. Return: whether it does. */
bool resize_stats_end(struct resize *r);

/* resize-evict.c */
/** resize_evict() - @is_whole: as whole superpages */
void resize_evict(struct resize *r, uint64_t bytes, bool is_whole);
void resize_evict_look(struct resize *r, uint64_t now);
void resize_evict_end(struct resize *r);

/* resize-take.c */
/** resize_take() - have so many superpages out of use, in all */
void resize_take(struct resize *r, uint64_t superpages);
/** resize_taken_see() - whether more can be taken, and whether some were lost */
void resize_taken_see(struct resize *r);
/** resize_taken_lost() - how many are in use again that nobody was asked to give back */
uint64_t resize_taken_lost(const struct resize *r);
void resize_take_end(struct resize *r);

/* resize-reply.c */
void resize_progress(struct resize *r);
void resize_reply_begun(struct resize *r);
/** resize_reply() - answer, remember, log; frees @r */
void resize_reply(struct resize *r);

#endif
