/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INI text: sections, key = value, comments. Not inih (libinih 55): it gives its handler no line
 * numbers and cuts lines at 200 bytes without a word, which a list of images is soon longer than.
 */
#ifndef PAGEPACT_HOST_CONFIG_INI_H
#define PAGEPACT_HOST_CONFIG_INI_H

#include <stddef.h>

/**
 * config_ini_fn - one key
 * @section: "" before the first one
 * @line: from 1 on
 *
 * Return: 0, or a negative errno that ends config_ini_parse()
 */
typedef int config_ini_fn(const char *section, const char *key, const char *value,
			  unsigned int line, void *userdata);

/**
 * config_ini_parse() - read a text
 * @ret_line: where it is wrong, after -EBADMSG
 * @ret_reason: static text, after -EBADMSG
 *
 * A comment begins with # or ; at the start of a line, or with white space and # after a value.
 *
 * Return: 0, -EBADMSG (no key, no section), -ENOMEM, or what @fn returned.
 */
int config_ini_parse(const char *text, size_t size, config_ini_fn *fn, void *userdata,
		     unsigned int *ret_line, const char **ret_reason);

#endif
