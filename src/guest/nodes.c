/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/nodes.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/read.h"

#define PAGE_SHIFT 12

/* mm/vmscan.c: sysctl_min_unmapped_ratio and sysctl_min_slab_ratio. */
#define MIN_UNMAPPED_RATIO_DEFAULT 1
#define MIN_SLAB_RATIO_DEFAULT	   5

#define UNMAPPED_PAGE_RATIO 16 /* see limit_pages() */

/* A node's vmstat has 1.5 KB in Linux 6.18, /proc/vmstat 4 KB. */
#define VMSTAT_MAX 8192

struct zone {
	unsigned node;
	uint64_t high, managed, start, spanned;
};

static int zone_add(struct nodes *n, const struct zone *zone)
{
	unsigned i = 0;

	if (!zone->managed)
		return 0;
	while (i < n->count && n->nodes[i].number != zone->node)
		i++;
	if (i == NODES_MAX || n->ranges_count == NODES_RANGES_MAX)
		return -E2BIG;
	if (i == n->count)
		n->nodes[n->count++] = (struct node){ .number = zone->node };
	n->nodes[i].managed_pages += zone->managed;
	n->nodes[i].high_pages += zone->high;
	n->ranges[n->ranges_count].start = zone->start;
	n->ranges[n->ranges_count].count = zone->spanned;
	n->ranges[n->ranges_count++].node = i;
	return 0;
}

static void zone_line(struct zone *zone, const char *line)
{
	const struct {
		const char *key;
		uint64_t *value;
	} keys[] = {
		{ "high", &zone->high },
		{ "spanned", &zone->spanned },
		{ "managed", &zone->managed },
		{ "start_pfn:", &zone->start },
	};
	char key[32];
	uint64_t value;

	/* "high:" with a colon is a per-CPU list's. */
	if (sscanf(line, "%31s %" SCNu64, key, &value) != 2)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(key, keys[i].key) == 0)
			*keys[i].value = value;
}

static int zones_read(const char *root, struct nodes *n)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[PATH_MAX], line[256];
	struct zone zone = { 0 };
	int r;

	snprintf(path, sizeof(path), "%s/proc/zoneinfo", root);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		unsigned node;

		if (sscanf(line, "Node %u, zone", &node) != 1) {
			zone_line(&zone, line);
			continue;
		}
		r = zone_add(n, &zone);
		if (r < 0)
			return r;
		zone = (struct zone){ .node = node };
	}
	r = zone_add(n, &zone);
	return r < 0 ? r : n->count ? 0 : -EBADMSG;
}

static int ratio_read(const char *root, const char *name, uint32_t otherwise, uint32_t *ret)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	uint64_t value;
	size_t size;
	int r;

	snprintf(path, sizeof(path), "%s/proc/sys/vm/%s", root, name);
	r = read_file(AT_FDCWD, path, 16, &text, &size);
	if (r == -ENOENT) {
		*ret = otherwise;
		return 0;
	}
	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	if (parse_u64(text, &value) < 0 || value > 100)
		return -EBADMSG;
	*ret = (uint32_t)value;
	return 0;
}

/* All nodes as one: where the kernel does not count by node. */
static void nodes_merge(struct nodes *n)
{
	for (unsigned i = 1; i < n->count; i++) {
		n->nodes[0].managed_pages += n->nodes[i].managed_pages;
		n->nodes[0].high_pages += n->nodes[i].high_pages;
	}
	n->count = 1;
	for (unsigned i = 0; i < n->ranges_count; i++)
		n->ranges[i].node = 0;
}

static void vmstat_close(struct nodes *n)
{
	for (unsigned i = 0; i < NODES_MAX; i++) {
		close_p(&n->vmstat_fds[i]);
		n->vmstat_fds[i] = -1;
	}
}

