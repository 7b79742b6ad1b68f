/* SPDX-License-Identifier: Apache-2.0 */
/* An order that was given to a guest or to the host, as reclaim and explain print it. */
#ifndef PAGEPACT_CTL_ORDER_H
#define PAGEPACT_CTL_ORDER_H

#include <jansson.h>

#include "ctl/ctl.h"

/** order_print_table() - one row for each; an enum ctl_exit */
int order_print_table(const struct ctl *ctl, const json_t *orders);

/**
 * order_kept_text() - what was kept and why: "mapped 1.0 MiB, dirty 4.0 KiB"
 *
 * Return: to be freed, not escaped; NULL when memory is short; "" if nothing was kept.
 */
char *order_kept_text(const struct ctl *ctl, const json_t *kept);

#endif
