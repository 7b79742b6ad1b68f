/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKOFF_DOUBLINGS_MAX 6

/* An act that brought less than one part in so many of what it asked for was in vain. */
#define FRUITLESS_PARTS 8

void policy_state_done(struct policy_state *state)
{
	for (size_t i = 0; i < state->n_records; i++)
		blockset_free(state->records[i].owed);
	free(state->records);
	*state = (struct policy_state){};
}

static int record_compare(const struct policy_record *record, const char *guest,
			  const struct snapshot_image *image)
{
	if (record->device != image->device)
		return record->device < image->device ? -1 : 1;
	if (record->inode != image->inode)
		return record->inode < image->inode ? -1 : 1;
	return strcmp(record->guest, guest);
}

/* The first record that is not before the one looked for: they are kept sorted. */
static size_t record_lower_bound(const struct policy_state *state, const char *guest,
				 const struct snapshot_image *image)
{
	size_t low = 0, high = state->n_records;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (record_compare(&state->records[middle], guest, image) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct policy_record *state_find(const struct policy_state *state, const char *guest,
				       const struct snapshot_image *image)
{
	size_t at = record_lower_bound(state, guest, image);

	if (at == state->n_records || record_compare(&state->records[at], guest, image))
		return NULL;
	return &state->records[at];
}

static struct policy_record *record_get(struct policy_state *state, const char *guest,
					const struct snapshot_image *image)
{
	size_t at = record_lower_bound(state, guest, image);

	if (at < state->n_records && record_compare(&state->records[at], guest, image) == 0)
		return &state->records[at];

	struct policy_record *records =
		reallocarray(state->records, state->n_records + 1, sizeof(*records));

	if (!records)
		return NULL;
	state->records = records;
	memmove(&records[at + 1], &records[at], (state->n_records - at) * sizeof(*records));
	state->n_records++;
	records[at] = (struct policy_record){ .device = image->device, .inode = image->inode };
	(void)snprintf(records[at].guest, sizeof(records[at].guest), "%s", guest);
	return &records[at];
}

uint64_t state_backoff_end(const struct policy_record *record, const struct policy_config *config)
{
	if (!record || !record->fruitless)
		return 0;

	unsigned doublings = record->fruitless - 1;

	if (doublings > BACKOFF_DOUBLINGS_MAX)
		doublings = BACKOFF_DOUBLINGS_MAX;
	return record->acted_usec + (config->backoff_usec << doublings);
}

/* Nothing that a decision could still depend on. */
static bool record_lapsed(const struct policy_record *record, const struct policy_config *config,
			  uint64_t now_usec)
{
	uint64_t longest = config->backoff_usec << BACKOFF_DOUBLINGS_MAX;

	if (longest < config->delay_usec)
		longest = config->delay_usec;
	/* A scan that is older than the act may still be on its way. */
	if (longest < config->scan_age_max_usec)
		longest = config->scan_age_max_usec;
	if (longest < config->resident_age_max_usec)
		longest = config->resident_age_max_usec;
	return !record->owed && now_usec > record->acted_usec &&
	       now_usec - record->acted_usec > longest;
}

/* A guest that caches the block again has been served: by the host, as was promised. */
static void debt_settle(struct policy_state *state, const struct snapshot *snapshot,
			const struct snapshot_holding *holding)
{
	const struct snapshot_guest *guest = &snapshot->guests[holding->guest];
	const struct snapshot_image *image = &snapshot->images[holding->image];
	size_t at = record_lower_bound(state, guest->name, image);

	if (at == state->n_records || record_compare(&state->records[at], guest->name, image))
		return;

	struct policy_record *record = &state->records[at];

	if (record->owed && holding->held && guest->scan_usec > record->acted_usec)
		blockset_andnot_with(record->owed, holding->held);
}

void state_observe(struct policy_state *state, const struct snapshot *snapshot,
		   const struct policy_config *config)
{
	size_t kept = 0;

	for (size_t i = 0; i < snapshot->n_holdings && state->n_records > 0; i++)
		debt_settle(state, snapshot, &snapshot->holdings[i]);

	for (size_t i = 0; i < state->n_records; i++) {
		struct policy_record *record = &state->records[i];
		bool due = snapshot->now_usec > record->owed_usec &&
			   snapshot->now_usec - record->owed_usec > config->owed_usec;

		if (record->owed && (due || blockset_count(record->owed) == 0))
			record->owed = blockset_free(record->owed);
		if (!record_lapsed(record, config, snapshot->now_usec))
			state->records[kept++] = *record;
	}
	state->n_records = kept;
}

static void counters_add(struct policy_counters *counters, uint64_t tried, uint64_t applied)
{
	counters->tried++;
	counters->fruitless += applied < tried / FRUITLESS_PARTS;
	counters->tried_bytes += tried;
	counters->applied_bytes += applied;
	counters->refused_bytes += tried - applied;
}

int policy_applied(struct policy_state *state, const struct snapshot *snapshot,
		   const struct plan_order *order, uint64_t now_usec, uint64_t done_bytes)
{
	bool evict = order->action == PLAN_EVICT;
	const struct snapshot_image *image = &snapshot->images[order->image];
	const char *guest = evict ? snapshot->guests[order->guest].name : "";
	uint64_t tried = blockset_count(order->blocks) * BLOCK_BYTES;
	uint64_t applied = done_bytes < tried ? done_bytes : tried;
	struct policy_record *record = record_get(state, guest, image);

	if (!record)
		return -ENOMEM;
	/* First of all, so that nothing is believed that was seen before the act. */
	record->acted_usec = now_usec;
	record->fruitless = applied < tried / FRUITLESS_PARTS ? record->fruitless + 1 : 0;
	counters_add(&record->counters, tried, applied);
	counters_add(evict ? &state->evictions : &state->trims, tried, applied);
	if (!evict)
		return 0;

	record->owed_usec = now_usec;
	if (!record->owed)
		record->owed = blockset_copy(order->blocks);
	else
		blockset_or_with(record->owed, order->blocks);
	return record->owed ? 0 : -ENOMEM;
}