static int vmstat_open(const char *root, struct nodes *n)
{
	char path[PATH_MAX];

	for (unsigned i = 0; i < n->count; i++) {
		snprintf(path, sizeof(path), "%s/sys/devices/system/node/node%u/vmstat", root,
			 n->nodes[i].number);
		n->vmstat_fds[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (n->vmstat_fds[i] >= 0)
			continue;
		if (errno != ENOENT)
			return -errno;
		vmstat_close(n);
		nodes_merge(n);
		snprintf(path, sizeof(path), "%s/proc/vmstat", root);
		n->vmstat_fds[0] = open(path, O_RDONLY | O_CLOEXEC);
		return n->vmstat_fds[0] < 0 ? -errno : 0;
	}
	return 0;
}

int nodes_read(const char *root, struct nodes *ret)
{
	struct nodes n = { 0 };
	int r;

	for (unsigned i = 0; i < NODES_MAX; i++)
		n.vmstat_fds[i] = -1;
	r = zones_read(root, &n);
	if (r >= 0)
		r = ratio_read(root, "min_unmapped_ratio", MIN_UNMAPPED_RATIO_DEFAULT,
			       &n.min_unmapped_ratio);
	if (r >= 0)
		r = ratio_read(root, "min_slab_ratio", MIN_SLAB_RATIO_DEFAULT, &n.min_slab_ratio);
	if (r >= 0)
		r = vmstat_open(root, &n);
	if (r < 0) {
		vmstat_close(&n);
		return r;
	}
	*ret = n;
	return 0;
}

void nodes_done(struct nodes *n)
{
	vmstat_close(n);
	n->count = n->ranges_count = 0;
}

enum count {
	COUNT_FREE,
	COUNT_INACTIVE,
	COUNT_ACTIVE,
	COUNT_MAPPED,
	COUNT_SLAB,
	COUNTS,
};

/* Return: whether all are in the whole lines of @text. */
static bool counts_find(const char *text, uint64_t counts[COUNTS])
{
	static const char *const names[COUNTS] = {
		[COUNT_FREE] = "nr_free_pages ",       [COUNT_INACTIVE] = "nr_inactive_file ",
		[COUNT_ACTIVE] = "nr_active_file ",    [COUNT_MAPPED] = "nr_mapped ",
		[COUNT_SLAB] = "nr_slab_reclaimable ",
	};
	unsigned found = 0;

	for (const char *end; (end = strchr(text, '\n')); text = end + 1)
		for (unsigned i = 0; i < COUNTS; i++) {
			size_t size = strlen(names[i]);

			if (strncmp(text, names[i], size) != 0)
				continue;
			counts[i] = strtoull(text + size, NULL, 10);
			found |= 1U << i;
		}
	return found == (1U << COUNTS) - 1;
}

static int counts_read(int fd, uint64_t counts[COUNTS])
{
	_uninitialized_ char text[VMSTAT_MAX + 1];
	size_t size = 0;
	ssize_t n;

	/* procfs gives a page at a time. */
	while ((n = pread(fd, text + size, VMSTAT_MAX - size, (off_t)size)) > 0) {
		size += (size_t)n;
		text[size] = '\0';
		if (counts_find(text, counts))
			return 0;
	}
	return n < 0 ? -errno : -EBADMSG;
}

static void node_set(struct node *node, const uint64_t counts[COUNTS])
{
	/* More may be mapped than is on the lists: nr_mapped has tmpfs in it, they not. */
	uint64_t lru = counts[COUNT_INACTIVE] + counts[COUNT_ACTIVE], mapped = counts[COUNT_MAPPED];

	node->unmapped_pages = lru > mapped ? lru - mapped : 0;
	node->free_pages = counts[COUNT_FREE];
	node->slab_reclaimable_pages = counts[COUNT_SLAB];
}

int nodes_count(struct nodes *n)
{
	_uninitialized_ uint64_t counts[NODES_MAX][COUNTS];

	/* All or none. */
	for (unsigned i = 0; i < n->count; i++) {
		int r = counts_read(n->vmstat_fds[i], counts[i]);

		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < n->count; i++)
		node_set(&n->nodes[i], counts[i]);
	return 0;
}

unsigned nodes_of(const struct nodes *n, uint64_t pfn)
{
	uint64_t least = UINT64_MAX;
	unsigned node = 0;

	for (unsigned i = 0; i < n->ranges_count; i++)
		if (pfn >= n->ranges[i].start && pfn - n->ranges[i].start < n->ranges[i].count &&
		    n->ranges[i].count < least) {
			least = n->ranges[i].count;
			node = n->ranges[i].node;
		}
	return node;
}

uint64_t limit_pages(const struct limit_text *limit, const struct nodes *n, unsigned node)
{
	uint64_t managed = n->nodes[node].managed_pages, total = 0;

	for (unsigned i = 0; i < n->count; i++)
		total += n->nodes[i].managed_pages;
	switch (limit->kind) {
	case LIMIT_TEXT_BYTES:
		return (uint64_t)((unsigned __int128)(limit->bytes >> PAGE_SHIFT) * managed /
				  total);
	case LIMIT_TEXT_PERMILLE:
		return managed * limit->permille / 1000;
	case LIMIT_TEXT_DEFAULT:
		if (n->min_unmapped_ratio)
			return UNMAPPED_PAGE_RATIO * (managed * n->min_unmapped_ratio / 100);
		return UINT64_MAX;
	default:
		return UINT64_MAX;
	}
}
