/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of pagepact: the table that help, manual, completions and their tests answer to. */
#ifndef PAGEPACT_CTL_VERB_H
#define PAGEPACT_CTL_VERB_H

#include <stddef.h>

#include "ctl/args.h"
#include "ctl/ctl.h"

/**
 * struct verb - one verb
 * @run: does it; returns an enum ctl_exit
 * @summary: one line for the list of verbs
 * @cost: one line: what it can cost, and whom; the first line of its help
 * @usage: its arguments and options
 * @details: more for its help; may be NULL
 * @options: its own options, ended by one without a name; may be NULL
 * @max_args: how many arguments it takes beside options, of which @min_args must be there
 * @deadline_sec: how long the daemon may take for the whole answer
 */
struct verb {
	const char *name;
	int (*run)(const struct ctl *ctl, const struct args *args);
	const char *summary;
	const char *cost;
	const char *usage;
	const char *details;
	const struct args_option *options;
	size_t min_args;
	size_t max_args;
	unsigned deadline_sec;
};

extern const struct verb verb_status;
extern const struct verb verb_dup;
extern const struct verb verb_reclaim;
extern const struct verb verb_free;
extern const struct verb verb_balloon;
extern const struct verb verb_cache_limit;
extern const struct verb verb_hint;
extern const struct verb verb_explain;
extern const struct verb verb_attach;
extern const struct verb verb_detach;
extern const struct verb verb_version;
extern const struct verb verb_help;

/* In the order of the help; ended by NULL. */
extern const struct verb *const verb_table[];

/** verb_find() - the verb of this name, or NULL */
const struct verb *verb_find(const char *name);

#endif
