/* SPDX-License-Identifier: Apache-2.0 */
/* Text for a terminal: other people's bytes made harmless, sizes made readable. */
#ifndef PAGEPACT_CTL_TEXT_H
#define PAGEPACT_CTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#define TEXT_SIZE_MAX 32

/** text_is_utf8() - whether the locale set by setlocale(3) takes UTF-8 */
bool text_is_utf8(void);

/**
 * text_escape() - a copy of @text that a terminal shows and does not obey
 * @text: any bytes; names of files come from guests
 * @utf8: let printable characters beyond ASCII through
 *
 * Control characters (C0, DEL, C1), characters that are invisible or change the direction of
 * writing, and bytes that are no UTF-8 become \\xHH, \\uHHHH or \\UHHHHHHHH; a backslash is
 * doubled, so that the result is unambiguous.
 *
 * Return: to be freed; NULL when memory is short.
 */
char *text_escape(const char *text, bool utf8);

/**
 * text_json() - a JSON value as text that a terminal shows and does not obey
 * @flags: of json_dumps(3), to which JSON_ENSURE_ASCII and JSON_ENCODE_ANY are added
 *
 * The same document: control characters of every kind become JSON's own escapes.
 *
 * Return: to be freed; NULL when memory is short.
 */
char *text_json(const json_t *value, size_t flags);

/**
 * text_size() - a number of bytes for people: "412.3 MiB"
 * @raw: print the plain number
 *
 * The unit is MiB for everything between 1 MiB and 10 GiB, so that a column can be compared
 * by eye.
 *
 * Return: @buffer.
 */
const char *text_size(long long bytes, bool raw, char buffer[static TEXT_SIZE_MAX]);

/** text_permille() - 23 as "2.3" */
const char *text_permille(long long permille, char buffer[static TEXT_SIZE_MAX]);

/** text_duration() - microseconds as "3.2 s", "5 min", "7 h" or "12 d" */
const char *text_duration(long long usec, char buffer[static TEXT_SIZE_MAX]);

#endif
