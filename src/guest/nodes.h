/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NUMA nodes of this machine: which page frames are theirs, how much of their page cache
 * nothing maps, and the kernel's own ratios. A machine without nodes in sysfs has one.
 */
#ifndef PAGEPACT_GUEST_NODES_H
#define PAGEPACT_GUEST_NODES_H

#include <stdint.h>

#include "base/parse.h"

#define NODES_MAX	 128 /* what QEMU gives a guest at most (MAX_NODES) */
#define NODES_RANGES_MAX 192 /* a zone of each, and the low ones of the first */

struct node {
	unsigned number;
	uint64_t managed_pages;
	/* By nodes_count(): */
	uint64_t unmapped_pages; /* as the kernel's node_unmapped_file_pages(), mm/vmscan.c */
	uint64_t free_pages;
	uint64_t slab_reclaimable_pages;
	uint64_t high_pages; /* sum of its zones' high watermarks */
};

/**
 * struct nodes - what is known of them
 * @ranges: page frames of zones, which may hold frames that are no memory
 * @min_unmapped_ratio: vm.min_unmapped_ratio, per cent
 * @min_slab_ratio: vm.min_slab_ratio, per cent
 * @vmstat_fds: by node; kept open for nodes_count()
 */
struct nodes {
	struct node nodes[NODES_MAX];
	unsigned count;
	struct {
		uint64_t start, count;
		unsigned node; /* index into nodes */
	} ranges[NODES_RANGES_MAX];
	unsigned ranges_count;
	uint32_t min_unmapped_ratio;
	uint32_t min_slab_ratio;
	int vmstat_fds[NODES_MAX];
};

/**
 * nodes_read() - read what changes seldom: ranges, managed pages, watermarks (/proc/zoneinfo),
 * ratios
 * @root: "" for this machine, or a fixture's directory
 * @ret: to be given to nodes_done(), after success only; nothing is counted yet
 *
 * Nodes without memory are left out. A kernel without NUMA has no ratios to be set: they are then
 * what it would have begun with, 1 and 5 (mm/vmscan.c).
 *
 * Return: 0 or -errno; -E2BIG for more nodes or ranges than are kept; -EBADMSG for a text that is
 * none of the kernel's.
 */
int nodes_read(const char *root, struct nodes *ret);

/** nodes_done() - close what is open; @n has no nodes then */
void nodes_done(struct nodes *n);

/**
 * nodes_count() - read what changes all the time, cheaply (node vmstat, or /proc/vmstat)
 *
 * Return: 0; or -errno, and the counts are as they were. -ENODEV when a node has gone: nodes_done()
 * and nodes_read() then.
 */
int nodes_count(struct nodes *n);

/**
 * nodes_of() - index into nodes of a page frame; 0 for what is in no range
 *
 * Zones may overlap, where memory was plugged in: the smallest that spans the frame is taken.
 */
unsigned nodes_of(const struct nodes *n, uint64_t pfn);

/**
 * limit_pages() - what a limit means for one node, in pages
 *
 * A size is shared among the nodes by their managed pages; a share is of managed pages.
 *
 * LIMIT_TEXT_DEFAULT is where the patches of 2010 began to reclaim: UNMAPPED_PAGE_RATIO (16) times
 * min_unmapped_pages, which is vm.min_unmapped_ratio per cent of managed pages (16 % of memory as
 * the ratio is by default, 1). See Balbir Singh, "[PATCH 3/3] Provide control over unmapped pages
 * (v2)", linux-mm, 10 December 2010: of 16 it says that it did best in performance against memory,
 * that less means much time in frequent reclaim, and more a weaker control.
 *
 * Return: pages; UINT64_MAX for LIMIT_TEXT_OFF, and where the default is asked for and
 * vm.min_unmapped_ratio is 0.
 */
uint64_t limit_pages(const struct limit_text *limit, const struct nodes *n, unsigned node);

#endif
