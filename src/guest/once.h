/* SPDX-License-Identifier: Apache-2.0 */
/* pagepact-agent --once and --shrink-slab: one thing done on the machine it runs on, and printed.
 */
#ifndef PAGEPACT_GUEST_ONCE_H
#define PAGEPACT_GUEST_ONCE_H

#include <stdbool.h>

/**
 * once_print() - take one census and print it on standard output; changes nothing
 * @json: one JSON document instead of tables
 *
 * Return: 0 or -errno, after a line on standard error.
 */
int once_print(bool json);

/**
 * once_shrink_slab() - give back slab pages with no object in use, and print what went, by cache
 * @json: one JSON document instead of a table
 *
 * Return: 0 or -errno, after a line on standard error.
 */
int once_shrink_slab(bool json);

#endif
