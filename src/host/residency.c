/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: the image is mapped, a window at a time, and mincore(2) asked about the mapping,
 * which is never touched: the answer is then that of the page cache. cachestat(2) is asked first
 * about each window. It has no blocks to name, but costs nearly nothing where nothing is cached, so
 * that such windows need no mincore; and it refuses where mincore would lie.
 */
#include "host/residency.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"

#define MAGIC 0x31736572u /* "res1" */

/* Of Linux 6.5, linux/mman.h; Debian 12's headers are of 6.1. The number is that of all machines.
 */
#define CACHESTAT_NUMBER 451

struct cachestat_range_ {
	uint64_t offset;
	uint64_t bytes;
};

struct cachestat_ {
	uint64_t cached;
	uint64_t dirty;
	uint64_t writeback;
	uint64_t evicted;
	uint64_t recently_evicted;
};

/* The kernel's overflowuid: an owner that has no name in this user namespace is shown as this. */
#define OVERFLOW_UID 65534

/*
 * How often two answers about a window that is in use are compared, and how far they may be apart:
 * a part of what is cached, and a few readaheads that are under way.
 */
#define SECOND_LOOKS	    3
#define DISAGREEMENT_PART   8
#define DISAGREEMENT_BLOCKS 1024

struct header {
	uint32_t magic;
	uint32_t confirmed;
	uint64_t bytes;
	uint64_t covered_blocks;
	uint64_t n_runs;
};

struct run_list {
	struct block_run *items;
	size_t n, capacity;
};

static void run_list_done(struct run_list *list)
{
	free(list->items);
}

