/* SPDX-License-Identifier: Apache-2.0 */
#include "host/lines.h"

#include <stdarg.h>
#include <stdio.h>

void lines_add(json_t *lines, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	json_array_append_new(lines, json_string(text));
}
