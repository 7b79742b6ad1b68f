/* SPDX-License-Identifier: Apache-2.0 OR (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What the BPF programs of watch.bpf.c and the agent share: fixed layouts only.
 */
#ifndef PAGEPACT_GUEST_EVENTS_H
#define PAGEPACT_GUEST_EVENTS_H

/* Pages that entered the page cache one after the other, in the order of their indexes. */
struct watch_run {
	unsigned long long mapping; /* a kernel address: told apart only, never shown or sent */
	unsigned long long inode;
	unsigned long long magic; /* the file system's */
	unsigned long long index; /* in pages of the file */
	unsigned int device;	  /* as the kernel has it: major << 20 | minor */
	unsigned int generation;
	unsigned int count;
	unsigned int reserved;
};

/*
 * A page frame's stamp, 16 bits: when it was last used, what was in it then, and how often.
 * A second is 2^30 ns of CLOCK_MONOTONIC, which a BPF program has for a shift. Of the 256 values
 * of the second, 0 is never (an empty stamp) and 1 is "long ago", so it runs from 2 to 255.
 */
#define STAMP_SECOND_SHIFT 30
#define STAMP_NEVER	   0
#define STAMP_LONG_AGO	   1
#define STAMP_FIRST	   2
#define STAMP_SECONDS	   254
#define STAMP_TAG_SHIFT	   8
#define STAMP_TAG_MASK	   0x3f
#define STAMP_USES_SHIFT   14
#define STAMP_USES_MAX	   3 /* 0: entered the cache and was not read; saturates */

#endif
