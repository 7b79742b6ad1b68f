/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/balloon-floor.h"

#include <stdio.h>

#define PAGE_BYTES 4096
/* Nobody's word: what a small distribution boots and serves in, and no less than a quarter. */
#define DEFAULT_BYTES ((uint64_t)256 << 20)

const char *balloon_floor_name(enum balloon_floor_source source)
{
	static const char *const names[] = {
		[BALLOON_FLOOR_DEFAULT] = "default",
		[BALLOON_FLOOR_CONFIG] = "configuration",
		[BALLOON_FLOOR_AGENT] = "agent",
		[BALLOON_FLOOR_STATS] = "guest_stats",
	};

	return names[source];
}

static struct balloon_floor floor_of(enum balloon_floor_source source, uint64_t bytes,
				     uint64_t memory_bytes)
{
	uint64_t most = memory_bytes / PAGE_BYTES * PAGE_BYTES;

	if (bytes < most)
		bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	return (struct balloon_floor){ bytes < most ? bytes : most, source };
}

static bool is_possible(const struct balloon_report *report, uint64_t memory_bytes)
{
	return report && report->usec && report->needed_bytes &&
	       report->needed_bytes <= memory_bytes;
}

struct balloon_floor balloon_floor(uint64_t config_bytes, uint64_t memory_bytes,
				   const struct balloon_report *report)
{
	uint64_t quarter = memory_bytes / 4;

	if (config_bytes)
		return floor_of(BALLOON_FLOOR_CONFIG, config_bytes, memory_bytes);
	if (is_possible(report, memory_bytes))
		return floor_of(report->stats ? BALLOON_FLOOR_STATS : BALLOON_FLOOR_AGENT,
				report->needed_bytes + report->needed_bytes / 4, memory_bytes);
	return floor_of(BALLOON_FLOOR_DEFAULT, quarter > DEFAULT_BYTES ? quarter : DEFAULT_BYTES,
			memory_bytes);
}

void balloon_floor_text(const struct balloon_floor *floor, const struct balloon_report *report,
			char *buffer, size_t size)
{
	double needed = report ? (double)report->needed_bytes / (1 << 20) : 0;

	switch (floor->source) {
	case BALLOON_FLOOR_CONFIG:
		snprintf(buffer, size, "balloon_floor in its file");
		break;
	case BALLOON_FLOOR_AGENT:
		snprintf(buffer, size, "its agent says that it needs %.1f MiB, and a quarter more",
			 needed);
		break;
	case BALLOON_FLOOR_STATS:
		snprintf(buffer, size,
			 "by its balloon's statistics it needs %.1f MiB, and a quarter more",
			 needed);
		break;
	default:
		snprintf(buffer, size,
			 "what it needs is not known: a quarter of its memory, and 256 MiB at "
			 "least; balloon_floor in its file says otherwise");
	}
}
