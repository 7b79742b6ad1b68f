/* SPDX-License-Identifier: Apache-2.0 */
/* What an image tool printed, of a chain of three layers. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "host/imagemap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct image_layer layers[] = {
	{ "/top", "qcow2", false, 0 },
	{ "/mid", "qcow2", false, 1u << 30 },
	{ "/base", "raw", false, (1u << 20) + 1 },
};

#define N_LAYERS (sizeof(layers) / sizeof(layers[0]))

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_lookup(const struct imagemap *map, const struct imagemap_extent *extent)
{
	uint64_t count, file_block;
	size_t layer;

	check(imagemap_lookup(map, extent->start, &count, &layer, &file_block));
	check(count == extent->count && layer == extent->layer && file_block == extent->file_block);
	if (!imagemap_lookup(map, (uint64_t)extent->start + extent->count, &count, &layer,
			     &file_block))
		check(count > 0);
}

static void check_map(const struct imagemap *map)
{
	size_t n;
	const struct imagemap_extent *extents = imagemap_extents(map, &n);
	uint64_t end = 0, placed = 0;

	for (size_t i = 0; i < n; i++) {
		check(extents[i].start >= end && extents[i].count > 0);
		end = (uint64_t)extents[i].start + extents[i].count;
		check(end <= BLOCKSET_END && extents[i].layer < N_LAYERS);
		check((uint64_t)extents[i].file_block + extents[i].count <= BLOCKSET_END);
		if (extents[i].layer == 2)
			check(extents[i].file_block + extents[i].count <= 257);
		check_lookup(map, &extents[i]);
		placed += extents[i].count;
	}
	check(placed == imagemap_placed_blocks(map));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imagemap *map = NULL;

	if (imagemap_parse(data, size, layers, N_LAYERS, &map) < 0) {
		check(map == NULL);
		return 0;
	}
	check_map(map);
	imagemap_free(map);
	return 0;
}
