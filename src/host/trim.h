/* SPDX-License-Identifier: Apache-2.0 */
/* Exact eviction of clean blocks of an image from the host's page cache. */
#ifndef PAGEPACT_HOST_TRIM_H
#define PAGEPACT_HOST_TRIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blockset.h"
#include "host/residency.h"

#define TRIM_OUTPUT_MAX 256

/**
 * struct trim_arg - for trim_child()
 * @runs: exactly these blocks, ascending; what lies beyond the end of the image counts as gone
 * @no_cachestat: learn what is dirty from /proc/kpageflags, as on kernels before 6.5 (for tests)
 */
struct trim_arg {
	struct image_ref image;
	const struct block_run *runs;
	size_t n_runs;
	bool no_cachestat;
};

/**
 * trim_child() - evict; see child.h for where it runs
 *
 * Pages that are dirty or under writeback stay, and no writeback is started. Pages beside the runs
 * stay, large folios or not.
 *
 * Return: 0; -EPERM without the right to a true answer (residency.h); -EOPNOTSUPP where dirty
 * pages cannot be told from clean ones; -EIO when writing the image has failed before: what is
 * cached may be the only copy; else as image_open(). On failure nothing was evicted that was not
 * asked for.
 */
int trim_child(int out_fd, void *arg);

/**
 * struct trim_result - what became of the pages; the parts add up to @asked_pages
 * @trimmed_pages: cached before, not cached afterwards
 * @kept_dirty_pages: dirty or under writeback
 * @kept_gone_pages: not cached to begin with
 * @kept_failed_pages: still or again cached: mapped or in use by somebody
 * @usec: time that it took
 */
struct trim_result {
	uint64_t asked_pages;
	uint64_t trimmed_pages;
	uint64_t kept_dirty_pages;
	uint64_t kept_gone_pages;
	uint64_t kept_failed_pages;
	uint64_t usec;
};

/** trim_decode() - read the output of trim_child(). Return: 0 or -EBADMSG */
int trim_decode(const void *data, size_t size, struct trim_result *ret);

#endif
