/* SPDX-License-Identifier: Apache-2.0 */
/* Where the blocks of a guest's disk lie in the files of its image chain. */
#ifndef PAGEPACT_HOST_IMAGEMAP_H
#define PAGEPACT_HOST_IMAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blockset.h"

#define IMAGEMAP_LAYERS_MAX  8
#define IMAGEMAP_JSON_MAX    (16u << 20) /* about 140,000 extents; for child_spec.output_max_bytes */
#define IMAGEMAP_EXTENTS_MAX (1u << 18)

/**
 * struct image_layer - one file of a chain; [0] is the guest's own, the last one the base
 * @path: absolute
 * @format: what QMP says, never probed: "raw" or "qcow2"
 * @block_device: @path is one, not a regular file
 * @file_bytes: size of the file; 0 unknown. An extent beyond it is not placed
 *
 * A qcow2 layer with an external data file ("data-file" in QMP's format-specific information) must
 * not be given: its offsets are in that file, and qemu-img does not say so.
 */
struct image_layer {
	const char *path;
	const char *format;
	bool block_device;
	uint64_t file_bytes;
};

/**
 * struct imagemap_argv - command line of the image tool, for child_spec.argv
 * @options: what argv points into
 */
struct imagemap_argv {
	const char *argv[8];
	char *options;
};

/**
 * imagemap_argv() - "qemu-img map" of a chain, each layer named with its format
 *
 * Return: 0; -EOPNOTSUPP for another format, or a layer below a raw one; -EINVAL for a path that is
 * not absolute or too long, or no or too many layers; -ENOMEM
 */
int imagemap_argv(const struct image_layer *layers, size_t n_layers, struct imagemap_argv *ret);

void imagemap_argv_done(struct imagemap_argv *argv);

/**
 * struct imagemap_extent - blocks that lie one after the other in one file
 * @start: first block of the disk
 * @count: blocks, not 0
 * @file_block: first block of the file
 * @layer: index in the chain
 */
struct imagemap_extent {
	uint32_t start;
	uint32_t count;
	uint32_t file_block;
	uint32_t layer;
};

struct imagemap;

/** imagemap_free() - returns NULL; NULL is allowed */
struct imagemap *imagemap_free(struct imagemap *map);

static inline void imagemap_freep(struct imagemap **map)
{
	*map = imagemap_free(*map);
}

/**
 * imagemap_parse() - read the output of "qemu-img map --output=json"
 * @json: need not end with NUL
 * @layers: the chain that imagemap_argv() was given
 *
 * Placed are whole blocks whose data lie uncompressed at an aligned place of a file. Holes of a raw
 * layer are placed too: QEMU reads them from the file, and the host caches them. Zero clusters of
 * qcow2, compressed clusters, blocks allocated nowhere and blocks across two extents are not.
 *
 * Return: 0, -EBADMSG (not what qemu-img prints of this chain), -E2BIG, -EINVAL (no or too many
 * layers), -ENOMEM
 */
int imagemap_parse(const void *json, size_t size, const struct image_layer *layers, size_t n_layers,
		   struct imagemap **ret);

/** imagemap_identity() - the map of a raw image of @bytes: no tool is needed. 0, -EFBIG, -ENOMEM */
int imagemap_identity(uint64_t bytes, struct imagemap **ret);

/**
 * imagemap_lookup() - where one block of the disk lies
 * @ret_count: from @disk_block on, so many blocks follow each other in the file (true), or lie
 *	nowhere (false); at least 1
 * @ret_layer, @ret_file_block: untouched unless true
 *
 * Return: whether it is placed
 */
bool imagemap_lookup(const struct imagemap *map, uint64_t disk_block, uint64_t *ret_count,
		     size_t *ret_layer, uint64_t *ret_file_block);

/** imagemap_extents() - all of them, ascending by start; valid as long as @map */
const struct imagemap_extent *imagemap_extents(const struct imagemap *map, size_t *ret_n);

/** imagemap_placed_blocks() - blocks of the disk that lie in a file of the chain */
uint64_t imagemap_placed_blocks(const struct imagemap *map);

#endif
