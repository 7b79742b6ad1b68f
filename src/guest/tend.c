/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/tend.h"

#include "base/clock.h"
#include "guest/slab.h"

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

void tend_limit(struct agent *a, const struct wire_limit *host)
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
	a->bound_due_usec = 0;
}

void tend_settings(struct agent *a)
{
	const struct settings *s = &a->settings;
	uint64_t now = now_usec();

	a->heat.hot_sec = s->hot_sec;
	budget_init(&a->budget, s->cpu_permille, now, a->scans_cpu_usec);
	bound_quotas(&a->bound, s, now);
	if (!a->host_limits)
		tend_limit(a, NULL);
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
		bound_refill(&a->bound);
	}
	machine_refresh(a);
	a->swept_usec = now;
	return IDLE_USEC;
}

/* What a host that is not heard asked for is dropped. */
static uint64_t host_turn(struct agent *a, uint64_t now)
{
	uint64_t passed = now - a->heard_usec;

	if (!a->host_limits)
		return UINT64_MAX;
	if (passed < AGENT_HOST_USEC)
		return AGENT_HOST_USEC - passed;
	tend_limit(a, NULL);
	held_done(&a->shed.held);
	return 0;
}

void tend_bound(struct agent *a)
{
	uint64_t due = bound_turn(&a->bound);

	if (a->bound.lost_node)
		machine_refresh(a);
	a->bound_due_usec = due == BOUND_NEVER ? UINT64_MAX : now_usec() + due;
}

uint64_t tend_turn(struct agent *a, bool woken)
{
	uint64_t now = now_usec(), wait = earlier(host_turn(a, now), slab_turn(a, now));

	wait = earlier(wait, minute_turn(a, now));
	if (!a->can_watch)
		return earlier(wait, rough_turn(&a->rough));
	if (woken || now >= a->bound_due_usec)
		tend_bound(a);
	now = now_usec();
	wait = earlier(wait, a->bound_due_usec > now ? a->bound_due_usec - now : 0);
	return earlier(wait, heat_turn(&a->heat, a->bound.hurry, now));
}
