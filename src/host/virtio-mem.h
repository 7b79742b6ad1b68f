/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mem devices as query-memory-devices has them. */
#ifndef PAGEPACT_HOST_VIRTIO_MEM_H
#define PAGEPACT_HOST_VIRTIO_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#define VIRTIO_MEMS_MAX	 8
#define INVENTORY_ID_MAX 128 /* of what QEMU calls an object, with its end */

/**
 * struct virtio_mem - a virtio-mem device: memory that the guest plugs and unplugs by
 * blocks
 * @id: or "": then nobody can ask it for another size
 * @memdev: id of its backend; or ""
 * @address: where its region begins in the guest's physical memory
 * @block_bytes: all sizes are multiples of it
 * @max_bytes: of the region
 * @requested_bytes: that the guest is to have plugged
 * @bytes: that it has; QEMU's account, which sees to each block
 * @node: NUMA node of the guest
 */
struct virtio_mem {
	char id[INVENTORY_ID_MAX];
	char memdev[INVENTORY_ID_MAX];
	uint64_t address;
	uint64_t block_bytes;
	uint64_t max_bytes;
	uint64_t requested_bytes;
	uint64_t bytes;
	uint64_t node;
};

/**
 * struct virtio_mems - of one machine
 * @is_cut: there are more than fit
 * @is_odd: one told sizes that it cannot have, and is left out
 * @is_whole: neither, and it was a list: a device that is not among them is gone
 */
struct virtio_mems {
	struct virtio_mem devices[VIRTIO_MEMS_MAX];
	size_t n;
	bool is_cut, is_odd, is_whole;
};

/** virtio_mems_read() - an answer to query-memory-devices; other devices are passed over */
void virtio_mems_read(const json_t *value, struct virtio_mems *ret);

/** virtio_mems_movable() - whether one of them can be asked for another size */
bool virtio_mems_movable(const struct virtio_mems *mems);

/**
 * virtio_mem_id_valid() - whether QEMU may have an object of that id
 *
 * Letters, digits, '-', '.' and '_', the first a letter (id_wellformed() in QEMU), and not longer
 * than an inventory keeps it: no way out of a QOM path.
 */
bool virtio_mem_id_valid(const char *id);

#endif
