/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people, a line each, in an answer. */
#ifndef PAGEPACT_HOST_LINES_H
#define PAGEPACT_HOST_LINES_H

#include <jansson.h>

/** lines_add() - one more line, of up to 511 bytes, in a JSON array */
void lines_add(json_t *lines, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
