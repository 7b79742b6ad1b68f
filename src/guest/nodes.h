/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NUMA nodes of this machine: which page frames are theirs, how much of their page cache
 * nothing maps, and the kernel's own ratios. A machine without nodes in sysfs has one.
 */
#ifndef PAGEPACT_GUEST_NODES_H
#define PAGEPACT_GUEST_NODES_H

#include <stdint.h>

#include "guest/settings.h"

#define NODES_MAX	 16
#define NODES_RANGES_MAX 64

struct node {
	unsigned number;
	uint64_t managed_pages;
	/* By nodes_count(): */
	uint64_t unmapped_pages; /* as the kernel's node_unmapped_file_pages(), mm/vmscan.c */
	uint64_t free_pages;
	uint64_t slab_reclaimable_pages;
	uint64_t high_pages; /* sum of its zones' high watermarks */
};

struct nodes {
	char root[64];
	struct node nodes[NODES_MAX];
	unsigned count;
	struct {
		uint64_t start, count; /* page frames */
		unsigned node;	       /* index into nodes */
	} ranges[NODES_RANGES_MAX];
	unsigned ranges_count;
	uint32_t min_unmapped_ratio; /* vm.min_unmapped_ratio, percent */
	uint32_t min_slab_ratio;     /* vm.min_slab_ratio, percent */
};

/**
 * nodes_read() - read what changes seldom: ranges, managed pages, watermarks (/proc/zoneinfo), ratios
 * @root: "" for this machine, or a fixture's directory
 *
 * Return: 0 or -errno; -E2BIG for more nodes or ranges than are kept.
 */
int nodes_read(const char *root, struct nodes *ret);

/**
 * nodes_count() - read what changes all the time, cheaply (node vmstat, or /proc/vmstat)
 *
 * Return: 0 or -errno, with the counts as they were.
 */
int nodes_count(struct nodes *n);

/** nodes_of() - index into nodes of a page frame; 0 for what is in no range */
unsigned nodes_of(const struct nodes *n, uint64_t pfn);

/**
 * limit_pages() - what a limit means for one node, in pages
 *
 * A size is shared among the nodes by their managed pages. LIMIT_DEFAULT is what the patches of
 * 2010 had: UNMAPPED_PAGE_RATIO (16) times the node's min_unmapped_pages, which is
 * vm.min_unmapped_ratio percent of its managed pages (cite the posting here).
 *
 * Return: pages; UINT64_MAX for LIMIT_NONE, and where the default is asked for and
 * vm.min_unmapped_ratio is 0.
 */
uint64_t limit_pages(const struct limit *limit, const struct nodes *n, unsigned node);

#endif
