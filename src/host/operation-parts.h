/* SPDX-License-Identifier: Apache-2.0 */
/* What operation.c (dup, reclaim) and operation-free.c share, and nobody else. */
#ifndef PAGEPACT_HOST_OPERATION_PARTS_H
#define PAGEPACT_HOST_OPERATION_PARTS_H

#include "host/carry.h"
#include "host/freeing.h"
#include "host/hold.h"
#include "host/operation.h"
#include "host/report.h"

struct operation {
	struct manager *m;
	struct call *call;
	struct operation_request request;
	struct survey *survey;
	sd_event_source *timer;

	/* free */
	struct hold *hold; /* before it is asked */
	struct freeing *freeing;
	struct ledger_entry *entry;

	/* dup --files */
	struct report_file *files;
	size_t n_files, named;
	uint64_t naming_until_usec;
	json_t *files_json;

	/* reclaim, free */
	unsigned round;
	struct plan plan;
	size_t next_order;
	struct carry *carry;
	uint64_t first_id;
	uint64_t evicted, trimmed; /* pages */
	struct was {
		pid_t pid;
		uint64_t bytes;
	} * was; /* what the host held of each guest's RAM */
	uint64_t returned, returned_most;
	uint64_t waiting_since_usec, calm_since_usec;
	json_t *refusals;
};

/** operation_progress() - tell the client how far a stage is */
void operation_progress(struct operation *o, const char *stage, uint64_t done, uint64_t total);

/** operation_end() - its call was answered */
void operation_end(struct operation *o);

/** operation_fail() - answer its call with an error, and end */
void operation_fail(struct operation *o, int error, const char *what);

/** operation_wait() - what left guests' caches comes back in its own time: wait, then answer */
void operation_wait(struct operation *o);

/**
 * operation_free_begin() - `free`; it may have ended when this returns
 *
 * Return: 0; or -errno, and the call was not answered.
 */
int operation_free_begin(struct operation *o);

/** operation_free_reply() - answer `free`, and end */
void operation_free_reply(struct operation *o);

#endif
