/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/report.h"

#include <sys/sysinfo.h>

#include "base/clock.h"
#include "base/psi.h"
#include "guest/vmstat.h"

static void limit_fill(struct agent *a, struct wire_report *ret, uint64_t now)
{
	const struct bound *b = &a->bound;

	ret->limit_bytes =
		b->limit_pages == UINT64_MAX ? UINT64_MAX : b->limit_pages * WIRE_BLOCK_BYTES;
	ret->limit_origin = b->origin;
	ret->limit_state = b->state;
	ret->brake = b->brake.reason;
	if (brake_holds(&b->brake, now))
		ret->brake_left_usec = b->brake.until_usec - now;
	ret->brakes = b->brake.stops;
}

static void returns_fill(const struct agent *a, struct wire_report *ret)
{
	struct watch_returns returns;

	watch_returns(a->heat.watch, &returns);
	for (int i = 0; i < WIRE_AGE_CLASSES; i++) {
		ret->evicted_by_age[i] = returns.evicted[i];
		ret->refaulted_by_age[i] = returns.refaulted[i];
		ret->refaulted_bytes += returns.refaulted[i] * WIRE_BLOCK_BYTES;
	}
	ret->heat = watch_sensor(a->heat.watch);
	ret->events_lost = watch_lost(a->heat.watch);
}

static uint64_t pages_bytes(uint64_t pages)
{
	return pages * WIRE_BLOCK_BYTES;
}

/* What was swapped out for want of memory is needed as much as what was not. */
static uint64_t swapped_bytes(void)
{
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return 0;
	return (uint64_t)(info.totalswap - info.freeswap) * info.mem_unit;
}

/* Frames of RAM that are not the kernel's to manage count as needed: the host gave them. */
static void memory_fill(struct agent *a, struct wire_report *ret)
{
	uint64_t ram = pages_bytes(a->census.ram.pages), rest;
	struct vmstat counts = { 0 };
	struct psi memory;

	for (unsigned i = 0; i < a->nodes.count; i++) {
		ret->unmapped_bytes += pages_bytes(a->nodes.nodes[i].unmapped_pages);
		ret->free_bytes += pages_bytes(a->nodes.nodes[i].free_pages);
	}
	if (vmstat_read("", &counts) < 0)
		return;
	uint64_t unclean = pages_bytes(counts.unclean_pages);
	ret->balloon_bytes = pages_bytes(counts.balloon_pages);
	ret->oom_kills = counts.oom_kills;
	ret->alloc_stalls = counts.alloc_stalls;
	rest = ret->balloon_bytes + a->pool.superpages * WIRE_SUPERPAGE_BYTES + ret->free_bytes +
	       (ret->unmapped_bytes > unclean ? ret->unmapped_bytes - unclean : 0);
	ret->needed_bytes = (ram > rest ? ram - rest : 0) + swapped_bytes();
	if (ret->needed_bytes > ram)
		ret->needed_bytes = ram;
	if (psi_read("", "memory", &memory) >= 0)
		ret->pressure = memory.some_avg10_hundredths;
}

static void ahead_fill(const struct agent *a, struct wire_report *ret)
{
	const struct ahead *ahead = &a->ahead;

	ret->hint = ahead->hint;
	ret->hint_origin = ahead->origin;
	ret->notice = balloon_notice(ahead->balloon);
	ret->inflations = ahead->inflations;
	ret->ahead_bytes = pages_bytes(ahead->evicted_pages);
	ret->inflate_bytes = UINT64_MAX;
	if (ahead->balloon && ahead->view.left_pages != UINT64_MAX)
		ret->inflate_bytes = pages_bytes(ahead->view.left_pages);
}

void report_fill(struct agent *a, struct wire_report *ret)
{
	*ret = (struct wire_report){
		.evicted_bytes = a->shed.evicted_pages * WIRE_BLOCK_BYTES,
		.slab_freed_bytes = a->slab_freed_bytes,
		.slab_pressed_bytes = a->slab_pressed_bytes,
		.cpu_usec = clock_usec(CLOCK_PROCESS_CPUTIME_ID),
		.pressure = WIRE_BLIND,
	};
	if (nodes_count(&a->nodes) >= 0)
		memory_fill(a, ret);
	ahead_fill(a, ret);
	limit_fill(a, ret, now_usec());
	if (a->can_watch)
		returns_fill(a, ret);
}
