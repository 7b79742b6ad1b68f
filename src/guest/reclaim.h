/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's own proactive reclaim, asked for page cache: for guests whose pages the agent
 * cannot see (no BTF, no BPF, locked down).
 *
 * It is not exact. The kernel takes what its own lists have at their ends: mapped pages too, and
 * with the pages it presses its shrinkers, which drop dentries and inodes that nobody uses. It
 * writes nothing, and by the orders given here it swaps nothing out.
 */
#ifndef PAGEPACT_GUEST_RECLAIM_H
#define PAGEPACT_GUEST_RECLAIM_H

#include <stddef.h>
#include <stdint.h>

#include "guest/nodes.h"

enum reclaim_way {
	RECLAIM_NONE,
	RECLAIM_NODES,	/* each node's reclaim file, Linux 6.17 and later */
	RECLAIM_CGROUP, /* memory.reclaim of the root of cgroup v2, with swappiness: 6.9 and later
			 */
	RECLAIM_CGROUP_NO_SWAP, /* 5.19 and later: it would swap, so only where there is no swap */
};

#define RECLAIM_PATH_MAX 256

struct reclaim {
	enum reclaim_way way;
	char root[RECLAIM_PATH_MAX];
	char path[RECLAIM_PATH_MAX]; /* of memory.reclaim */
};

/**
 * reclaim_open() - find out how the kernel can be asked; nothing is reclaimed
 * @root: "" for this machine, or a fixture's directory
 * @n: with several nodes their own files are preferred, else memory.reclaim
 * @ret: always filled; nothing is open in it
 * @ret_reason: why not, for people
 *
 * Return: 0; -EOPNOTSUPP where there is no such file, or where all there is would swap anonymous
 * memory out; or another -errno.
 */
int reclaim_open(const char *root, const struct nodes *n, struct reclaim *ret, char *ret_reason,
		 size_t reason_size);

/**
 * reclaim_cache() - have the kernel give back page cache
 * @pages: by node, index as in @n; where the kernel cannot be asked by node, their sum counts
 * @ret_pages: page cache that the kernel reclaimed meanwhile, by its own count (pgsteal_file): it
 * may be more than was asked for, and of other nodes
 *
 * Takes as long as the kernel does: ask for some MiB at a time.
 *
 * Return: 1 when at least half of it went, so that there may be more; 0 when less did; -EOPNOTSUPP
 * without a way, or when there is swap now; or another -errno.
 */
int reclaim_cache(const struct reclaim *r, const struct nodes *n, const uint64_t pages[NODES_MAX],
		  uint64_t *ret_pages);

/**
 * reclaim_refaulted() - page cache that came back, in pages, since the machine was started
 *
 * Unlike eviction by fadvise the kernel's reclaim leaves shadow entries, so the kernel's own count
 * (workingset_refault_file) tells.
 */
uint64_t reclaim_refaulted(const char *root);

#endif
