/* SPDX-License-Identifier: Apache-2.0 OR (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What the BPF programs of the scan and the agent share: fixed layouts only. The .bpf.c file and
 * user space both include this; user space's functions are in memmap.h.
 */
#ifndef PAGEPACT_GUEST_SCAN_H
#define PAGEPACT_GUEST_SCAN_H

/*
 * Pages a chunk. 8,192 were seen to hold the RCU read lock for up to 16 ms of stolen time, and a
 * chunk must stay under 1 ms; a bounded loop of this length also loads on kernels before 5.17,
 * which have no bpf_loop(). A multiple of the largest buddy block (1,024
 * pages), so that a free block never crosses a chunk's end.
 */
#define SCAN_CHUNK_PAGES 2048

enum scan_kind {
	SCAN_OTHER,
	SCAN_FREE,
	SCAN_ANONYMOUS,
	SCAN_SHMEM,
	SCAN_FILE, /* page cache: what the flags say decides which sort */
	SCAN_SLAB,
	SCAN_KINDS,
};

enum scan_flag {
	SCAN_MAPPED = 1 << 0,
	SCAN_DIRTY = 1 << 1,
	SCAN_WRITEBACK = 1 << 2,
	SCAN_ACTIVE = 1 << 3,
	SCAN_REFERENCED = 1 << 4,
	SCAN_WORKINGSET = 1 << 5,
	SCAN_LOCKED = 1 << 6,
	SCAN_UNEVICTABLE = 1 << 7,
	SCAN_PINNED = 1 << 8, /* more references than cache, private data and mappings explain */
	SCAN_NOT_UPTODATE = 1 << 9,
	SCAN_BUFFERS = 1 << 10, /* of metadata that is not up to date: nobody holds them */
};

struct scan_page {
	unsigned long long index; /* in pages of the file */
	unsigned short owner;	  /* into the chunk's owners */
	unsigned short flags;	  /* enum scan_flag */
	unsigned char kind;	  /* enum scan_kind */
	unsigned char order;	  /* of the folio */
	unsigned short offset;	  /* of the page in its folio, in pages */
};

enum scan_owner_flag {
	SCAN_OWNER_LEASED = 1 << 0,
	SCAN_OWNER_WRITE_ERROR = 1 << 1,
	SCAN_OWNER_IRREGULAR = 1 << 2, /* a directory, say, or a block device */
	SCAN_OWNER_UNLINKED = 1 << 3,
};

/* A write that failed left its data in the cache alone; a lease is broken by nobody. */
#define SCAN_OWNER_BUSY (SCAN_OWNER_LEASED | SCAN_OWNER_WRITE_ERROR)

struct scan_owner {
	unsigned long long mapping; /* a kernel address: told apart only, never shown or sent */
	unsigned long long inode;
	unsigned long long size_bytes;
	unsigned long long magic; /* the file system's */
	unsigned int device;	  /* as the kernel has it: major << 20 | minor */
	unsigned int generation;
	unsigned int flags; /* enum scan_owner_flag */
	unsigned int reserved;
};

/* A piece of a file by its address_space, without opening it. */
#define GLANCES_MAX	 64
#define GLANCE_PAGES_MAX 32 /* so that two nodes of the cache's tree have all of them */
struct scan_glance {
	unsigned long long mapping;
	unsigned long long inode;
	unsigned long long index;
	unsigned int device;
	unsigned int generation;
	unsigned int count;
	unsigned int
		there; /* out: something of it is cached, and that address_space is still its */
};

#endif
