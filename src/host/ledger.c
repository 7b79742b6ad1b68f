/* SPDX-License-Identifier: Apache-2.0 */
#include "host/ledger.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/lines.h"

#define MIB(pages) ((double)(pages)*BLOCK_BYTES / (1 << 20))

struct ledger_entry *ledger_add(struct ledger *l, const char *image)
{
	struct ledger_entry *e = &l->entries[l->count % LEDGER_MAX];

	free(e->image);
	blockset_free(e->blocks);
	balloon_result_free(e->balloon);
	*e = (struct ledger_entry){ .id = ++l->count, .image = strdup(image) };
	return e;
}

struct ledger_entry *ledger_change(struct ledger *l, uint64_t id)
{
	struct ledger_entry *e;

	if (!id)
		return NULL;
	e = &l->entries[(id - 1) % LEDGER_MAX];
	return e->id == id ? e : NULL;
}

const struct ledger_entry *ledger_find(const struct ledger *l, uint64_t id)
{
	const struct ledger_entry *e = id ? &l->entries[(id - 1) % LEDGER_MAX] : NULL;

	return e && e->id == id ? e : NULL;
}

void ledger_done(struct ledger *l)
{
	for (size_t i = 0; i < LEDGER_MAX; i++) {
		free(l->entries[i].image);
		blockset_free(l->entries[i].blocks);
		balloon_result_free(l->entries[i].balloon);
	}
}

static const char *action_name(const struct ledger_entry *e)
{
	return e->balloon ? "balloon" : e->free ? "free" : plan_action_name(e->action);
}

static json_int_t bytes(uint64_t pages)
{
	return (json_int_t)(pages * BLOCK_BYTES);
}

json_t *ledger_order_json(const struct ledger_entry *e)
{
	json_t *kept = json_pack("{sI sI sI sI sI sI}", "mapped", bytes(e->kept_mapped), "dirty",
				 bytes(e->kept_dirty), "hot", bytes(e->kept_hot), "gone",
				 bytes(e->kept_gone), "partial", bytes(e->kept_partial), "failed",
				 bytes(e->kept_failed));

	return json_pack("{sI si ss? ss so ss sb sI sI so ss ss? sI}", "id", (json_int_t)e->id,
			 "round", (int)e->round, "vm", e->vm[0] ? e->vm : NULL, "image",
			 e->image ? e->image : "", "step",
			 e->free || e->balloon ? json_null() : json_integer(e->step), "action",
			 action_name(e), "dry_run", e->dry_run, "asked_bytes", bytes(e->asked),
			 "done_bytes", bytes(e->done), "kept", kept, "reason", e->reason, "error",
			 e->error[0] ? e->error : NULL, "usec", (json_int_t)e->usec);
}

static void free_lines(const struct ledger_entry *e, json_t *lines)
{
	lines_add(lines, "Order %" PRIu64 " (free, the order of reclaim inside %s): %s", e->id,
		  e->vm, e->reason);
	if (e->before_known)
		lines_add(lines,
			  "Before it, %.1f MiB of its page cache were unmapped; it knew the age of "
			  "pages by: %s.",
			  (double)e->before.unmapped_bytes / (1 << 20),
			  wire_heat_name(e->before.heat));
	lines_add(lines,
		  "It was told that the host holds %.1f MiB of its disks; these were not touched, "
		  "and "
		  "may have left since.",
		  MIB(e->held));
	for (int i = 0; i < WIRE_STEPS; i++)
		if (e->step_bytes[i])
			lines_add(lines, "Step %s: %.1f MiB%s", wire_step_name((unsigned)i),
				  (double)e->step_bytes[i] / (1 << 20),
				  i == WIRE_STEP_FREE ? ", which were free before." : ".");
	lines_add(lines, "Of %.1f MiB asked for, %.1f MiB were given back in %.1f ms.",
		  MIB(e->asked), MIB(e->done), (double)e->usec / 1000);
	if (!e->error[0])
		lines_add(lines, "It ended with: %s%s%s.", wire_stopped_name(e->stopped),
			  e->brake ? ", brake " : "", e->brake ? wire_brake_name(e->brake) : "");
	else
		lines_add(lines, "It did not end well: %s", e->error);
}

