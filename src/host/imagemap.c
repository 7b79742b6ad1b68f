/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The array that qemu-img prints is read one object at a time: all of it as JSON values would take
 * a kilobyte of memory for each extent.
 */
#include "host/imagemap.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "host/json-get.h"

#define ENTRY_MAX 1024 /* bytes of one object; qemu-img 7.2 prints 150 at most */

struct imagemap {
	struct imagemap_extent *items;
	size_t n, capacity;
};

/* One object that qemu-img prints, in bytes. */
struct entry {
	uint64_t start;
	uint64_t length;
	uint64_t depth;
	uint64_t offset;
	bool has_offset;
	bool zero;
	bool data;
	bool compressed;
};

struct imagemap *imagemap_free(struct imagemap *map)
{
	if (map)
		free(map->items);
	free(map);
	return NULL;
}

static bool follows(const struct imagemap_extent *last, const struct imagemap_extent *next)
{
	return last->layer == next->layer && last->start + last->count == next->start &&
	       last->file_block + last->count == next->file_block;
}

static int append(struct imagemap *map, struct imagemap_extent extent)
{
	if (map->n && follows(&map->items[map->n - 1], &extent)) {
		map->items[map->n - 1].count += extent.count;
		return 0;
	}
	if (map->n == IMAGEMAP_EXTENTS_MAX)
		return -E2BIG;
	if (map->n == map->capacity) {
		size_t capacity = map->capacity ? 2 * map->capacity : 16;
		struct imagemap_extent *items = reallocarray(map->items, capacity, sizeof(*items));

		if (!items)
			return -ENOMEM;
		map->items = items;
		map->capacity = capacity;
	}
	map->items[map->n++] = extent;
	return 0;
}

static int read_entry(const json_t *object, struct entry *ret)
{
	struct entry entry = { 0 };

	if (!json_is_object(object) || !json_get_u64(object, "start", &entry.start) ||
	    !json_get_u64(object, "length", &entry.length) ||
	    !json_get_u64(object, "depth", &entry.depth) ||
	    !json_get_bool(object, "zero", &entry.zero) ||
	    !json_get_bool(object, "data", &entry.data))
		return -EBADMSG;
	entry.has_offset = json_object_get(object, "offset");
	if (entry.has_offset && !json_get_u64(object, "offset", &entry.offset))
		return -EBADMSG;
	/* From QEMU 8.2 on. Before, compressed data are data without an offset. */
	if (json_object_get(object, "compressed") &&
	    !json_get_bool(object, "compressed", &entry.compressed))
		return -EBADMSG;
	*ret = entry;
	return 0;
}

static int check_entry(const struct entry *entry, uint64_t previous_end, size_t n_layers)
{
	const uint64_t max = (uint64_t)BLOCKSET_END * BLOCK_BYTES;

	if (entry->length == 0 || entry->start < previous_end || entry->depth >= n_layers)
		return -EBADMSG;
	if (entry->length > max || entry->start > max - entry->length ||
	    entry->offset > max - entry->length)
		return -E2BIG;
	return 0;
}

static bool is_raw(const struct image_layer *layer)
{
	return strcmp(layer->format, "raw") == 0;
}

/* Adds the whole blocks of @entry, if it has any in the file of its layer. */
static int place(struct imagemap *map, const struct entry *entry, const struct image_layer *layer)
{
	const uint64_t first = (entry->start + BLOCK_BYTES - 1) / BLOCK_BYTES;
	const uint64_t end = (entry->start + entry->length) / BLOCK_BYTES;
	const uint64_t shift = first * BLOCK_BYTES - entry->start;
	uint64_t file_block;

	if (!entry->has_offset || entry->compressed || first >= end)
		return 0;
	/* The zeros of a raw file are read from it; those of qcow2 are made by QEMU. */
	if (!entry->data && !(entry->zero && is_raw(layer)))
		return 0;
	if ((entry->offset + shift) % BLOCK_BYTES)
		return 0;
	file_block = (entry->offset + shift) / BLOCK_BYTES;
	if (layer->file_bytes &&
	    file_block + (end - first) > (layer->file_bytes - 1) / BLOCK_BYTES + 1)
		return 0;
	return append(map, (struct imagemap_extent){
				   .start = (uint32_t)first,
				   .count = (uint32_t)(end - first),
				   .file_block = (uint32_t)file_block,
				   .layer = (uint32_t)entry->depth,
			   });
}

static size_t skip_space(const char *json, size_t size, size_t at)
{
	while (at < size && strchr(" \t\r\n", json[at]) && json[at])
		at++;
	return at;
}

static int parse_entry(struct imagemap *map, const char *json, size_t size, size_t *at,
		       uint64_t *end, const struct image_layer *layers, size_t n_layers)
{
	size_t room = size - *at < ENTRY_MAX ? size - *at : ENTRY_MAX;
	json_error_t error;
	json_auto_t *object = NULL;
	struct entry entry;
	int r;

	object = json_loadb(json + *at, room, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES,
			    &error);
	if (!object)
		return -EBADMSG;
	r = read_entry(object, &entry);
	if (r >= 0)
		r = check_entry(&entry, *end, n_layers);
	if (r < 0)
		return r;
	*at += (size_t)error.position;
	*end = entry.start + entry.length;
	return place(map, &entry, &layers[entry.depth]);
}

