/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/settings.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/read.h"
#include "guest/budget.h"
#include "guest/settings-parse.h"

#define CMDLINE "/proc/cmdline"
#define SMBIOS	"/sys/firmware/dmi/tables/DMI"

/* Return: the first SETTINGS_SOURCE_MAX bytes, to be freed; NULL when there are none. */
static char *source_read(struct settings_reader *reader, const char *root, const char *path,
			 size_t *ret_size)
{
	char full[PATH_MAX];
	char *data = NULL;
	int r = -ENAMETOOLONG;

	if (snprintf(full, sizeof(full), "%s%s", root, path) < (int)sizeof(full))
		r = read_file(AT_FDCWD, full, SETTINGS_SOURCE_MAX, &data, ret_size);
	if (r < 0 && r != -ENOENT && r != -ENOTDIR)
		settings_warn(reader, 0, "cannot be read, ignored: %s", strerror(-r));
	return data;
}

static void read_conf(const char *root, const char *path, struct settings_reader reader,
		      struct settings *settings)
{
	_cleanup_free_ char *text = NULL;
	size_t size;

	reader.where = path;
	text = source_read(&reader, root, path, &size);
	if (text)
		settings_parse_conf(&reader, text, size, settings);
}

static void read_smbios(const char *root, struct settings_reader reader, struct settings *settings)
{
	_cleanup_free_ char *data = NULL;
	size_t size;

	reader.where = "SMBIOS type 11";
	data = source_read(&reader, root, SMBIOS, &size);
	if (data && settings_parse_smbios(&reader, (uint8_t *)data, size, &settings->limit))
		settings->origin = WIRE_ORIGIN_SMBIOS;
}

static void read_cmdline(const char *root, struct settings_reader reader, struct settings *settings)
{
	_cleanup_free_ char *text = NULL;
	size_t size;

	reader.where = CMDLINE;
	text = source_read(&reader, root, CMDLINE, &size);
	if (text && settings_parse_cmdline(&reader, text, &settings->limit))
		settings->origin = WIRE_ORIGIN_CMDLINE;
}

void settings_read(const char *root, const char *conf, struct settings *ret, settings_warn_fn *warn,
		   void *userdata)
{
	const struct settings_reader reader = { .warn = warn, .userdata = userdata };

	*ret = (struct settings){
		.limit = { .kind = LIMIT_TEXT_OFF },
		.origin = WIRE_ORIGIN_NONE,
		.cpu_permille = BUDGET_PERMILLE_DEFAULT,
		.evict_cpu_permille = SETTINGS_EVICT_PERMILLE_DEFAULT,
		.evict_bytes_per_sec = SETTINGS_EVICT_BYTES_DEFAULT,
		.hot_sec = SETTINGS_HOT_SEC_DEFAULT,
		.slab = true,
	};
	/* From the weakest to the strongest: each overwrites the limit of those before. */
	read_conf(root, conf, reader, ret);
	read_smbios(root, reader, ret);
	read_cmdline(root, reader, ret);
}
