/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a machine is being migrated or saved: its balloon's target goes along. Pure. */
#ifndef PAGEPACT_HOST_MIGRATING_H
#define PAGEPACT_HOST_MIGRATING_H

#include <jansson.h>
#include <stdbool.h>

/**
 * is_migrating() - by an answer to query-migrate
 *
 * All that is not known to be over counts as under way; a machine that never migrated has no
 * status.
 */
bool is_migrating(const json_t *value);

#endif
