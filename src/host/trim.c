/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works, for each piece of a run: look what is cached, leave out what is dirty, and ask the
 * kernel to forget the rest by posix_fadvise(DONTNEED). That drops a large folio only where the
 * piece covers all of it. What is still cached then is mapped and paged out, for which the kernel
 * splits folios at the piece's edges. Both calls would write dirty pages: they never see one, but
 * for a page that becomes dirty in the very moment between two calls, which is then written a
 * little early and loses nothing.
 *
 * Only what is cached is ever mapped: nothing is read from storage. What happened is learned by
 * looking again, not from what the calls return.
 */
#include "host/trim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define MAGIC 0x316d7274u /* "trm1" */

/* /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_PFN	((1ull << 55) - 1)
#define PAGEMAP_BATCH	512

/* Far more than the pages of any folio of the page cache (MAX_PAGECACHE_ORDER). */
#define FOLIO_PAGES_MAX (1u << 14)

enum page_state {
	PAGE_GONE,
	PAGE_CACHED,
	PAGE_DIRTY,
};

struct answer {
	uint32_t magic;
	uint32_t reserved;
	struct trim_result result;
};

struct trim {
	int fd;
	uint64_t blocks;
	bool use_cachestat;
	int pagemap_fd; /* where it is not used */
	int kpageflags_fd;
	uint8_t *states;
	uint8_t *look;
	struct trim_result result;
};

/* One mapped stretch of at most RESIDENCY_WINDOW_BLOCKS. */
struct piece {
	uint64_t start;
	size_t count;
	char *map;
};

static void trim_done(struct trim *trim)
{
	close_p(&trim->fd);
	close_p(&trim->pagemap_fd);
	close_p(&trim->kpageflags_fd);
	free(trim->states);
	free(trim->look);
}

/* [*start, *end): the next pages in @state, from *end on. */
static bool next_stretch(const uint8_t *states, size_t count, uint8_t state, size_t *start,
			 size_t *end)
{
	const uint8_t *first = *end < count ? memchr(states + *end, state, count - *end) : NULL;

	if (!first)
		return false;
	*start = (size_t)(first - states);
	for (*end = *start + 1; *end < count && states[*end] == state; (*end)++)
		;
	return true;
}

static int advise(const struct piece *piece, size_t start, size_t end, int advice)
{
	return RET_ERRNO(
		madvise(piece->map + start * BLOCK_BYTES, (end - start) * BLOCK_BYTES, advice));
}

/* Halves what has something dirty in it until the pages are known. */
static int find_dirty(const struct trim *trim, const struct piece *piece, size_t start, size_t end)
{
	struct cache_counts counts;
	int r;

	r = residency_counts(trim->fd, piece->start + start, end - start, &counts);
	if (r < 0)
		return r;
	if (counts.dirty + counts.writeback == 0)
		return 0;
	if (end - start == 1 || counts.dirty == end - start) {
		memset(trim->states + start, PAGE_DIRTY, end - start);
		return 0;
	}
	r = find_dirty(trim, piece, start, start + (end - start) / 2);
	return r < 0 ? r : find_dirty(trim, piece, start + (end - start) / 2, end);
}

static int read_u64(int fd, uint64_t index, uint64_t *ret)
{
	ssize_t n = pread(fd, ret, sizeof(*ret), (off_t)(index * sizeof(*ret)));

	return n == (ssize_t)sizeof(*ret) ? 0 : n < 0 ? -errno : -EIO;
}

/* Only the first page of a folio has the flags of all of it, up to Linux 6.8 at least. */
static int folio_flags(int fd, uint64_t pfn, uint64_t *ret)
{
	uint64_t flags;
	int r;

	for (unsigned int i = 0; i < FOLIO_PAGES_MAX && i <= pfn; i++) {
		r = read_u64(fd, pfn - i, &flags);
		if (r < 0)
			return r;
		if (!(flags & 1ull << KPF_COMPOUND_TAIL)) {
			*ret = flags;
			return 0;
		}
	}
	return -EIO;
}

