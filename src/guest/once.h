/* SPDX-License-Identifier: Apache-2.0 */
/* pagepact-agent --once: a census of the machine it runs on, printed. */
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

#endif
