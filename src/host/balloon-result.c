/* SPDX-License-Identifier: Apache-2.0 */
#include "host/balloon-result.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/lines.h"

#define MIB(bytes) ((double)(bytes) / (1 << 20))

struct balloon_result *balloon_result_copy(const struct balloon_result *result)
{
	struct balloon_result *copy = result ? malloc(sizeof(*copy)) : NULL;

	if (!copy)
		return NULL;
	*copy = *result;
	copy->vm = strdup(result->vm ? result->vm : "");
	copy->notes = json_deep_copy(result->notes);
	return copy->vm ? copy : balloon_result_free(copy);
}

struct balloon_result *balloon_result_free(struct balloon_result *result)
{
	if (!result)
		return NULL;
	free(result->vm);
	json_decref(result->notes);
	free(result);
	return NULL;
}

/* Not known before the first look. */
static json_t *known(uint64_t bytes)
{
	return bytes ? json_integer((json_int_t)bytes) : json_null();
}

static const char *evictor(const struct balloon_result *r)
{
	if (!r->agent)
		return "no agent evicted";
	return r->steps && r->asked_bytes < r->from_bytes ? "its agent was asked to evict"
							  : "nothing had to be evicted";
}

json_t *balloon_result_json(const struct balloon_result *r)
{
	json_t *plain = json_pack(
		"{ss? so sI so so so sI so ss ss ss sb ss? ss sI sI sI sI so si sI sb so}", "vm",
		r->vm, "order", r->order ? json_integer((json_int_t)r->order) : json_null(),
		"asked_bytes", (json_int_t)r->asked_bytes, "original_bytes",
		known(r->original_bytes), "from_bytes", known(r->from_bytes), "actual_bytes",
		known(r->actual_bytes), "target_bytes", (json_int_t)r->target_bytes, "floor_bytes",
		known(r->floor.bytes), "floor_source", balloon_floor_name(r->floor.source), "cache",
		balloon_cache_name(r->cache), "by", balloon_by_name(r->by), "agent", r->agent,
		"state", r->dry_run ? NULL : balloon_state_name(r->state), "reason", r->reason,
		"evicted_bytes", (json_int_t)r->evicted_bytes, "unplugged_bytes",
		(json_int_t)r->unplugged_bytes, "taken_bytes", (json_int_t)r->taken_bytes,
		"paged_out_bytes", (json_int_t)r->paged_out_bytes, "host_returned_bytes",
		r->returned_known ? json_integer((json_int_t)r->returned_bytes) : json_null(),
		"steps", (int)r->steps, "usec", (json_int_t)r->usec, "dry_run", r->dry_run, "notes",
		r->notes ? json_deep_copy(r->notes) : json_array());

	return plain;
}

void balloon_result_lines(const struct balloon_result *r, json_t *lines)
{
	const json_t *note;
	size_t i;

	if (r->from_bytes) {
		lines_add(lines,
			  "Order %" PRIu64 " (balloon): %s was to have %.1f MiB, and had %.1f MiB.",
			  r->order, r->vm, MIB(r->asked_bytes), MIB(r->from_bytes));
		lines_add(lines,
			  "Before it was ever changed it had %.1f MiB; its floor was %.1f MiB "
			  "(%s).",
			  MIB(r->original_bytes), MIB(r->floor.bytes),
			  balloon_floor_name(r->floor.source));
	} else {
		lines_add(lines,
			  "Order %" PRIu64
			  " (balloon): %s was to have %.1f MiB; it was over before "
			  "anything was looked at.",
			  r->order, r->vm, MIB(r->asked_bytes));
	}
	lines_add(lines, "Page cache: %s; %s. By: %s.", balloon_cache_name(r->cache), evictor(r),
		  balloon_by_name(r->by));
	lines_add(lines, "In %u steps and %.1f s it came to %.1f MiB; %.1f MiB were evicted.",
		  r->steps, (double)r->usec / 1e6, MIB(r->actual_bytes), MIB(r->evicted_bytes));
	if (r->unplugged_bytes)
		lines_add(lines, "%.1f MiB were given as superpages, by virtio-mem.",
			  MIB(r->unplugged_bytes));
	if (r->taken_bytes)
		lines_add(lines,
			  "%.1f MiB were given as superpages that its agent keeps out of use; the "
			  "host paged %.1f MiB out.",
			  MIB(r->taken_bytes), MIB(r->paged_out_bytes));
	if (r->returned_known)
		lines_add(lines, "The host sees %.1f MiB returned.", MIB(r->returned_bytes));
	lines_add(lines, "It ended with: %s: %s.", balloon_state_name(r->state), r->reason);
	json_array_foreach (r->notes, i, note)
		lines_add(lines, "Note: %s.", json_string_value(note));
}
