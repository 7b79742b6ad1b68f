/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has one guest free memory: sends FREE until so much is free, nothing is left, or time is up.
 *
 * How it works
 *
 * An agent answers after two seconds at most with what it has done; it is then asked for the rest.
 * What was free already counts in the first answer alone: later that is what the order freed.
 */
#ifndef PAGEPACT_HOST_FREEING_H
#define PAGEPACT_HOST_FREEING_H

#include "host/ledger.h"
#include "host/vm.h"

struct freeing;

/** freeing_done_fn - it has ended; the entry tells how. freeing_free() may be called in here. */
typedef void freeing_done_fn(struct freeing *f, void *userdata);
/** freeing_progress_fn - so much of what was asked for has been freed */
typedef void freeing_progress_fn(struct freeing *f, uint64_t done_bytes, void *userdata);

/**
 * freeing_start() - begin
 * @bytes: above 0
 * @is_whole: as whole superpages (WIRE_FREE_WHOLE)
 * @entry: of the ledger, filled as it goes
 *
 * Return: 0 and @done is called, from the loop; or -errno and it is not: -EOPNOTSUPP where the
 * agent cannot, -ENOTCONN where it is not live.
 */
int freeing_start(struct vm *vm, uint64_t bytes, bool is_whole, struct ledger_entry *entry,
		  freeing_progress_fn *progress, freeing_done_fn *done, void *userdata,
		  struct freeing **ret);

/** freeing_free() - stop. A guest that was asked may still do it. Before vm_free(). Return: NULL.
 */
struct freeing *freeing_free(struct freeing *f);

/** freeing_failure() - why it could not be done, for people, from -errno */
const char *freeing_failure(int error);

/** freeing_bytes() - what all steps together brought; step "free" was there before */
uint64_t freeing_bytes(const struct ledger_entry *entry);

#endif
