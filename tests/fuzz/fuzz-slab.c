/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's text: /proc/slabinfo, /proc/meminfo, and `count` of shrinker debugfs. */
#include "guest/slab.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int check_count(struct press *p, uint64_t cgroup, unsigned node, uint64_t count)
{
	if (!count)
		abort();
	return press_add(p, cgroup, node, count);
}

static void check_table(const struct table *t)
{
	if (t->count > CACHES_MAX)
		abort();
	for (unsigned i = 0; i < t->count; i++) {
		const struct cache *c = &t->caches[i];

		if (!c->name[0] || strnlen(c->name, SLAB_NAME_MAX) == SLAB_NAME_MAX ||
		    c->bytes % PAGE_BYTES || c->could_bytes > c->bytes)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct table before, after;
	struct slab_result result = { 0 };
	struct press p = { .scan_fd = -1 };
	uint64_t all, reclaimable;
	_cleanup_fclose_ FILE *f = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;

	if (!f)
		return 0;
	memset(&before, 0, sizeof(before));
	slabinfo_read(f, &before);
	check_table(&before);
	/* As if the second half were the second reading, and all had been tried. */
	after = before;
	after.count = before.count / 2;
	for (unsigned i = 0; i < after.count; i++)
		after.caches[i].bytes /= 2;
	for (unsigned i = 0; i < before.count; i++)
		before.caches[i].shrink_inode = i + 1;
	result_fill(&result, &before, &after);
	if (result.caches_told > SLAB_TOLD_MAX)
		abort();
	rewind(f);
	if (meminfo_read(f, &all, &reclaimable) == 0 && (all % 1024 || reclaimable % 1024))
		abort();
	rewind(f);
	if (count_read(f, check_count, &p) != 0)
		abort();
	return 0;
}
