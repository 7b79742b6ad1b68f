/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent last said of its page cache limit, as JSON. */
#include "base/clock.h"
#include "host/report.h"

static json_t *classes_json(const uint64_t pages[WIRE_AGE_CLASSES])
{
	json_t *classes = json_array();

	for (int i = 0; i < WIRE_AGE_CLASSES; i++)
		json_array_append_new(classes,
				      json_integer((json_int_t)(pages[i] * WIRE_BLOCK_BYTES)));
	return classes;
}

static json_t *balloon_json(const struct wire_report *r)
{
	return json_pack(
		"{ss ss ss sI so sI sI sI sI so sI sI}", "hint", wire_hint_name(r->hint),
		"hint_origin", wire_origin_name(r->hint_origin), "inflation_seen_by",
		wire_notice_name(r->notice), "balloon_held_bytes", (json_int_t)r->balloon_bytes,
		"inflate_left_bytes",
		r->inflate_bytes == UINT64_MAX ? json_null()
					       : json_integer((json_int_t)r->inflate_bytes),
		"inflations", (json_int_t)r->inflations, "evicted_ahead_bytes",
		(json_int_t)r->ahead_bytes, "free_bytes", (json_int_t)r->free_bytes, "needed_bytes",
		(json_int_t)r->needed_bytes, "memory_pressure_permille",
		r->pressure == WIRE_BLIND ? json_null() : json_integer(r->pressure / 10),
		"oom_kills", (json_int_t)r->oom_kills, "alloc_stalls", (json_int_t)r->alloc_stalls);
}

json_t *report_agent_json(const struct vm *vm)
{
	const struct wire_report *r = &vm->report;

	json_t *json;

	if (!vm->report_usec)
		return json_null();
	json = json_pack("{so ss ss sI ss sI sI ss sI sI sI sI sI sI so so sI}", "limit_bytes",
			 r->limit_bytes == UINT64_MAX ? json_null()
						      : json_integer((json_int_t)r->limit_bytes),
			 "limit_origin", wire_origin_name(r->limit_origin), "limit_state",
			 wire_state_name(r->limit_state), "unmapped_bytes",
			 (json_int_t)r->unmapped_bytes, "brake", wire_brake_name(r->brake),
			 "brake_left_usec", (json_int_t)r->brake_left_usec, "brakes",
			 (json_int_t)r->brakes, "heat", wire_heat_name(r->heat), "evicted_bytes",
			 (json_int_t)r->evicted_bytes, "refaulted_bytes",
			 (json_int_t)r->refaulted_bytes, "slab_freed_bytes",
			 (json_int_t)r->slab_freed_bytes, "slab_pressed_bytes",
			 (json_int_t)r->slab_pressed_bytes, "cpu_usec", (json_int_t)r->cpu_usec,
			 "events_lost", (json_int_t)r->events_lost, "evicted_by_age_bytes",
			 classes_json(r->evicted_by_age), "refaulted_by_age_bytes",
			 classes_json(r->refaulted_by_age), "age_usec",
			 (json_int_t)(now_usec() - vm->report_usec));
	if (json)
		json_object_update_new(json, balloon_json(r));
	return json;
}
