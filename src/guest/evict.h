/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out the host's orders: evicts the pages that it named, where they lie on the blocks that
 * it counts with, and are not hot (piece.h, heat.h).
 */
#ifndef PAGEPACT_GUEST_EVICT_H
#define PAGEPACT_GUEST_EVICT_H

#include "guest/disk.h"
#include "guest/file.h"
#include "guest/heat.h"
#include "guest/memmap.h"
#include "wire/message.h"

/**
 * evict_find() - find the file that has this identity, as file_find(), and prove its generation
 * @mounts: between mounts_begin() and mounts_end(), as below
 *
 * Return: a file descriptor that names it; -ESTALE when the file is gone or replaced; or another
 * -errno.
 */
int evict_find(struct memmap *memmap, struct mounts *mounts, const struct disk_table *disks,
	       const struct wire_identity *identity);

/**
 * evict_file() - carry out one EVICT message
 * @ret: what became of the pages; always filled, and sums to what was asked
 *
 * Trouble with the file as a whole is in @ret->status.
 */
void evict_file(struct memmap *memmap, const struct heat *heat, struct mounts *mounts,
		struct disk_table *disks, const struct wire_evict *message,
		struct wire_result *ret);

#endif
