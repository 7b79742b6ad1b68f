/* SPDX-License-Identifier: Apache-2.0 */
/* Members of JSON objects that others wrote: each with its type, or not at all. */
#ifndef PAGEPACT_HOST_JSON_GET_H
#define PAGEPACT_HOST_JSON_GET_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* @object may be NULL or of any type in all of these; without an answer nothing is written. */

/** json_get_string() - copy a string; false where it is absent, no string, or does not fit */
bool json_get_string(const json_t *object, const char *key, char *buffer, size_t size);

/** json_get_u64() - a whole number from 0 on */
bool json_get_u64(const json_t *object, const char *key, uint64_t *ret);

/** json_get_i64() - a whole number */
bool json_get_i64(const json_t *object, const char *key, int64_t *ret);

/** json_get_bool() - true or false, nothing else */
bool json_get_bool(const json_t *object, const char *key, bool *ret);

/** json_copy_string() - as json_get_string(), of the value itself */
bool json_copy_string(const json_t *value, char *buffer, size_t size);

#endif
