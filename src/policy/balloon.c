/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/balloon.h"

#include "policy/balloon-parts.h"

const struct balloon_rules balloon_rules_default = {
	.step_bytes = (uint64_t)256 << 20,
	.step_least_bytes = 1 << 20,
	.stall_usec = 5000000,
	.stall_back_bytes = 16 << 20,
	.progress_bytes = 1 << 20,
	.confirm_bytes = 16 << 20,
	.pressure_hold = 100,
	.pressure_back = 1000,
	.pressure_wait_usec = 60000000,
	.stall_pages = 16,
	.stalls_free = 1000,
	.report_usec = 3000000,
	.rest_usec = 500000,
	.rest_bytes = 1 << 20,
	.owner_bytes = 16 << 20,
	.owner_oom_bytes = 64 << 20,
	.blind_usec = 10000000,
	.settle_usec = 2000000,
	.quarantine_usec = 600000000,
	.owner_usec = 3600000000,
	.boot_usec = 120000000,
};

const char *balloon_cache_name(enum balloon_cache cache)
{
	static const char *const names[] = { "first", "only", "off" };

	return names[cache];
}

const char *balloon_by_name(enum balloon_by by)
{
	static const char *const names[] = { "auto", "superpages", "pages" };

	return names[by];
}

const char *balloon_state_name(enum balloon_state state)
{
	static const char *const names[] = {
		[BALLOON_RUNNING] = "running",
		[BALLOON_REACHED] = "reached",
		[BALLOON_FLOOR] = "floor",
		[BALLOON_CACHE_ENDED] = "cache_ended",
		[BALLOON_SUPERPAGES_ENDED] = "superpages_ended",
		[BALLOON_PAGES_ENDED] = "pages_ended",
		[BALLOON_STALLED] = "stalled",
		[BALLOON_PRESSURE] = "pressure",
		[BALLOON_TIMEOUT] = "timeout",
		[BALLOON_STOPPED] = "stopped",
		[BALLOON_RESTARTED] = "restarted",
		[BALLOON_MIGRATION] = "migration",
		[BALLOON_OTHER_OWNER] = "other_owner",
		[BALLOON_FAILED] = "failed",
	};

	return names[state];
}

unsigned balloon_steps(const struct balloon_rules *rules, uint64_t from_bytes,
		       uint64_t wanted_bytes)
{
	if (wanted_bytes >= from_bytes)
		return wanted_bytes > from_bytes;
	return (unsigned)((from_bytes - wanted_bytes + rules->step_bytes - 1) / rules->step_bytes);
}

static void rest(struct look *l)
{
	struct balloon_run *run = l->run;
	uint64_t actual = l->seen->actual_bytes;

	if (!l->seen->actual_known) {
		if (l->seen->now_usec > run->begun_usec + l->rules->stall_usec)
			look_end(l, BALLOON_FAILED,
				 "the guest claims a size that it cannot have, so what it has is "
				 "not "
				 "known");
		return;
	}
	if (!run->from_bytes) {
		run->from_bytes = run->step_from_bytes = actual;
		look_phase(l, BALLOON_PHASE_REST);
	} else if (actual > run->from_bytes + l->rules->rest_bytes && l->goal->held_bytes &&
		   actual <= l->goal->original_bytes &&
		   l->seen->now_usec < run->begun_usec + l->rules->stall_usec) {
		/* It follows our last target, or takes back by itself what we took. */
		run->from_bytes = run->step_from_bytes = actual;
		look_phase(l, BALLOON_PHASE_REST);
	} else if (actual > run->from_bytes + l->rules->rest_bytes ||
		   actual + l->rules->rest_bytes < run->from_bytes) {
		look_end(l, BALLOON_OTHER_OWNER,
			 "its size changes though this daemon did not ask for it: %.1f MiB and now "
			 "%.1f MiB",
			 MIB(run->from_bytes), MIB(actual));
	} else if (l->seen->now_usec >= run->phase_usec + l->rules->rest_usec) {
		look_phase(l, BALLOON_PHASE_LOOK);
	}
}

/* Whether a report came since the phase began, or none is to be expected any more. */
static bool is_reported(const struct look *l)
{
	return l->seen->report.usec > l->run->phase_usec || !l->seen->reporting;
}

