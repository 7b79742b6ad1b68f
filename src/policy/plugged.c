/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/plugged.h"

#include <stdbool.h>

#define PAGE_BYTES 4096

static uint64_t lacking_bytes(const struct plugged_device *d)
{
	return d->first_bytes > d->bytes ? d->first_bytes - d->bytes : 0;
}

static uint64_t round_down(uint64_t bytes, uint64_t block_bytes)
{
	return block_bytes ? bytes / block_bytes * block_bytes : 0;
}

uint64_t plugged_bytes(const struct plugged *plugged)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < plugged->n; i++)
		bytes += plugged->devices[i].bytes;
	return bytes;
}

uint64_t plugged_lacking_bytes(const struct plugged *plugged)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < plugged->n; i++)
		bytes += lacking_bytes(&plugged->devices[i]);
	return bytes;
}

const struct plugged_device *plugged_fullest(const struct plugged *plugged)
{
	const struct plugged_device *fullest = NULL;

	for (size_t i = 0; i < plugged->n; i++)
		if (plugged->devices[i].bytes > (fullest ? fullest->bytes : 0))
			fullest = &plugged->devices[i];
	return fullest;
}

/* What may stay unplugged of each device, of what is: from the first one on. Return: their sum. */
static uint64_t keep_away(const struct plugged *plugged, uint64_t bytes, uint64_t *ret)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < plugged->n; i++) {
		const struct plugged_device *d = &plugged->devices[i];
		uint64_t lacking = lacking_bytes(d);
		uint64_t most = round_down(bytes - sum, d->block_bytes);

		ret[i] = lacking < most ? lacking : most;
		sum += ret[i];
	}
	return sum;
}

uint64_t plugged_whole_bytes(const struct plugged *plugged, uint64_t original_bytes, uint64_t bytes)
{
	uint64_t away[PLUGGED_MAX], sum;

	if (bytes >= original_bytes)
		return bytes;
	sum = keep_away(plugged, original_bytes - bytes, away);
	return sum < plugged_lacking_bytes(plugged) ? original_bytes - sum : bytes;
}

static bool is_larger(const struct plugged_device *d)
{
	return d->requested_bytes > d->first_requested_bytes;
}

static uint64_t requested_bytes(const struct plugged_device *d, uint64_t away)
{
	if (is_larger(d))
		return d->requested_bytes;
	return away ? d->first_bytes - away : d->first_requested_bytes;
}

/* What it will have plugged in, as far as that is known. */
static uint64_t final_bytes(const struct plugged_device *d, uint64_t away)
{
	return is_larger(d) ? d->bytes : d->first_bytes - away;
}

void plugged_size(const struct plugged *plugged, uint64_t original_bytes, uint64_t bytes,
		  struct plugged_order *ret)
{
	uint64_t away[PLUGGED_MAX] = { 0 }, plugs = 0;

	if (bytes < original_bytes)
		(void)keep_away(plugged, original_bytes - bytes, away);
	for (size_t i = 0; i < plugged->n; i++) {
		ret->requested_bytes[i] = requested_bytes(&plugged->devices[i], away[i]);
		plugs += final_bytes(&plugged->devices[i], away[i]);
	}
	/* QEMU takes none of 0. */
	ret->balloon_bytes = bytes > plugs + PAGE_BYTES ? bytes - plugs : PAGE_BYTES;
}