/* Marks the dirty ones of mapped pages; @entries are theirs in pagemap. */
static int mark_by_flags(const struct trim *trim, const uint64_t *entries, size_t n,
			 uint8_t *states)
{
	const uint64_t dirty = 1ull << KPF_DIRTY | 1ull << KPF_WRITEBACK;
	uint64_t flags = 0, last_pfn = 0, own;
	int r;

	for (size_t i = 0; i < n; i++) {
		uint64_t pfn = entries[i] & PAGEMAP_PFN;

		if (!(entries[i] & PAGEMAP_PRESENT))
			continue;
		if (pfn == 0) /* hidden from those without CAP_SYS_ADMIN */
			return -EOPNOTSUPP;
		r = read_u64(trim->kpageflags_fd, pfn, &own);
		if (r < 0)
			return r;
		if (!(own & 1ull << KPF_COMPOUND_TAIL))
			flags = own;
		else if (pfn != last_pfn + 1)
			r = folio_flags(trim->kpageflags_fd, pfn, &flags);
		if (r < 0)
			return r;
		last_pfn = pfn;
		if ((flags | own) & dirty)
			states[i] = PAGE_DIRTY;
	}
	return 0;
}

static int find_dirty_by_flags(const struct trim *trim, const struct piece *piece, size_t start,
			       size_t end)
{
	uint64_t entries[PAGEMAP_BATCH];
	int r;

	r = advise(piece, start, end, MADV_POPULATE_READ);
	for (size_t at = start, n; r >= 0 && at < end; at += n) {
		uint64_t index = (uintptr_t)piece->map / BLOCK_BYTES + at;

		n = end - at < PAGEMAP_BATCH ? end - at : PAGEMAP_BATCH;
		if (pread(trim->pagemap_fd, entries, n * sizeof(*entries),
			  (off_t)(index * sizeof(*entries))) != (ssize_t)(n * sizeof(*entries)))
			r = -EOPNOTSUPP;
		else
			r = mark_by_flags(trim, entries, n, trim->states + at);
	}
	(void)advise(piece, start, end, MADV_DONTNEED);
	return r;
}

/* Takes dirty pages out of [start, end), which are all PAGE_CACHED. */
static int leave_dirty(const struct trim *trim, const struct piece *piece, size_t start, size_t end)
{
	if (trim->use_cachestat)
		return find_dirty(trim, piece, start, end);
	return find_dirty_by_flags(trim, piece, start, end);
}

static void forget(const struct trim *trim, const struct piece *piece, size_t start, size_t end)
{
	(void)posix_fadvise(trim->fd, (off_t)((piece->start + start) * BLOCK_BYTES),
			    (off_t)((end - start) * BLOCK_BYTES), POSIX_FADV_DONTNEED);
}

static int look_again(const struct trim *trim, const struct piece *piece)
{
	if (mincore(piece->map, piece->count * BLOCK_BYTES, trim->look) < 0)
		return -errno;
	for (size_t i = 0; i < piece->count; i++)
		trim->look[i] = (trim->look[i] & 1) && trim->states[i] == PAGE_CACHED;
	return 0;
}

/* Pages [start, end), parts of large folios: mapped for a moment, so that paging out splits. */
static int page_out(const struct trim *trim, const struct piece *piece, size_t start, size_t end)
{
	size_t at, until = start;
	int r;

	r = leave_dirty(trim, piece, start, end);
	if (r < 0)
		return r;
	while (next_stretch(trim->states, end, PAGE_CACHED, &at, &until)) {
		if (advise(piece, at, until, MADV_POPULATE_READ) < 0)
			continue;
		(void)advise(piece, at, until, MADV_PAGEOUT);
		(void)advise(piece, at, until, MADV_DONTNEED);
		forget(trim, piece, at, until);
	}
	return 0;
}

static int evict(const struct trim *trim, const struct piece *piece)
{
	size_t start, end = 0;
	int r;

	while (next_stretch(trim->states, piece->count, PAGE_CACHED, &start, &end)) {
		r = leave_dirty(trim, piece, start, end);
		if (r < 0)
			return r;
	}
	for (end = 0; next_stretch(trim->states, piece->count, PAGE_CACHED, &start, &end);)
		forget(trim, piece, start, end);
	r = look_again(trim, piece);
	for (end = 0; r >= 0 && next_stretch(trim->look, piece->count, 1, &start, &end);)
		r = page_out(trim, piece, start, end);
	return r < 0 ? r : look_again(trim, piece);
}

static void count(struct trim *trim, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (trim->states[i] == PAGE_GONE)
			trim->result.kept_gone_pages++;
		else if (trim->states[i] == PAGE_DIRTY)
			trim->result.kept_dirty_pages++;
		else if (trim->look[i])
			trim->result.kept_failed_pages++;
		else
			trim->result.trimmed_pages++;
	}
}

