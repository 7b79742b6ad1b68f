/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/verb.h"

#include <string.h>

const struct verb *const verb_table[] = {
	&verb_status,	   &verb_dup,  &verb_reclaim, &verb_free,   &verb_balloon,
	&verb_cache_limit, &verb_hint, &verb_explain, &verb_attach, &verb_detach,
	&verb_version,	   &verb_help, NULL,
};

const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; verb_table[i]; i++)
		if (strcmp(verb_table[i]->name, name) == 0)
			return verb_table[i];
	return NULL;
}
