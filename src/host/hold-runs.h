/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of a disk that the host holds, as runs for HELD messages. */
#ifndef PAGEPACT_HOST_HOLD_RUNS_H
#define PAGEPACT_HOST_HOLD_RUNS_H

#include "host/imagemap.h"
#include "wire/message.h"

struct hold_runs {
	struct wire_held_run *items;
	size_t n_items;
};

/** hold_runs_done() - free what is inside */
void hold_runs_done(struct hold_runs *runs);

/**
 * hold_runs_list() - where on a disk the held blocks of its layers lie
 * @resident: by layer; NULL for one that nothing is told of
 *
 * Ascending, not touching. Return: 0 or -ENOMEM.
 */
int hold_runs_list(const struct imagemap *map, const struct blockset *const *resident,
		   struct hold_runs *ret);

/**
 * hold_runs_cut() - keep the @max longest, in their order
 *
 * Return: 0 or -ENOMEM.
 */
int hold_runs_cut(struct hold_runs *runs, size_t max);

#endif
