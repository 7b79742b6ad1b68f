/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of the host<->guest protocol: fixed layouts, little-endian, no pointers, no text
 * whose length a peer chooses. A message with a list is its fixed part and then `count` items;
 * wire_decode() refuses a payload whose size does not agree with its count, and values out of
 * their range, so whatever it lets through may be used as it stands.
 *
 * The host asks, the guest answers; a guest never asks anything. Everything that a request can
 * make an agent do is: look (SCAN, NAME, ASK), ask its own kernel to drop page cache that the
 * agent itself has just seen clean and unmapped (EVICT, FREE, LIMIT), have empty slab pages given
 * back (FREE), and keep free superpages out of the guest's use (TAKE). HELD is a hint as to which
 * of it goes first.
 *
 *	host                         agent
 *	WELCOME          ─────────▶
 *	                 ◀─────────  HELLO           also unasked, when the agent starts
 *	SCAN             ─────────▶
 *	                 ◀─────────  DISK, FILE, EXTENTS, PAGES  in any number
 *	                 ◀─────────  SCAN_END
 *	EVICT            ─────────▶
 *	                 ◀─────────  RESULT
 *	NAME             ─────────▶
 *	                 ◀─────────  PATH
 *	LIMIT            ─────────▶
 *	                 ◀─────────  REPORT          as it is with the new limit, and hint
 *	ASK              ─────────▶
 *	                 ◀─────────  REPORT
 *	FREE             ─────────▶
 *	                 ◀─────────  FREED
 *	HELD             ─────────▶
 *	                 ◀─────────  PONG
 *	TAKE             ─────────▶
 *	                 ◀─────────  TAKEN           also unasked, when it gave some back by itself
 *	PING             ─────────▶
 *	                 ◀─────────  PONG
 *	                 ◀─────────  ERROR           instead of any answer
 *
 * File numbers are the scan's own: EVICT and NAME repeat a file's identity instead, so that an
 * agent which was restarted in between has nothing to remember.
 */
#ifndef PAGEPACT_WIRE_MESSAGE_H
#define PAGEPACT_WIRE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "wire/frame.h"

#define WIRE_AGENT_PORT	 "org.pagepact.agent.0"
#define WIRE_BLOCK_BYTES 4096
#define WIRE_NO_DISK	 UINT32_MAX
#define WIRE_DISKS_MAX	 32
#define WIRE_FILES_MAX	 65536
#define WIRE_ITEMS_MAX	 2048
/* A block number times 4 KiB stays below 2^63, and start + count cannot overflow. */
#define WIRE_BLOCK_MAX ((uint64_t)1 << 50)
#define WIRE_PATH_MAX  4096
#define WIRE_ERRNO_MAX 4095 /* the kernel's MAX_ERRNO */
#define WIRE_USEC_MAX  ((uint64_t)1 << 62)
/* What was used more than once within this is hot for both sides, unless the guest says otherwise.
 */
#define WIRE_HOT_SEC	     30
#define WIRE_SUPERPAGE_BYTES ((uint64_t)2 << 20)

enum wire_type {
	WIRE_WELCOME = 1,
	WIRE_HELLO = 2,
	WIRE_SCAN = 3,
	WIRE_DISK = 4,
	WIRE_FILE = 5,
	WIRE_EXTENTS = 6,
	WIRE_PAGES = 7,
	WIRE_SCAN_END = 8,
	WIRE_EVICT = 9,
	WIRE_RESULT = 10,
	WIRE_NAME = 11,
	WIRE_PATH = 12,
	WIRE_PING = 13,
	WIRE_PONG = 14,
	WIRE_ERROR = 15,
	WIRE_LIMIT = 16,
	WIRE_ASK = 17,
	WIRE_REPORT = 18,
	WIRE_FREE = 19,
	WIRE_FREED = 20,
	WIRE_HELD = 21,
	WIRE_TAKE = 22,
	WIRE_TAKEN = 23,
};

enum wire_capability {
	WIRE_CAN_SCAN = 1 << 0,
	WIRE_CAN_EVICT = 1 << 1,
	WIRE_CAN_NAME = 1 << 2,
	WIRE_CAN_LIMIT = 1 << 3, /* hold a page cache limit, exactly */
	WIRE_CAN_HEAT = 1 << 4,	 /* know when a page was last used */
	WIRE_CAN_FREE = 1 << 5, /* without WIRE_CAN_EVICT: slab and the kernel's own reclaim only */
	WIRE_CAN_HINT = 1 << 6, /* evict ahead of the balloon */
	/* Of these two none where it is not known. */
	WIRE_CLEARS = 1 << 7, /* the kernel clears each page that it gives out (init_on_alloc) */
	WIRE_CLEARS_NOT = 1 << 8, /* it does not */
	WIRE_CAN_TAKE = 1 << 9,	  /* keep superpages out of use */
};

