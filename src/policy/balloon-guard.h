/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a guest's balloon is left alone: after it went badly, after somebody else moved it, and
 * while the guest boots. No I/O, no clock, no log.
 */
#ifndef PAGEPACT_POLICY_BALLOON_GUARD_H
#define PAGEPACT_POLICY_BALLOON_GUARD_H

#include "policy/balloon.h"

/**
 * struct balloon_guard - of one guest; all zero to begin with
 * @quarantine_until_usec: no inflation before; 0 none; @quarantine_reason: why
 * @owner_until_usec: no target of ours at all before; 0 none
 * @resting: the size was seen at @target_bytes since that was set, so that a change is news
 * @target_bytes: that we set last; 0: none of ours holds
 * @restarted_usec: when the guest was last restarted; 0: its size needs no resuming
 * @resume_bytes: the size that was asked for before that
 */
struct balloon_guard {
	uint64_t quarantine_until_usec;
	char quarantine_reason[BALLOON_REASON_MAX];
	uint64_t owner_until_usec;
	bool resting;
	uint64_t target_bytes;
	uint64_t restarted_usec;
	uint64_t resume_bytes;
};

/** balloon_guard_end() - note how a resize ended */
void balloon_guard_end(struct balloon_guard *guard, const struct balloon_rules *rules,
		       const struct balloon_next *end, uint64_t now_usec);

/**
 * balloon_guard_refusal() - why a target may not be set now
 * @inflate: the guest is to become smaller
 * @text: of BALLOON_REASON_MAX * 2 bytes, filled when there is a reason
 *
 * Return: whether there is one.
 */
bool balloon_guard_refusal(const struct balloon_guard *guard, uint64_t now_usec, bool inflate,
			   char *text);

/* Who moved a size that is not ours any more. */
enum balloon_owner {
	BALLOON_OWNER_NONE,
	BALLOON_OWNER_MAYBE_GUEST, /* it has more: its driver went, it hibernated, or it took back
				    */
	BALLOON_OWNER_OTHER,	   /* it has less than we left it */
};

/**
 * balloon_guard_watch() - look at a size while no resize is under way
 * @actual_bytes: within the guest's memory
 * @deflate_on_oom: as for struct balloon_goal
 *
 * Return: not NONE once, when it was moved; then @guard knows.
 */
enum balloon_owner balloon_guard_watch(struct balloon_guard *guard,
				       const struct balloon_rules *rules, uint64_t now_usec,
				       uint64_t actual_bytes, bool deflate_on_oom);

/** balloon_guard_restart() - the guest was restarted; @wanted_bytes: to be resumed, or 0 */
void balloon_guard_restart(struct balloon_guard *guard, uint64_t now_usec, uint64_t wanted_bytes);

/** balloon_guard_resume() - the size to be resumed now, once; 0: none (yet) */
uint64_t balloon_guard_resume(struct balloon_guard *guard, const struct balloon_rules *rules,
			      uint64_t now_usec, bool agent_live);

#endif
