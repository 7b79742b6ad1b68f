/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/tend.h"

#include <errno.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/log.h"
#include "guest/slab.h"
#include "guest/taking.h"

#define IDLE_USEC 60000000u
/* Empty slab pages come slowly, and looking for them costs a read of /proc/slabinfo. */
#define SLAB_USEC	 300000000u
#define SLAB_LEAST_BYTES (256 << 10)
#define SLAB_CPU_USEC	 20000
/* Loading the BPF programs leaves 240 to 300 KiB in small caches, of which one page each is worth
 * looking for: what that costs is 2 KB (slab.h). */
#define SLAB_OWN_BYTES	  4096
#define SLAB_OWN_CPU_USEC 50000
/* At a time; what is still above vm.min_slab_ratio goes in the turns after. */
#define SLAB_PRESS_BYTES (8 << 20)

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void hint_drop(struct agent *a)
{
	if (a->hint_fd >= 0)
		(void)epoll_ctl(a->wake_fd, EPOLL_CTL_DEL, a->hint_fd, NULL);
	a->hint_fd = -1;
	a->ahead.balloon = balloon_close(a->ahead.balloon);
	a->ahead.view = (struct balloon_view){ 0 };
}

static void hint_take(struct agent *a)
{
	struct epoll_event event = { .events = EPOLLIN };
	char why[96];

	hint_drop(a);
	a->ahead.had_btf = balloon_has_btf("");
	if (balloon_open("", &a->ahead.balloon, why, sizeof(why)) < 0)
		return;
	a->hint_fd = balloon_fd(a->ahead.balloon);
	if (a->hint_fd < 0)
		log_info("That the balloon inflates is seen by the kernel's counter, and late: %s",
			 why);
	else if (epoll_ctl(a->wake_fd, EPOLL_CTL_ADD, a->hint_fd, &event) < 0) {
		log_warning_errno(errno, "The balloon cannot be waited for: %m");
		hint_drop(a);
	}
}

/* The device may be plugged in, and the driver's module loaded, at any time. */
static void hint_again(struct agent *a)
{
	enum wire_notice notice = balloon_notice(a->ahead.balloon);

	if (a->ahead.hint == WIRE_HINT_CACHE &&
	    (notice == WIRE_NOTICE_NONE ||
	     (notice == WIRE_NOTICE_COUNTER && balloon_has_btf("") && !a->ahead.had_btf)))
		hint_take(a);
}

static void hint_set(struct agent *a, enum wire_hint hint, enum wire_origin origin)
{
	struct ahead *ahead = &a->ahead;
	bool is_another = ahead->hint != hint;

	if (hint != WIRE_HINT_CACHE && origin != WIRE_ORIGIN_HOST)
		origin = WIRE_ORIGIN_NONE;
	if (!is_another && ahead->origin == origin)
		return;
	ahead->hint = hint;
	ahead->origin = origin;
	if (origin == WIRE_ORIGIN_NONE)
		log_info("There is no hint for the balloon now");
	else
		log_info("The hint for the balloon is %s now, by %s", wire_hint_name(hint),
			 wire_origin_name(origin));
	/* An inflation that is under way is not lost sight of. */
	if (!is_another)
		return;
	if (hint == WIRE_HINT_CACHE)
		hint_take(a);
	else
		hint_drop(a);
	bound_refill(&a->bound);
}

static void hint_choose(struct agent *a, const struct wire_limit *host)
{
	a->host_hints = host && host->hint != WIRE_HINT_GUEST;
	if (a->host_hints)
		hint_set(a, host->hint, WIRE_ORIGIN_HOST);
	else
		hint_set(a, a->settings.cache_first ? WIRE_HINT_CACHE : WIRE_HINT_NONE,
			 WIRE_ORIGIN_FILE);
}

static void limit_choose(struct agent *a, const struct wire_limit *host)
{
	static const enum limit_text_kind kinds[WIRE_LIMIT_KINDS] = {
		[WIRE_LIMIT_OFF] = LIMIT_TEXT_OFF,
		[WIRE_LIMIT_BYTES] = LIMIT_TEXT_BYTES,
		[WIRE_LIMIT_PERMILLE] = LIMIT_TEXT_PERMILLE,
	};

	a->host_limits = host && host->kind != WIRE_LIMIT_GUEST;
	if (a->host_limits) {
		struct limit_text limit = { .kind = kinds[host->kind],
					    .permille = host->permille,
					    .bytes = host->bytes };

		bound_set(&a->bound, &limit, WIRE_ORIGIN_HOST);
	} else {
		bound_set(&a->bound, &a->settings.limit, a->settings.origin);
	}
	rough_look(&a->rough);
}

void tend_limit(struct agent *a, const struct wire_limit *host)
{
	limit_choose(a, host);
	hint_choose(a, host);
	a->bound_due_usec = 0;
}

void tend_settings(struct agent *a)
{
	const struct settings *s = &a->settings;
	uint64_t now = now_usec();

	a->heat.hot_sec = s->hot_sec;
	budget_init(&a->budget, s->cpu_permille, BUDGET_WINDOW_USEC, now, a->scans_cpu_usec);
	bound_quotas(&a->bound, s, now);
	if (!a->host_limits)
		limit_choose(a, NULL);
	if (!a->host_hints)
		hint_choose(a, NULL);
	a->bound_due_usec = 0;
}

