/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/once.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "guest/census.h"
#include "guest/slab.h"

#define FILES_SHOWN 10

/* All that a page or more could come from; somebody waits, but not for ever. */
#define SLAB_LEAST_BYTES 4096
#define SLAB_CPU_USEC	 2000000

/* Where a number of the census stands, and what it is called. */
static const struct total {
	const char *key;
	const char *label;
	size_t offset;
} totals[] = {
	{ "free_bytes", "free", offsetof(struct wire_census, free) },
	{ "anonymous_bytes", "anonymous", offsetof(struct wire_census, anonymous) },
	{ "shmem_bytes", "shared memory", offsetof(struct wire_census, shmem) },
	{ "mapped_file_bytes", "mapped file", offsetof(struct wire_census, mapped_file) },
	{ "unmapped_clean_bytes", "unmapped clean", offsetof(struct wire_census, unmapped_clean) },
	{ "unmapped_dirty_bytes", "unmapped dirty", offsetof(struct wire_census, unmapped_dirty) },
	{ "slab_bytes", "slab", offsetof(struct wire_census, slab) },
	{ "other_bytes", "other", offsetof(struct wire_census, other) },
	{ "total_bytes", "total", offsetof(struct wire_census, total) },
};

/* Those that could be given back whole, by their numbers. */
struct superpage_run {
	uint64_t first, count;
};

struct superpage_runs {
	struct superpage_run *runs;
	size_t n;
};

static void superpage_runs_done(struct superpage_runs *list)
{
	free(list->runs);
}

static uint64_t total_bytes(const struct wire_census *c, size_t offset)
{
	return *(const uint64_t *)((const char *)c + offset) * WIRE_BLOCK_BYTES;
}

static int most_cached(const void *a, const void *b)
{
	const struct file_entry *const *x = a, *const *y = b;

	return ((*x)->cached_pages < (*y)->cached_pages) -
	       ((*x)->cached_pages > (*y)->cached_pages);
}

/* The files that hold most, most first; at most @max. */
static unsigned files_largest(const struct files *f, const struct file_entry **ret, unsigned max)
{
	_cleanup_free_ const struct file_entry **all = calloc(f->count, sizeof(*all));
	unsigned n = f->count < max ? f->count : max;

	if (!all)
		return 0;
	for (uint32_t i = 0; i < f->count; i++)
		all[i] = &f->entries[i];
	qsort(all, f->count, sizeof(*all), most_cached);
	memcpy(ret, all, n * sizeof(*ret));
	return n;
}

/*
 * Names are anybody's bytes: a terminal and JSON want neither controls nor quotes, and UTF-8. The
 * wire's decoder knows how to clean a path that a stranger sent; quotes are ours.
 */
static void name_clean(char *name)
{
	struct {
		struct wire_path path;
		char text[WIRE_PATH_MAX];
	} message = { .path.length = (uint32_t)strnlen(name, WIRE_PATH_MAX - 1) };
	_Alignas(uint64_t) static uint8_t scratch[WIRE_PAYLOAD_MAX];
	struct wire_frame frame = { .type = WIRE_PATH,
				    .length = (uint32_t)sizeof(message.path) + message.path.length,
				    .payload = (uint8_t *)&message };
	union wire_message clean;

	memcpy(message.text, name, message.path.length);
	if (wire_decode(&frame, scratch, &clean) < 0)
		message.path.length = 0;
	else
		memcpy(name, clean.path->path, message.path.length);
	name[message.path.length] = '\0';
	for (char *p = name; *p; p++)
		if (*p == '"' || *p == '\\')
			*p = '?';
}

/* A path of the file, or its identity where it cannot be opened. */
static void file_name(struct census *c, const struct file_entry *e, char *ret, size_t size)
{
	char link[64];
	ssize_t n = -1;
	_cleanup_close_ int fd = file_find(&c->mounts, &c->disks, &e->identity);

	if (fd >= 0) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, ret, size - 1);
	}
	if (n < 0)
		snprintf(ret, size, "inode %" PRIu64 " on %u:%u", e->identity.inode,
			 major(e->identity.device), minor(e->identity.device));
	else
		ret[n] = '\0';
	name_clean(ret);
}