/* Adds [start, start + count); -E2BIG when the list is full. */
static int run_list_add(struct run_list *list, uint64_t start, uint32_t count)
{
	struct block_run *last = list->n ? &list->items[list->n - 1] : NULL;

	if (last && last->start + last->count == start) {
		last->count += count;
		return 0;
	}
	if (list->n == RESIDENCY_RUNS_MAX)
		return -E2BIG;
	if (list->n == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 256;
		struct block_run *items = reallocarray(list->items, capacity, sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->n++] = (struct block_run){ (uint32_t)start, count };
	return 0;
}

/* Adds what is 1 in @cached, the blocks from @start on. */
static int run_list_add_bytes(struct run_list *list, uint64_t start, const uint8_t *cached,
			      size_t count)
{
	int r;

	for (size_t i = 0, end; i < count; i = end) {
		for (end = i + 1; end < count && cached[end] == cached[i]; end++)
			;
		if (!cached[i])
			continue;
		r = run_list_add(list, start + i, (uint32_t)(end - i));
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_whole(int fd, const void *data, size_t size)
{
	for (const char *p = data; size;) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static int write_answer(int fd, const struct header *header, const struct run_list *list)
{
	int r = write_whole(fd, header, sizeof(*header));

	return r < 0 ? r : write_whole(fd, list->items, list->n * sizeof(*list->items));
}

static uint64_t blocks_of(uint64_t bytes)
{
	return bytes / BLOCK_BYTES + (bytes % BLOCK_BYTES != 0);
}

static int open_again(int path_fd)
{
	const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, flags | O_NOATIME);
	if (fd < 0 && errno == EPERM)
		fd = open(path, flags);
	return fd < 0 ? -errno : fd;
}

int image_open(const struct image_ref *ref, uint64_t *ret_bytes)
{
	_cleanup_close_ int path_fd = -1, fd = -1;
	struct stat st;
	off_t end;

	if (sysconf(_SC_PAGESIZE) != BLOCK_BYTES)
		return -EOPNOTSUPP;
	/* Looked at before it is opened: opening a device or a FIFO can have effects. */
	path_fd = open(ref->path, O_PATH | O_CLOEXEC);
	if (path_fd < 0 || fstat(path_fd, &st) < 0)
		return -errno;
	if (st.st_dev != ref->dev || st.st_ino != ref->ino)
		return -ESTALE;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -EINVAL;
	fd = open_again(path_fd);
	if (fd < 0)
		return fd;
	end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return -errno;
	if (blocks_of((uint64_t)end) > BLOCKSET_END)
		return -EFBIG;
	*ret_bytes = (uint64_t)end;
	return TAKE_FD(fd);
}

static bool has_fowner(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return false;
	return data[CAP_TO_INDEX(CAP_FOWNER)].effective & CAP_TO_MASK(CAP_FOWNER);
}

int residency_may_ask(int fd)
{
	struct stat st;

	if (faccessat(fd, "", W_OK, AT_EACCESS | AT_EMPTY_PATH) == 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid == OVERFLOW_UID)
		return -EPERM;
	return st.st_uid == geteuid() || has_fowner() ? 0 : -EPERM;
}

int residency_read(int fd, uint64_t start, size_t count, uint8_t *ret)
{
	const size_t bytes = count * BLOCK_BYTES;
	void *map;
	int r;

	map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)(start * BLOCK_BYTES));
	if (map == MAP_FAILED)
		return -errno;
	r = RET_ERRNO(mincore(map, bytes, ret));
	munmap(map, bytes);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		ret[i] &= 1;
	return 0;
}

/*
 * A seccomp filter that does not know the call (systemd 252 does not) says EPERM, as the kernel
 * does about a file that one may not ask about. One may always ask about what one can write.
 */
static bool cachestat_is_filtered(void)
{
	_cleanup_close_ int fd = memfd_create("probe", MFD_CLOEXEC);
	struct cachestat_range_ range = { 0, BLOCK_BYTES };
	struct cachestat_ found;

	return fd < 0 || syscall(CACHESTAT_NUMBER, fd, &range, &found, 0u) < 0;
}

int residency_counts(int fd, uint64_t start, uint64_t count, struct cache_counts *ret)
{
	struct cachestat_range_ range = { start * BLOCK_BYTES, count * BLOCK_BYTES };
	struct cachestat_ found = { 0 };

	if (syscall(CACHESTAT_NUMBER, fd, &range, &found, 0u) < 0) {
		if (errno == ENOSYS || (errno == EPERM && cachestat_is_filtered()))
			return -EOPNOTSUPP;
		return -errno;
	}
	*ret = (struct cache_counts){ found.cached, found.dirty, found.writeback };
	return 0;
}

static bool agree(uint64_t one, uint64_t other)
{
	uint64_t more = one > other ? one : other, less = one > other ? other : one;

	return more - less <= DISAGREEMENT_BLOCKS + more / DISAGREEMENT_PART;
}

/*
 * Reads one window, by both ways where @confirmed; which becomes false when one is not to be had.
 * -EUCLEAN: they contradict each other and go on to do so.
 */
static int census_window(int fd, uint64_t start, size_t count, uint8_t *cached, bool *confirmed)
{
	struct cache_counts counts = { 0 };
	int r;

	for (int look = 0; look < SECOND_LOOKS; look++) {
		uint64_t n = 0;

		r = *confirmed ? residency_counts(fd, start, count, &counts) : -EOPNOTSUPP;
		if (r == -EOPNOTSUPP)
			*confirmed = false;
		else if (r < 0)
			return r;
		if (*confirmed && counts.cached == 0) {
			memset(cached, 0, count);
			return 0;
		}
		r = residency_read(fd, start, count, cached);
		if (r < 0 || !*confirmed)
			return r;
		for (size_t i = 0; i < count; i++)
			n += cached[i];
		if (agree(n, counts.cached))
			return 0;
	}
	return -EUCLEAN;
}

static int census(int fd, struct header *header, struct run_list *list)
{
	const uint64_t blocks = blocks_of(header->bytes);
	_cleanup_free_ uint8_t *cached = calloc(RESIDENCY_WINDOW_BLOCKS, 1);
	bool confirmed = true;
	size_t count;
	int r = 0;

	if (!cached)
		return -ENOMEM;
	for (uint64_t at = 0; at < blocks; at += count) {
		count = blocks - at < RESIDENCY_WINDOW_BLOCKS ? (size_t)(blocks - at)
							      : RESIDENCY_WINDOW_BLOCKS;
		r = census_window(fd, at, count, cached, &confirmed);
		if (r >= 0)
			r = run_list_add_bytes(list, at, cached, count);
		if (r < 0)
			break;
		header->covered_blocks = at + count;
	}
	header->confirmed = confirmed;
	return r;
}

/* What was listed of a window that did not fit: its end is where knowledge ends. */
static void cut(struct header *header, const struct run_list *list)
{
	const struct block_run *last = &list->items[list->n - 1];

	header->covered_blocks = (uint64_t)last->start + last->count;
}

static int answer(int out_fd, int r, struct header *header, const struct run_list *list)
{
	if (r == -E2BIG)
		cut(header, list);
	else if (r < 0)
		return r;
	header->magic = MAGIC;
	header->n_runs = list->n;
	return write_answer(out_fd, header, list);
}

int residency_census_child(int out_fd, void *arg)
{
	const struct residency_arg *asked = arg;
	_cleanup_(run_list_done) struct run_list list = { 0 };
	struct header header = { 0 };
	_cleanup_close_ int fd = -1;
	int r;

	fd = image_open(&asked->image, &header.bytes);
	if (fd < 0)
		return fd;
	r = residency_may_ask(fd);
	if (r < 0)
		return r;
	return answer(out_fd, census(fd, &header, &list), &header, &list);
}

/* Leaves in @cached what is cached; maps it, so that its unmapping counts as a use. */
static int touch_map(char *map, size_t count, uint8_t *cached)
{
	if (madvise(map, count * BLOCK_BYTES, MADV_RANDOM) < 0 ||
	    mincore(map, count * BLOCK_BYTES, cached) < 0)
		return -errno;
	for (size_t i = 0, end; i < count; i = end) {
		for (end = i + 1; end < count && (cached[end] & 1) == (cached[i] & 1); end++)
			;
		if (!(cached[i] & 1) || madvise(map + i * BLOCK_BYTES, (end - i) * BLOCK_BYTES,
						MADV_POPULATE_READ) == 0)
			continue;
		if (errno == EINVAL)
			return -EOPNOTSUPP;
		memset(cached + i, 0, end - i);
	}
	/* The kernel does not count uses through a mapping that is used at random. */
	return RET_ERRNO(madvise(map, count * BLOCK_BYTES, MADV_NORMAL));
}

/*
 * Not by preadv2(RWF_NOWAIT): where a page has the readahead mark, that starts the readahead which
 * is due there, whatever posix_fadvise() said (4,550 cached pages of a file touched: 3,864 more
 * were read from storage; Linux 6.18). A mapping with MADV_RANDOM does not.
 */
static int touch_window(int fd, uint64_t start, size_t count, uint8_t *cached)
{
	const size_t bytes = count * BLOCK_BYTES;
	void *map;
	int r;

	map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)(start * BLOCK_BYTES));
	if (map == MAP_FAILED)
		return -errno;
	r = touch_map(map, count, cached);
	munmap(map, bytes);
	for (size_t i = 0; i < count; i++)
		cached[i] &= 1;
	return r;
}

