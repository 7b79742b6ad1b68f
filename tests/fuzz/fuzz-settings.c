/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a source of the agent's settings, read as each of the three: the kernel's command
 * line, SMBIOS structures, a configuration file.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guest/settings-parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_warning(const char *where, const char *what, void *userdata)
{
	unsigned *count = userdata;

	if (++*count > SETTINGS_WARNINGS_MAX + 1 || !*where || !*what)
		abort();
	for (; *what; what++)
		if ((unsigned char)*what < 0x20 || *what == 0x7f)
			abort();
}

static void check_limit(const struct limit_text *limit)
{
	char text[LIMIT_TEXT_SIZE];
	struct limit_text again;

	if (limit_text_parse(limit_text_format(limit, text), &again) < 0 ||
	    again.kind != limit->kind || again.bytes != limit->bytes ||
	    again.permille != limit->permille)
		abort();
}

static void check_cmdline(const uint8_t *data, size_t size)
{
	struct limit_text limit;
	unsigned warnings = 0;
	struct settings_reader reader = { "/proc/cmdline", check_warning, &warnings, 0 };
	char *text = malloc(size + 1);

	if (!text)
		return;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	if (settings_parse_cmdline(&reader, text, &limit))
		check_limit(&limit);
	free(text);
}

static void check_smbios(const uint8_t *data, size_t size)
{
	struct limit_text limit;
	unsigned warnings = 0;
	struct settings_reader reader = { "SMBIOS type 11", check_warning, &warnings, 0 };

	if (settings_parse_smbios(&reader, data, size, &limit))
		check_limit(&limit);
}

static void check_conf(const uint8_t *data, size_t size)
{
	struct settings settings = {
		.limit = { .kind = LIMIT_TEXT_OFF },
		.cpu_permille = 1,
		.evict_cpu_permille = 1,
		.hot_sec = 1,
	};
	unsigned warnings = 0;
	struct settings_reader reader = { "agent.conf", check_warning, &warnings, 0 };

	settings_parse_conf(&reader, (const char *)data, size, &settings);
	check_limit(&settings.limit);
	if (settings.cpu_permille < 1 || settings.cpu_permille > 1000 ||
	    settings.evict_cpu_permille < 1 || settings.evict_cpu_permille > 1000 ||
	    settings.hot_sec < 1 || settings.hot_sec > SETTINGS_HOT_SEC_MAX)
		abort();
	if (settings.origin == WIRE_ORIGIN_NONE && settings.limit.kind != LIMIT_TEXT_OFF)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > SETTINGS_SOURCE_MAX)
		return 0;
	check_cmdline(data, size);
	check_smbios(data, size);
	check_conf(data, size);
	return 0;
}
