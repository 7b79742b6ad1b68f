/* SPDX-License-Identifier: Apache-2.0 */
#include "host/hostmem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/psi.h"

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

void hostmem_read(const char *root, struct snapshot_host *ret)
{
	_cleanup_fclose_ FILE *meminfo = NULL;
	char path[256], line[256];
	struct psi psi;

	*ret = (struct snapshot_host){ .pressure_some_permille = -1 };
	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	meminfo = fopen(path, "re");
	while (meminfo && fgets(line, sizeof(line), meminfo))
		meminfo_line(line, ret);
	if (psi_read(root, "memory", &psi) == 0)
		ret->pressure_some_permille = (int)(psi.some_avg10_hundredths / 10);
}
