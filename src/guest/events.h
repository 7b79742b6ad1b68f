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

/* A run as it goes through the ring: the cpu and its number there tell what was told already. */
struct watch_event {
	struct watch_run run;
	unsigned long long id;
	unsigned int cpu;
	unsigned int reserved;
};

/*
 * A page frame's stamp, 16 bits: when it was last used, what was in it then, and how often.
 * A second is 2^30 ns of CLOCK_MONOTONIC, which a BPF program has for a shift. Of the 256 values
 * of the second, 0 is never (an empty stamp) and 1 to 6 are "long ago", each by a sweep longer, so
 * it runs from 7 to 255.
 */
#define STAMP_SECOND_SHIFT 30
#define STAMP_NEVER	   0
#define STAMP_LONG_AGO	   1
#define STAMP_LONGEST_AGO  6
#define STAMP_FIRST	   7
#define STAMP_SECONDS	   249
#define STAMP_SECOND_MASK  0xff
#define STAMP_TAG_SHIFT	   8
#define STAMP_TAG_MASK	   0x3f
#define STAMP_USES_SHIFT   14
#define STAMP_USES_MAX	   3 /* 0: entered the cache and was not read; saturates */

/* The array's elements are 8 bytes: a BPF array knows none shorter. */
#define STAMPS_A_WORD 4

static inline unsigned int stamp_second(unsigned long long second)
{
	return (unsigned int)second % STAMP_SECONDS + STAMP_FIRST;
}

/* Two multiplications (those of splitmix64) so that neighbours and whole files differ. */
static inline unsigned int stamp_tag(unsigned long long mapping, unsigned long long index)
{
	return (unsigned int)((mapping + index * 0x9e3779b97f4a7c15ull) * 0xbf58476d1ce4e5b9ull >>
			      58);
}

static inline unsigned short stamp_make(unsigned int second, unsigned int tag, unsigned int uses)
{
	return (unsigned short)(second | tag << STAMP_TAG_SHIFT | uses << STAMP_USES_SHIFT);
}

static inline unsigned int stamp_uses(unsigned short stamp)
{
	return stamp >> STAMP_USES_SHIFT;
}

static inline int stamp_fits(unsigned short stamp, unsigned int tag)
{
	return stamp && (stamp >> STAMP_TAG_SHIFT & STAMP_TAG_MASK) == tag;
}

/*
 * The table of what was evicted: each page has one place in it. Pages of a file lie side by side,
 * so that reading it back walks along the table; the tag is the same for 512 MiB of a file.
 * An entry: tag, second, class of age, and a bit that says that it has not come back.
 */
#define EVICTED_SLOTS	     131072
#define EVICTED_TAG_SHIFT    32
#define EVICTED_SECOND_SHIFT 8
#define EVICTED_SECOND_MASK  0xffffff
#define EVICTED_CLASS_SHIFT  1
#define EVICTED_CLASSES	     8
#define EVICTED_SECONDS	     56	 /* a minute, in units of 2^30 ns */
#define RETURNED_SECONDS     280 /* five: what came back is known as such for so long; chosen */

static inline unsigned long long evicted_file(unsigned int device, unsigned long long inode)
{
	unsigned long long hash =
		(inode ^ (unsigned long long)device << 32) * 0x9e3779b97f4a7c15ull;

	return (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9ull;
}

static inline unsigned int evicted_slot(unsigned long long file, unsigned long long index)
{
	return (unsigned int)(file + index) % EVICTED_SLOTS;
}

static inline unsigned int evicted_tag(unsigned long long file, unsigned long long index)
{
	return (unsigned int)((file >> 17) ^ (index / EVICTED_SLOTS) * 0x9e3779b1u);
}

static inline unsigned int evicted_second(unsigned long long second)
{
	return (unsigned int)second & EVICTED_SECOND_MASK;
}

static inline unsigned long long evicted_make(unsigned int tag, unsigned int second,
					      unsigned int age_class)
{
	return (unsigned long long)tag << EVICTED_TAG_SHIFT | second << EVICTED_SECOND_SHIFT |
	       age_class << EVICTED_CLASS_SHIFT | 1;
}

/* The programs' clock may be a tick behind user space's, and so a second. */
static inline unsigned int evicted_age(unsigned long long entry, unsigned int second)
{
	unsigned int then = (unsigned int)entry >> EVICTED_SECOND_SHIFT;

	return (second + 1 - then) & EVICTED_SECOND_MASK;
}

/* An entry is followed for a minute. */
static inline int evicted_is_young(unsigned long long entry, unsigned int second)
{
	return (entry & 1) && evicted_age(entry, second) <= EVICTED_SECONDS;
}

/* What becomes of the entry of a page that comes back: the second is that of its return, and no
 * bit says that it is out. */
static inline unsigned long long evicted_returned(unsigned long long entry, unsigned int second)
{
	return evicted_make((unsigned int)(entry >> EVICTED_TAG_SHIFT), second, 0) & ~1ull;
}

static inline int evicted_has_returned(unsigned long long entry, unsigned int tag,
				       unsigned int second)
{
	return entry && !(entry & 1) && entry >> EVICTED_TAG_SHIFT == tag &&
	       evicted_age(entry, second) <= RETURNED_SECONDS;
}

static inline unsigned int evicted_class(unsigned long long entry)
{
	return (unsigned int)(entry >> EVICTED_CLASS_SHIFT) % EVICTED_CLASSES;
}

/*
 * What the programs know on one CPU. User space reads it while it changes: between two equal and
 * even values of sequence it held still. Nothing but the programs writes it.
 */
struct watch_cpu {
	unsigned int sequence;
	unsigned int uncounted; /* pages not yet in since_wake */
	struct watch_event
		event;		 /* the pending run; without pages, what was last known of a file */
	unsigned long long file; /* evicted_file() of it */
	unsigned long long file_tick; /* when that was read */
	unsigned long long tick;
	unsigned long long second; /* 2^30 ns, at the tick */
	unsigned int followed;	   /* the file is one whose pages count */
	unsigned int read_thread;  /* the last read, for the sensor by mm_filemap_get_pages */
	unsigned long long added;
	unsigned long long used;
	unsigned long long lost;
	unsigned long long refaulted[EVICTED_CLASSES];
	unsigned long long read_mapping;
	unsigned long long read_from;
	unsigned long long read_to; /* pages before it are stamped */
	unsigned long long read_last;
	unsigned long long untyped;
	unsigned long long padding[2]; /* to whole cache lines */
};

#endif