/* Pages of reclaimable slab above vm.min_slab_ratio, of all nodes. */
static uint64_t slab_excess_bytes(struct agent *a)
{
	uint64_t excess = 0;

	if (nodes_count(&a->nodes) < 0)
		return 0;
	for (unsigned i = 0; i < a->nodes.count; i++) {
		const struct node *n = &a->nodes.nodes[i];
		uint64_t most = n->managed_pages * a->nodes.min_slab_ratio / 100;

		if (a->nodes.min_slab_ratio && n->slab_reclaimable_pages > most)
			excess += n->slab_reclaimable_pages - most;
	}
	return excess * WIRE_BLOCK_BYTES;
}

void tend_slab(struct agent *a)
{
	struct slab_result result;

	if (a->settings.slab && slab_shrink("", SLAB_OWN_BYTES, SLAB_OWN_CPU_USEC, &result) >= 0)
		a->slab_freed_bytes += result.freed_bytes;
}

static uint64_t slab_turn(struct agent *a, uint64_t now)
{
	struct slab_result result;
	uint64_t passed = now - a->slab_usec, excess, pressed;

	if (!a->settings.slab)
		return UINT64_MAX;
	if (passed < SLAB_USEC)
		return SLAB_USEC - passed;
	a->slab_usec = now;
	if (slab_shrink("", SLAB_LEAST_BYTES, SLAB_CPU_USEC, &result) >= 0)
		a->slab_freed_bytes += result.freed_bytes;
	/* Shrinkers drop what is cached, so they are pressed only while a limit is wanted. */
	excess = a->bound.limit.kind != LIMIT_TEXT_OFF ? slab_excess_bytes(a) : 0;
	if (excess && slab_press("", excess < SLAB_PRESS_BYTES ? excess : SLAB_PRESS_BYTES,
				 SLAB_CPU_USEC, &pressed) >= 0)
		a->slab_pressed_bytes += pressed;
	return SLAB_USEC;
}

/* Memory may be plugged in, and out. */
static void machine_refresh(struct agent *a)
{
	struct nodes nodes;

	if (nodes_read("", &nodes) >= 0) {
		nodes_done(&a->nodes);
		a->nodes = nodes;
	}
	(void)ram_read("/proc/iomem", &a->census.ram);
}

static uint64_t minute_turn(struct agent *a, uint64_t now)
{
	uint64_t passed = now - a->swept_usec;

	if (passed < IDLE_USEC)
		return IDLE_USEC - passed;
	if (a->can_watch)
		watch_sweep(a->heat.watch);
	/* Whoever asked for it has gone. */
	if (a->freed_usec && now - a->freed_usec > IDLE_USEC) {
		a->freed_usec = 0;
		bound_emptied(&a->bound);
	}
	hint_again(a);
	taking_again(a);
	machine_refresh(a);
	a->swept_usec = now;
	return IDLE_USEC;
}

/* What a host that is not heard asked for is dropped. */
static uint64_t host_turn(struct agent *a, uint64_t now)
{
	uint64_t passed = now - a->heard_usec;

	if (!a->host_limits && !a->host_hints)
		return UINT64_MAX;
	if (passed < AGENT_HOST_USEC)
		return AGENT_HOST_USEC - passed;
	tend_limit(a, NULL);
	held_done(&a->shed.held);
	return 0;
}

/* What costs nothing goes first; not for each of many small inflations, and less often where little
 * is found. */
static void ahead_slab(struct agent *a, uint64_t now)
{
	struct ahead *ahead = &a->ahead;
	struct slab_result result = { 0 };

	if (!a->settings.slab ||
	    (ahead->slab_usec && now - ahead->slab_usec < ahead->slab_wait_usec))
		return;
	bool is_worth = slab_shrink("", SLAB_LEAST_BYTES, SLAB_CPU_USEC, &result) >= 0 &&
			result.freed_bytes >= SLAB_LEAST_BYTES;
	ahead->slab_wait_usec = !is_worth && ahead->slab_usec
					? earlier(2 * ahead->slab_wait_usec, SLAB_USEC)
					: IDLE_USEC;
	ahead->slab_usec = now;
	a->slab_freed_bytes += result.freed_bytes;
}

static void ahead_turn(struct agent *a)
{
	uint64_t now = now_usec();

	if (!ahead_look(&a->ahead, now))
		return;
	ahead_slab(a, now);
	(void)ahead_look(&a->ahead, now_usec());
}

void tend_bound(struct agent *a)
{
	ahead_turn(a);
	uint64_t due = bound_turn(&a->bound);

	if (a->bound.lost_node)
		machine_refresh(a);
	due = earlier(due, ahead_wait_usec(&a->ahead, a->ahead.is_short && due));
	a->bound_due_usec = due == BOUND_NEVER ? UINT64_MAX : now_usec() + due;
}

uint64_t tend_turn(struct agent *a, bool woken)
{
	uint64_t now = now_usec(), wait = earlier(host_turn(a, now), slab_turn(a, now));

	wait = earlier(earlier(wait, minute_turn(a, now)), taking_turn(a, now));
	if (!a->can_watch) {
		ahead_turn(a);
		return earlier(earlier(wait, rough_turn(&a->rough)), rough_ahead(&a->rough));
	}
	if (woken || now >= a->bound_due_usec)
		tend_bound(a);
	now = now_usec();
	wait = earlier(wait, a->bound_due_usec > now ? a->bound_due_usec - now : 0);
	return earlier(wait, heat_turn(&a->heat, a->bound.hurry, now));
}
