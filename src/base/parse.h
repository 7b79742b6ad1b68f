/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and sizes as people write them. */
#ifndef PAGEPACT_BASE_PARSE_H
#define PAGEPACT_BASE_PARSE_H

#include <stdint.h>

/**
 * parse_u64() - read an unsigned decimal number
 *
 * Digits only: no sign, no space, no other base.
 *
 * Return: 0; -EINVAL for anything else; -ERANGE above UINT64_MAX.
 */
int parse_u64(const char *text, uint64_t *ret_value);

/**
 * parse_size() - read a number of bytes: "N", or "N" and one of K, M, G, T (powers of 1024)
 *
 * The suffix may be in lower case. Fractions are refused: "1.5G" is "1536M".
 *
 * Return: as parse_u64().
 */
int parse_size(const char *text, uint64_t *ret_bytes);

#endif
