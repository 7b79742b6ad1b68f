/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of the whole machine in /proc/vmstat. */
#ifndef PAGEPACT_GUEST_VMSTAT_H
#define PAGEPACT_GUEST_VMSTAT_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct vmstat - what is of interest here
 * @has_balloon: whether the kernel counts what balloons take
 * @balloon_pages: that the balloon holds: inflated less deflated
 * @inflated_pages: by the balloon, since the machine was started
 * @unclean_pages: of the page cache: dirty, or under writeback
 * @oom_kills, @alloc_stalls: since the machine was started; of all zones
 */
struct vmstat {
	bool has_balloon;
	uint64_t balloon_pages;
	uint64_t inflated_pages;
	uint64_t unclean_pages;
	uint64_t oom_kills;
	uint64_t alloc_stalls;
};

/**
 * vmstat_read() - read them
 * @root: "" for this machine, or a fixture's directory
 *
 * A counter that a kernel does not have is 0.
 *
 * Return: 0 or -errno.
 */
int vmstat_read(const char *root, struct vmstat *ret);

#endif
