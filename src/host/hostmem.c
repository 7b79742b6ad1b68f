/* SPDX-License-Identifier: Apache-2.0 */
#include "host/hostmem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static void meminfo_line(const char *line, struct snapshot_host *ret)
{
	const struct {
		const char *key;
		uint64_t *value;
	} keys[] = {
		{ "MemTotal:", &ret->memory_total_bytes },
		{ "MemFree:", &ret->memory_free_bytes },
		{ "MemAvailable:", &ret->memory_available_bytes },
		{ "Cached:", &ret->page_cache_bytes },
	};
	uint64_t kib;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t n = strlen(keys[i].key);

		if (strncmp(line, keys[i].key, n) == 0 &&
		    sscanf(line + n, "%" SCNu64 " kB", &kib) == 1)
			*keys[i].value = kib * 1024;
	}
}

void hostmem_read(const char *proc, struct snapshot_host *ret)
{
	_cleanup_fclose_ FILE *meminfo = NULL, *pressure = NULL;
	char path[256], line[256];
	unsigned whole, hundredths;

	*ret = (struct snapshot_host){ .pressure_some_permille = -1 };
	snprintf(path, sizeof(path), "%s/meminfo", proc);
	meminfo = fopen(path, "re");
	while (meminfo && fgets(line, sizeof(line), meminfo))
		meminfo_line(line, ret);
	snprintf(path, sizeof(path), "%s/pressure/memory", proc);
	pressure = fopen(path, "re");
	/* "some avg10=1.23 ...": per cent of the last ten seconds. */
	if (pressure && fgets(line, sizeof(line), pressure) &&
	    sscanf(line, "some avg10=%u.%2u", &whole, &hundredths) == 2)
		ret->pressure_some_permille = (int)(whole * 10 + hundredths / 10);
}
