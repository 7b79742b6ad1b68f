/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/bound-parts.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/psi.h"
#include "guest/reclaim.h"

#define PAGE_BYTES 4096

/* 5 % below the limit, so that not every page that comes wakes the agent. */
#define BELOW_DIVISOR 20
/* Of the limit: from here on the sensor is on while much comes; it takes a while to be. Chosen, not
 * measured. */
#define NEAR_PERCENT 80
/* Work between two looks at the port. What each turn begins with (the kernel's counters, mounts,
 * files) takes an emulated guest 1 to 2 ms. */
#define TURN_USEC 20000
/* Between two looks at what came. */
#define DRAIN_USEC 5000
/* The kernel's counters are per CPU and folded late (vm_stat_threshold, at most 125 pages each): a
 * wake-up that finds too little over the limit would follow another. */
#define WAKE_LEAST_PAGES 256
/* So far above the limit, a sixteenth of it and 8 MiB at most, what is oldest goes, wherever else
 * it is held: to look where the pages lie doubles what an eviction costs. */
#define BEHIND_DIVISOR 16
#define BEHIND_PAGES   2048u
/* Much: an eighth of the limit in a window of five to ten seconds, so that all of it is new after a
 * minute. Chosen, not measured. */
#define MUCH_DIVISOR 8
#define WINDOW_USEC  5000000u
/* Without the list of mounts no file can be opened; what is wrong with it may pass. */
#define BLIND_USEC 5000000u
/* Mapped cache becomes unmapped, and memory comes and goes, without a page that enters the cache.
 */
#define LOOK_USEC 60000000u

static uint64_t thread_usec(void)
{
	return clock_usec(CLOCK_THREAD_CPUTIME_ID);
}

void bound_init(struct bound *b, struct shed *shed, struct nodes *nodes, const struct ram *ram,
		struct ahead *ahead, const struct settings *settings, uint64_t now)
{
	*b = (struct bound){
		.shed = shed,
		.nodes = nodes,
		.ram = ram,
		.ahead = ahead,
		.limit.kind = LIMIT_TEXT_OFF,
		.limit_pages = UINT64_MAX,
		.sweep_wait_usec = BOUND_SWEEP_WAIT_USEC,
	};
	brake_init(&b->brake, now);
	bound_quotas(b, settings, now);
}

void bound_quotas(struct bound *b, const struct settings *settings, uint64_t now)
{
	b->bytes_per_sec = settings->evict_bytes_per_sec;
	b->quota_bytes = (int64_t)b->bytes_per_sec;
	b->quota_usec = now;
	budget_init(&b->cpu, settings->evict_cpu_permille, BUDGET_WINDOW_USEC, now, b->cpu_usec);
}

void bound_set(struct bound *b, const struct limit_text *limit, enum wire_origin origin)
{
	char text[LIMIT_TEXT_SIZE];

	/* A guest that says "off" is one that says nothing. */
	if (limit->kind == LIMIT_TEXT_OFF && origin != WIRE_ORIGIN_HOST)
		origin = WIRE_ORIGIN_NONE;
	if (b->limit.kind == limit->kind && b->limit.bytes == limit->bytes &&
	    b->limit.permille == limit->permille && b->origin == origin)
		return;
	/* Else the next limit, however large, waited for minutes because of this one. */
	if (b->limit.kind != LIMIT_TEXT_OFF && limit->kind == LIMIT_TEXT_OFF)
		brake_release(&b->brake);
	b->limit = *limit;
	b->origin = origin;
	b->is_unfinished = false;
	if (origin == WIRE_ORIGIN_NONE)
		log_info("There is no page cache limit now");
	else
		log_info("The page cache limit is %s now, by %s", limit_text_format(limit, text),
			 wire_origin_name(origin));
	if (limit->kind == LIMIT_TEXT_OFF) {
		b->limit_pages = UINT64_MAX;
		b->state = WIRE_STATE_OFF;
		b->hurry = false;
	}
	bound_refill(b);
}

void bound_refill(struct bound *b)
{
	shed_forget(b->shed);
	b->guess = BOUND_GUESS_STAYS;
	b->sweep_due_usec = 0;
	b->sweep_wait_usec = BOUND_SWEEP_WAIT_USEC;
}

void bound_emptied(struct bound *b)
{
	bool was_swept = b->sweep_due_usec > 0;

	bound_refill(b);
	b->sweep_due_usec = was_swept;
}

