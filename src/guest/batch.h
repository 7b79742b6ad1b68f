/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is at hand while pieces are shed: the files that they are of, open, and where devices lie.
 *
 * Pieces come in the order of their age, so those of one file are seldom next to each other, and
 * to open a file takes as long as to look at forty of its pages. Files stay open for a batch only,
 * which is short: an open file makes umount fail. Where a device lies decides no more than whose
 * turn it is, so that is asked every few seconds.
 */
#ifndef PAGEPACT_GUEST_BATCH_H
#define PAGEPACT_GUEST_BATCH_H

#include "guest/disk.h"
#include "guest/file.h"

#define BATCH_FILES_MAX	  8
#define BATCH_PLACES_MAX  8
#define BATCH_PLACES_USEC 10000000u

/**
 * struct batch - set the first three members to what is to be used, and the rest to 0
 */
struct batch {
	struct memmap *memmap;
	struct mounts *mounts;
	struct disk_table disks;
	struct {
		struct file_key key;
		int fd;
	} files[BATCH_FILES_MAX];
	unsigned files_count, files_next;
	struct {
		dev_t device;
		struct disk_place place;
		int found; /* what disk_find() said */
	} places[BATCH_PLACES_MAX];
	unsigned places_count, places_next;
	uint64_t places_usec; /* since when they are known */
};

/**
 * batch_begin() - begin a batch
 *
 * Return: 0 or -errno; batch_end() is to be called in either case.
 */
int batch_begin(struct batch *b, uint64_t now_usec);

/**
 * batch_end() - end it: no file and no mount stays open
 */
void batch_end(struct batch *b);

/**
 * batch_file() - the file, open for reading
 *
 * Return: a file descriptor, not the caller's to close and gone with the next call; or as
 * file_open_key().
 */
int batch_file(struct batch *b, const struct file_key *key);

/**
 * batch_disk() - the disk that a block device is, or is a partition of
 * @ret_place: where on it; its disk is a number in this table
 *
 * Return: the disk, until the batch's end; NULL for what is on none that we know.
 */
const struct wire_disk *batch_disk(struct batch *b, dev_t device, struct disk_place *ret_place);

#endif