static json_t *explain_lines(const struct ledger_entry *e)
{
	const struct plan_inputs *in = &e->inputs;
	json_t *lines = json_array();

	if (e->free) {
		free_lines(e, lines);
		return lines;
	}
	lines_add(lines, "Order %" PRIu64 " (%s, step %d of the order of reclaim): %s", e->id,
		  plan_action_name(e->action), (int)e->step, e->reason);
	lines_add(lines, "The host cached %.1f MiB of %s; %.1f MiB were eligible.",
		  MIB(in->resident), e->image ? e->image : "", MIB(in->eligible));
	lines_add(lines, "%s cached %.1f MiB of it, of which %.1f MiB could be given up.",
		  e->vm[0] ? e->vm : "Guests", MIB(in->held), MIB(in->evictable));
	for (int n = 0; n < PLAN_HOLDERS; n++)
		if (in->holders[n])
			lines_add(lines, "Held by the host and %s%d guest%s: %.1f MiB.",
				  n == PLAN_HOLDERS - 1 ? "at least " : "", n, n == 1 ? "" : "s",
				  MIB(in->holders[n]));
	if (e->dry_run)
		lines_add(lines, "A dry run: nothing was done.");
	else
		lines_add(lines, "Of %.1f MiB asked for, %.1f MiB left the cache in %.1f ms.",
			  MIB(e->asked), MIB(e->done), (double)e->usec / 1000);
	if (e->error[0])
		lines_add(lines, "It did not end well: %s", e->error);
	return lines;
}

/* [[first block, blocks], ...] of the image: what an outsider needs to check the order. */
static json_t *runs_json(const struct blockset *blocks)
{
	json_t *runs = json_array();
	struct block_run run;

	for (uint64_t at = 0; blocks && blockset_next_run(blocks, at, &run);
	     at = (uint64_t)run.start + run.count)
		json_array_append_new(
			runs, json_pack("[II]", (json_int_t)run.start, (json_int_t)run.count));
	return runs;
}

json_t *ledger_steps_json(const struct ledger_entry *e)
{
	json_t *steps = json_array();

	for (int i = 0; i < WIRE_STEPS; i++)
		json_array_append_new(steps,
				      json_pack("{ss sI}", "step", wire_step_name((unsigned)i),
						"bytes", (json_int_t)e->step_bytes[i]));
	return steps;
}

static json_t *free_explain_json(const struct ledger_entry *e)
{
	json_t *inputs = e->before_known ? NULL : json_object();

	if (!inputs)
		inputs = json_pack("{sI ss ss}", "unmapped_bytes",
				   (json_int_t)e->before.unmapped_bytes, "limit_state",
				   wire_state_name(e->before.limit_state), "heat",
				   wire_heat_name(e->before.heat));
	return json_pack("{so so so so so}", "runs", json_array(), "steps", ledger_steps_json(e),
			 "order", ledger_order_json(e), "inputs", inputs, "text", explain_lines(e));
}

static json_t *balloon_explain_json(const struct ledger_entry *e)
{
	json_t *text = json_array();

	balloon_result_lines(e->balloon, text);
	return json_pack("{so so so so}", "runs", json_array(), "order", ledger_order_json(e),
			 "inputs", balloon_result_json(e->balloon), "text", text);
}

json_t *ledger_explain_json(const struct ledger_entry *e)
{
	const struct plan_inputs *in = &e->inputs;
	json_t *holders;

	if (e->balloon)
		return balloon_explain_json(e);
	if (e->free)
		return free_explain_json(e);
	holders = json_array();
	for (int n = 0; n < PLAN_HOLDERS; n++)
		json_array_append_new(holders, json_integer(bytes(in->holders[n])));
	return json_pack("{so so s{sI sI sI sI sb sI sI so} so}", "runs", runs_json(e->blocks),
			 "order", ledger_order_json(e), "inputs", "resident_bytes",
			 bytes(in->resident), "held_bytes", bytes(in->held), "evictable_bytes",
			 bytes(in->evictable), "cold_bytes", bytes(in->cold), "age_known",
			 in->age_known, "eligible_bytes", bytes(in->eligible), "owed_bytes",
			 bytes(in->owed), "holders_bytes", holders, "text", explain_lines(e));
}
