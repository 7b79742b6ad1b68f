/* SPDX-License-Identifier: Apache-2.0 */
#include "host/migrating.h"

#include <string.h>

#include "base/cleanup.h"

bool is_migrating(const json_t *value)
{
	static const char *const over[] = { "none", "completed", "failed", "cancelled" };
	const json_t *status = json_object_get(value, "status");
	const char *text = json_string_value(status);

	for (size_t i = 0; text && i < ARRAY_SIZE(over); i++)
		if (strcmp(text, over[i]) == 0)
			return false;
	return status != NULL;
}
