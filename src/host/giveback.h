/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives guests back what was theirs before this daemon changed it: one that is detached, and all of
 * them when the daemon ends. By restore.h, over the connections that the daemon has.
 */
#ifndef PAGEPACT_HOST_GIVEBACK_H
#define PAGEPACT_HOST_GIVEBACK_H

#include "host/manager.h"

#define GIVEBACK_USEC (10 * (uint64_t)1000000)

/** giveback_done_fn - it has ended; @failed guests are not as they were, @error says why of one */
typedef void giveback_done_fn(unsigned failed, const char *error, void *userdata);

/**
 * giveback_start() - begin, and end the resizes of these guests
 * @vm: one guest; NULL: all
 *
 * A guest that is being migrated or saved is left as it is: of all, that is logged; of one, it is a
 * failure.
 *
 * Return: 1 and @done is called, from the loop, within GIVEBACK_USEC; 0 and it is not: there is
 * nothing to give back; or -errno and it is not.
 */
int giveback_start(struct manager *m, struct vm *vm, giveback_done_fn *done, void *userdata);

/** giveback_free_all() - give up; calls nothing back */
void giveback_free_all(struct manager *m);

#endif
