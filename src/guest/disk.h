/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which disk a block device is, or is a partition of, as the host knows it: by PCI address or
 * serial number. Guests never name host paths.
 */
#ifndef PAGEPACT_GUEST_DISK_H
#define PAGEPACT_GUEST_DISK_H

#include <stdint.h>
#include <sys/types.h>

#include "wire/message.h"

/**
 * struct disk_place - where a block device lies
 * @disk: this table's number of the whole disk
 * @first_block: 4 KiB blocks of the disk before the device; 0 for the disk itself
 * @blocks: its size
 */
struct disk_place {
	uint32_t disk;
	uint64_t first_block;
	uint64_t blocks;
};

struct disk_table {
	const char *sysfs; /* "/sys", or a fixture's root */
	struct wire_disk disks[WIRE_DISKS_MAX];
	char names[WIRE_DISKS_MAX][32];
	unsigned count;
};

/**
 * disk_find() - look up, and enter into the table, the disk of a block device
 * @device: makedev(major, minor)
 *
 * Return: 0; -EOPNOTSUPP for what is not a plain disk or partition (device mapper, md, loop,
 * network); -EBADF (misaligned) for a partition that does not start at a multiple of 4 KiB;
 * -E2BIG for more than WIRE_DISKS_MAX disks; -ENOENT when there is no such device.
 */
int disk_find(struct disk_table *t, dev_t device, struct disk_place *ret);

/**
 * disk_find_node() - the block device's node in /dev, not opened (O_PATH)
 *
 * Return: a file descriptor that names it; -ESTALE when another device has the name; or -errno.
 */
int disk_find_node(const struct disk_table *t, dev_t device);

#endif