static int trim_piece(struct trim *trim, uint64_t start, size_t n)
{
	struct piece piece = { start, n, NULL };
	int r;

	piece.map = mmap(NULL, n * BLOCK_BYTES, PROT_READ, MAP_SHARED, trim->fd,
			 (off_t)(start * BLOCK_BYTES));
	if (piece.map == MAP_FAILED)
		return -errno;
	/* No readahead, and no mark of use on what is mapped for a moment and stays. */
	r = advise(&piece, 0, n, MADV_RANDOM);
	if (r >= 0)
		r = RET_ERRNO(mincore(piece.map, n * BLOCK_BYTES, trim->states));
	for (size_t i = 0; i < n; i++)
		trim->states[i] = trim->states[i] & 1 ? PAGE_CACHED : PAGE_GONE;
	if (r >= 0)
		r = evict(trim, &piece);
	munmap(piece.map, n * BLOCK_BYTES);
	if (r >= 0)
		count(trim, n);
	return r;
}

static int trim_runs(struct trim *trim, const struct block_run *runs, size_t n_runs)
{
	int r;

	for (size_t i = 0; i < n_runs; i++) {
		uint64_t at = runs[i].start, end = at + runs[i].count;

		trim->result.asked_pages += runs[i].count;
		if (end > trim->blocks) {
			trim->result.kept_gone_pages +=
				end - (at > trim->blocks ? at : trim->blocks);
			end = trim->blocks;
		}
		for (size_t n; at < end; at += n) {
			n = end - at < RESIDENCY_WINDOW_BLOCKS ? (size_t)(end - at)
							       : RESIDENCY_WINDOW_BLOCKS;
			r = trim_piece(trim, at, n);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/*
 * A page whose writing has failed is marked clean. The kernel tells of such a failure once, to each
 * who has the file open, and to the first who opens it later; nothing is waited for beyond the end.
 */
static int check_writes(int fd, uint64_t bytes)
{
	off_t end = (off_t)((bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES);

	return sync_file_range(fd, end, BLOCK_BYTES, SYNC_FILE_RANGE_WAIT_BEFORE) < 0 ? -EIO : 0;
}

static int trim_begin(struct trim *trim, const struct trim_arg *asked)
{
	struct cache_counts counts;
	uint64_t bytes;
	int r;

	trim->fd = image_open(&asked->image, &bytes);
	if (trim->fd < 0)
		return trim->fd;
	trim->blocks = (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
	r = residency_may_ask(trim->fd);
	if (r >= 0)
		r = check_writes(trim->fd, bytes);
	if (r < 0)
		return r;
	r = asked->no_cachestat ? -EOPNOTSUPP : residency_counts(trim->fd, 0, 1, &counts);
	trim->use_cachestat = r >= 0;
	if (r == -EOPNOTSUPP) {
		trim->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
		trim->kpageflags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
		r = trim->pagemap_fd < 0 || trim->kpageflags_fd < 0 ? -EOPNOTSUPP : 0;
	}
	trim->states = calloc(RESIDENCY_WINDOW_BLOCKS, 1);
	trim->look = calloc(RESIDENCY_WINDOW_BLOCKS, 1);
	return r < 0 ? r : trim->states && trim->look ? 0 : -ENOMEM;
}

int trim_child(int out_fd, void *arg)
{
	const struct trim_arg *asked = arg;
	_cleanup_(trim_done) struct trim trim = { .fd = -1, .pagemap_fd = -1, .kpageflags_fd = -1 };
	struct answer answer = { .magic = MAGIC };
	uint64_t begin = now_usec();
	int r;

	r = trim_begin(&trim, asked);
	if (r >= 0)
		r = trim_runs(&trim, asked->runs, asked->n_runs);
	if (r < 0)
		return r;
	trim.result.usec = now_usec() - begin;
	answer.result = trim.result;
	/* Less than PIPE_BUF: a pipe takes it whole. */
	return write(out_fd, &answer, sizeof(answer)) == (ssize_t)sizeof(answer) ? 0 : -EIO;
}

int trim_decode(const void *data, size_t size, struct trim_result *ret)
{
	struct answer answer;
	uint64_t parts;

	if (size != sizeof(answer))
		return -EBADMSG;
	memcpy(&answer, data, sizeof(answer));
	if (answer.magic != MAGIC ||
	    __builtin_add_overflow(answer.result.trimmed_pages, answer.result.kept_dirty_pages,
				   &parts) ||
	    __builtin_add_overflow(parts, answer.result.kept_gone_pages, &parts) ||
	    __builtin_add_overflow(parts, answer.result.kept_failed_pages, &parts) ||
	    parts != answer.result.asked_pages)
		return -EBADMSG;
	*ret = answer.result;
	return 0;
}
