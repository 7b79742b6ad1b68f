/* SPDX-License-Identifier: Apache-2.0 */
/* What became of one resize: the answer of `balloon`, and what the ledger remembers of it. */
#ifndef PAGEPACT_HOST_BALLOON_RESULT_H
#define PAGEPACT_HOST_BALLOON_RESULT_H

#include <jansson.h>

#include "policy/balloon.h"

/**
 * struct balloon_result - plain data; sizes are of the guest
 * @vm: name; belongs to the result
 * @order: its number in the ledger; 0: a dry run
 * @actual_bytes: by the guest's word, when it ended
 * @target_bytes: that QEMU has now, if it was ours to set; else 0
 * @agent: one was asked to evict
 * @unplugged_bytes: of what went, by virtio-mem
 * @taken_bytes: of what went, in superpages that its agent keeps out of use
 * @paged_out_bytes: of those, what the host had paged out, by its own account
 * @returned_bytes: by the host's own account, if @returned_known
 * @steps: targets set towards what was asked for; of a dry run: that would be
 * @notes: strings, or NULL
 */
struct balloon_result {
	char *vm;
	uint64_t order;
	uint64_t asked_bytes, original_bytes, from_bytes, actual_bytes, target_bytes;
	struct balloon_floor floor;
	enum balloon_cache cache;
	enum balloon_by by;
	bool agent;
	enum balloon_state state;
	char reason[BALLOON_REASON_MAX];
	uint64_t evicted_bytes, unplugged_bytes, taken_bytes, paged_out_bytes;
	bool returned_known;
	uint64_t returned_bytes;
	unsigned steps;
	uint64_t usec;
	bool dry_run;
	json_t *notes;
};

/** balloon_result_copy() - NULL when memory is short, or of NULL */
struct balloon_result *balloon_result_copy(const struct balloon_result *result);

/** balloon_result_free() - Return: NULL */
struct balloon_result *balloon_result_free(struct balloon_result *result);

/** balloon_result_json() - as pagepact(1) documents it; a new reference */
json_t *balloon_result_json(const struct balloon_result *result);

/** balloon_result_lines() - append sentences for people to an array */
void balloon_result_lines(const struct balloon_result *result, json_t *lines);

#endif
