/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/report.h"

#include "base/clock.h"

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

void report_fill(struct agent *a, struct wire_report *ret)
{
	*ret = (struct wire_report){
		.evicted_bytes = a->shed.evicted_pages * WIRE_BLOCK_BYTES,
		.slab_freed_bytes = a->slab_freed_bytes,
		.slab_pressed_bytes = a->slab_pressed_bytes,
		.cpu_usec = clock_usec(CLOCK_PROCESS_CPUTIME_ID),
	};
	if (nodes_count(&a->nodes) >= 0)
		for (unsigned i = 0; i < a->nodes.count; i++)
			ret->unmapped_bytes += a->nodes.nodes[i].unmapped_pages * WIRE_BLOCK_BYTES;
	limit_fill(a, ret, now_usec());
	if (a->can_watch)
		returns_fill(a, ret);
}
