/* SPDX-License-Identifier: Apache-2.0 */
/* What one guest told in one scan: its disks, its files, and which of their pages it caches. */
#ifndef PAGEPACT_HOST_SCAN_H
#define PAGEPACT_HOST_SCAN_H

#include <stdbool.h>

#include "base/blockset.h"
#include "host/imagemap.h"
#include "wire/message.h"

/*
 * What is kept of a guest's claims; more is counted as unplaced. A run takes 32 bytes and stands
 * for at least one page, an extent 24.
 */
#define SCAN_RUNS_MAX	 (1u << 20)
#define SCAN_EXTENTS_MAX (1u << 18)

struct scan_file {
	struct wire_file file;
	uint32_t extents_first;
	uint32_t extents_count;
};

struct scan {
	uint64_t id;
	uint64_t begun_usec;
	struct wire_disk disks[WIRE_DISKS_MAX];
	unsigned n_disks;
	struct scan_file *files;
	uint32_t n_files, files_room;
	struct wire_extent *extents;
	uint32_t n_extents, extents_room;
	struct wire_run *runs;
	uint32_t n_runs, runs_room;
	uint64_t pages, pages_max;
	bool cut; /* more was told than is kept: what the guest holds is not known */
	struct wire_scan_end end;
};

/**
 * scan_new() - an empty scan
 * @id: that its messages must carry
 * @ram_pages: of the guest. It cannot cache more (twice as much, while pages move), and runs that
 *	claimed to would cost their number times the extents that they cross
 */
struct scan *scan_new(uint64_t id, uint64_t begun_usec, uint64_t ram_pages);

/**
 * scan_free() - NULL is allowed. Return: NULL.
 */
struct scan *scan_free(struct scan *s);

/**
 * scan_add() - take one message of the scan in
 *
 * Return: 1 when it was the last one (SCAN_END), 0, -EBADMSG when it does not fit those before,
 * -ENOMEM.
 */
int scan_add(struct scan *s, uint16_t type, const union wire_message *m);

/**
 * scan_piece_fn - a piece of a run that lies on consecutive blocks of a disk
 * @index: first page of the file
 * @block: first block of the disk
 */
typedef int scan_piece_fn(const struct scan *s, const struct scan_file *file,
			  const struct wire_run *run, uint64_t index, uint64_t block,
			  uint64_t count, void *userdata);

/**
 * scan_pieces() - all that the guest caches, piece by piece, placed on its disks
 *
 * Return: 0, or the first non-zero result of @fn.
 */
int scan_pieces(const struct scan *s, scan_piece_fn *fn, void *userdata);

/**
 * scan_run_evictable() - whether the guest could give these pages up
 */
bool scan_run_evictable(const struct wire_run *run);

#endif
