/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "policy/balloon-parts.h"

void look_end(struct look *l, enum balloon_state state, const char *format, ...)
{
	va_list ap;

	l->next->act = BALLOON_END;
	l->next->state = state;
	l->run->phase = BALLOON_PHASE_ENDED;
	va_start(ap, format);
	vsnprintf(l->next->reason, sizeof(l->next->reason), format, ap);
	va_end(ap);
}

void look_leave(struct look *l, uint64_t bytes)
{
	l->next->set = true;
	l->next->bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

void look_set(struct look *l, uint64_t bytes)
{
	l->run->target_bytes = bytes;
	l->run->is_set = false;
	l->next->act = BALLOON_SET;
	l->next->bytes = bytes;
}

void look_phase(struct look *l, enum balloon_phase phase)
{
	l->run->phase = phase;
	l->run->phase_usec = l->seen->now_usec;
}

bool look_is_inflating(const struct look *l)
{
	return l->goal->wanted_bytes < l->run->from_bytes;
}

/* A step is under way: the size lies between the one before it and the target. */
static bool is_moving(const struct look *l)
{
	return l->run->phase == BALLOON_PHASE_STEP || l->run->phase == BALLOON_PHASE_GROW;
}

uint64_t look_reached(const struct look *l)
{
	const struct balloon_run *run = l->run;
	uint64_t low = look_least(run->step_from_bytes, run->target_bytes);
	uint64_t high = look_most(run->step_from_bytes, run->target_bytes);

	return l->seen->actual_known ? look_least(look_most(l->seen->actual_bytes, low), high)
				     : run->step_from_bytes;
}

static void end_where_it_is(struct look *l, enum balloon_state state, const char *why)
{
	if (is_moving(l))
		look_leave(l, look_reached(l));
	look_end(l, state, "%s", why);
}

/* Before the first step there is nothing to undo. */
void look_undo_step(struct look *l)
{
	if (l->run->steps)
		look_leave(l, look_least(l->run->step_from_bytes, l->goal->original_bytes));
	l->next->quarantine = true;
}

static bool has_grown(uint64_t now, uint64_t before, uint64_t by)
{
	return now != BALLOON_UNKNOWN && before != BALLOON_UNKNOWN && now > before &&
	       now - before > by;
}

static uint64_t stalls_allowed(const struct look *l)
{
	const struct balloon_run *run = l->run;
	uint64_t bytes = run->step_from_bytes > run->target_bytes
				 ? run->step_from_bytes - run->target_bytes
				 : 0;

	return l->rules->stalls_free + bytes / PAGE_BYTES / l->rules->stall_pages;
}

/* Return: whether that was the end. */
static bool pressure_end(struct look *l)
{
	const struct balloon_report *now = &l->seen->report;
	const struct balloon_run *run = l->run;

	if (!look_is_inflating(l) || run->phase < BALLOON_PHASE_CALM ||
	    now->stats != run->base.stats)
		return false;
	if (has_grown(now->oom_kills, run->base.oom_kills, 0))
		look_end(l, BALLOON_PRESSURE,
			 "the guest ran out of memory and killed %" PRIu64 " of its processes",
			 now->oom_kills - run->base.oom_kills);
	else if (run->steps && now->usec > run->phase_usec && now->pressure != BALLOON_BLIND &&
		 now->pressure > l->rules->pressure_back)
		look_end(l, BALLOON_PRESSURE,
			 "the guest is under memory pressure: %.2f %% of its time",
			 (double)now->pressure / 100);
	else if (run->steps &&
		 has_grown(now->alloc_stalls, run->step_base.alloc_stalls, stalls_allowed(l)))
		look_end(l, BALLOON_PRESSURE,
			 "the guest's processes had to wait for memory %" PRIu64 " times",
			 now->alloc_stalls - run->step_base.alloc_stalls);
	else
		return false;
	look_undo_step(l);
	return true;
}

/* What it has now is its size: who needs it has it, and what was asked for is not tried again at
 * once of a guest that is short. */
static void gave_back_end(struct look *l)
{
	bool is_short = l->seen->untaken == BALLOON_UNTAKEN_SHORT;

	if (l->run->steps || l->goal->held_bytes)
		look_leave(l, look_least(l->seen->actual_bytes, l->goal->original_bytes));
	l->next->quarantine = is_short;
	look_end(l, is_short ? BALLOON_PRESSURE : BALLOON_STALLED,
		 is_short ? "its agent gave superpages back: the guest is short of memory, or uses "
			    "huge pages itself"
			  : "superpages that its agent kept are in use again: it was started anew, "
			    "or did not hear from us");
}

/* Whatever the phase. Return: whether that was the end. */
bool look_trouble(struct look *l)
{
	const struct balloon_seen *seen = l->seen;

	if (seen->migrating)
		look_end(l, BALLOON_MIGRATION, "the guest is being migrated or saved: hands off");
	else if (seen->restarted) {
		if (l->run->target_bytes)
			look_leave(l, l->goal->original_bytes);
		look_end(l, BALLOON_RESTARTED, "the guest was restarted or shut down");
	} else if (seen->paused)
		look_end(l, BALLOON_MIGRATION,
			 "the guest was paused, it may be about to be saved: "
			 "hands off");
	else if (seen->stop)
		end_where_it_is(l, BALLOON_STOPPED, "somebody asked for it");
	else if (seen->now_usec > seen->answered_usec + l->rules->blind_usec)
		look_end(l, BALLOON_FAILED,
			 "QEMU does not answer; the target is the last that was set");
	else if (seen->gave_back && !l->goal->plan_only)
		gave_back_end(l);
	else if (seen->now_usec >= l->goal->deadline_usec)
		end_where_it_is(l, BALLOON_TIMEOUT, "it took longer than was allowed");
	else
		return pressure_end(l);
	return true;
}

static uint64_t owner_bytes(const struct look *l)
{
	return l->goal->deflate_on_oom ? l->rules->owner_oom_bytes : l->rules->owner_bytes;
}

/* A guest that takes pages back by itself is out of memory: it gets all that it had. */
static void taken_back(struct look *l)
{
	look_leave(l, l->goal->original_bytes);
	l->next->quarantine = true;
	look_end(l, BALLOON_PRESSURE,
		 "it takes memory back by itself: its size went to %.1f MiB from %.1f MiB",
		 MIB(l->seen->actual_bytes),
		 MIB(l->run->steps ? l->run->target_bytes : l->run->from_bytes));
}

/* During a step the size must lie between where that began and where it is to end; between two, it
 * stays. */
static void owner_range(const struct look *l, uint64_t *ret_low, uint64_t *ret_high)
{
	const struct balloon_run *run = l->run;
	uint64_t target = run->steps ? run->target_bytes : run->from_bytes, from = target;

	if (run->phase == BALLOON_PHASE_STEP || run->phase == BALLOON_PHASE_GROW)
		from = run->step_from_bytes;
	*ret_low = look_least(from, target);
	*ret_high = look_most(from, target);
}

/* Whether this daemon had taken something that the guest could take back. */
static bool is_squeezed(const struct look *l)
{
	return l->run->steps || l->run->from_bytes < l->goal->original_bytes;
}

bool look_owner(struct look *l)
{
	const struct plugged *plugged = &l->seen->plugged;
	uint64_t low, high, actual = l->seen->actual_bytes;

	/* What the guest unplugs by itself it plugs in again. */
	actual += plugged_meant_bytes(plugged) - plugged_bytes(plugged);
	owner_range(l, &low, &high);
	if (!l->seen->actual_known ||
	    (actual + owner_bytes(l) >= low && actual <= high + owner_bytes(l)))
		return false;
	l->next->maybe_guest = actual > high && is_squeezed(l);
	if (l->goal->deflate_on_oom && look_is_inflating(l) && l->next->maybe_guest) {
		l->next->maybe_guest = false;
		taken_back(l);
		return true;
	}
	/* A guest that took memory back needs it; and the way to somebody else's target may be
	 * long. */
	if (l->next->maybe_guest && look_is_inflating(l))
		look_leave(l, look_most(actual, l->goal->original_bytes));
	look_end(l, BALLOON_OTHER_OWNER,
		 "its size went to %.1f MiB, and %s %.1f MiB: somebody else sets it too%s",
		 MIB(actual), l->run->steps ? "our target was" : "it was found at",
		 MIB(l->run->steps ? l->run->target_bytes : l->run->from_bytes),
		 l->next->maybe_guest ? ", or the guest took memory back" : "");
	return true;
}
