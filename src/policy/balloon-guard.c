/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/balloon-guard.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define USEC_PER_SEC 1000000

/* Where it may be the guest's own act, the target holds: what goes below it is proof. */
static void owner_see(struct balloon_guard *guard, const struct balloon_rules *rules,
		      uint64_t now_usec, bool proven)
{
	guard->owner_until_usec = now_usec + rules->owner_usec;
	guard->restarted_usec = guard->resume_bytes = 0;
	if (!proven)
		return;
	guard->target_bytes = 0;
	guard->resting = false;
}

void balloon_guard_end(struct balloon_guard *guard, const struct balloon_rules *rules,
		       const struct balloon_next *end, uint64_t now_usec)
{
	if (end->quarantine) {
		guard->quarantine_until_usec = now_usec + rules->quarantine_usec;
		memcpy(guard->quarantine_reason, end->reason, sizeof(end->reason));
	}
	if (end->state == BALLOON_OTHER_OWNER)
		owner_see(guard, rules, now_usec, !end->maybe_guest);
}

static uint64_t seconds_left(uint64_t until_usec, uint64_t now_usec)
{
	return (until_usec - now_usec + USEC_PER_SEC - 1) / USEC_PER_SEC;
}

bool balloon_guard_refusal(const struct balloon_guard *guard, uint64_t now_usec, bool inflate,
			   char *text)
{
	if (now_usec < guard->owner_until_usec)
		snprintf(text, BALLOON_REASON_MAX * 2,
			 "somebody else moves its balloon: hands off for another %" PRIu64 " s",
			 seconds_left(guard->owner_until_usec, now_usec));
	else if (inflate && now_usec < guard->quarantine_until_usec)
		snprintf(text, BALLOON_REASON_MAX * 2,
			 "it went badly last time (%s): it is not made smaller for another %" PRIu64
			 " s",
			 guard->quarantine_reason,
			 seconds_left(guard->quarantine_until_usec, now_usec));
	else
		return false;
	return true;
}

enum balloon_owner balloon_guard_watch(struct balloon_guard *guard,
				       const struct balloon_rules *rules, uint64_t now_usec,
				       uint64_t actual_bytes, bool deflate_on_oom)
{
	uint64_t target = guard->target_bytes;
	bool proven = actual_bytes < target;
	uint64_t apart = actual_bytes > target ? actual_bytes - target : target - actual_bytes;

	if (!target)
		return BALLOON_OWNER_NONE;
	if (apart <= (deflate_on_oom ? rules->owner_oom_bytes : rules->owner_bytes)) {
		guard->resting = true;
		return BALLOON_OWNER_NONE;
	}
	/* A guest that comes and goes is told of once an hour. */
	if (!guard->resting || (!proven && now_usec < guard->owner_until_usec))
		return BALLOON_OWNER_NONE;
	owner_see(guard, rules, now_usec, proven);
	return proven ? BALLOON_OWNER_OTHER : BALLOON_OWNER_MAYBE_GUEST;
}

void balloon_guard_restart(struct balloon_guard *guard, uint64_t now_usec, uint64_t wanted_bytes)
{
	if (wanted_bytes)
		guard->resume_bytes = wanted_bytes;
	guard->restarted_usec = now_usec;
	guard->resting = false;
}

uint64_t balloon_guard_resume(struct balloon_guard *guard, const struct balloon_rules *rules,
			      uint64_t now_usec, bool agent_live)
{
	uint64_t bytes = guard->resume_bytes;
	uint64_t wait = rules->boot_usec * (agent_live ? 1 : 2);

	if (!guard->restarted_usec || now_usec < guard->restarted_usec + wait)
		return 0;
	guard->restarted_usec = guard->resume_bytes = 0;
	return bytes;
}
