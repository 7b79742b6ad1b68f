/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host and its guests at one moment, as far as they are known: what policy_decide() works on.
 *
 * Plain data. Everything that a pointer leads to belongs to whoever built the snapshot and has to
 * stay as it is until the snapshot, and a plan made from it, are no longer used.
 *
 * What is not known is NULL, and nothing is done on the strength of it: a missing set of blocks is
 * never taken for an empty one.
 */
#ifndef PAGEPACT_POLICY_SNAPSHOT_H
#define PAGEPACT_POLICY_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blockset.h"

#define SNAPSHOT_NONE	  SIZE_MAX /* no guest, or no image */
#define SNAPSHOT_NAME_MAX 63	   /* of a guest or domain, without the NUL */

/**
 * struct snapshot_host
 * @pressure_some_permille: share of the last ten seconds that something waited for memory; -1 when
 *	not known
 */
struct snapshot_host {
	uint64_t memory_total_bytes;
	uint64_t memory_free_bytes;
	uint64_t memory_available_bytes;
	uint64_t page_cache_bytes;
	int pressure_some_permille;
};

/**
 * struct snapshot_image - one file on the host that guests have as a disk, or below one
 * @device: of the file, st_dev
 * @inode: of the file
 * @path: for people, never NULL
 * @size_bytes: of the file
 * @is_public: the operator lets knowledge of it flow between sharing domains
 * @trim_refusal: why the host's copies of its blocks must stay, one line such as "process 123
 *	(qemu-img) has it open"; NULL when everything that has it open is an attached guest that has
 *	its row in snapshot.holdings
 * @order_refusal: why nothing is done about this image, such as that it is not known for certain
 *	which of its blocks guests hold; NULL normally
 * @resident: blocks that the host caches; NULL when that is not known, or not known to be true.
 *	Some may be dirty; which, is not known.
 * @resident_usec: when @resident was looked up, CLOCK_MONOTONIC, never 0; the beginning, if it
 *	took long
 */
struct snapshot_image {
	uint64_t device;
	uint64_t inode;
	const char *path;
	uint64_t size_bytes;
	bool is_public;
	const char *trim_refusal;
	const char *order_refusal;
	const struct blockset *resident;
	uint64_t resident_usec;
};

/**
 * struct snapshot_guest - one configured guest, whether it runs or not
 * @name: unique, not empty, at most SNAPSHOT_NAME_MAX
 * @domain: sharing domain; NULL stands for one by the guest's own name
 * @act: the operator opted in
 * @order_refusal: why it gets no orders now, one line; NULL when it may
 * @agent_live: its agent answers
 * @scan_usec: when the scan behind its holdings began, CLOCK_MONOTONIC; 0 for never
 * @free_bytes: free memory inside of the guest, by its last census
 * @free_page_reporting: its balloon device returns free memory by itself
 */
struct snapshot_guest {
	const char *name;
	const char *domain;
	bool act;
	const char *order_refusal;
	bool agent_live;
	uint64_t scan_usec;
	uint64_t free_bytes;
	bool free_page_reporting;
};

/**
 * struct snapshot_holding - what one guest caches of one image
 * @guest: index into snapshot.guests
 * @image: index into snapshot.images
 * @held: every block that the guest caches, in whatever state; NULL when not known
 * @evictable: of these the ones it could give up: clean, unmapped, not held by its kernel, not hot;
 *	NULL stands for none
 * @cold: of these the ones known not to have been used for 30 s; NULL stands for none
 * @warm: of these the ones known to have been; NULL stands for none. The age of what is in neither
 *	is not known: it is treated as that, not as the one or the other.
 *
 * There is a holding for every image that a guest can reach, even when it caches nothing of it:
 * that is how the users of an image are known.
 */
struct snapshot_holding {
	size_t guest;
	size_t image;
	const struct blockset *held;
	const struct blockset *evictable;
	const struct blockset *cold;
	const struct blockset *warm;
};

/**
 * struct snapshot - all of it
 * @now_usec: CLOCK_MONOTONIC
 * @guests: every guest that is configured, in an order that does not depend on what guests do
 * @holdings: sorted by image and then by guest, each pair once
 */
struct snapshot {
	uint64_t now_usec;
	struct snapshot_host host;
	const struct snapshot_image *images;
	size_t n_images;
	const struct snapshot_guest *guests;
	size_t n_guests;
	const struct snapshot_holding *holdings;
	size_t n_holdings;
};

/**
 * snapshot_check() - is it well formed?
 *
 * Return: 0; -EINVAL: an index out of range, holdings not sorted or a pair twice, an image without
 * a path, a guest's name that is missing, too long or used twice; -ENOMEM.
 */
int snapshot_check(const struct snapshot *snapshot);

/**
 * snapshot_holdings() - the users of an image
 *
 * Return: the first of them; their number in @ret_count, which may be 0.
 */
const struct snapshot_holding *snapshot_holdings(const struct snapshot *snapshot, size_t image,
						 size_t *ret_count);

/** snapshot_holding_find() - what @guest caches of @image, or NULL when it cannot reach it */
const struct snapshot_holding *snapshot_holding_find(const struct snapshot *snapshot, size_t guest,
						     size_t image);

/** snapshot_domain() - the name of a guest's sharing domain */
const char *snapshot_domain(const struct snapshot_guest *guest);

/** snapshot_same_domain() - may these two know of each other's cache? */
bool snapshot_same_domain(const struct snapshot_guest *a, const struct snapshot_guest *b);

#endif
