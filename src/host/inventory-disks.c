/* SPDX-License-Identifier: Apache-2.0 */
/* Disks and their image chains, as query-block and query-named-block-nodes tell them. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "host/inventory-build.h"
#include "host/json-get.h"

static bool one_of(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(name, list[i]) == 0)
			return true;
	return false;
}

/* Nodes that hold no data: they repeat the name of the file below. */
static bool is_filter(const char *driver)
{
	static const char *const filters[] = { "throttle", "copy-on-read", "preallocate",
					       "compress" };

	return one_of(driver, filters, ARRAY_SIZE(filters));
}

/* Nodes that open the file itself, so that their cache mode is the file's. */
static bool is_protocol(const char *driver)
{
	static const char *const protocols[] = { "file",    "host_device", "host_cdrom", "nbd",
						 "rbd",	    "iscsi",	   "nfs",	 "ssh",
						 "http",    "https",	   "ftp",	 "ftps",
						 "gluster", "nvme" };

	return one_of(driver, protocols, ARRAY_SIZE(protocols));
}

static char *dup_filename(const json_t *image)
{
	const json_t *name = json_object_get(image, "filename");

	if (!json_is_string(name) || json_string_length(name) == 0 ||
	    json_string_length(name) >= PATH_MAX)
		return NULL;
	return strdup(json_string_value(name));
}

static bool incomplete(struct inventory_disk *disk, const char *reason)
{
	disk->complete = false;
	snprintf(disk->reason, sizeof(disk->reason), "%s", reason);
	return false;
}

/* Return: whether the chain goes on below. */
static bool add_layer(struct inventory_disk *disk, const json_t *image)
{
	struct inventory_layer *layer = &disk->layers[disk->n_layers];
	char format[sizeof(layer->format)] = "";

	if (!json_get_string(image, "format", format, sizeof(format)))
		return incomplete(disk, "QEMU did not say the format of an image");
	if (is_filter(format))
		return true;
	if (disk->n_layers == INVENTORY_LAYERS_MAX)
		return incomplete(disk, "its chain has more than 8 images");
	layer->filename = dup_filename(image);
	if (!layer->filename)
		return incomplete(disk, "QEMU did not say the file name of an image");
	memcpy(layer->format, format, sizeof(format));
	(void)json_get_u64(image, "virtual-size", &layer->virtual_bytes);
	disk->n_layers++;
	/* The offsets of "qemu-img map" are in that file then, and it does not say so. */
	if (json_object_get(json_object_get(json_object_get(image, "format-specific"), "data"),
			    "data-file"))
		(void)incomplete(disk, "an image of it keeps its data in a file of their own");
	if (strncmp(layer->filename, "json:", 5) == 0)
		(void)incomplete(disk, "an image of it has options and so no plain file name");
	return true;
}

static void add_layers(struct inventory_disk *disk, const json_t *inserted)
{
	const json_t *cache = json_object_get(inserted, "cache");
	const json_t *image = json_object_get(inserted, "image");
	struct inventory_layer *top = &disk->layers[0];

	disk->complete = true;
	/* Bounded by the nesting that the parser lets through. */
	while (image && add_layer(disk, image))
		image = json_object_get(image, "backing-image");
	if (disk->n_layers == 0) {
		if (disk->complete)
			(void)incomplete(disk, "QEMU did not say what its image is");
		return;
	}
	disk->virtual_bytes = top->virtual_bytes;
	top->cache_known = json_get_bool(cache, "writeback", &top->writeback) &&
			   json_get_bool(cache, "direct", &top->direct) &&
			   json_get_bool(cache, "no-flush", &top->no_flush);
}

/* query-block gives the id of a device that has one, else its path. */
static void add_qdev(struct inventory_disk *disk, const json_t *block)
{
	char name[INVENTORY_ID_MAX];
	int n;

	if (!json_get_string(block, "qdev", disk->qdev, sizeof(disk->qdev)) ||
	    disk->qdev[0] == '/' || disk->qdev[0] == '\0')
		return;
	n = snprintf(name, sizeof(name), "%s", disk->qdev);
	if (n < 0 || (size_t)n >= sizeof(name))
		disk->qdev[0] = '\0';
	else
		snprintf(disk->qdev, sizeof(disk->qdev), "/machine/peripheral/%s", name);
}

static void add_disk(struct inventory_build *build, const json_t *block)
{
	struct inventory *inventory = build->inventory;
	const json_t *inserted = json_object_get(block, "inserted");
	struct inventory_disk *disk;

	if (!json_is_object(inserted))
		return;
	if (inventory->n_disks == INVENTORY_DISKS_MAX) {
		build_note(build, "more than %d disks: the others are not seen",
			   INVENTORY_DISKS_MAX);
		return;
	}
	disk = &inventory->disks[inventory->n_disks++];
	(void)json_get_string(block, "device", disk->device, sizeof(disk->device));
	(void)json_get_string(inserted, "node-name", disk->node, sizeof(disk->node));
	if (!json_get_bool(inserted, "ro", &disk->read_only))
		build_note(build, "disk %zu: QEMU did not say whether it is read-only",
			   inventory->n_disks - 1);
	add_qdev(disk, block);
	add_layers(disk, inserted);
	snprintf(disk->pci_reason, sizeof(disk->pci_reason), "%s",
		 disk->qdev[0] ? "not known" : "no device uses it");
	if (disk->qdev[0]) {
		build_add(build, JOB_DISK_TYPE, inventory->n_disks - 1);
		build_add(build, JOB_DISK_SERIAL, inventory->n_disks - 1);
	}
}