/*
 * A guest that has reported, and does not any more, may be at the end of its memory: silence is no
 * calm. One that never did is not waited for. Return: whether that was the end.
 */
static bool silence_end(struct look *l, uint64_t since_usec)
{
	uint64_t since = look_most(since_usec, l->seen->reporting_since_usec);

	if (!l->seen->reporting || !l->seen->report.usec || l->seen->report.usec > since_usec ||
	    l->seen->now_usec < since + l->rules->report_usec)
		return false;
	look_end(l, l->run->steps ? BALLOON_STALLED : BALLOON_FAILED,
		 "the guest has not reported for %.0f s: it may be short of memory",
		 (double)l->rules->report_usec / 1000000);
	if (l->run->steps)
		look_undo_step(l);
	return true;
}

/* A floor once known by a report stands until there is a newer one. */
static void floor_see(struct look *l)
{
	struct balloon_floor floor =
		balloon_floor(l->goal->floor_config_bytes, l->goal->memory_bytes, &l->seen->report);

	if (floor.source != BALLOON_FLOOR_DEFAULT || !l->run->floor.bytes ||
	    l->run->floor.source == BALLOON_FLOOR_DEFAULT)
		l->run->floor = floor;
}

static void floor_end(struct look *l)
{
	char text[160];

	balloon_floor_text(&l->run->floor, &l->seen->report, text, sizeof(text));
	look_end(l, BALLOON_FLOOR, "asked to have %.1f MiB, and the floor is %.1f MiB: %s",
		 MIB(l->goal->wanted_bytes), MIB(l->run->floor.bytes), text);
}

void look_step(struct look *l, uint64_t bytes)
{
	struct balloon_run *run = l->run;

	run->step_from_bytes = l->seen->actual_bytes;
	run->step_base = l->seen->report;
	run->low_actual_bytes = l->seen->actual_bytes;
	run->low_host_bytes = l->seen->host_bytes;
	run->is_unplugging = run->is_taking = run->is_by_pages = false;
	run->steps++;
	look_phase(l, BALLOON_PHASE_STEP);
	look_set(l, run->step_from_bytes - bytes);
}

static void grow_set(struct look *l)
{
	struct balloon_run *run = l->run;

	run->step_from_bytes = run->low_actual_bytes = l->seen->actual_bytes;
	run->steps++;
	look_phase(l, BALLOON_PHASE_GROW);
	/* What is too much of a block is taken by the balloon once that is there. */
	look_set(l, plugged_whole_bytes(&l->seen->plugged, l->goal->original_bytes,
					l->goal->wanted_bytes));
}

/* What may still be taken, by the last report; 0: that was the end. */
static uint64_t left(struct look *l)
{
	uint64_t actual = l->seen->actual_bytes;
	uint64_t bound = look_most(l->goal->wanted_bytes, l->run->floor.bytes);

	if (actual <= l->goal->wanted_bytes) {
		look_end(l, BALLOON_REACHED, "done");
		return 0;
	}
	if (actual <= bound ||
	    (bound > l->goal->wanted_bytes && actual - bound < l->rules->step_least_bytes)) {
		floor_end(l);
		return 0;
	}
	return actual - bound;
}

static void calm(struct look *l)
{
	const struct balloon_seen *seen = l->seen;
	uint64_t bytes;

	if (look_owner(l) || silence_end(l, l->run->phase_usec) || !is_reported(l) ||
	    !seen->actual_known)
		return;
	floor_see(l);
	bytes = left(l);
	if (!bytes)
		return;
	if (seen->report.pressure != BALLOON_BLIND &&
	    seen->report.pressure > l->rules->pressure_hold) {
		if (seen->now_usec >= l->run->phase_usec + l->rules->pressure_wait_usec) {
			l->next->quarantine = true;
			look_end(l, BALLOON_PRESSURE,
				 "memory pressure in the guest stays at %.2f %% of its time",
				 (double)seen->report.pressure / 100);
		}
		return;
	}
	if (look_unplug(l, bytes))
		return;
	bytes = look_pages(l, bytes);
	if (!bytes)
		return;
	l->run->step_bytes = look_least(bytes, l->rules->step_bytes);
	if (l->goal->cache == BALLOON_CACHE_OFF || !seen->can_evict) {
		if (l->goal->cache == BALLOON_CACHE_ONLY)
			look_end(l, BALLOON_FAILED,
				 "its agent has gone: what is clean is not known");
		else
			look_step_any(l, l->run->step_bytes);
		return;
	}
	look_phase(l, BALLOON_PHASE_EVICT);
	l->run->evicted_usec = 0;
	l->next->act = BALLOON_EVICT;
	l->next->bytes = l->run->step_bytes;
	l->next->is_whole = look_take_bytes(l, l->run->step_bytes);
}

