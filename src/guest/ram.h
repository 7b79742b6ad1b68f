/* SPDX-License-Identifier: Apache-2.0 */
/* Which page frames are memory at all: the System RAM of /proc/iomem. */
#ifndef PAGEPACT_GUEST_RAM_H
#define PAGEPACT_GUEST_RAM_H

#include <stdint.h>

#define RAM_RANGES_MAX 128

/**
 * struct ram_range - page frames [start, start + count)
 * @before: page frames of RAM in the ranges before this one
 */
struct ram_range {
	uint64_t start;
	uint64_t count;
	uint64_t before;
};

struct ram {
	struct ram_range ranges[RAM_RANGES_MAX];
	unsigned count;
	uint64_t pages;
};

/**
 * ram_read() - read the map of physical memory
 * @path: "/proc/iomem"; without CAP_SYS_ADMIN its addresses are all 0
 *
 * Return: 0; -EPERM when the addresses are hidden; -E2BIG for more than RAM_RANGES_MAX ranges;
 * -ENODATA when there is no System RAM; or the error of opening the file.
 */
int ram_read(const char *path, struct ram *ret);

#endif
