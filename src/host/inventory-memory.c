/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's memory: backends, and devices by which it is plugged. */
#include <string.h>

#include "host/inventory-build.h"
#include "host/json-get.h"

static void add_memdev(struct inventory_build *build, const json_t *memdev)
{
	struct inventory *inventory = build->inventory;
	struct inventory_memdev *slot = &inventory->memdevs[inventory->n_memdevs];

	if (inventory->n_memdevs == INVENTORY_MEMDEVS_MAX) {
		build_note(build, "more than %d memory backends", INVENTORY_MEMDEVS_MAX);
		return;
	}
	if (!json_get_u64(memdev, "size", &slot->bytes) ||
	    !json_get_bool(memdev, "share", &slot->share)) {
		build_note(build, "query-memdev: a backend without size or share");
		return;
	}
	(void)json_get_bool(memdev, "prealloc", &slot->prealloc);
	if (json_get_string(memdev, "id", slot->id, sizeof(slot->id)) && slot->id[0])
		build_add(build, JOB_MEMDEV_TYPE, inventory->n_memdevs);
	inventory->n_memdevs++;
}

void build_memdevs(struct inventory_build *build, size_t index, json_t *value)
{
	size_t i;
	json_t *memdev;

	(void)index;
	json_array_foreach (value, i, memdev)
		add_memdev(build, memdev);
	if (build->inventory->n_memdevs == 0)
		build_note(build, "query-memdev: the answer names no memory backend");
}

void build_memdev_type(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory_memdev *memdev = &build->inventory->memdevs[index];

	if (!json_copy_string(value, memdev->type, sizeof(memdev->type)))
		return;
	if (strcmp(memdev->type, "memory-backend-memfd") == 0)
		build_add(build, JOB_MEMDEV_HUGETLB, index);
	if (strcmp(memdev->type, "memory-backend-file") == 0)
		build_add(build, JOB_MEMDEV_PATH, index);
}

void build_memdev_hugetlb(struct inventory_build *build, size_t index, json_t *value)
{
	build->inventory->memdevs[index].hugetlb = json_is_true(value);
}

void build_memdev_path(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory_memdev *memdev = &build->inventory->memdevs[index];

	(void)json_copy_string(value, memdev->path, sizeof(memdev->path));
}

static bool is_whole(uint64_t bytes, const struct inventory_virtio_mem *device)
{
	return bytes % device->block_bytes == 0 && bytes <= device->max_bytes;
}

/* Blocks are powers of two, of 1 MiB at least (QEMU's virtio-mem.c), and a region is of whole ones.
 */
static bool virtio_mem_valid(const struct inventory_virtio_mem *device)
{
	uint64_t block = device->block_bytes, end;

	return block >= 1 << 20 && !(block & (block - 1)) && device->max_bytes &&
	       is_whole(device->max_bytes, device) && is_whole(device->requested_bytes, device) &&
	       is_whole(device->bytes, device) && device->address % block == 0 &&
	       !__builtin_add_overflow(device->address, device->max_bytes, &end);
}

static bool virtio_mem_read(const json_t *data, struct inventory_virtio_mem *ret)
{
	static const char folder[] = "/objects/";
	char memdev[sizeof(folder) + INVENTORY_ID_MAX];

	(void)json_get_string(data, "id", ret->id, sizeof(ret->id));
	if (json_get_string(data, "memdev", memdev, sizeof(memdev)) &&
	    strncmp(memdev, folder, strlen(folder)) == 0)
		strcpy(ret->memdev, memdev + strlen(folder));
	return json_get_u64(data, "memaddr", &ret->address) &&
	       json_get_u64(data, "block-size", &ret->block_bytes) &&
	       json_get_u64(data, "max-size", &ret->max_bytes) &&
	       json_get_u64(data, "requested-size", &ret->requested_bytes) &&
	       json_get_u64(data, "size", &ret->bytes) && json_get_u64(data, "node", &ret->node) &&
	       virtio_mem_valid(ret);
}

static void add_virtio_mem(struct inventory_build *build, const json_t *data)
{
	struct inventory *inventory = build->inventory;
	struct inventory_virtio_mem device = { 0 };

	if (inventory->n_virtio_mems == INVENTORY_VIRTIO_MEMS_MAX)
		build_note(build, "more than %d virtio-mem devices", INVENTORY_VIRTIO_MEMS_MAX);
	else if (!virtio_mem_read(data, &device))
		build_note(build,
			   "query-memory-devices: sizes that a virtio-mem device cannot have");
	else
		inventory->virtio_mems[inventory->n_virtio_mems++] = device;
}

void build_memory_devices(struct inventory_build *build, size_t index, json_t *value)
{
	size_t i;
	json_t *device;

	(void)index;
	if (!json_is_array(value))
		build_note(build, "query-memory-devices: the answer is no list");
	json_array_foreach (value, i, device) {
		char type[32];

		if (json_get_string(device, "type", type, sizeof(type)) &&
		    strcmp(type, "virtio-mem") == 0)
			add_virtio_mem(build, json_object_get(device, "data"));
	}
}
