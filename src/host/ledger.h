/* SPDX-License-Identifier: Apache-2.0 */
/* What was done, why, what it freed and what it cost: the last LEDGER_MAX orders. */
#ifndef PAGEPACT_HOST_LEDGER_H
#define PAGEPACT_HOST_LEDGER_H

#include <jansson.h>

#include "host/balloon-result.h"
#include "host/config.h"
#include "policy/plan.h"
#include "wire/message.h"

#define LEDGER_MAX 512

/**
 * struct ledger_entry - one order and its outcome; amounts in pages unless the name says otherwise
 * @free: it was no order of a plan but `free`: @step, @action, @inputs and @blocks say nothing
 * @vm: "" for a trim
 * @kept_*: pages asked for that stayed, by reason
 * @step_bytes, @stopped, @brake, @turns: of `free`: what each step of the guest's own order
 *brought, why it ended, and how many messages it took
 * @held: of `free`: the agent was told that the host holds so many
 * @before: of `free`: the agent's report before it, if @before_known
 * @balloon: it was no order of a plan but `balloon`: how that ended; belongs to the entry; or NULL
 * @blocks: of the image, that the order was for; belongs to the entry; may be NULL
 */
struct ledger_entry {
	uint64_t id;
	unsigned round;
	bool dry_run;
	bool free;
	char vm[CONFIG_NAME_MAX + 1];
	char *image;
	enum plan_step step;
	enum plan_action action;
	uint64_t asked;
	uint64_t done;
	uint64_t kept_mapped;
	uint64_t kept_dirty;
	uint64_t kept_hot;
	uint64_t kept_gone;
	uint64_t kept_partial;
	uint64_t kept_failed;
	uint64_t usec;
	char error[PLAN_REASON_MAX];
	char reason[PLAN_REASON_MAX];
	struct plan_inputs inputs;
	uint64_t step_bytes[WIRE_STEPS];
	enum wire_stopped stopped;
	enum wire_brake brake;
	unsigned turns;
	uint64_t held;
	bool before_known;
	struct wire_report before;
	struct blockset *blocks;
	struct balloon_result *balloon;
};

struct ledger {
	struct ledger_entry entries[LEDGER_MAX];
	size_t count; /* ever */
};

/**
 * ledger_add() - enter an order
 * @image: copied
 *
 * Return: its entry, to be filled; the oldest one is forgotten for it.
 */
struct ledger_entry *ledger_add(struct ledger *l, const char *image);

/** ledger_find() - an entry by its number, or NULL when there is none (any more) */
const struct ledger_entry *ledger_find(const struct ledger *l, uint64_t id);

/** ledger_change() - as ledger_find(), to go on with it */
struct ledger_entry *ledger_change(struct ledger *l, uint64_t id);

/** ledger_done() - free what it holds */
void ledger_done(struct ledger *l);

/** ledger_order_json() - an entry as `reclaim` shows it; a new reference */
json_t *ledger_order_json(const struct ledger_entry *e);

/** ledger_steps_json() - what each step of `free` brought; a new reference */
json_t *ledger_steps_json(const struct ledger_entry *e);

/** ledger_explain_json() - an entry with its inputs and a text for people; a new reference */
json_t *ledger_explain_json(const struct ledger_entry *e);

#endif
