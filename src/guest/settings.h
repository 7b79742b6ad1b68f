/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest itself says about its page cache limit and the agent's quotas: the kernel's
 * command line, SMBIOS strings of type 11, /etc/pagepact/agent.conf.
 */
#ifndef PAGEPACT_GUEST_SETTINGS_H
#define PAGEPACT_GUEST_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/parse.h"
#include "wire/message.h"

/* What is longer is read up to here. */
#define SETTINGS_SOURCE_MAX (64 * 1024) /* bytes */

/* Half of one CPU, averaged over ten minutes: a guest that reads at full speed all the time may
 * have it, because eviction costs a seventh of the read. */
#define SETTINGS_EVICT_PERMILLE_DEFAULT 500
/* Bytes a second. What eviction reaches where nothing else runs: fadvise alone drops 5 GiB/s. */
#define SETTINGS_EVICT_BYTES_DEFAULT ((uint64_t)4 << 30)
/* By how much of what was evicted came back, by age (README.md). */
#define SETTINGS_HOT_SEC_DEFAULT WIRE_HOT_SEC
/* Stamps tell ages apart up to STAMP_SECONDS, and are swept every 60 s (watch.h). */
#define SETTINGS_HOT_SEC_MAX 120

/**
 * struct settings - what holds for this guest
 * @limit: LIMIT_TEXT_OFF where nothing was said
 * @origin: of the limit; WIRE_ORIGIN_NONE where nothing was said
 * @cpu_permille: of one CPU, for scans
 * @evict_cpu_permille: of one CPU, for eviction by the limit, while it evicts
 * @evict_bytes_per_sec: quota of eviction by the limit
 * @hot_sec: a page used more than once, and within this long, is never evicted
 * @slab: whether empty slab pages are given back at intervals, and shrinkers pressed above
 * vm.min_slab_ratio
 * @cache_first: whether page cache is evicted ahead of the balloon
 */
struct settings {
	struct limit_text limit;
	enum wire_origin origin;
	uint32_t cpu_permille;
	uint32_t evict_cpu_permille;
	uint64_t evict_bytes_per_sec;
	uint32_t hot_sec;
	bool slab;
	bool cache_first;
};

/**
 * settings_warn_fn - told of a value that makes no sense, and is as if it were absent
 * @where: the source: a file, with the line where it has lines, or "SMBIOS type 11"
 * @what: what is wrong and what to do; one line without control characters
 */
typedef void settings_warn_fn(const char *where, const char *what, void *userdata);

/**
 * settings_read() - read all sources below a root
 * @root: "" for this machine, or a fixture's directory
 * @conf: absolute path of the configuration file, below @root; need not exist
 * @warn: may be NULL
 *
 * The command line wins over SMBIOS, and SMBIOS over the file; within one of them the last one
 * wins. What wins may be "off": then there is no limit, whatever the others say, and the origin is
 * that of the word.
 *
 * SMBIOS is read from /sys/firmware/dmi/tables/DMI, and not from /sys/firmware/dmi/entries, which
 * not every kernel has (CONFIG_DMI_SYSFS).
 */
void settings_read(const char *root, const char *conf, struct settings *ret, settings_warn_fn *warn,
		   void *userdata);

#endif
