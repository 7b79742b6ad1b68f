/* SPDX-License-Identifier: Apache-2.0 */
/* One source's bytes to settings. */
#ifndef PAGEPACT_GUEST_SETTINGS_PARSE_H
#define PAGEPACT_GUEST_SETTINGS_PARSE_H

#include <stddef.h>

#include "guest/settings.h"

#define SETTINGS_WARNINGS_MAX 32

/**
 * struct settings_reader - one source being read
 * @where: its name, for warnings
 * @warnings: how many there were; after SETTINGS_WARNINGS_MAX no more are told
 */
struct settings_reader {
	const char *where;
	settings_warn_fn *warn;
	void *userdata;
	unsigned warnings;
};

/** settings_warn() - tell of one; @line is 0 where there are none */
__attribute__((format(printf, 3, 4))) void settings_warn(struct settings_reader *reader,
							 unsigned line, const char *format, ...);

/**
 * settings_parse_cmdline() - look for `unmapped_page_control` in the kernel's command line
 * @text: ends with NUL; is written to
 *
 * Words, quotes, the end at "--", and a hyphen being the same as an underscore in a name: all as
 * in next_arg(), parse_args() and parameqn() of Linux (lib/cmdline.c, kernel/params.c).
 *
 * Return: whether there is a limit, and @ret filled.
 */
bool settings_parse_cmdline(struct settings_reader *reader, char *text, struct limit_text *ret);

/**
 * settings_parse_smbios() - look for `pagepact.cache_limit=` in strings of type 11
 * @data: structures one after the other, the last one perhaps cut off (SMBIOS 3.x, section 6.1)
 *
 * `unmapped_page_control` is understood as on the command line.
 *
 * Return: whether there is a limit, and @ret filled.
 */
bool settings_parse_smbios(struct settings_reader *reader, const uint8_t *data, size_t size,
			   struct limit_text *ret);

/**
 * settings_parse_conf() - read the text of a configuration file
 * @settings: what has no good value in the text stays; the origin of the limit is set with it
 */
void settings_parse_conf(struct settings_reader *reader, const char *text, size_t size,
			 struct settings *settings);

#endif
