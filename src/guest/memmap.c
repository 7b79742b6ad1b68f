/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/memmap.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "scan.skel.h"

struct memmap {
	struct scan *skel;
};

static int memmap_log(enum libbpf_print_level level, const char *format, va_list ap)
{
	_cleanup_free_ char *text = NULL;
	char *rest = NULL;

	if (level == LIBBPF_DEBUG)
		return 0;
	if (vasprintf(&text, format, ap) < 0) {
		text = NULL;
		return 0;
	}
	/* The verifier's reasons are many lines in one message. */
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		log_debug("%s", line);
	return 0;
}

static const char *load_reason(int error)
{
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		return "the kernel has no BTF (/sys/kernel/btf/vmlinux)";
	if (error == EPERM) /* the verifier says EACCES */
		return "BPF is not permitted: not root, or the kernel is locked down";
	return "the kernel refused the scan's BPF program (--verbose shows its words)";
}

struct memmap *memmap_close(struct memmap *m)
{
	if (m)
		scan__destroy(m->skel);
	free(m);
	return NULL;
}

static int memmap_run(struct bpf_program *program)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	if (bpf_prog_test_run_opts(bpf_program__fd(program), &opts) < 0)
		return -errno;
	return opts.retval == 1 ? 0 : -EOPNOTSUPP;
}

int memmap_open(struct memmap **ret, char *ret_reason, size_t reason_size)
{
	struct memmap *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	libbpf_set_print(memmap_log);
	m->skel = scan__open();
	r = m->skel ? scan__load(m->skel) : -errno;
	if (r < 0) {
		snprintf(ret_reason, reason_size, "%s", load_reason(-r));
		memmap_close(m);
		return r;
	}
	m->skel->bss->chunk_pages = 0;
	r = memmap_run(m->skel->progs.scan_chunk);
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

int memmap_scan(struct memmap *m, uint64_t pfn, unsigned count, uint64_t *ret_usec)
{
	uint64_t start = now_usec();
	int r;

	if (count > SCAN_CHUNK_PAGES)
		return -EINVAL;
	m->skel->bss->chunk_pfn = pfn;
	m->skel->bss->chunk_pages = count;
	r = memmap_run(m->skel->progs.scan_chunk);
	if (r >= 0 && ret_usec)
		*ret_usec = now_usec() - start;
	return r;
}

int memmap_peek(struct memmap *m, int fd, uint64_t index, unsigned count)
{
	if (count > SCAN_CHUNK_PAGES)
		return -EINVAL;
	m->skel->bss->peek_fd = fd;
	m->skel->bss->chunk_pfn = index;
	m->skel->bss->chunk_pages = count;
	return memmap_run(m->skel->progs.peek_range);
}

const struct scan_page *memmap_pages(const struct memmap *m)
{
	return m->skel->bss->pages;
}

const struct scan_owner *memmap_owners(const struct memmap *m, unsigned *ret_count)
{
	*ret_count = m->skel->bss->owners_count;
	return m->skel->bss->owners;
}