/* What a run of pages was, all of them, when the scan passed. */
enum wire_page_flag {
	WIRE_PAGE_MAPPED = 1 << 0,
	WIRE_PAGE_DIRTY = 1 << 1, /* dirty, or under writeback */
	WIRE_PAGE_HOT = 1 << 2,	  /* active or workingset: used more than once */
	WIRE_PAGE_REFERENCED = 1 << 3,
	WIRE_PAGE_HELD = 1 << 4, /* locked, unevictable or pinned: the kernel would refuse */
	WIRE_PAGE_FLAGS_ALL = (1 << 5) - 1,
};

enum wire_file_kind {
	WIRE_FILE_REGULAR = 0,
	WIRE_FILE_BLOCK_DEVICE = 1, /* pages of the device itself: the file system's metadata */
	WIRE_FILE_KINDS,
};

/* Why the blocks of a file's pages are not known. */
enum wire_unplaced {
	WIRE_PLACED = 0,
	WIRE_UNPLACED_FILE_SYSTEM, /* not one whose blocks can be asked for */
	WIRE_UNPLACED_DEVICE,	   /* not on a plain disk or partition */
	WIRE_UNPLACED_GONE,	   /* deleted, or replaced since */
	WIRE_UNPLACED_ENCODED,	   /* inline, compressed, encrypted, unwritten, not yet allocated */
	WIRE_UNPLACED_ALIGNMENT,   /* blocks do not start at multiples of 4 KiB of the disk */
	WIRE_UNPLACED_LEASED,	   /* opening would break somebody's lease */
	WIRE_UNPLACED_WRITE_ERROR, /* writeback failed once: cached data may be the only copy */
	WIRE_UNPLACED_LIMIT,	   /* more files or extents than are kept */
	WIRE_UNPLACED_FAILED,	   /* could not be opened or asked */
	WIRE_UNPLACED_REASONS,
};

/**
 * wire_unplaced_name() - the stable, snake_case name of a reason (enum wire_unplaced)
 */
const char *wire_unplaced_name(unsigned reason);

struct wire_welcome {
	uint32_t version;
	uint32_t reserved;
};

struct wire_hello {
	uint32_t version;
	uint32_t capabilities; /* enum wire_capability */
	uint64_t ram_pages;    /* System RAM in /proc/iomem */
	uint32_t page_bytes;
	uint32_t cpu_budget_permille;
	uint8_t boot_id[16];
	char agent_version[32];
	char kernel[64];
	char missing[192]; /* why a capability is absent; empty when none is */
};

struct wire_disk {
	uint32_t disk;
	uint32_t reserved;
	uint64_t size_bytes;
	char pci_address[16]; /* "0000:00:04.0", empty when not a PCI device */
	char serial[32];
};

/* Identity as the guest's kernel has it; generation 0 is a wildcard. */
struct wire_identity {
	uint32_t device; /* makedev(major, minor), of the file system or of the block device */
	uint32_t generation;
	uint64_t inode;
	uint32_t kind; /* enum wire_file_kind */
	uint32_t reserved;
};

struct wire_file {
	struct wire_identity identity;
	uint64_t size_bytes;
	uint32_t file;	   /* this scan's number of it */
	uint32_t disk;	   /* or WIRE_NO_DISK */
	uint32_t unplaced; /* enum wire_unplaced */
	uint32_t reserved;
};

struct wire_extent {
	uint64_t index; /* first page of the file */
	uint64_t block; /* first 4 KiB block of the disk */
	uint64_t count;
};

struct wire_extents {
	uint32_t file;
	uint32_t count;
	struct wire_extent items[];
};

struct wire_run {
	uint64_t index;
	uint32_t file;
	uint32_t count;
	uint32_t flags; /* enum wire_page_flag */
	uint16_t age;	/* seconds since it was last seen used; UINT16_MAX: not known */
	uint8_t order;	/* of the folios: 0 for single pages */
	uint8_t reserved;
};

struct wire_pages {
	uint32_t count;
	uint32_t reserved;
	struct wire_run items[];
};

