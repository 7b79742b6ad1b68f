/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INI text: sections, key = value, comments. Not inih (libinih 55): it gives its handler no line
 * numbers and cuts lines at 200 bytes without a word, which a list of images is soon longer than.
 */
#ifndef PAGEPACT_BASE_INI_H
#define PAGEPACT_BASE_INI_H

#include <stddef.h>

/**
 * ini_fn - one key; or one line that is none
 * @section: "" before the first one, and after a line that was to be one and is not
 * @key: NULL for a line that cannot be understood: @value then says why, for people
 * @line: from 1 on
 *
 * Return: 0, or a negative errno that ends ini_parse()
 */
typedef int ini_fn(const char *section, const char *key, const char *value, unsigned int line,
		   void *userdata);

/**
 * ini_parse() - read a text
 *
 * A comment begins with # or ; at the start of a line, or with white space and # after a value. A
 * text with a NUL byte in it is one line that cannot be understood.
 *
 * Return: 0, -ENOMEM, or what @fn returned.
 */
int ini_parse(const char *text, size_t size, ini_fn *fn, void *userdata);

#endif
