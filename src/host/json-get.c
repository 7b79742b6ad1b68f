/* SPDX-License-Identifier: Apache-2.0 */
#include "host/json-get.h"

#include <string.h>

#define DOUBLE_EXACT_MAX 9007199254740992.0 /* 2^53 */

bool json_copy_string(const json_t *value, char *buffer, size_t size)
{
	size_t length = json_string_length(value);

	if (!json_is_string(value) || length >= size)
		return false;
	memcpy(buffer, json_string_value(value), length + 1);
	return true;
}

bool json_get_string(const json_t *object, const char *key, char *buffer, size_t size)
{
	return json_copy_string(json_object_get(object, key), buffer, size);
}

bool json_get_i64(const json_t *object, const char *key, int64_t *ret)
{
	const json_t *value = json_object_get(object, key);
	double real = json_real_value(value);

	if (json_is_integer(value)) {
		*ret = json_integer_value(value);
		return true;
	}
	/* A message with one number too large for an integer is read with reals throughout. */
	if (!json_is_real(value) || !(real >= -DOUBLE_EXACT_MAX && real <= DOUBLE_EXACT_MAX) ||
	    (double)(int64_t)real != real)
		return false;
	*ret = (int64_t)real;
	return true;
}

bool json_get_u64(const json_t *object, const char *key, uint64_t *ret)
{
	int64_t value;

	if (!json_get_i64(object, key, &value) || value < 0)
		return false;
	*ret = (uint64_t)value;
	return true;
}

bool json_get_bool(const json_t *object, const char *key, bool *ret)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_boolean(value))
		return false;
	*ret = json_is_true(value);
	return true;
}