/* Totals of one census, in pages. */
struct wire_census {
	uint64_t total;
	uint64_t free;
	uint64_t anonymous;
	uint64_t shmem;
	uint64_t mapped_file;
	uint64_t unmapped_clean;
	uint64_t unmapped_dirty;
	uint64_t slab;
	uint64_t other;
	uint64_t placed;
	uint64_t superpages;
	uint64_t superpages_free;
	uint64_t superpages_reclaimable; /* free ones included */
	uint64_t files;
	uint64_t unplaced[WIRE_UNPLACED_REASONS];
};

struct wire_scan_end {
	struct wire_census census;
	uint64_t elapsed_usec;
	uint64_t cpu_usec;
	uint64_t chunk_max_usec;
	/* Reclaimable but for a few pages of a kind that can be moved; 0 from older agents. */
	uint64_t superpages_spoiled;
};

struct wire_evict_run {
	uint64_t index;
	uint64_t block; /* where the host believes the first page to lie on the disk */
	uint32_t count;
	uint32_t reserved;
};

struct wire_evict {
	struct wire_identity identity;
	uint32_t count;
	uint32_t reserved;
	struct wire_evict_run items[];
};

/* What became of the pages that an EVICT asked for; all but usec and status in pages. */
struct wire_result {
	uint64_t asked;
	uint64_t evicted;
	uint64_t kept_mapped;
	uint64_t kept_dirty;
	uint64_t kept_hot;
	uint64_t kept_gone;    /* were not cached (any more) */
	uint64_t kept_partial; /* part of a folio that could not be split */
	uint64_t kept_moved;   /* lie on other blocks than the host believes */
	uint64_t kept_failed;  /* held: locked, pinned, in use by the kernel; or the file is gone */
	uint64_t usec;
	int32_t status; /* 0 or a positive errno for the file as a whole */
	uint32_t reserved;
};

struct wire_name {
	struct wire_identity identity;
};

enum wire_limit_kind {
	WIRE_LIMIT_GUEST, /* the host has no say: the guest's own configuration holds */
	WIRE_LIMIT_OFF,	  /* no limit, whatever the guest's configuration says */
	WIRE_LIMIT_BYTES,
	WIRE_LIMIT_PERMILLE, /* of the guest's memory */
	WIRE_LIMIT_KINDS,
};

/* Whether unmapped page cache is reclaimed ahead of a balloon that inflates. */
enum wire_hint {
	WIRE_HINT_GUEST, /* the host has no say: the guest's own configuration holds */
	WIRE_HINT_NONE,
	WIRE_HINT_CACHE,
	WIRE_HINTS,
};

/* The page cache limit and the hint that the host wants. Forgotten by the agent after 60 s without
 * a word. */
struct wire_limit {
	uint32_t kind;	   /* enum wire_limit_kind */
	uint32_t permille; /* 1 to 1000 with WIRE_LIMIT_PERMILLE, else 0 */
	uint64_t bytes;	   /* with WIRE_LIMIT_BYTES, else 0 */
	uint32_t hint;	   /* enum wire_hint */
	uint32_t reserved;
};

/* How the agent knows that the balloon inflates. */
enum wire_notice {
	WIRE_NOTICE_NONE,    /* it does not look, or there is no balloon */
	WIRE_NOTICE_DRIVER,  /* from the driver, and how much is still to inflate */
	WIRE_NOTICE_COUNTER, /* from /proc/vmstat, a moment later */
	WIRE_NOTICES,
};

/* Who set the limit, or the hint, that holds. */
enum wire_origin {
	WIRE_ORIGIN_NONE, /* no limit */
	WIRE_ORIGIN_FILE, /* /etc/pagepact/agent.conf */
	WIRE_ORIGIN_SMBIOS,
	WIRE_ORIGIN_CMDLINE,
	WIRE_ORIGIN_HOST,
	WIRE_ORIGINS,
};

enum wire_limit_state {
	WIRE_STATE_OFF,
	WIRE_STATE_UNDER,  /* the cache is below the limit */
	WIRE_STATE_OVER,   /* above it, and eviction goes on */
	WIRE_STATE_BRAKED, /* above it, and eviction rests: see brake */
	WIRE_STATE_KEPT,   /* above it, and all that is left is mapped, dirty or recently used */
	WIRE_STATE_CANNOT, /* this kernel does not let the agent hold one */
	WIRE_STATES,
};