/* The report that LOOK has waited for serves the first step too. */
static void calm_begin(struct look *l)
{
	l->run->phase = BALLOON_PHASE_CALM;
	calm(l);
}

static void look(struct look *l)
{
	struct balloon_run *run = l->run;

	if (look_is_inflating(l) && silence_end(l, run->phase_usec))
		return;
	if (!l->seen->actual_known || (look_is_inflating(l) && !is_reported(l)))
		return;
	run->base = run->step_base = l->seen->report;
	floor_see(l);
	if (look_is_inflating(l) && l->goal->wanted_bytes < run->floor.bytes)
		floor_end(l);
	else if (l->goal->plan_only)
		look_end(l, BALLOON_RUNNING, "a dry run");
	else if (l->goal->wanted_bytes == run->from_bytes &&
		 (!l->goal->held_bytes || l->goal->held_bytes == l->goal->wanted_bytes))
		look_end(l, BALLOON_REACHED, "it has that size already");
	else if (look_is_inflating(l))
		calm_begin(l);
	else
		grow_set(l);
}

/* An agent that was busy for long is heard once more. Return: whether no step is to be begun. */
static bool evict_waits(struct look *l)
{
	if (!l->run->evicted_usec)
		l->run->evicted_usec = l->seen->now_usec;
	if (!l->seen->reporting ||
	    l->seen->report.usec + l->rules->report_usec >= l->run->evicted_usec)
		return false;
	(void)silence_end(l, l->run->evicted_usec);
	return true;
}

static void evict(struct look *l)
{
	uint64_t bytes;

	if (look_owner(l) || !l->seen->evict_done || !l->seen->actual_known || evict_waits(l))
		return;
	floor_see(l);
	bytes = left(l);
	if (!bytes)
		return;
	bytes = look_least(bytes, l->run->step_bytes);
	if (l->goal->cache == BALLOON_CACHE_ONLY) {
		uint64_t whole = l->seen->evict_bytes / PAGE_BYTES * PAGE_BYTES;

		if (whole < bytes && whole < l->rules->step_least_bytes) {
			look_end(l, BALLOON_CACHE_ENDED,
				 "no memory is left in the guest that is free, or clean, unmapped "
				 "and "
				 "not recently used");
			return;
		}
		bytes = look_least(bytes, whole);
	}
	look_step_any(l, bytes);
}

/* The host holds no more than the guest has: what the balloon took did come back. */
static bool is_confirmed(const struct look *l)
{
	return !l->seen->host_known ||
	       l->seen->host_bytes <= l->seen->actual_bytes + l->rules->confirm_bytes;
}

static void progress_see(struct look *l)
{
	struct balloon_run *run = l->run;
	const struct balloon_seen *seen = l->seen;

	if (seen->actual_known &&
	    seen->actual_bytes + l->rules->progress_bytes <= run->low_actual_bytes) {
		run->low_actual_bytes = seen->actual_bytes;
		run->progress_usec = seen->now_usec;
	}
	if (seen->host_known &&
	    seen->host_bytes + l->rules->progress_bytes <= run->low_host_bytes) {
		run->low_host_bytes = seen->host_bytes;
		run->progress_usec = seen->now_usec;
	}
}

/* Never more than it was at first, nor than it was before this step. */
static void stall_end(struct look *l)
{
	const struct balloon_run *run = l->run;
	bool lies = l->seen->actual_known && l->seen->actual_bytes <= run->target_bytes;
	uint64_t back = lies ? look_most(l->seen->host_bytes, run->target_bytes)
			     : look_reached(l) + l->rules->stall_back_bytes;

	look_leave(l, look_least(look_least(back, run->step_from_bytes), l->goal->original_bytes));
	l->next->quarantine = true;
	if (lies)
		look_end(l, BALLOON_STALLED,
			 "the guest claims to be down to %.1f MiB, and the host still holds %.1f "
			 "MiB",
			 MIB(l->seen->actual_bytes), MIB(l->seen->host_bytes));
	else if (!l->seen->actual_known)
		look_end(l, BALLOON_STALLED,
			 "the guest claims a size that it cannot have, and the host sees nothing "
			 "come "
			 "back");
	else
		look_end(l, BALLOON_STALLED,
			 "no progress for %.0f s: the guest does not answer, or is near the end of "
			 "its "
			 "memory",
			 (double)l->rules->stall_usec / 1000000);
}

