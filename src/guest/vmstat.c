/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/vmstat.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "base/cleanup.h"

struct counts {
	uint64_t inflate, deflate, dirty, writeback, oom_kills, stalls;
	bool has_inflate;
};

static void count_take(struct counts *c, const char *name, uint64_t value)
{
	if (strcmp(name, "balloon_inflate") == 0) {
		c->inflate = value;
		c->has_inflate = true;
	} else if (strcmp(name, "balloon_deflate") == 0) {
		c->deflate = value;
	} else if (strcmp(name, "nr_dirty") == 0) {
		c->dirty = value;
	} else if (strcmp(name, "nr_writeback") == 0) {
		c->writeback = value;
	} else if (strcmp(name, "oom_kill") == 0) {
		c->oom_kills = value;
	} else if (strncmp(name, "allocstall_", strlen("allocstall_")) == 0) {
		c->stalls += value;
	}
}

int vmstat_read(const char *root, struct vmstat *ret)
{
	_cleanup_fclose_ FILE *f = NULL;
	struct counts c = { 0 };
	char path[PATH_MAX], line[128], name[64];
	uint64_t value;

	snprintf(path, sizeof(path), "%s/proc/vmstat", root);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %" SCNu64, name, &value) == 2)
			count_take(&c, name, value);
	*ret = (struct vmstat){
		.has_balloon = c.has_inflate,
		.balloon_pages = c.inflate > c.deflate ? c.inflate - c.deflate : 0,
		.inflated_pages = c.inflate,
		.unclean_pages = c.dirty + c.writeback,
		.oom_kills = c.oom_kills,
		.alloc_stalls = c.stalls,
	};
	return 0;
}
