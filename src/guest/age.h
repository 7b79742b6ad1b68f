/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long ago each page was last seen used.
 *
 * How it works
 *
 * Two bytes a page frame: a tag of the (inode, index) that was there, so that a frame which was
 * re-used is not taken for the page it held, and the age together with the referenced and active
 * flags last seen. A sign of use is a flag that was not there at the scan before: the kernel sets
 * referenced at a first use and active at the second. Once both are set, further use leaves no
 * sign until the kernel ages the page by itself, so the age of such a page is not known
 * (AGE_UNKNOWN), never 0; nor is any page's at the first scan, for want of one before it.
 */
#ifndef PAGEPACT_GUEST_AGE_H
#define PAGEPACT_GUEST_AGE_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

#define AGE_UNKNOWN UINT16_MAX

struct age_table {
	uint8_t *tags;
	uint8_t *ages;
	size_t pages;
	uint32_t scans; /* complete ones */
};

/**
 * age_init() - a table for @pages page frames, of which only those used take memory
 *
 * Return: 0 or -ENOMEM.
 */
int age_init(struct age_table *t, size_t pages);

/**
 * age_done() - free the table
 */
void age_done(struct age_table *t);

/**
 * age_scan_done() - a scan has passed over all of memory: what is new after it is newly used
 *
 * Not for a scan that was broken off: frames that it never reached are not known yet.
 */
void age_scan_done(struct age_table *t);

/**
 * age_see() - take note of one page-cache page
 * @at: the page frame's number among the frames of RAM
 * @inode, @index: what it holds
 * @flags: enum scan_flag
 *
 * Return: how many scans ago it was last seen used, 0 for since the last one; or AGE_UNKNOWN.
 */
uint16_t age_see(struct age_table *t, size_t at, uint64_t inode, uint64_t index, unsigned flags);

#endif
