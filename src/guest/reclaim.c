/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: the order "BYTES swappiness=0" is understood by memory.reclaim since Linux 6.9
 * ("mm: add swappiness= arg to memory.reclaim") and by the nodes' reclaim files since 6.17 ("mm:
 * introduce per-node proactive reclaim interface"). An order for no bytes does nothing, and tells
 * by its status whether the kernel understands it.
 *
 * With swappiness 0 a cgroup's reclaim takes no anonymous page (get_scan_count(), mm/vmscan.c). A
 * node's does when its free pages and page cache together are below the high watermark
 * (file_is_tiny), so a node is asked only while its cache alone is above.
 *
 * memory.reclaim comes first where there is one node: what it waits for does not count as memory
 * pressure (e22c6ed90aa9, "mm: memcontrol: don't count limit-setting reclaim as memory pressure"),
 * while a node's reclaim does (__node_reclaim()), and would look like the guest's own stalls.
 */
#include "guest/reclaim.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"

#define PAGE_BYTES 4096

/* Longer lines of mountinfo, of deep bind mounts, are passed over. */
#define LINE_MAX_BYTES 1024

static FILE *file_under(const char *root, const char *path)
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s%s", root, path);
	return fopen(whole, "re");
}

static int order_give(const char *path, uint64_t bytes, bool swappiness)
{
	/* O_APPEND: a fixture keeps all that was ordered. */
	_cleanup_close_ int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
	char order[48];
	int size = snprintf(order, sizeof(order), "%" PRIu64 "%s\n", bytes,
			    swappiness ? " swappiness=0" : "");

	if (fd < 0)
		return -errno;
	return write(fd, order, (size_t)size) == size ? 0 : -errno;
}

static void node_path(const struct reclaim *r, unsigned number, char *ret, size_t size)
{
	snprintf(ret, size, "%s/sys/devices/system/node/node%u/reclaim", r->root, number);
}

static bool nodes_can(const struct reclaim *r, const struct nodes *n)
{
	char path[PATH_MAX];

	for (unsigned i = 0; i < n->count; i++) {
		node_path(r, n->nodes[i].number, path, sizeof(path));
		if (order_give(path, 0, true) < 0)
			return false;
	}
	return n->count > 0;
}

static bool has_swap(const char *root)
{
	_cleanup_fclose_ FILE *f = file_under(root, "/proc/swaps");
	char line[512];

	/* The first line is a heading. */
	return f && fgets(line, sizeof(line), f) && fgets(line, sizeof(line), f);
}

/* Where the root of the cgroup v2 hierarchy is mounted. Blanks in paths are not understood. */
static int cgroup_find(const char *root, char *ret, size_t size)
{
	_cleanup_fclose_ FILE *f = file_under(root, "/proc/self/mountinfo");
	char line[LINE_MAX_BYTES], from[LINE_MAX_BYTES], to[LINE_MAX_BYTES];
	char inner[PATH_MAX];

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		_Static_assert(LINE_MAX_BYTES > 1023, "%1023s below");
		if (!strstr(line, " - cgroup2 ") ||
		    sscanf(line, "%*u %*u %*s %1023s %1023s", from, to) != 2 ||
		    strcmp(from, "/") != 0 || strchr(to, '\\'))
			continue;
		/* What a cgroup namespace calls its root has a type, the true root none. */
		snprintf(inner, sizeof(inner), "%s%s/cgroup.type", root, to);
		if (access(inner, F_OK) == 0)
			continue;
		if (snprintf(ret, size, "%s%s/memory.reclaim", root, to) < (int)size)
			return 0;
	}
	return -ENOENT;
}

static int cgroup_open(struct reclaim *r, char *reason, size_t size)
{
	if (cgroup_find(r->root, r->path, sizeof(r->path)) < 0) {
		snprintf(reason, size, "cgroup v2 is not mounted");
		return -EOPNOTSUPP;
	}
	if (access(r->path, F_OK) < 0) {
		snprintf(reason, size, "cgroup v2 has no memory.reclaim (Linux 5.19)");
		return -EOPNOTSUPP;
	}
	if (order_give(r->path, 0, true) >= 0) {
		r->way = RECLAIM_CGROUP;
		return 0;
	}
	if (has_swap(r->root)) {
		snprintf(reason, size, "before Linux 6.9 it would swap, and there is swap");
		return -EOPNOTSUPP;
	}
	if (access(r->path, W_OK) < 0) {
		snprintf(reason, size, "memory.reclaim cannot be written to");
		return -errno;
	}
	r->way = RECLAIM_CGROUP_NO_SWAP;
	return 0;
}

int reclaim_open(const char *root, const struct nodes *n, struct reclaim *ret, char *ret_reason,
		 size_t reason_size)
{
	int r;

	*ret = (struct reclaim){ .way = RECLAIM_NONE };
	snprintf(ret->root, sizeof(ret->root), "%s", root);
	if (n->count > 1 && nodes_can(ret, n)) {
		ret->way = RECLAIM_NODES;
		return 0;
	}
	r = cgroup_open(ret, ret_reason, reason_size);
	if (r < 0 && nodes_can(ret, n)) {
		ret->way = RECLAIM_NODES;
		return 0;
	}
	return r;
}

static uint64_t vmstat_find(const char *root, const char *name)
{
	_cleanup_fclose_ FILE *f = file_under(root, "/proc/vmstat");
	char line[128];
	size_t size = strlen(name);

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, name, size) == 0 && line[size] == ' ')
			return strtoull(line + size, NULL, 10);
	return 0;
}

uint64_t reclaim_refaulted(const char *root)
{
	return vmstat_find(root, "workingset_refault_file");
}

/* Less than was asked for, or somebody else is at it, is no failure. */
static int order_result(int r)
{
	return r == -EAGAIN || r == -EBUSY || r == -EINTR ? 0 : r;
}

static int nodes_order(const struct reclaim *r, const struct nodes *n,
		       const uint64_t pages[NODES_MAX])
{
	char path[PATH_MAX];
	int status = 0;

	for (unsigned i = 0; i < n->count && status >= 0; i++) {
		if (!pages[i] || n->nodes[i].unmapped_pages <= n->nodes[i].high_pages)
			continue;
		node_path(r, n->nodes[i].number, path, sizeof(path));
		status = order_result(order_give(path, pages[i] * PAGE_BYTES, true));
	}
	return status;
}

int reclaim_cache(const struct reclaim *r, const struct nodes *n, const uint64_t pages[NODES_MAX],
		  uint64_t *ret_pages)
{
	uint64_t wanted = 0, before;
	int status;

	if (r->way == RECLAIM_NONE || (r->way == RECLAIM_CGROUP_NO_SWAP && has_swap(r->root)))
		return -EOPNOTSUPP;
	for (unsigned i = 0; i < n->count; i++)
		wanted += pages[i];
	before = vmstat_find(r->root, "pgsteal_file");
	if (r->way == RECLAIM_NODES)
		status = nodes_order(r, n, pages);
	else
		status = order_result(
			order_give(r->path, wanted * PAGE_BYTES, r->way == RECLAIM_CGROUP));
	*ret_pages = vmstat_find(r->root, "pgsteal_file") - before;
	return status < 0 ? status : *ret_pages >= wanted / 2 + wanted % 2;
}
