/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/symbol.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* procfs gives a page a call. */
#define BUFFER_BYTES 4096

/* Of a line "ADDRESS TYPE NAME", for a module's symbol "\t[MODULE]" behind it. */
static const char *line_name(const char *line)
{
	const char *type = strchr(line, ' ');

	return type && type[1] && type[2] == ' ' ? type + 3 : NULL;
}

int symbol_address(const char *root, const char *name, uint64_t *ret)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL, *wanted = NULL;
	char path[PATH_MAX];
	size_t size = 0;

	snprintf(path, sizeof(path), "%s/proc/kallsyms", root);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	(void)setvbuf(f, NULL, _IOFBF, BUFFER_BYTES);
	if (asprintf(&wanted, "%s\n", name) < 0) {
		wanted = NULL;
		return -ENOMEM;
	}
	while (getline(&line, &size, f) > 0) {
		const char *found = line_name(line);

		if (!found || strcmp(found, wanted) != 0)
			continue;
		*ret = strtoull(line, NULL, 16);
		return *ret ? 0 : -EPERM;
	}
	return ferror(f) ? -EIO : -ENOENT;
}
