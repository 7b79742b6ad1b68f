/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest itself says about its page cache limit and the agent's quotas: the kernel's
 * command line, SMBIOS strings of type 11, /etc/pagepact/agent.conf.
 */
#ifndef PAGEPACT_GUEST_SETTINGS_H
#define PAGEPACT_GUEST_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/message.h"

enum limit_kind {
	LIMIT_NONE,
	LIMIT_DEFAULT, /* asked for without a number: see limit_default_pages() in nodes.h */
	LIMIT_BYTES,
	LIMIT_PERMILLE, /* of memory */
};

struct limit {
	enum limit_kind kind;
	uint32_t permille;
	uint64_t bytes;
};

struct settings {
	struct limit limit;
	enum wire_origin origin; /* of the limit */
	uint32_t cpu_permille;	      /* for scans */
	uint32_t evict_cpu_permille;  /* for eviction by the limit, while it evicts */
	uint64_t evict_bytes_per_sec; /* quota of eviction by the limit */
	uint32_t hot_sec;	      /* used more than once, and within this long: never evicted */
	bool slab;		      /* give empty slab pages back at intervals, and press above min_slab_ratio */
};

typedef void settings_warn_fn(const char *where, const char *what, void *userdata);

/**
 * settings_read() - read all sources below a root
 * @root: "" for this machine, or a fixture's directory
 * @conf: path of the configuration file below @root; need not exist
 * @warn: told of each value that makes no sense: one line that says what, where and what to do; the
 * value is then as if it were absent. May be NULL.
 *
 * The command line wins over SMBIOS, and SMBIOS over the file. `unmapped_page_control=off` (or =0)
 * there means no limit, whatever comes after it in that order.
 */
void settings_read(const char *root, const char *conf, struct settings *ret, settings_warn_fn *warn,
		   void *userdata);

/**
 * limit_parse() - SIZE (K, M, G, T; plain bytes), N%, "off", "default" or ""
 *
 * Return: 0 or -EINVAL. "" and "default" are LIMIT_DEFAULT; "off" and "0" are LIMIT_NONE. A percentage is more than
 * 0 and at most 100, with up to one decimal.
 */
int limit_parse(const char *text, struct limit *ret);

#endif
