/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mem devices as query-memory-devices has them. */
#ifndef PAGEPACT_HOST_VIRTIO_MEM_H
#define PAGEPACT_HOST_VIRTIO_MEM_H

#include <jansson.h>

#include "host/inventory.h"

/**
 * struct virtio_mems - of one machine
 * @is_cut: there are more than fit
 * @is_odd: one told sizes that it cannot have, and is left out
 * @is_whole: neither, and it was a list: a device that is not among them is gone
 */
struct virtio_mems {
	struct inventory_virtio_mem devices[INVENTORY_VIRTIO_MEMS_MAX];
	size_t n;
	bool is_cut, is_odd, is_whole;
};

/** virtio_mems_read() - an answer to query-memory-devices; other devices are passed over */
void virtio_mems_read(const json_t *value, struct virtio_mems *ret);

/**
 * virtio_mem_id_valid() - whether QEMU may have an object of that id
 *
 * Letters, digits, '-', '.' and '_', the first a letter (id_wellformed() in QEMU), and not longer
 * than an inventory keeps it: no way out of a QOM path.
 */
bool virtio_mem_id_valid(const char *id);

#endif