enum wire_brake {
	WIRE_BRAKE_NONE,
	WIRE_BRAKE_MEMORY,  /* memory pressure after our evictions */
	WIRE_BRAKE_IO,	    /* I/O pressure, and evicted pages come back */
	WIRE_BRAKE_REFAULT, /* too many of the evicted pages come back */
	WIRE_BRAKE_QUOTA,   /* bytes a second, or CPU */
	WIRE_BRAKES,
};

/* How the agent knows when pages are used. */
enum wire_heat {
	WIRE_HEAT_NONE,	     /* it does not: ages are unknown */
	WIRE_HEAT_ACCESSED,  /* folio_mark_accessed() */
	WIRE_HEAT_GET_PAGES, /* the tracepoint mm_filemap_get_pages */
	WIRE_HEATS,
};

/* Ages of evicted pages: class n is 2^n seconds and less than twice that; 0: below 2 s, the last:
 * all above, and not known. */
#define WIRE_AGE_CLASSES 8

struct wire_report {
	uint64_t limit_bytes;	 /* UINT64_MAX: none */
	uint64_t unmapped_bytes; /* page cache that nothing maps, by the kernel's own counters */
	uint32_t limit_origin;	 /* enum wire_origin */
	uint32_t limit_state;	 /* enum wire_limit_state */
	uint32_t brake;		 /* enum wire_brake: why eviction rests, or last did */
	uint32_t heat;		 /* enum wire_heat */
	uint64_t brake_left_usec;
	uint64_t brakes; /* how often eviction was stopped */
	/* Since the agent was started. */
	uint64_t evicted_bytes;
	uint64_t refaulted_bytes; /* of those, read again within a minute */
	uint64_t slab_freed_bytes;
	uint64_t slab_pressed_bytes; /* by the shrinkers, above vm.min_slab_ratio */
	uint64_t cpu_usec;
	uint64_t events_lost;
	/* Pages evicted at each age, and of these the ones that were read again within a minute. */
	uint64_t evicted_by_age[WIRE_AGE_CLASSES];
	uint64_t refaulted_by_age[WIRE_AGE_CLASSES];
	uint32_t hint;	      /* enum wire_hint: what holds */
	uint32_t hint_origin; /* enum wire_origin */
	uint32_t notice;      /* enum wire_notice */
	uint32_t pressure;    /* PSI memory, some, avg10: hundredths of a percent, or WIRE_BLIND */
	uint64_t balloon_bytes; /* that the balloon holds, by the kernel's counters */
	uint64_t inflate_bytes; /* still to be inflated; UINT64_MAX: not known */
	uint64_t inflations;	/* noticed, since the agent was started */
	uint64_t ahead_bytes;	/* evicted ahead of them */
	uint64_t free_bytes;
	uint64_t needed_bytes; /* of RAM: not free, not in the balloon, not clean unmapped cache */
	/* Since the guest was booted. */
	uint64_t oom_kills;
	uint64_t alloc_stalls;
};
#define WIRE_BLIND UINT32_MAX

enum wire_free_flag {
	/* More of the same request: what is free by now is what the request freed, and does not
	 * count. */
	WIRE_FREE_MORE = 1 << 0,
	/* As whole superpages: nothing else that is free counts, and no other cache is evicted. */
	WIRE_FREE_WHOLE = 1 << 1,
	WIRE_FREE_FLAGS_ALL = (1 << 2) - 1,
};
struct wire_free {
	uint64_t bytes;
	uint32_t
		usec_max; /* answer by then with what was done; the asker asks again for the rest */
	uint32_t flags;
};

/* The order of reclaim inside a guest. */
enum wire_step {
	WIRE_STEP_FREE,	     /* pages that were free already, above what is to stay so */
	WIRE_STEP_SLAB,	     /* slab pages with no object in use */
	WIRE_STEP_HELD,	     /* cold unmapped clean pages that the host holds (HELD) */
	WIRE_STEP_SUPERPAGE, /* those that complete a superpage */
	WIRE_STEP_COLD,	     /* other cold unmapped clean pages */
	WIRE_STEPS,
};

enum wire_stopped {
	WIRE_STOPPED_DONE,
	WIRE_STOPPED_NOTHING_LEFT, /* that is clean, unmapped and not recently used */
	WIRE_STOPPED_TIME,
	WIRE_STOPPED_BRAKED,
	WIRE_STOPPEDS,
};