/* Without a watch it is the kernel that reclaims, and counts. */
static void sample_returns(const struct bound *b, struct brake_sample *s)
{
	struct watch_returns returns;

	if (!b->shed->heat->watch) {
		s->followed_pages = s->evicted_pages;
		s->refaulted_pages = reclaim_refaulted("");
		return;
	}
	watch_returns(b->shed->heat->watch, &returns);
	for (int i = 0; i < WIRE_AGE_CLASSES; i++) {
		s->followed_pages += returns.evicted[i];
		s->refaulted_pages += returns.refaulted[i];
	}
}

void bound_sample(struct bound *b, uint64_t now)
{
	struct psi memory, io;
	struct brake_sample s = { .now_usec = now, .evicted_pages = b->shed->evicted_pages };

	if (now - b->sampled_usec < USEC_PER_SEC)
		return;
	b->sampled_usec = now;
	sample_returns(b, &s);
	/* The kernel counts what anybody's reclaim took, ever: of that, what came back while
	 * nothing of ours had gone lately is not because of us. */
	if (!b->shed->heat->watch && brake_idle(&b->brake, now) >= BRAKE_SECONDS)
		b->brake.seen_refaulted = s.refaulted_pages;
	s.memory_hundredths = psi_read("", "memory", &memory) < 0
				      ? BRAKE_BLIND
				      : (int)memory.some_avg10_hundredths;
	s.io_hundredths = psi_read("", "io", &io) < 0 ? BRAKE_BLIND : (int)io.some_avg10_hundredths;
	brake_update(&b->brake, &s);
}

/* What a turn left of its goal is gone on with. */
static uint64_t node_goal(const struct bound *b, uint64_t limit, uint64_t unmapped, uint64_t left)
{
	uint64_t low = limit - limit / BELOW_DIVISOR;

	if (unmapped > limit || (b->is_unfinished && left && unmapped > low))
		return unmapped - low;
	return 0;
}

static uint64_t behind_pages(uint64_t limit)
{
	uint64_t share = limit / BEHIND_DIVISOR;

	return share < BEHIND_PAGES ? share : BEHIND_PAGES;
}

uint64_t bound_measure(struct bound *b)
{
	struct shed_goal last = b->goal;
	uint64_t room = UINT64_MAX;

	memset(b->goal.pages, 0, sizeof(b->goal.pages));
	b->goal.held_only = false;
	b->limit_pages = 0;
	b->is_behind = false;
	for (unsigned i = 0; i < b->nodes->count; i++) {
		uint64_t limit = limit_pages(&b->limit, b->nodes, i);
		uint64_t unmapped = b->nodes->nodes[i].unmapped_pages;

		if (limit == UINT64_MAX) {
			b->limit_pages = UINT64_MAX;
			continue;
		}
		if (b->limit_pages != UINT64_MAX)
			b->limit_pages += limit;
		if (unmapped > limit && unmapped - limit > behind_pages(limit))
			b->is_behind = true;
		b->goal.pages[i] = node_goal(b, limit, unmapped, last.pages[i]);
		if (b->goal.pages[i])
			shed_want_node(b->shed, i);
		uint64_t left = unmapped < limit ? limit - unmapped : 0;
		if (left < room)
			room = left;
	}
	return room;
}

static void wake_set(struct bound *b, uint64_t room)
{
	watch_wake_after(b->shed->heat->watch, room > WAKE_LEAST_PAGES ? room : WAKE_LEAST_PAGES);
}

static void quota_refill(struct bound *b, uint64_t now)
{
	uint64_t elapsed = now - b->quota_usec;

	if (elapsed > USEC_PER_SEC)
		elapsed = USEC_PER_SEC;
	b->quota_usec = now;
	b->quota_bytes += (int64_t)(b->bytes_per_sec / 1000 * elapsed / 1000);
	if (b->quota_bytes > (int64_t)b->bytes_per_sec)
		b->quota_bytes = (int64_t)b->bytes_per_sec;
}

/* Return: how long a quota, or what the hint alone may cost, makes eviction wait; 0: not at all. */
static uint64_t quota_wait_usec(struct bound *b, uint64_t now)
{
	uint64_t wait = budget_wait_usec(&b->cpu, now, b->cpu_usec);

	quota_refill(b, now);
	if (b->quota_bytes <= 0 && wait < BOUND_RETRY_USEC)
		wait = BOUND_RETRY_USEC;
	if (wait && !brake_holds(&b->brake, now))
		b->brake.reason = WIRE_BRAKE_QUOTA;
	if (bound_has_limit(b))
		return wait;
	uint64_t rest = ahead_rest_usec(b->ahead, now);
	return rest > wait ? rest : wait;
}

/* What may be worked on now: of a limit nothing while the brake holds. Return: 0, or how long
 * nothing may be worked on. */