/* How long QEMU took to take the target does not count. */
static void set_see(struct look *l)
{
	if (!l->run->is_set)
		l->run->progress_usec = l->seen->now_usec;
	l->run->is_set = true;
}

/* What pages were evicted for may have made superpages whole. */
static void calm_after(struct look *l)
{
	struct balloon_run *run = l->run;

	if (run->is_by_pages && run->untaken != BALLOON_UNTAKEN_REFUSED)
		run->has_taken_all = false;
	look_phase(l, BALLOON_PHASE_CALM);
}

static void step(struct look *l)
{
	struct balloon_run *run = l->run;

	set_see(l);
	if (look_owner(l))
		return;
	floor_see(l);
	if (run->target_bytes < run->floor.bytes) {
		look_leave(l, look_least(look_most(run->floor.bytes, look_reached(l)),
					 run->step_from_bytes));
		floor_end(l);
		return;
	}
	progress_see(l);
	if (l->seen->actual_known && l->seen->actual_bytes <= run->target_bytes &&
	    is_confirmed(l) && (!run->is_taking || l->seen->take_done))
		calm_after(l);
	else if (run->is_taking && l->seen->take_done && l->seen->actual_known &&
		 l->seen->actual_bytes > run->target_bytes)
		look_take_end(l);
	else if (l->seen->answered_usec < run->progress_usec + l->rules->stall_usec)
		return;
	else if (run->is_unplugging && l->seen->actual_known)
		look_unplug_end(l);
	else
		stall_end(l);
}

static void grow(struct look *l)
{
	struct balloon_run *run = l->run;

	set_see(l);
	if (look_owner(l) || !l->seen->actual_known)
		return;
	if (l->seen->actual_bytes >= run->target_bytes) {
		if (run->target_bytes != l->goal->wanted_bytes)
			look_leave(l, l->goal->wanted_bytes);
		look_end(l, BALLOON_REACHED, "done");
		return;
	}
	if (l->seen->actual_bytes >= run->low_actual_bytes + l->rules->progress_bytes) {
		run->low_actual_bytes = l->seen->actual_bytes;
		run->progress_usec = l->seen->now_usec;
	} else if (l->seen->answered_usec >= run->progress_usec + l->rules->stall_usec) {
		look_end(
			l, BALLOON_STALLED,
			"no progress for %.0f s: the guest does not answer; it may take its memory "
			"back when it does",
			(double)l->rules->stall_usec / 1000000);
	}
}

static void base_take(struct balloon_report *base, const struct balloon_report *report)
{
	if (report->usec && (!base->usec || report->stats != base->stats))
		*base = *report;
}

/* An agent that came or went meanwhile: its counters are not to be compared with those of another,
 * nor with none. */
static void base_see(struct look *l)
{
	if (l->run->phase <= BALLOON_PHASE_LOOK)
		return;
	base_take(&l->run->base, &l->seen->report);
	base_take(&l->run->step_base, &l->seen->report);
}

void balloon_next(const struct balloon_rules *rules, const struct balloon_goal *goal,
		  struct balloon_run *run, const struct balloon_seen *seen,
		  struct balloon_next *ret)
{
	struct look l = { rules, goal, run, seen, ret };
	static void (*const phases[])(struct look *) = {
		[BALLOON_PHASE_REST] = rest, [BALLOON_PHASE_LOOK] = look,
		[BALLOON_PHASE_CALM] = calm, [BALLOON_PHASE_EVICT] = evict,
		[BALLOON_PHASE_STEP] = step, [BALLOON_PHASE_GROW] = grow,
	};

	*ret = (struct balloon_next){ .act = BALLOON_WAIT };
	if (!run->begun_usec)
		run->begun_usec = run->phase_usec = seen->now_usec;
	base_see(&l);
	if (run->phase == BALLOON_PHASE_ENDED || look_trouble(&l))
		return;
	phases[run->phase](&l);
}
