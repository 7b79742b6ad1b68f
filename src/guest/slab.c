/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slab pages that can go back, by two of the kernel's own doors.
 *
 * How it works: /proc/slabinfo names each real cache once, merged ones under one of their names.
 * What its free objects could amount to in whole slabs is an upper bound of what `shrink` can give:
 * they may be spread over slabs in use, and a slab on a CPU's own list counts as full. Caches are
 * tried in the order of that bound until the CPU quota is used up, then slabinfo is read once more.
 *
 * Why nothing that lives can go: writing 1 is shrink_store() of mm/slub.c, which calls nothing but
 * kmem_cache_shrink() (mm/slab_common.c) -> __kmem_cache_shrink() (mm/slub.c): flush_all() puts the
 * CPUs' slabs onto the node's partial list, and __kmem_cache_do_shrink() frees those of that list
 * with no object in use and sorts the others. No shrinker is registered with or asked by any of
 * these (Linux 6.1.192, 6.12.117); tests/guest/test_slab.py counts calls.
 *
 * What it costs: slabinfo (in 6.12 up to 10,000 slabs) and shrink walk a cache's partial list with
 * interrupts off, and flush_all() runs a worker on each CPU that holds a slab, whose time is not on
 * our clock. Each cache tried leaves two or three dentries and inodes of sysfs, once.
 */
#include "guest/slab.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"

#define PAGE_BYTES 4096

/* Debian's 6.1 has 157 caches in a lab guest, 6.12 has 191; a cache beyond these is left alone. */
#define CACHES_MAX 1024

/* About half of a dentry (192) and an inode of ext4 (27 in 32 KiB): /proc/slabinfo of Debian's 6.1.
 */
#define OBJECT_BYTES 640

/* Between two looks at what went: an overshoot of 80 KiB. Superblocks themselves take 1,024. */
#define PRESS_BATCH 128

/* The first look at a dentry or inode that was used only takes its mark away (fs/dcache.c,
 * dentry_lru_isolate()). */
#define PRESS_ROUNDS 2

struct cache {
	char name[SLAB_NAME_MAX];
	uint64_t bytes;
	uint64_t could_bytes;
	uint64_t after_bytes;
	ino_t shrink_inode; /* 0: not tried */
};

struct table {
	unsigned count;
	struct cache caches[CACHES_MAX];
};

static FILE *file_under(const char *root, const char *path)
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s%s", root, path);
	return fopen(whole, "re");
}

/* Version 2.x of the file. A name with a blank in it is not understood, and its cache left alone.
 */
static bool slabinfo_line(const char *line, struct cache *ret)
{
	uint64_t active, objects_per_slab, pages_per_slab, slabs, needed;
	struct cache c = { 0 };

	_Static_assert(SLAB_NAME_MAX == 64, "%63s below");
	if (sscanf(line,
		   "%63s %" SCNu64 " %*u %*u %" SCNu64 " %" SCNu64
		   " : tunables %*u %*u %*u : slabdata %*u %" SCNu64,
		   c.name, &active, &objects_per_slab, &pages_per_slab, &slabs) != 5)
		return false;
	if (!objects_per_slab || __builtin_mul_overflow(slabs, pages_per_slab, &c.bytes) ||
	    __builtin_mul_overflow(c.bytes, PAGE_BYTES, &c.bytes))
		return false;
	needed = active / objects_per_slab + (active % objects_per_slab != 0);
	if (slabs > needed)
		c.could_bytes = (slabs - needed) * pages_per_slab * PAGE_BYTES;
	*ret = c;
	return true;
}

static void slabinfo_read(FILE *f, struct table *ret)
{
	char line[512];

	ret->count = 0;
	while (ret->count < CACHES_MAX && fgets(line, sizeof(line), f))
		ret->count += slabinfo_line(line, &ret->caches[ret->count]);
}

