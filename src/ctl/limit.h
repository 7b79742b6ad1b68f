/* SPDX-License-Identifier: Apache-2.0 */
/* Page cache limits and agents' reports, as status and cache-limit print them. */
#ifndef PAGEPACT_CTL_LIMIT_H
#define PAGEPACT_CTL_LIMIT_H

#include <jansson.h>

#include "ctl/ctl.h"

#define LIMIT_CELL_MAX 64

/**
 * limit_wanted_text() - what the host wants: "128.0 MiB", "25 %", "off" or "default"
 * @wanted: "cache_limit" of a reply
 *
 * Return: @buffer.
 */
const char *limit_wanted_text(const struct ctl *ctl, const json_t *wanted,
			      char buffer[static LIMIT_CELL_MAX]);

/** limit_held_text() - what the agent holds, by its report: a size, or "none". Return: @buffer. */
const char *limit_held_text(const struct ctl *ctl, const json_t *report,
			    char buffer[static LIMIT_CELL_MAX]);

/** limit_word() - one of a report's own words, "?" where it has none or strange bytes */
const char *limit_word(const json_t *report, const char *key);

/** limit_print_table() - one row for each guest that has a report or a limit; an enum ctl_exit */
int limit_print_table(const struct ctl *ctl, const json_t *vms);

#endif
