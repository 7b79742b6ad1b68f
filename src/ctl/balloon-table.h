/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of guests' balloons, and of the hint for them, as text. */
#ifndef PAGEPACT_CTL_BALLOON_TABLE_H
#define PAGEPACT_CTL_BALLOON_TABLE_H

#include <jansson.h>

#include "ctl/ctl.h"

/** hint_wanted_text() - what the host wants, from "hint" of a reply: "cache", "none", "default" */
const char *hint_wanted_text(const json_t *wanted);

/** balloon_print_table() - of the guests for which there is a hint; nothing without any */
int balloon_print_table(const struct ctl *ctl, const json_t *vms);

#endif
