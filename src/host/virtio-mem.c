/* SPDX-License-Identifier: Apache-2.0 */
#include "host/virtio-mem.h"

#include <string.h>

#include "host/json-get.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

bool virtio_mem_id_valid(const char *id)
{
	return strspn(id, LETTERS) > 0 && strspn(id, LETTERS "0123456789-._") == strlen(id) &&
	       strlen(id) < INVENTORY_ID_MAX;
}

static bool is_whole(uint64_t bytes, const struct virtio_mem *device)
{
	return bytes % device->block_bytes == 0 && bytes <= device->max_bytes;
}

/* Blocks are powers of two, of 1 MiB at least (QEMU's virtio-mem.c), and a region is of whole ones.
 */
static bool is_valid(const struct virtio_mem *device)
{
	uint64_t block = device->block_bytes, end;

	return block >= 1 << 20 && !(block & (block - 1)) && device->max_bytes &&
	       is_whole(device->max_bytes, device) && is_whole(device->requested_bytes, device) &&
	       is_whole(device->bytes, device) && device->address % block == 0 &&
	       !__builtin_add_overflow(device->address, device->max_bytes, &end);
}

static bool device_read(const json_t *data, struct virtio_mem *ret)
{
	static const char folder[] = "/objects/";
	char memdev[sizeof(folder) + INVENTORY_ID_MAX];

	if (!json_get_string(data, "id", ret->id, sizeof(ret->id)) || !virtio_mem_id_valid(ret->id))
		ret->id[0] = '\0';
	if (json_get_string(data, "memdev", memdev, sizeof(memdev)) &&
	    strncmp(memdev, folder, strlen(folder)) == 0)
		strcpy(ret->memdev, memdev + strlen(folder));
	return json_get_u64(data, "memaddr", &ret->address) &&
	       json_get_u64(data, "block-size", &ret->block_bytes) &&
	       json_get_u64(data, "max-size", &ret->max_bytes) &&
	       json_get_u64(data, "requested-size", &ret->requested_bytes) &&
	       json_get_u64(data, "size", &ret->bytes) && json_get_u64(data, "node", &ret->node) &&
	       is_valid(ret);
}

static void add(struct virtio_mems *mems, const json_t *data)
{
	struct virtio_mem device = { 0 };

	if (mems->n == VIRTIO_MEMS_MAX)
		mems->is_cut = true;
	else if (device_read(data, &device))
		mems->devices[mems->n++] = device;
	else
		mems->is_odd = true;
}

void virtio_mems_read(const json_t *value, struct virtio_mems *ret)
{
	const json_t *device;
	size_t i;

	*ret = (struct virtio_mems){ 0 };
	json_array_foreach (value, i, device) {
		char type[32];

		if (json_get_string(device, "type", type, sizeof(type)) &&
		    strcmp(type, "virtio-mem") == 0)
			add(ret, json_object_get(device, "data"));
	}
	ret->is_whole = json_is_array(value) && !ret->is_cut && !ret->is_odd;
}

bool virtio_mems_movable(const struct virtio_mems *mems)
{
	for (size_t i = 0; i < mems->n; i++)
		if (mems->devices[i].id[0])
			return true;
	return false;
}