static void print_text(struct census *c)
{
	const struct wire_census *t = &c->totals;
	const struct file_entry *largest[FILES_SHOWN];
	unsigned n = files_largest(&c->files, largest, FILES_SHOWN);
	char name[PATH_MAX];

	printf("Pages by kind\n");
	for (size_t i = 0; i < ARRAY_SIZE(totals); i++)
		printf("  %-16s %10.1f MiB\n", totals[i].label,
		       (double)total_bytes(t, totals[i].offset) / (1 << 20));
	printf("Superpages (2 MiB): %" PRIu64 ", of them free %" PRIu64 ", reclaimable %" PRIu64
	       ", spoiled by a few pages %" PRIu64 "\n",
	       t->superpages, t->superpages_free, t->superpages_reclaimable, c->superpages_spoiled);
	printf("Page cache on known blocks of a disk: %.1f MiB\n",
	       (double)t->placed * WIRE_BLOCK_BYTES / (1 << 20));
	for (unsigned i = 1; i < WIRE_UNPLACED_REASONS; i++)
		if (t->unplaced[i])
			printf("  unplaced, %-12s %8.1f MiB\n", wire_unplaced_name(i),
			       (double)t->unplaced[i] * WIRE_BLOCK_BYTES / (1 << 20));
	printf("Files that hold most, of %" PRIu64 "\n", t->files);
	for (unsigned i = 0; i < n; i++) {
		file_name(c, largest[i], name, sizeof(name));
		printf("  %8.1f MiB  %s\n",
		       (double)largest[i]->cached_pages * WIRE_BLOCK_BYTES / (1 << 20), name);
	}
}

static void print_runs(const struct superpage_runs *list)
{
	printf("  \"superpages_reclaimable_runs\": [");
	for (size_t i = 0; i < list->n; i++)
		printf("%s[%" PRIu64 ", %" PRIu64 "]", i ? ", " : "", list->runs[i].first,
		       list->runs[i].count);
	printf("],\n");
}

static void print_json(struct census *c, const struct superpage_runs *list, uint64_t elapsed_usec)
{
	const struct wire_census *t = &c->totals;
	const struct file_entry *largest[FILES_SHOWN];
	unsigned n = files_largest(&c->files, largest, FILES_SHOWN);
	char name[PATH_MAX];

	printf("{\n");
	for (size_t i = 0; i < ARRAY_SIZE(totals); i++)
		printf("  \"%s\": %" PRIu64 ",\n", totals[i].key, total_bytes(t, totals[i].offset));
	printf("  \"placed_bytes\": %" PRIu64 ",\n  \"unplaced\": {", t->placed * WIRE_BLOCK_BYTES);
	for (unsigned i = 1; i < WIRE_UNPLACED_REASONS; i++)
		printf("%s\"%s_bytes\": %" PRIu64, i > 1 ? ", " : "", wire_unplaced_name(i),
		       t->unplaced[i] * WIRE_BLOCK_BYTES);
	printf("},\n  \"superpages\": %" PRIu64 ",\n  \"superpages_free\": %" PRIu64
	       ",\n  \"superpages_reclaimable\": %" PRIu64 ",\n  \"superpages_spoiled\": %" PRIu64
	       ",\n",
	       t->superpages, t->superpages_free, t->superpages_reclaimable, c->superpages_spoiled);
	print_runs(list);
	printf("  \"elapsed_usec\": %" PRIu64 ",\n  \"chunk_max_usec\": %" PRIu64
	       ",\n  \"files_count\": %" PRIu64 ",\n  \"files\": [",
	       elapsed_usec, c->walk.chunk_max_usec, t->files);
	for (unsigned i = 0; i < n; i++) {
		file_name(c, largest[i], name, sizeof(name));
		printf("%s\n    {\"path\": \"%s\", \"inode\": %" PRIu64
		       ", \"cached_bytes\": %" PRIu64 ", \"mapped_bytes\": %" PRIu64 "}",
		       i ? "," : "", name, largest[i]->identity.inode,
		       (uint64_t)largest[i]->cached_pages * WIRE_BLOCK_BYTES,
		       (uint64_t)largest[i]->mapped_pages * WIRE_BLOCK_BYTES);
	}
	printf("\n  ]\n}\n");
}