static int parse_array(struct imagemap *map, const char *json, size_t size,
		       const struct image_layer *layers, size_t n_layers)
{
	size_t at = skip_space(json, size, 0);
	uint64_t end = 0;
	int r;

	if (at == size || json[at] != '[')
		return -EBADMSG;
	at = skip_space(json, size, at + 1);
	if (at < size && json[at] == ']')
		return skip_space(json, size, at + 1) == size ? 0 : -EBADMSG;
	for (;;) {
		r = parse_entry(map, json, size, &at, &end, layers, n_layers);
		if (r < 0)
			return r;
		at = skip_space(json, size, at);
		if (at == size || (json[at] != ',' && json[at] != ']'))
			return -EBADMSG;
		if (json[at++] == ']')
			return skip_space(json, size, at) == size ? 0 : -EBADMSG;
	}
}

int imagemap_parse(const void *json, size_t size, const struct image_layer *layers, size_t n_layers,
		   struct imagemap **ret)
{
	_cleanup_(imagemap_freep) struct imagemap *map = NULL;
	int r;

	if (n_layers == 0 || n_layers > IMAGEMAP_LAYERS_MAX)
		return -EINVAL;
	if (size > IMAGEMAP_JSON_MAX)
		return -E2BIG;
	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;
	r = parse_array(map, json, size, layers, n_layers);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(map);
	return 0;
}

int imagemap_identity(uint64_t bytes, struct imagemap **ret)
{
	_cleanup_(imagemap_freep) struct imagemap *map = NULL;
	uint64_t blocks = bytes / BLOCK_BYTES;
	int r = 0;

	if (blocks > BLOCKSET_END)
		return -EFBIG;
	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;
	if (blocks)
		r = append(map, (struct imagemap_extent){ .count = (uint32_t)blocks });
	if (r < 0)
		return r;
	*ret = TAKE_PTR(map);
	return 0;
}

static uint32_t extent_end(const struct imagemap_extent *extent)
{
	return extent->start + extent->count;
}

/* How many extents begin at or before @block. */
static size_t extents_until(const struct imagemap *map, uint64_t block)
{
	size_t low = 0, high = map->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->items[middle].start <= block)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool imagemap_lookup(const struct imagemap *map, uint64_t disk_block, uint64_t *ret_count,
		     size_t *ret_layer, uint64_t *ret_file_block)
{
	size_t n = extents_until(map, disk_block);
	const struct imagemap_extent *extent = n ? &map->items[n - 1] : NULL;

	if (!extent || disk_block >= extent_end(extent)) {
		*ret_count = (n < map->n ? map->items[n].start : UINT64_MAX) - disk_block;
		return false;
	}
	*ret_count = extent_end(extent) - disk_block;
	*ret_layer = extent->layer;
	*ret_file_block = extent->file_block + (disk_block - extent->start);
	return true;
}

const struct imagemap_extent *imagemap_extents(const struct imagemap *map, size_t *ret_n)
{
	*ret_n = map->n;
	return map->items;
}

uint64_t imagemap_placed_blocks(const struct imagemap *map)
{
	uint64_t blocks = 0;

	for (size_t i = 0; i < map->n; i++)
		blocks += map->items[i].count;
	return blocks;
}

static int check_layers(const struct image_layer *layers, size_t n)
{
	if (n == 0 || n > IMAGEMAP_LAYERS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (layers[i].path[0] != '/' || strlen(layers[i].path) >= PATH_MAX)
			return -EINVAL;
		if (strcmp(layers[i].format, "qcow2") != 0 && !(is_raw(&layers[i]) && i == n - 1))
			return -EOPNOTSUPP;
	}
	return 0;
}

/* One layer as QEMU options, each key behind as many "backing." as it is deep. */
static void print_layer(FILE *stream, const struct image_layer *layer, size_t depth)
{
	static const char backing[] = "backing.backing.backing.backing.backing.backing.backing.";
	const int prefix = (int)(depth * strlen("backing."));

	static_assert(sizeof(backing) - 1 == (sizeof("backing.") - 1) * (IMAGEMAP_LAYERS_MAX - 1),
		      "a prefix for each");
	fprintf(stream, "%s%.*sdriver=%s,%.*sfile.driver=%s,%.*sfile.filename=", depth ? "," : "",
		prefix, backing, layer->format, prefix, backing,
		layer->block_device ? "host_device" : "file", prefix, backing);
	for (const char *c = layer->path; *c; c++) {
		fputc(*c, stream);
		if (*c == ',')
			fputc(',', stream);
	}
}

int imagemap_argv(const struct image_layer *layers, size_t n_layers, struct imagemap_argv *ret)
{
	_cleanup_free_ char *options = NULL;
	size_t size = 0;
	FILE *stream;
	int r;

	r = check_layers(layers, n_layers);
	if (r < 0)
		return r;
	stream = open_memstream(&options, &size);
	if (!stream)
		return -ENOMEM;
	for (size_t i = 0; i < n_layers; i++)
		print_layer(stream, &layers[i], i);
	if (fclose(stream) != 0)
		return -ENOMEM;
	*ret = (struct imagemap_argv){
		.argv = { "qemu-img", "map", "-U", "--output=json", "--image-opts", options },
		.options = options,
	};
	(void)TAKE_PTR(options);
	return 0;
}

void imagemap_argv_done(struct imagemap_argv *argv)
{
	free(argv->options);
	*argv = (struct imagemap_argv){ 0 };
}
