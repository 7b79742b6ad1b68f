/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has one guest's agent keep superpages out of use, and the host page them out.
 *
 * How it works
 *
 * TAKE names how many are to be out of use in all; what the agent could take in the time of an
 * answer is paged out, and the next TAKE answers for it. So it goes on until all are there, or
 * there are no more to be had. Superpages that were paged out before are not again: a guest that
 * has them out of use does not touch them.
 */
#ifndef PAGEPACT_HOST_TAKE_H
#define PAGEPACT_HOST_TAKE_H

#include "host/vm.h"

struct take;

/**
 * take_done_fn - it has ended; take_free() may be called in here
 * @untaken: why fewer are out of use
 * @error: what went wrong, for people; ""
 */
typedef void take_done_fn(struct take *t, enum wire_untaken untaken, const char *error,
			  void *userdata);

/**
 * take_start() - begin
 * @superpages: in all; 0: all are used again
 *
 * What the host would not page out is given back to the guest.
 *
 * Return: 0 and @done is called, from the loop; or -errno and it is not: as vm_take().
 */
int take_start(struct vm *vm, uint64_t superpages, take_done_fn *done, void *userdata,
	       struct take **ret);

/** take_set() - where the superpages of an answer lie, by number; NULL when memory is short */
struct blockset *take_set(const struct wire_taken *taken);

/** take_free() - stop. A guest that was asked may still do it. Before vm_free(). Return: NULL. */
struct take *take_free(struct take *t);

/**
 * take_obstacle() - what stands against it, with what to change
 *
 * Return: for people, static; NULL: nothing.
 */
const char *take_obstacle(const struct vm *vm);

#endif
