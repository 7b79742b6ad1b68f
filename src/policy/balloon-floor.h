/* SPDX-License-Identifier: Apache-2.0 */
/* The size below which a guest is not ballooned, and whose word that rests on. */
#ifndef PAGEPACT_POLICY_BALLOON_FLOOR_H
#define PAGEPACT_POLICY_BALLOON_FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BALLOON_UNKNOWN UINT64_MAX
#define BALLOON_BLIND	UINT32_MAX

/**
 * struct balloon_report - what a guest says of its memory: a claim, which may cost it alone
 * @usec: when it came; 0: there is none
 * @stats: from the balloon's statistics, not from the agent
 * @needed_bytes: what it cannot give up; 0 unknown
 * @pressure: PSI memory, some, avg10: hundredths of a percent, or BALLOON_BLIND
 * @oom_kills, @alloc_stalls: since the guest was booted, or BALLOON_UNKNOWN
 */
struct balloon_report {
	uint64_t usec;
	bool stats;
	uint64_t needed_bytes;
	uint32_t pressure;
	uint64_t oom_kills;
	uint64_t alloc_stalls;
};

enum balloon_floor_source {
	BALLOON_FLOOR_DEFAULT, /* nobody's word */
	BALLOON_FLOOR_CONFIG,
	BALLOON_FLOOR_AGENT,
	BALLOON_FLOOR_STATS,
};

/** balloon_floor_name() - "default", "configuration", "agent" or "guest_stats" */
const char *balloon_floor_name(enum balloon_floor_source source);

/** struct balloon_floor - no target is set below @bytes */
struct balloon_floor {
	uint64_t bytes;
	enum balloon_floor_source source;
};

/**
 * balloon_floor() - work it out
 * @config_bytes: what the guest's file says, or 0
 * @memory_bytes: of the guest, by QEMU
 * @report: the last one, or NULL
 *
 * The operator's word; else five quarters of what the guest says it needs (the working set and a
 * quarter, as MOM keeps it), if that is possible; else a quarter of its memory, and 256 MiB at
 * least. Never above @memory_bytes; a multiple of 4 KiB.
 */
struct balloon_floor balloon_floor(uint64_t config_bytes, uint64_t memory_bytes,
				   const struct balloon_report *report);

/** balloon_floor_text() - a sentence on where the floor comes from, without its end */
void balloon_floor_text(const struct balloon_floor *floor, const struct balloon_report *report,
			char *buffer, size_t size);

#endif
