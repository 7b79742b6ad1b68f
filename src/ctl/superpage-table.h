/* SPDX-License-Identifier: Apache-2.0 */
/* What guests could give back as superpages, and how it would come back, as text. */
#ifndef PAGEPACT_CTL_SUPERPAGE_TABLE_H
#define PAGEPACT_CTL_SUPERPAGE_TABLE_H

#include <jansson.h>

#include "ctl/ctl.h"

/** superpage_print_table() - of the guests whose set-up is known; nothing without any */
int superpage_print_table(const struct ctl *ctl, const json_t *vms);

/** superpage_print_set_ups() - how many guests there are of each set-up, from a reply's "set_ups"
 */
void superpage_print_set_ups(const json_t *set_ups);

#endif
