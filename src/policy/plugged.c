/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/plugged.h"

#include <stdbool.h>

#define PAGE_BYTES 4096

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

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

uint64_t plugged_meant_bytes(const struct plugged *plugged)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < plugged->n; i++) {
		const struct plugged_device *d = &plugged->devices[i];
		uint64_t meant = smaller(d->requested_bytes, d->first_bytes);

		bytes += larger(d->bytes, meant);
	}
	return bytes;
}

const struct plugged_device *plugged_fullest(const struct plugged *plugged, uint32_t without)
{
	const struct plugged_device *fullest = NULL;

	for (size_t i = 0; i < plugged->n; i++) {
		const struct plugged_device *d = &plugged->devices[i];

		if (!(without & (1U << d->index)) && d->bytes > (fullest ? fullest->bytes : 0))
			fullest = d;
	}
	return fullest;
}

/* The place of the fullest device that is not in @seen. */
static size_t next_fullest(const struct plugged *plugged, uint32_t seen)
{
	size_t found = plugged->n;

	for (size_t i = 0; i < plugged->n; i++)
		if (!(seen & (1U << i)) &&
		    (found == plugged->n ||
		     plugged->devices[i].bytes > plugged->devices[found].bytes))
			found = i;
	return found;
}

/* What may stay unplugged of each device, of what is. Return: their sum. */
static uint64_t keep_away(const struct plugged *plugged, uint64_t bytes, uint64_t *ret)
{
	uint64_t sum = 0;
	uint32_t seen = 0;

	for (size_t n = 0; n < plugged->n; n++) {
		size_t i = next_fullest(plugged, seen);
		const struct plugged_device *d = &plugged->devices[i];

		ret[i] = smaller(lacking_bytes(d), round_down(bytes - sum, d->block_bytes));
		sum += ret[i];
		seen |= 1U << i;
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

static uint64_t requested_bytes(const struct plugged_device *d, uint64_t away, bool is_all)
{
	if (d->requested_bytes > larger(d->first_requested_bytes, d->first_bytes))
		return d->requested_bytes;
	if (away)
		return d->first_bytes - away;
	/* It was still plugging in when it was first seen. */
	if (!is_all && d->bytes > d->first_bytes)
		return smaller(d->requested_bytes, d->first_requested_bytes);
	return d->first_requested_bytes;
}

void plugged_size(const struct plugged *plugged, uint64_t original_bytes, uint64_t bytes,
		  struct plugged_order *ret)
{
	uint64_t away[PLUGGED_MAX] = { 0 }, plugs = 0, first = 0;
	bool is_all = bytes >= original_bytes;

	if (!is_all)
		(void)keep_away(plugged, original_bytes - bytes, away);
	for (size_t i = 0; i < plugged->n; i++) {
		const struct plugged_device *d = &plugged->devices[i];

		ret->requested_bytes[i] = requested_bytes(d, away[i], is_all);
		plugs += larger(d->bytes, d->first_bytes - away[i]);
		first += d->first_bytes;
	}
	ret->balloon_bytes = bytes > plugs ? bytes - plugs : 0;
	/* What somebody else gave is no reason to keep pages that were the guest's. */
	if (is_all)
		ret->balloon_bytes = larger(ret->balloon_bytes, original_bytes - first);
	/* QEMU takes none of 0. */
	ret->balloon_bytes = larger(ret->balloon_bytes, PAGE_BYTES);
}
