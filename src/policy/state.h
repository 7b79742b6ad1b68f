/* SPDX-License-Identifier: Apache-2.0 */
/* What the policy remembers from one decision to the next: looked up, and aged. */
#ifndef PAGEPACT_POLICY_STATE_H
#define PAGEPACT_POLICY_STATE_H

#include "policy/policy.h"

/**
 * state_find() - what is known of a guest's copies of an image
 * @guest: name; "" for the host's copies
 *
 * Return: the record, or NULL when nothing was ever done there.
 */
const struct policy_record *state_find(const struct policy_state *state, const char *guest,
				       const struct snapshot_image *image);

/** state_backoff_end() - until when to leave it alone because acting was in vain; 0: not */
uint64_t state_backoff_end(const struct policy_record *record, const struct policy_config *config);

/**
 * state_observe() - settle debts that a snapshot shows to be paid, and drop what has lapsed
 *
 * Doing it twice with one snapshot is doing it once.
 */
void state_observe(struct policy_state *state, const struct snapshot *snapshot,
		   const struct policy_config *config);

#endif
