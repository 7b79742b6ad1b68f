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

static struct symbol *symbol_named(struct symbol *symbols, unsigned count, const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (!symbols[i].address && !strcmp(symbols[i].name, name))
			return &symbols[i];
	return NULL;
}

static int symbols_read(FILE *f, struct symbol *symbols, unsigned count)
{
	_cleanup_free_ char *line = NULL;
	unsigned found = 0;
	size_t size = 0;
	ssize_t length;

	while (found < count && (length = getline(&line, &size, f)) > 0) {
		const char *name = line_name(line);
		struct symbol *symbol;

		if (line[length - 1] == '\n')
			line[length - 1] = '\0';
		symbol = name ? symbol_named(symbols, count, name) : NULL;
		if (!symbol)
			continue;
		symbol->address = strtoull(line, NULL, 16);
		if (!symbol->address)
			return -EPERM;
		found++;
	}
	return ferror(f) ? -EIO : (int)found;
}

int symbols_find(const char *root, struct symbol *symbols, unsigned count)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[PATH_MAX];
	int r;

	for (unsigned i = 0; i < count; i++)
		symbols[i].address = 0;
	snprintf(path, sizeof(path), "%s/proc/kallsyms", root);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	(void)setvbuf(f, NULL, _IOFBF, BUFFER_BYTES);
	r = symbols_read(f, symbols, count);
	for (unsigned i = 0; i < count && r < 0; i++)
		symbols[i].address = 0;
	return r;
}
