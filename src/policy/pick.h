/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a set of blocks smaller: by the length of its runs, and by their number. */
#ifndef PAGEPACT_POLICY_PICK_H
#define PAGEPACT_POLICY_PICK_H

#include "base/blockset.h"

/** pick_long_runs() - only runs of at least @min blocks. Return: 0 or -ENOMEM */
int pick_long_runs(struct blockset **set, uint32_t min);

/** pick_first() - only the first @n blocks. Return: how many are left, at most @n */
uint64_t pick_first(struct blockset *set, uint64_t n);

#endif