static int table_load(const char *root, struct table **ret)
{
	_cleanup_fclose_ FILE *f = file_under(root, "/proc/slabinfo");
	struct table *t;

	if (!f)
		return errno == ENOENT ? -EOPNOTSUPP : -errno;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	slabinfo_read(f, t);
	*ret = t;
	return 0;
}

static int most_first(uint64_t a, uint64_t b)
{
	return (a < b) - (a > b);
}

static int could_most(const void *a, const void *b)
{
	return most_first(((const struct cache *)a)->could_bytes,
			  ((const struct cache *)b)->could_bytes);
}

/* Names that were merged lead to one directory: -EALREADY for the second of them. */
static int cache_shrink(const char *root, struct table *t, struct cache *c)
{
	char path[PATH_MAX], name[SLAB_NAME_MAX];
	_cleanup_close_ int fd = -1;
	struct stat st;

	memcpy(name, c->name, sizeof(name));
	/* As kobject_set_name_vargs() does. */
	for (char *p = name; *p; p++)
		if (*p == '/')
			*p = '!';
	snprintf(path, sizeof(path), "%s/sys/kernel/slab/%s/shrink", root, name);
	fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	for (const struct cache *other = t->caches; other < c; other++)
		if (other->shrink_inode == st.st_ino)
			return -EALREADY;
	if (write(fd, "1", 1) != 1)
		return -errno;
	c->shrink_inode = st.st_ino;
	return 0;
}

/* How many were tried; or the last error where none could be. */
static int table_shrink(const char *root, struct table *t, uint64_t least_bytes, uint64_t cpu_end)
{
	int r, error = 0, tried = 0;

	for (unsigned i = 0; i < t->count && t->caches[i].could_bytes >= least_bytes; i++) {
		if (clock_usec(CLOCK_THREAD_CPUTIME_ID) >= cpu_end)
			break;
		r = cache_shrink(root, t, &t->caches[i]);
		if (r == 0)
			tried++;
		else if (r != -EALREADY)
			error = r;
	}
	return tried ? tried : error;
}

static uint64_t cache_freed(const struct cache *c)
{
	return c->bytes > c->after_bytes ? c->bytes - c->after_bytes : 0;
}

static int freed_most(const void *a, const void *b)
{
	return most_first(cache_freed(a), cache_freed(b));
}

/* What caches of this name take, of which there may be two; false if there is none. */
static bool table_bytes(const struct table *t, const char *name, uint64_t *ret)
{
	uint64_t bytes = 0;
	bool found = false;

	for (unsigned i = 0; i < t->count; i++) {
		if (strcmp(t->caches[i].name, name) != 0)
			continue;
		if (__builtin_add_overflow(bytes, t->caches[i].bytes, &bytes))
			return false;
		found = true;
	}
	*ret = bytes;
	return found;
}

/* A cache that grew meanwhile, or is gone, gave nothing. */
static void result_fill(struct slab_result *ret, struct table *before, const struct table *after)
{
	for (unsigned i = 0; i < before->count; i++) {
		struct cache *c = &before->caches[i];

		c->after_bytes = c->bytes;
		if (!c->shrink_inode || !table_bytes(before, c->name, &c->bytes) ||
		    !table_bytes(after, c->name, &c->after_bytes))
			c->after_bytes = c->bytes;
		ret->freed_bytes += cache_freed(c);
	}
	qsort(before->caches, before->count, sizeof(before->caches[0]), freed_most);
	for (unsigned i = 0; i < before->count && i < SLAB_TOLD_MAX; i++) {
		const struct cache *c = &before->caches[i];

		if (!cache_freed(c))
			break;
		struct slab_cache *told = &ret->caches[ret->caches_told++];

		memcpy(told->name, c->name, sizeof(told->name));
		told->before_bytes = c->bytes;
		told->after_bytes = c->after_bytes;
	}
}