static int superpage_list(uint64_t number, enum superpage state, void *userdata)
{
	struct superpage_runs *list = userdata;
	struct superpage_run *last = list->n ? &list->runs[list->n - 1] : NULL;

	if (state < SUPERPAGE_RECLAIMABLE)
		return 0;
	if (last && last->first + last->count == number) {
		last->count++;
		return 0;
	}
	last = reallocarray(list->runs, list->n + 1, sizeof(*last));
	if (!last)
		return -ENOMEM;
	list->runs = last;
	list->runs[list->n++] = (struct superpage_run){ .first = number, .count = 1 };
	return 0;
}

int once_print(bool json)
{
	static const struct census_ops ops = { .superpage = superpage_list };
	_cleanup_(superpage_runs_done) struct superpage_runs list = { 0 };
	_cleanup_free_ struct census *c = calloc(1, sizeof(*c));
	char reason[192] = "";
	uint64_t start;
	int r;

	if (!c)
		return log_error_errno(ENOMEM, "%m");
	r = census_open(c, reason, sizeof(reason));
	if (r < 0)
		return log_error_errno(r, "Cannot take a census: %s (%m)", reason);
	start = now_usec();
	r = census_begin(c, NULL, &ops, &list);
	while (r >= 0 && (r = census_step(c)) > 0)
		;
	if (r < 0)
		log_error_errno(r, "The census failed: %m");
	else if (json)
		print_json(c, &list, now_usec() - start);
	else
		print_text(c);
	census_done(c);
	if (fflush(stdout) != 0)
		return log_error_errno(errno, "Cannot write: %m");
	return r;
}

static void slab_text(const struct slab_result *s)
{
	printf("Slab pages with no object in use: %.1f KiB went, of %u caches tried\n",
	       (double)s->freed_bytes / 1024, s->caches_tried);
	if (s->caches_told)
		printf("  %-28s %12s %12s %12s\n", "CACHE", "BEFORE", "AFTER", "WENT");
	for (uint32_t i = 0; i < s->caches_told; i++) {
		const struct slab_cache *c = &s->caches[i];

		printf("  %-28s %8.1f KiB %8.1f KiB %8.1f KiB\n", c->name,
		       (double)c->before_bytes / 1024, (double)c->after_bytes / 1024,
		       (double)(c->before_bytes - c->after_bytes) / 1024);
	}
}

static void slab_json(const struct slab_result *s)
{
	printf("{\n  \"freed_bytes\": %" PRIu64 ",\n  \"cpu_usec\": %" PRIu64
	       ",\n  \"caches_tried\": %u,\n  \"caches\": [",
	       s->freed_bytes, s->usec, s->caches_tried);
	for (uint32_t i = 0; i < s->caches_told; i++) {
		const struct slab_cache *c = &s->caches[i];

		printf("%s\n    {\"name\": \"%s\", \"before_bytes\": %" PRIu64
		       ", \"after_bytes\": %" PRIu64 "}",
		       i ? "," : "", c->name, c->before_bytes, c->after_bytes);
	}
	printf("\n  ]\n}\n");
}

int once_shrink_slab(bool json)
{
	struct slab_result result;
	int r = slab_shrink("", SLAB_LEAST_BYTES, SLAB_CPU_USEC, &result);

	if (r < 0)
		return log_error_errno(r, "Cannot shrink slab caches: %m");
	for (uint32_t i = 0; i < result.caches_told; i++)
		name_clean(result.caches[i].name);
	if (json)
		slab_json(&result);
	else
		slab_text(&result);
	if (fflush(stdout) != 0)
		return log_error_errno(errno, "Cannot write: %m");
	return 0;
}
