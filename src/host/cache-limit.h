/* SPDX-License-Identifier: Apache-2.0 */
/* `cache-limit`: the page cache limit that the host wants a guest to hold. */
#ifndef PAGEPACT_HOST_CACHE_LIMIT_H
#define PAGEPACT_HOST_CACHE_LIMIT_H

#include "host/manager.h"

/** cache_limit_load() - for a new guest: what was kept, else what its file says. Logs trouble. */
void cache_limit_load(struct manager *m, struct vm *vm);

/** cache_limit_handle() - the method "cache-limit" */
void cache_limit_handle(struct manager *m, struct call *call, json_t *parameters);

/**
 * cache_limit_json() - what the host wants: "text" as limit_text_parse() reads it, null where the
 * host has no say; "source" "command" or "configuration", or null. A new reference.
 */
json_t *cache_limit_json(const struct vm *vm);

/**
 * cache_limit_note() - what keeps a limit that the host wants from being held, or may not be meant
 * by it, for people; NULL: nothing that is known here, or none is wanted
 */
const char *cache_limit_note(const struct vm *vm);

#endif