static uint64_t goal_take(struct bound *b, const uint64_t ahead[NODES_MAX], uint64_t now,
			  struct shed_goal *ret)
{
	bool is_braked = brake_holds(&b->brake, now);
	uint64_t wait = is_braked ? 0 : quota_wait_usec(b, now);

	*ret = (struct shed_goal){ 0 };
	for (unsigned i = 0; i < b->nodes->count; i++)
		ret->pages[i] =
			is_braked || ahead[i] > b->goal.pages[i] ? ahead[i] : b->goal.pages[i];
	if (!is_braked)
		return wait;
	return shed_goal_left(ret) ? quota_wait_usec(b, now) : b->brake.until_usec - now;
}

/* What has gone counts for the limit too. */
static void goal_settle(struct bound *b, const struct shed_goal *before,
			const struct shed_goal *after)
{
	for (unsigned i = 0; i < b->nodes->count; i++) {
		uint64_t gone = before->pages[i] - after->pages[i];

		b->goal.pages[i] -= gone < b->goal.pages[i] ? gone : b->goal.pages[i];
	}
}

/* Sheds until the goal is met or the turn is over. Return: as bound_turn(). */
static uint64_t goal_work(struct bound *b, struct shed_goal *goal, uint64_t begun)
{
	struct shed *s = b->shed;
	uint64_t wait = 0, drained = begun;

	while (!wait && shed_goal_left(goal) && now_usec() - begun < TURN_USEC &&
	       b->quota_bytes > 0) {
		uint64_t before = s->evicted_pages, now = now_usec();

		if (now - drained > DRAIN_USEC) {
			if (shed_drain(s, true) < 0)
				return BOUND_RETRY_USEC;
			drained = now = now_usec();
		}
		wait = bound_queues_fill(b, now);
		if (wait)
			continue;
		enum shed_queue from = bound_queue_next(b, now);

		if (from == SHED_QUEUES) {
			bound_sweep_work(b, now_usec());
			break;
		}
		goal->held_only = from == SHED_FRESH && !b->is_behind && held_any(&s->held, now);
		if (shed_piece(s, from, goal) < 0)
			wait = BOUND_RETRY_USEC;
		b->quota_bytes -= (int64_t)((s->evicted_pages - before) * PAGE_BYTES);
	}
	return wait;
}

/* A limit and a request are braked; a hint is not, and nobody looks at what came of it. */
static bool is_sampled(const struct bound *b, uint64_t now)
{
	return b->limit.kind != LIMIT_TEXT_OFF || brake_idle(&b->brake, now) < BRAKE_SECONDS;
}

/* When to look again though nothing is to be done. */
static uint64_t settled_usec(const struct bound *b)
{
	/* What comes back of what was evicted shows for a while. */
	if (brake_idle(&b->brake, now_usec()) < BRAKE_SECONDS)
		return USEC_PER_SEC;
	/* Whether it still comes. */
	if (b->hurry)
		return WINDOW_USEC;
	return b->limit.kind == LIMIT_TEXT_OFF ? BOUND_NEVER : LOOK_USEC;
}

static void state_set(struct bound *b, enum wire_limit_state otherwise)
{
	if (b->limit_pages == UINT64_MAX)
		b->state = WIRE_STATE_OFF;
	else
		b->state = shed_goal_left(&b->goal) ? otherwise : WIRE_STATE_UNDER;
}

/* Return: as goal_work(). */
static uint64_t batch_work(struct bound *b, struct shed_goal *goal)
{
	int r = shed_begin(b->shed);
	uint64_t wait = r < 0 ? BLIND_USEC : goal_work(b, goal, now_usec());

	shed_end(b->shed);
	if (r < 0 && !b->is_blind)
		log_warning_errno(r, "Cannot read the list of mounts, nothing is evicted: %m");
	b->is_blind = r < 0;
	return wait;
}