void build_block(struct inventory_build *build, size_t index, json_t *value)
{
	size_t i;
	json_t *block;

	(void)index;
	if (!json_is_array(value)) {
		build_note(build, "query-block: the answer is no list");
		return;
	}
	json_array_foreach (value, i, block)
		add_disk(build, block);
}

static void merge_node(struct inventory_layer *layer, const char *driver, const json_t *node)
{
	const json_t *cache = json_object_get(node, "cache");
	bool direct, no_flush;

	if (!json_get_bool(cache, "direct", &direct) ||
	    !json_get_bool(cache, "no-flush", &no_flush))
		return;
	if (layer->protocol[0] == '\0') {
		snprintf(layer->protocol, sizeof(layer->protocol), "%s", driver);
		layer->direct = direct;
	}
	layer->direct = layer->direct && direct;
	layer->no_flush = layer->no_flush || no_flush;
	/* Only the top of a chain is written to, and query-block has told its mode. */
	layer->writeback = layer->cache_known ? layer->writeback : true;
	layer->cache_known = true;
}

static void add_node(struct inventory *inventory, const json_t *node)
{
	const char *file = json_string_value(json_object_get(node, "file"));
	char driver[32];

	if (!file || !json_get_string(node, "drv", driver, sizeof(driver)) || !is_protocol(driver))
		return;
	for (size_t i = 0; i < inventory->n_disks; i++) {
		struct inventory_disk *disk = &inventory->disks[i];

		for (size_t k = 0; k < disk->n_layers; k++)
			if (strcmp(disk->layers[k].filename, file) == 0)
				merge_node(&disk->layers[k], driver, node);
	}
}

void build_nodes(struct inventory_build *build, size_t index, json_t *value)
{
	size_t i;
	json_t *node;

	(void)index;
	if (!json_is_array(value)) {
		build_note(build, "query-named-block-nodes: the answer is no list");
		return;
	}
	json_array_foreach (value, i, node)
		add_node(build->inventory, node);
}

void build_disk_type(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory_disk *disk = &build->inventory->disks[index];

	(void)json_copy_string(value, disk->type, sizeof(disk->type));
}

void build_disk_serial(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory_disk *disk = &build->inventory->disks[index];

	(void)json_copy_string(value, disk->serial, sizeof(disk->serial));
}

static bool read_io(const json_t *block, struct inventory_io *io)
{
	const json_t *stats = json_object_get(block, "stats");
	const json_t *file = json_object_get(json_object_get(block, "parent"), "stats");

	(void)json_get_string(block, "device", io->device, sizeof(io->device));
	(void)json_get_string(block, "node-name", io->node, sizeof(io->node));
	(void)json_get_string(block, "qdev", io->qdev, sizeof(io->qdev));
	(void)json_get_u64(file, "wr_highest_offset", &io->wr_highest_offset);
	(void)json_get_u64(stats, "idle_time_ns", &io->idle_nsec);
	return json_get_u64(stats, "rd_bytes", &io->rd_bytes) &&
	       json_get_u64(stats, "rd_operations", &io->rd_operations) &&
	       json_get_u64(stats, "wr_bytes", &io->wr_bytes) &&
	       json_get_u64(stats, "wr_operations", &io->wr_operations) &&
	       json_get_u64(stats, "flush_operations", &io->flush_operations);
}

void build_blockstats(const json_t *value, struct inventory_blockstats *ret)
{
	size_t i;
	json_t *block;

	*ret = (struct inventory_blockstats){ 0 };
	json_array_foreach (value, i, block) {
		struct inventory_io io = { 0 };

		if (ret->n_disks < INVENTORY_DISKS_MAX && read_io(block, &io))
			ret->disks[ret->n_disks++] = io;
	}
}

static bool is_qdev(const char *short_or_path, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (strcmp(short_or_path, path) == 0)
		return true;
	return strncmp(path, "/machine/peripheral/", 20) == 0 && slash == path + 19 &&
	       strcmp(short_or_path, slash + 1) == 0;
}

const struct inventory_io *inventory_io_find(const struct inventory_blockstats *stats,
					     const struct inventory_disk *disk)
{
	for (size_t i = 0; i < stats->n_disks; i++) {
		const struct inventory_io *io = &stats->disks[i];

		if (disk->qdev[0]     ? is_qdev(io->qdev, disk->qdev)
		    : disk->device[0] ? strcmp(io->device, disk->device) == 0
				      : disk->node[0] && strcmp(io->node, disk->node) == 0)
			return io;
	}
	return NULL;
}
