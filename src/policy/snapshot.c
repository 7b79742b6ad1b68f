/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

const char *snapshot_domain(const struct snapshot_guest *guest)
{
	return guest->domain ? guest->domain : guest->name;
}

bool snapshot_same_domain(const struct snapshot_guest *a, const struct snapshot_guest *b)
{
	return strcmp(snapshot_domain(a), snapshot_domain(b)) == 0;
}

/* Position of a pair among the holdings: negative before, positive after. */
static int holding_compare(const struct snapshot_holding *a, size_t image, size_t guest)
{
	if (a->image != image)
		return a->image < image ? -1 : 1;
	return a->guest < guest ? -1 : a->guest > guest;
}

/* The first holding that is not before the pair. */
static size_t holding_lower_bound(const struct snapshot *snapshot, size_t image, size_t guest)
{
	size_t low = 0, high = snapshot->n_holdings;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (holding_compare(&snapshot->holdings[middle], image, guest) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct snapshot_holding *snapshot_holdings(const struct snapshot *snapshot, size_t image,
						 size_t *ret_count)
{
	size_t first = holding_lower_bound(snapshot, image, 0);
	size_t end = first;

	while (end < snapshot->n_holdings && snapshot->holdings[end].image == image)
		end++;
	*ret_count = end - first;
	return snapshot->holdings ? snapshot->holdings + first : NULL;
}

const struct snapshot_holding *snapshot_holding_find(const struct snapshot *snapshot, size_t guest,
						     size_t image)
{
	size_t at = holding_lower_bound(snapshot, image, guest);

	if (at == snapshot->n_holdings || holding_compare(&snapshot->holdings[at], image, guest))
		return NULL;
	return &snapshot->holdings[at];
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool name_valid(const char *name)
{
	size_t length = name ? strnlen(name, SNAPSHOT_NAME_MAX + 1) : 0;

	return length > 0 && length <= SNAPSHOT_NAME_MAX;
}

static int names_check(const struct snapshot *snapshot)
{
	_cleanup_free_ const char **names = calloc(snapshot->n_guests + 1, sizeof(*names));
	int r = 0;

	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < snapshot->n_guests; i++)
		names[i] = snapshot->guests[i].name;
	qsort(names, snapshot->n_guests, sizeof(*names), name_compare);
	for (size_t i = 1; i < snapshot->n_guests; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			r = -EINVAL;
	return r;
}

int snapshot_check(const struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_images; i++)
		if (!snapshot->images[i].path)
			return -EINVAL;
	for (size_t i = 0; i < snapshot->n_holdings; i++) {
		const struct snapshot_holding *holding = &snapshot->holdings[i];

		if (holding->guest >= snapshot->n_guests || holding->image >= snapshot->n_images)
			return -EINVAL;
		if (i > 0 && holding_compare(holding - 1, holding->image, holding->guest) >= 0)
			return -EINVAL;
	}
	for (size_t i = 0; i < snapshot->n_guests; i++)
		if (!name_valid(snapshot->guests[i].name) ||
		    !name_valid(snapshot_domain(&snapshot->guests[i])))
			return -EINVAL;
	return names_check(snapshot);
}
