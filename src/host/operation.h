/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person asked for and waits for: `dup`, a survey and its numbers; `reclaim`, rounds of
 * survey, decision and orders until nothing is left that costs nobody anything; `free`, one guest's
 * own order of reclaim. One at a time.
 */
#ifndef PAGEPACT_HOST_OPERATION_H
#define PAGEPACT_HOST_OPERATION_H

#include "host/manager.h"

enum operation_kind {
	OPERATION_DUP,
	OPERATION_RECLAIM,
	OPERATION_FREE,
};

/**
 * struct operation_request - what is wanted
 * @vm: of one guest only, or NULL; `free`: never NULL
 * @files: `dup`: at most so many files, 0 for none
 * @bytes: `reclaim`: no more than this, 0 for no limit; `free`: so much, above 0
 */
struct operation_request {
	enum operation_kind kind;
	struct vm *vm;
	unsigned files;
	uint64_t bytes;
	bool dry_run;
};

/**
 * operation_start() - begin, and answer @call when it has ended
 *
 * Return: 0; or -errno, and @call is still the caller's to answer.
 */
int operation_start(struct manager *m, struct call *call, const struct operation_request *request);

/** operation_freeing() - the guest that is being asked to free memory, or NULL */
const struct vm *operation_freeing(const struct manager *m);

/** operation_free() - give up; its call is answered. Return: NULL. */
struct operation *operation_free(struct operation *o);

#endif
