/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passes over what has left a queue's pages since they were entered: the kernel evicts too.
 *
 * To open a small file costs more than all else that is done with it, and one whose inode has left
 * memory as well would be read from its disk for nothing. So the short pieces at the front of a
 * queue are looked up many at once, by the addresses of their files' address_spaces.
 */
#ifndef PAGEPACT_GUEST_GLANCE_H
#define PAGEPACT_GUEST_GLANCE_H

#include <stdbool.h>

#include "guest/memmap.h"
#include "guest/scan.h"
#include "guest/spans.h"

/**
 * struct glance - what is known of the front of a queue; all zero: nothing
 * @items: from @next to @count, in the queue's order
 */
struct glance {
	struct scan_glance items[GLANCES_MAX];
	unsigned next, count;
};

/**
 * glance_pop() - as spans_pop(), but that pieces of which nothing is cached are passed over
 * @ret_passed: pages of those
 *
 * Return: 1; 0 when the queue is empty; -EAGAIN when many were passed over, and there is more.
 */
int glance_pop(struct glance *g, struct memmap *memmap, struct spans *queue,
	       struct file_key *ret_key, uint64_t *ret_index, uint32_t *ret_count,
	       uint32_t *ret_passed);

#endif