int slab_shrink(const char *root, uint64_t least_bytes, uint64_t cpu_usec_max,
		struct slab_result *ret)
{
	uint64_t start = clock_usec(CLOCK_THREAD_CPUTIME_ID), end;
	_cleanup_free_ struct table *before = NULL, *after = NULL;
	struct slab_result result = { 0 };
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/sys/kernel/slab", root);
	if (access(path, F_OK) < 0)
		return errno == ENOENT ? -EOPNOTSUPP : -errno;
	r = table_load(root, &before);
	if (r < 0)
		return r;
	if (__builtin_add_overflow(start, cpu_usec_max, &end))
		end = UINT64_MAX;
	qsort(before->caches, before->count, sizeof(before->caches[0]), could_most);
	r = table_shrink(root, before, least_bytes, end);
	if (r < 0)
		return r;
	if (r > 0) {
		result.caches_tried = (uint32_t)r;
		r = table_load(root, &after);
		if (r < 0)
			return r;
		result_fill(&result, before, after);
	}
	result.usec = clock_usec(CLOCK_THREAD_CPUTIME_ID) - start;
	*ret = result;
	return 0;
}

static int meminfo_read(FILE *f, uint64_t *ret_all, uint64_t *ret_reclaimable)
{
	uint64_t all = 0, reclaimable = 0, kib;
	unsigned found = 0;
	char line[256];

	while (found != 3 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Slab: %" SCNu64 " kB", &kib) == 1) {
			all = kib;
			found |= 1;
		} else if (sscanf(line, "SReclaimable: %" SCNu64 " kB", &kib) == 1) {
			reclaimable = kib;
			found |= 2;
		}
	}
	if (found != 3)
		return -ENODATA;
	if (__builtin_mul_overflow(all, 1024, &all) ||
	    __builtin_mul_overflow(reclaimable, 1024, &reclaimable))
		return -ERANGE;
	*ret_all = all;
	*ret_reclaimable = reclaimable;
	return 0;
}

int slab_bytes(const char *root, uint64_t *ret_all, uint64_t *ret_reclaimable)
{
	_cleanup_fclose_ FILE *f = file_under(root, "/proc/meminfo");

	return f ? meminfo_read(f, ret_all, ret_reclaimable) : -errno;
}

struct press {
	const char *root;
	uint64_t wanted_bytes;
	uint64_t before_bytes;
	uint64_t freed_bytes;
	uint64_t total;	   /* objects of all shrinkers */
	uint64_t wanted;   /* of them */
	uint64_t unseen;   /* objects that were asked for since the bytes were counted */
	uint64_t end_usec; /* of this thread's CPU time */
	int scan_fd;
};

/* 0 to go on, 1 for enough; the cgroup as the shrinker numbers it. */
typedef int (*press_fn)(struct press *p, uint64_t cgroup, unsigned node, uint64_t count);

static int press_add(struct press *p, uint64_t cgroup, unsigned node, uint64_t count)
{
	(void)cgroup;
	(void)node;
	if (__builtin_add_overflow(p->total, count, &p->total))
		p->total = UINT64_MAX;
	return 0;
}

static int press_look(struct press *p)
{
	uint64_t all, now;
	int r = slab_bytes(p->root, &all, &now);

	if (r < 0)
		return r;
	p->freed_bytes = now < p->before_bytes ? p->before_bytes - now : 0;
	return p->freed_bytes >= p->wanted_bytes;
}

/* This node's and cgroup's share, in proportion to what all have. */
static int press_scan(struct press *p, uint64_t cgroup, unsigned node, uint64_t count)
{
	double share = (double)p->wanted * (double)count / (double)p->total;
	uint64_t left = share < (double)count ? (uint64_t)share + 1 : count;
	char order[72]; /* shrinker_debugfs_scan_write() of mm/shrinker_debug.c takes 71 bytes */

	while (left) {
		uint64_t n = left < PRESS_BATCH ? left : PRESS_BATCH;
		int r = snprintf(order, sizeof(order), "%" PRIu64 " %u %" PRIu64 "\n", cgroup, node,
				 n);

		/* The cgroup may be gone. */
		if (write(p->scan_fd, order, (size_t)r) != r)
			return 0;
		left -= n;
		p->unseen += n;
		if (clock_usec(CLOCK_THREAD_CPUTIME_ID) >= p->end_usec)
			return 1;
		if (p->unseen < PRESS_BATCH)
			continue;
		p->unseen = 0;
		r = press_look(p);
		if (r)
			return r;
	}
	return 0;
}