static int touch(int fd, const struct residency_touch_arg *asked, struct header *header,
		 struct run_list *list)
{
	const uint64_t blocks = blocks_of(header->bytes);
	_cleanup_free_ uint8_t *cached = calloc(RESIDENCY_WINDOW_BLOCKS, 1);
	int r;

	if (!cached)
		return -ENOMEM;
	for (size_t i = 0; i < asked->n_runs; i++) {
		uint64_t at = asked->runs[i].start, end = at + asked->runs[i].count;
		size_t count;

		for (end = end < blocks ? end : blocks; at < end; at += count) {
			count = end - at < RESIDENCY_WINDOW_BLOCKS ? (size_t)(end - at)
								   : RESIDENCY_WINDOW_BLOCKS;
			r = touch_window(fd, at, count, cached);
			if (r >= 0)
				r = run_list_add_bytes(list, at, cached, count);
			if (r < 0)
				return r;
		}
	}
	header->covered_blocks = blocks;
	return 0;
}

int residency_touch_child(int out_fd, void *arg)
{
	const struct residency_touch_arg *asked = arg;
	_cleanup_(run_list_done) struct run_list list = { 0 };
	struct header header = { 0 };
	_cleanup_close_ int fd = -1;
	int r;

	fd = image_open(&asked->image, &header.bytes);
	if (fd < 0)
		return fd;
	r = residency_may_ask(fd);
	if (r < 0)
		return r;
	return answer(out_fd, touch(fd, asked, &header, &list), &header, &list);
}

static int decode_runs(const struct header *header, const char *data, struct blockset *blocks)
{
	uint64_t end = 0;

	for (uint64_t i = 0; i < header->n_runs; i++, data += sizeof(struct block_run)) {
		struct block_run run;

		memcpy(&run, data, sizeof(run));
		if (run.start < end || run.count == 0)
			return -EBADMSG;
		end = (uint64_t)run.start + run.count;
		if (end > header->covered_blocks)
			return -EBADMSG;
		if (blockset_add(blocks, run.start, run.count) < 0)
			return -EBADMSG;
	}
	return 0;
}

int residency_decode(const void *data, size_t size, struct residency *ret)
{
	_cleanup_(blockset_freep) struct blockset *blocks = NULL;
	struct header header;
	int r;

	if (size < sizeof(header))
		return -EBADMSG;
	memcpy(&header, data, sizeof(header));
	if (header.magic != MAGIC || header.confirmed > 1 || header.n_runs > RESIDENCY_RUNS_MAX ||
	    size - sizeof(header) != header.n_runs * sizeof(struct block_run) ||
	    header.covered_blocks > blocks_of(header.bytes) || header.covered_blocks > BLOCKSET_END)
		return -EBADMSG;
	blocks = blockset_new();
	if (!blocks)
		return -ENOMEM;
	r = decode_runs(&header, (const char *)data + sizeof(header), blocks);
	if (r < 0)
		return r;
	*ret = (struct residency){
		.bytes = header.bytes,
		.covered_blocks = header.covered_blocks,
		.confirmed = header.confirmed,
		.blocks = TAKE_PTR(blocks),
	};
	return 0;
}

void residency_done(struct residency *residency)
{
	residency->blocks = blockset_free(residency->blocks);
}
