/* SPDX-License-Identifier: Apache-2.0 */
/* `hint`: whether a guest's page cache is to be reclaimed ahead of its balloon. */
#ifndef PAGEPACT_HOST_HINT_H
#define PAGEPACT_HOST_HINT_H

#include "host/manager.h"

/** hint_load() - for a new guest: what was kept, else what its file says. Logs trouble. */
void hint_load(struct manager *m, struct vm *vm);

/** hint_handle() - the method "hint" */
void hint_handle(struct manager *m, struct call *call, json_t *parameters);

/**
 * hint_json() - what the host wants: "text" "cache" or "none", null where the host has no say;
 * "source" "command" or "configuration", or null. A new reference.
 */
json_t *hint_json(const struct vm *vm);

/**
 * hint_note() - what keeps a hint for page cache that the host wants from having an effect, for
 * people; NULL: nothing that is known here, or none is wanted
 */
const char *hint_note(const struct vm *vm);

/** hint_parse() - "cache", "none" or "default". Return: an enum wire_hint, or -EINVAL. */
int hint_parse(const char *text);

#endif