static uint64_t bound_work(struct bound *b, const uint64_t ahead[NODES_MAX], uint64_t now)
{
	struct shed_goal goal, before;
	uint64_t wait = goal_take(b, ahead, now, &goal);

	b->is_unfinished = false;
	if (wait) {
		state_set(b, WIRE_STATE_BRAKED);
		wake_set(b, UINT64_MAX);
		return wait < settled_usec(b) ? wait : settled_usec(b);
	}
	goal.worth_only = !bound_has_much(b);
	/* What is used through a mapping shows in no stamp: half of what came back was text of
	 * programs (lab/run wave). Under a limit a loop larger than it would come back as a whole.
	 */
	goal.spare_returned = !bound_has_limit(b);
	before = goal;
	uint64_t cpu = thread_usec();
	bool uncounted = bound_has_limit(b) || b->shed->sweeping;
	wait = batch_work(b, &goal);
	goal_settle(b, &before, &goal);
	/* A sweep is in the CPU quota, and brings nothing by itself. */
	uncounted |= b->shed->sweeping;
	if (b->ahead->is_short)
		ahead_settle(b->ahead, goal.evicted, uncounted ? 0 : thread_usec() - cpu);
	b->ahead->is_short = b->ahead->is_short && shed_goal_left(&goal);
	/* What comes next is too young, too, until there is more of it. */
	uint64_t fresh = b->shed->queues[SHED_FRESH].pages, young = bound_young_pages(b);
	if (wait && fresh < young)
		wake_set(b, young - fresh);
	b->is_unfinished = !wait && shed_goal_left(&b->goal);
	state_set(b, brake_holds(&b->brake, now) ? WIRE_STATE_BRAKED
		     : wait			 ? WIRE_STATE_KEPT
						 : WIRE_STATE_OVER);
	return wait;
}

/* Pages until the sensor is needed, on the node where that is soonest; 0: it is. */
static uint64_t near_room(const struct bound *b)
{
	uint64_t room = UINT64_MAX;

	for (unsigned i = 0; i < b->nodes->count; i++) {
		uint64_t limit = limit_pages(&b->limit, b->nodes, i);
		uint64_t near = limit == UINT64_MAX ? limit : limit / 100 * NEAR_PERCENT;
		uint64_t unmapped = b->nodes->nodes[i].unmapped_pages;

		if (unmapped >= near)
			return 0;
		if (near - unmapped < room)
			room = near - unmapped;
	}
	return room;
}

static bool comes_much(struct bound *b, uint64_t now)
{
	uint64_t added = watch_added(b->shed->heat->watch);

	if (now - b->added_usec >= WINDOW_USEC) {
		/* What came in a window that nobody looked at came at any time. */
		b->added_before = now - b->added_usec < 2 * WINDOW_USEC ? b->added_pages : added;
		b->added_pages = added;
		b->added_usec = now;
	}
	return added - b->added_before > b->limit_pages / MUCH_DIVISOR;
}

/* Nothing is wanted now; for a hint what comes is kept in mind. Return: as bound_turn(). */
static uint64_t idle_turn(struct bound *b, uint64_t now)
{
	bool keep = b->ahead->hint == WIRE_HINT_CACHE;

	wake_set(b, UINT64_MAX);
	if (is_sampled(b, now))
		bound_sample(b, now);
	if (shed_drain(b->shed, keep) < 0)
		return BOUND_RETRY_USEC;
	if (keep)
		bound_history_forget(b);
	return settled_usec(b);
}

static bool is_wanted(const struct bound *b)
{
	return b->limit.kind != LIMIT_TEXT_OFF || b->ahead->view.inflates ||
	       (b->ahead->hint == WIRE_HINT_CACHE && bound_sweep_wanted(b));
}

static uint64_t limit_turn(struct bound *b)
{
	uint64_t now = now_usec(), room, ahead[NODES_MAX];

	b->lost_node = false;
	if (!is_wanted(b))
		return idle_turn(b, now);
	b->lost_node = nodes_count(b->nodes) < 0;
	if (shed_drain(b->shed, true) < 0 || b->lost_node)
		return BOUND_RETRY_USEC;
	room = bound_measure(b);
	ahead_measure(b->ahead, b->nodes, ahead);
	uint64_t to_near = near_room(b);
	b->hurry = !to_near && comes_much(b, now);
	/* The sensor takes a quarter of a second to be on. */
	wake_set(b, to_near && to_near < room ? to_near : room);
	if (is_sampled(b, now))
		bound_sample(b, now);
	/* The first sweep of a large machine takes long, and a reader does not wait for it. */
	bool sweeping = !b->is_behind && bound_sweep_turn(b, now);
	bound_history_forget(b);
	if (!shed_goal_left(&b->goal) && !b->ahead->is_short) {
		state_set(b, WIRE_STATE_UNDER);
		if (b->shed->sweeping)
			return sweeping ? 0 : BOUND_RETRY_USEC;
		return settled_usec(b);
	}
	uint64_t wait = bound_work(b, ahead, now);
	b->hurry |= shed_goal_left(&b->goal) && bound_is_guessing(b);
	return b->hurry && wait > WINDOW_USEC ? WINDOW_USEC : wait;
}

uint64_t bound_turn(struct bound *b)
{
	uint64_t cpu = thread_usec(), wait = limit_turn(b);

	b->cpu_usec += thread_usec() - cpu;
	return wait;
}
