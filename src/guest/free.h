/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frees memory in the order of reclaim inside the guest: what is free already, empty slab pages,
 * cold unmapped clean pages that the host holds, those that complete a superpage, other cold ones,
 * and nothing else. One step begins when the one before has nothing left. Where the agent cannot
 * see pages, the kernel's own reclaim stands for all steps that take page cache.
 */
#ifndef PAGEPACT_GUEST_FREE_H
#define PAGEPACT_GUEST_FREE_H

#include "guest/agent.h"

/**
 * free_bytes() - free memory in the order of reclaim, for as long as the request allows
 * @ret: always filled
 */
void free_bytes(struct agent *a, const struct wire_free *request, struct wire_freed *ret);

/** free_spare_bytes() - what is free, and need not stay so: above the watermarks below which the
 * kernel reclaims, and a cushion; the nodes are counted for it */
uint64_t free_spare_bytes(struct agent *a);

#endif
