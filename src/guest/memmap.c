/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/memmap.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "guest/loader.h"
#include "scan.skel.h"

struct memmap {
	struct scan_bpf *skel;
};

struct memmap *memmap_close(struct memmap *m)
{
	if (m)
		scan_bpf__destroy(m->skel);
	free(m);
	return NULL;
}

static void variables_set(struct scan_bpf__rodata *rodata)
{
	rodata->vmemmap_base = loader_address(LOADER_VMEMMAP_BASE);
	rodata->init_on_alloc_key = loader_address(LOADER_INIT_ON_ALLOC);
}

int memmap_open(struct memmap **ret, char *ret_reason, size_t reason_size)
{
	struct memmap *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	loader_begin();
	m->skel = scan_bpf__open();
	if (m->skel)
		variables_set(m->skel->rodata);
	r = m->skel ? scan_bpf__load(m->skel) : -errno;
	if (r < 0) {
		loader_reason(-r, "scan", ret_reason, reason_size);
		memmap_close(m);
		return r;
	}
	m->skel->bss->chunk_pages = 0;
	r = loader_run(m->skel->progs.scan_chunk);
	if (r < 0) {
		snprintf(ret_reason, reason_size,
			 "the kernel's array of struct pages was not found (struct page has %u "
			 "bytes)",
			 m->skel->bss->struct_page_bytes);
		memmap_close(m);
		return r;
	}
	*ret = m;
	return 0;
}

enum memmap_clears memmap_clears(const struct memmap *m)
{
	if (m->skel->bss->init_on_alloc < 0)
		return MEMMAP_CLEARS_UNKNOWN;
	return m->skel->bss->init_on_alloc ? MEMMAP_CLEARS : MEMMAP_CLEARS_NOT;
}

int memmap_scan(struct memmap *m, uint64_t pfn, unsigned count, uint64_t *ret_usec)
{
	uint64_t start = now_usec();
	int r;

	if (count > SCAN_CHUNK_PAGES)
		return -EINVAL;
	m->skel->bss->chunk_pfn = pfn;
	m->skel->bss->chunk_pages = count;
	r = loader_run(m->skel->progs.scan_chunk);
	if (r >= 0 && ret_usec)
		*ret_usec = now_usec() - start;
	return r;
}

static int memmap_look(struct memmap *m, int fd, uint64_t index, unsigned count, bool presence)
{
	if (count > SCAN_CHUNK_PAGES)
		return -EINVAL;
	m->skel->bss->peek_fd = fd;
	m->skel->bss->peek_presence = presence;
	m->skel->bss->chunk_pfn = index;
	m->skel->bss->chunk_pages = count;
	return loader_run(m->skel->progs.peek_range);
}

int memmap_peek(struct memmap *m, int fd, uint64_t index, unsigned count)
{
	return memmap_look(m, fd, index, count, false);
}

int memmap_presence(struct memmap *m, int fd, uint64_t index, unsigned count)
{
	return memmap_look(m, fd, index, count, true);
}

int memmap_glance(struct memmap *m, struct scan_glance *glances, unsigned count)
{
	int r;

	if (count > GLANCES_MAX)
		return -EINVAL;
	memcpy(m->skel->bss->glances, glances, count * sizeof(*glances));
	m->skel->bss->glances_count = count;
	r = loader_run(m->skel->progs.glance_all);
	if (r >= 0)
		memcpy(glances, m->skel->bss->glances, count * sizeof(*glances));
	return r;
}

const struct scan_page *memmap_pages(const struct memmap *m)
{
	return m->skel->bss->pages;
}

const uint64_t *memmap_frames(const struct memmap *m)
{
	return (const uint64_t *)m->skel->bss->page_frames;
}

const struct scan_owner *memmap_owners(const struct memmap *m, unsigned *ret_count)
{
	*ret_count = m->skel->bss->owners_count;
	return m->skel->bss->owners;
}