struct wire_freed {
	uint64_t asked_bytes;
	uint64_t step_bytes[WIRE_STEPS];
	uint64_t usec;
	uint32_t stopped; /* enum wire_stopped */
	uint32_t brake;	  /* enum wire_brake */
};

struct wire_held_run {
	uint64_t block; /* of the disk */
	uint64_t count;
};

/*
 * Blocks of a disk that the host holds in its own page cache. Runs ascend and do not touch. The
 * disk is named as in DISK. A message with the flag FIRST replaces what was said of that disk; what
 * is said is true for 60 s.
 */
#define WIRE_HELD_FIRST 1
struct wire_held {
	char pci_address[16];
	char serial[32];
	uint32_t flags;
	uint32_t count;
	struct wire_held_run items[];
};

/*
 * So many superpages, in all, are to be out of the guest's use. What is less than it has out of use
 * is given back at once. This also answers for what the last TAKEN told: from here on the agent may
 * give that back by itself.
 */
struct wire_take {
	uint64_t superpages;
};

/* Why the guest has fewer out of use than it was to have. */
enum wire_untaken {
	WIRE_UNTAKEN_NONE,
	WIRE_UNTAKEN_SCARCE,   /* no more that are free as a whole, above what has to stay free */
	WIRE_UNTAKEN_TIME,     /* so many it could in the time of an answer: ask again */
	WIRE_UNTAKEN_HUGETLB,  /* the guest uses huge pages itself: none are taken */
	WIRE_UNTAKEN_PRESSURE, /* it is short of memory: given back, or none are taken */
	WIRE_UNTAKEN_SILENCE,  /* the host was silent: given back */
	WIRE_UNTAKEN_FAILED,   /* the kernel refused */
	WIRE_UNTAKENS,
};

/** struct wire_superpages - superpages [start, start + count), of guest-physical memory */
struct wire_superpages {
	uint64_t start;
	uint64_t count;
};

/* What is out of use now, in all, and where that lies; of more runs than fit the rest is not told.
 */
struct wire_taken {
	uint64_t superpages;
	uint32_t untaken; /* enum wire_untaken */
	uint32_t count;
	struct wire_superpages items[];
};

struct wire_path {
	uint32_t length;
	int32_t status; /* 0 or a positive errno */
	char path[];
};

struct wire_error {
	uint32_t code; /* a positive errno */
	uint32_t reserved;
	char text[248];
};

/*
 * The stable, snake_case names of values: of enum wire_origin, wire_limit_state, wire_brake,
 * wire_heat, wire_step, wire_stopped, wire_hint, wire_notice and wire_untaken; "unknown" for
 * others.
 */
const char *wire_origin_name(unsigned origin);
const char *wire_state_name(unsigned state);
const char *wire_brake_name(unsigned brake);
const char *wire_heat_name(unsigned heat);
const char *wire_step_name(unsigned step);
const char *wire_stopped_name(unsigned stopped);
const char *wire_hint_name(unsigned hint);
const char *wire_notice_name(unsigned notice);
const char *wire_untaken_name(unsigned untaken);

/**
 * union wire_message - a frame's payload after wire_decode() has accepted it
 */
union wire_message {
	const void *raw;
	const struct wire_welcome *welcome;
	const struct wire_hello *hello;
	const struct wire_disk *disk;
	const struct wire_file *file;
	const struct wire_extents *extents;
	const struct wire_pages *pages;
	const struct wire_scan_end *scan_end;
	const struct wire_evict *evict;
	const struct wire_result *result;
	const struct wire_name *name;
	const struct wire_path *path;
	const struct wire_error *error;
	const struct wire_limit *limit;
	const struct wire_report *report;
	const struct wire_free *free;
	const struct wire_freed *freed;
	const struct wire_held *held;
	const struct wire_take *take;
	const struct wire_taken *taken;
};

/**
 * wire_decode() - check a frame's payload against its type
 * @frame: from wire_reader_next()
 * @scratch: WIRE_PAYLOAD_MAX bytes, aligned for uint64_t; the message lives there
 *
 * Texts come out terminated and free of control characters, paths as valid UTF-8 besides; what
 * was not is replaced by question marks. Counts, sizes and times come out small enough for a signed
 * 64-bit number of bytes or microseconds.
 *
 * Return: 0; -EPROTONOSUPPORT for a type that this version does not know; -EBADMSG for a size,
 * count or value that the type does not allow.
 */
int wire_decode(const struct wire_frame *frame, void *scratch, union wire_message *ret);

#endif
