/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's memory: backends, and devices by which it is plugged. */
#include <string.h>

#include "host/inventory-build.h"
#include "host/json-get.h"
#include "host/virtio-mem.h"

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

void build_memory_devices(struct inventory_build *build, size_t index, json_t *value)
{
	struct virtio_mems *mems = &build->inventory->virtio_mems;

	(void)index;
	if (!json_is_array(value))
		build_note(build, "query-memory-devices: the answer is no list");
	virtio_mems_read(value, mems);
	if (mems->is_cut)
		build_note(build, "more than %d virtio-mem devices", VIRTIO_MEMS_MAX);
	if (mems->is_odd)
		build_note(build,
			   "query-memory-devices: sizes that a virtio-mem device cannot have");
}

uint64_t inventory_most_bytes(const struct inventory *inventory)
{
	const struct virtio_mems *mems = &inventory->virtio_mems;
	uint64_t bytes = inventory->memory_bytes;

	for (size_t i = 0; i < mems->n; i++)
		bytes += mems->devices[i].max_bytes - mems->devices[i].bytes;
	return bytes;
}
