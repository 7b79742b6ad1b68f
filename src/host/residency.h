/* SPDX-License-Identifier: Apache-2.0 */
/* Which blocks of an image are in the host's page cache. */
#ifndef PAGEPACT_HOST_RESIDENCY_H
#define PAGEPACT_HOST_RESIDENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/blockset.h"

/*
 * Functions named *_child() may block on storage: they are for struct child_spec.fn (child.h).
 * They write to a pipe what the matching *_decode() reads.
 */

/* An alternation of cached and uncached blocks over 8 GiB; 8 MiB of answer. */
#define RESIDENCY_RUNS_MAX   (1u << 20)
#define RESIDENCY_OUTPUT_MAX (64 + (size_t)RESIDENCY_RUNS_MAX * sizeof(struct block_run))

/* A mapping, a mincore or an eviction covers no more than 64 MiB at a time. */
#define RESIDENCY_WINDOW_BLOCKS (64u * 1024 * 1024 / BLOCK_BYTES)

/**
 * struct image_ref - a file, by name and by what the name has to mean
 * @path: absolute
 * @dev, @ino: as by stat(2) when the image became known
 */
struct image_ref {
	const char *path;
	dev_t dev;
	ino_t ino;
};

/**
 * image_open() - open an image to read it, if it is still the same and of a kind that has a cache
 * @ret_bytes: size of the file or block device
 *
 * Does not change its access time, where that is allowed; does not wait for a lease.
 *
 * Return: descriptor; -ESTALE when @ref->path is now another file, -EINVAL when it is neither a
 * regular file nor a block device, -EFBIG beyond BLOCKSET_END blocks; or what open(2) says.
 */
int image_open(const struct image_ref *ref, uint64_t *ret_bytes);

/**
 * residency_may_ask() - whether mincore(2) tells this process the truth about @fd
 *
 * Without the right it reports every page as cached, and no error (mm/mincore.c,
 * can_do_mincore()). The right is the kernel's own condition, tested before mincore is believed.
 *
 * Return: 0, or -EPERM
 */
int residency_may_ask(int fd);

/**
 * residency_read() - which blocks of one window are in the page cache
 * @start, @count: blocks; @count <= RESIDENCY_WINDOW_BLOCKS; within the file
 * @ret: @count bytes, 1 or 0
 *
 * residency_may_ask() comes first.
 */
int residency_read(int fd, uint64_t start, size_t count, uint8_t *ret);

/** struct cache_counts - pages of a range, as cachestat(2) counts them */
struct cache_counts {
	uint64_t cached;
	uint64_t dirty;
	uint64_t writeback;
};

/**
 * residency_counts() - what cachestat(2) says of blocks [start, start + count)
 *
 * A page that is being read counts as cached here, and not in residency_read().
 *
 * Return: 0; -EOPNOTSUPP where the kernel (before 6.5) or a seccomp filter does not have it; -EPERM
 * where the kernel refuses to answer for this file
 */
int residency_counts(int fd, uint64_t start, uint64_t count, struct cache_counts *ret);

/** struct residency_arg - for residency_census_child() */
struct residency_arg {
	struct image_ref image;
};

/**
 * residency_census_child() - write the residency of a whole image
 *
 * Return: 0; -EPERM "may not ask": no right to a true answer (not to be confused with -EACCES: may
 * not open); -EUCLEAN when mincore(2) and cachestat(2) contradict each other; else as image_open().
 */
int residency_census_child(int out_fd, void *arg);

/** struct residency_touch_arg - for residency_touch_child(): blocks believed to be cached */
struct residency_touch_arg {
	struct image_ref image;
	const struct block_run *runs; /* ascending */
	size_t n_runs;
};

/**
 * residency_touch_child() - mark cached blocks as used, and write which of them are truly cached
 *
 * Starts no read of a block that is not cached, as far as the moment between two calls allows.
 *
 * Return: as residency_census_child(); -EOPNOTSUPP before Linux 5.14
 */
int residency_touch_child(int out_fd, void *arg);

/**
 * struct residency - what a child found
 * @bytes: size of the image
 * @covered_blocks: blocks below this were looked at; the whole image unless RESIDENCY_RUNS_MAX
 *	was reached. What lies above is unknown, not uncached
 * @confirmed: cachestat(2) agreed
 * @blocks: the cached ones
 */
struct residency {
	uint64_t bytes;
	uint64_t covered_blocks;
	bool confirmed;
	struct blockset *blocks;
};

/**
 * residency_decode() - read the output of residency_census_child() or residency_touch_child()
 *
 * Return: 0, -EBADMSG, -ENOMEM
 */
int residency_decode(const void *data, size_t size, struct residency *ret);

/** residency_done() - free what is inside; a zeroed one is allowed */
void residency_done(struct residency *residency);

#endif