/* "CGROUP COUNT...", a count for each node: mm/shrinker_debug.c, shrinker_debugfs_count_show(). */
static int count_read(FILE *f, press_fn fn, struct press *p)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int r = 0;

	while (r == 0 && getline(&line, &size, f) > 0) {
		uint64_t cgroup, count;
		char *rest = NULL, *word = strtok_r(line, " \n", &rest);

		if (!word || parse_u64(word, &cgroup) < 0)
			continue;
		for (unsigned node = 0; r == 0 && (word = strtok_r(NULL, " \n", &rest)); node++) {
			if (parse_u64(word, &count) < 0)
				break;
			if (count)
				r = fn(p, cgroup, node, count);
		}
	}
	return r;
}

static int shrinker_each(int dir_fd, const char *name, press_fn fn, struct press *p)
{
	char path[NAME_MAX + sizeof("/count")];
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_close_ int fd = -1, scan_fd = -1;

	snprintf(path, sizeof(path), "%s/count", name);
	fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fn == press_scan) {
		snprintf(path, sizeof(path), "%s/scan", name);
		/* O_APPEND: a fixture keeps all that was ordered. */
		scan_fd = openat(dir_fd, path, O_WRONLY | O_APPEND | O_CLOEXEC);
		if (scan_fd < 0)
			return -errno;
	}
	f = fdopen(fd, "r");
	if (!f)
		return -errno;
	(void)TAKE_FD(fd);
	p->scan_fd = scan_fd;
	return count_read(f, fn, p);
}

/* Those of superblocks hold dentries and inodes (fs/super.c, "sb-TYPE:DEVICE"). A file system may
 * go meanwhile. */
static int press_each(DIR *dir, press_fn fn, struct press *p)
{
	int r, error = 0, told = 0;
	struct dirent *entry;

	rewinddir(dir);
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "sb-", 3) != 0)
			continue;
		if (clock_usec(CLOCK_THREAD_CPUTIME_ID) >= p->end_usec)
			return 1;
		r = shrinker_each(dirfd(dir), entry->d_name, fn, p);
		if (r > 0)
			return r;
		if (r < 0)
			error = r;
		else
			told++;
	}
	return told ? 0 : error;
}

int slab_press(const char *root, uint64_t bytes, uint64_t cpu_usec_max, uint64_t *ret_bytes)
{
	struct press p = { .root = root, .wanted_bytes = bytes, .scan_fd = -1 };
	_cleanup_closedir_ DIR *dir = NULL;
	char path[PATH_MAX];
	uint64_t all;
	int r;

	snprintf(path, sizeof(path), "%s/sys/kernel/debug/shrinker", root);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -EOPNOTSUPP : -errno;
	r = slab_bytes(root, &all, &p.before_bytes);
	if (r < 0)
		return r;
	if (__builtin_add_overflow(clock_usec(CLOCK_THREAD_CPUTIME_ID), cpu_usec_max, &p.end_usec))
		p.end_usec = UINT64_MAX;
	p.wanted = bytes / OBJECT_BYTES;
	r = press_each(dir, press_add, &p);
	for (int round = 0; p.wanted && p.total && r == 0 && round < PRESS_ROUNDS; round++)
		r = press_each(dir, press_scan, &p);
	if (r == 0 && p.unseen)
		r = press_look(&p);
	if (r < 0)
		return r;
	*ret_bytes = p.freed_bytes;
	return 0;
}
