/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the guest's memory: what its pages are, which files the cached ones belong to,
 * and where those lie on the disks.
 */
#ifndef PAGEPACT_GUEST_CENSUS_H
#define PAGEPACT_GUEST_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/disk.h"
#include "guest/file.h"
#include "guest/files.h"
#include "guest/heat.h"
#include "guest/memmap.h"
#include "guest/ram.h"
#include "guest/superpage.h"
#include "guest/walk.h"
#include "wire/message.h"

/**
 * struct census_ops - who wants to hear of what is found, as it is found; each may be NULL
 *
 * A file is told before the first run of its pages, its disk before the file. A negative result
 * ends the census with it.
 */
struct census_ops {
	int (*disk)(const struct wire_disk *disk, void *userdata);
	int (*file)(const struct wire_file *file, const struct wire_extent *extents,
		    uint32_t extents_count, void *userdata);
	int (*runs)(const struct wire_run *runs, uint32_t count, void *userdata);
	int (*superpage)(uint64_t number, enum superpage state, void *userdata);
};

struct census {
	struct memmap *memmap;
	struct ram ram;
	const struct heat *heat;
	const struct census_ops *ops;
	void *userdata;

	/* Of the pass under way, or of the last one. */
	struct wire_census totals;
	uint64_t superpages_spoiled;
	struct files files;
	struct disk_table disks;
	struct mounts mounts;
	struct walk walk;
	uint64_t began_usec;
	unsigned disks_told;
	uint32_t runs_count;
	struct wire_run runs[WIRE_ITEMS_MAX];
};

/**
 * census_open() - get ready for passes over the memory of this machine
 * @ret_reason: why not, for people
 *
 * Return: 0 or -errno.
 */
int census_open(struct census *c, char *ret_reason, size_t reason_size);

/**
 * census_done() - free what census_open() and the passes took
 */
void census_done(struct census *c);

/**
 * census_begin() - start a pass
 * @heat: for the pages' ages; NULL: they are not known
 *
 * Return: 0 or -errno.
 */
int census_begin(struct census *c, const struct heat *heat, const struct census_ops *ops,
		 void *userdata);

/**
 * census_step() - look at one more chunk
 *
 * Return: 1 when there is more, 0 when the pass is complete and the totals stand, or -errno.
 */
int census_step(struct census *c);

#endif
