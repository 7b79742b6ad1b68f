/* SPDX-License-Identifier: Apache-2.0 */
/* The files that one census has met, by identity, with where they lie on their disks. */
#ifndef PAGEPACT_GUEST_FILES_H
#define PAGEPACT_GUEST_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/message.h"

/* 65,536 extents take 1.5 MiB; the pages of files beyond that are counted as unplaced. */
#define FILES_EXTENTS_MAX 65536

struct file_entry {
	struct wire_identity identity;
	uint64_t size_bytes;
	uint32_t disk;
	uint32_t unplaced; /* enum wire_unplaced */
	uint32_t extents_first;
	uint32_t extents_count;
	uint32_t cached_pages;
	uint32_t mapped_pages;
};

struct files {
	struct file_entry *entries;
	uint32_t count;
	uint32_t room;
	uint32_t *slots; /* open addressing; entry number + 1, 0 for empty */
	uint32_t slots_count;
	struct wire_extent *extents;
	uint32_t extents_count;
	uint32_t extents_room;
};

/**
 * files_reset() - forget all files, and give their memory back
 */
void files_reset(struct files *f);

/**
 * files_find() - the number of a file, entering it where it is new
 * @ret_new: whether it was entered just now, all but its identity 0
 *
 * Return: the number; -E2BIG once WIRE_FILES_MAX files are known; -ENOMEM.
 */
int files_find(struct files *f, const struct wire_identity *identity, bool *ret_new);

/**
 * files_extents_room() - room for a file's extents behind those of the files before it
 * @ret_max: how many fit, at least @want unless the limit is reached
 *
 * Return: where to write them, or NULL. Entered by adding to extents_count.
 */
struct wire_extent *files_extents_room(struct files *f, uint32_t want, uint32_t *ret_max);

/**
 * files_placed() - how many pages of the run [index, index + count) lie on known blocks
 */
uint32_t files_placed(const struct files *f, const struct file_entry *e, uint64_t index,
		      uint32_t count);

#endif
