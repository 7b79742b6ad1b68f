/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kernel-page-flags.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/read.h"
#include "guest/superpage.h"

#define SIZES	   "/sys/kernel/mm/hugepages"
#define OURS	   SIZES "/hugepages-2048kB"
#define OVERCOMMIT OURS "/nr_overcommit_hugepages"
#define TEXT_MAX   65536
#define MODE_NEVER 2 /* of vm.overcommit_memory */
/* At once: some 10 ms where they are cleared. */
#define PIECE 16
/* Between two times; it takes 0.2 s of an emulated CPU for 2 GiB. */
#define COMPACT_USEC (60 * (uint64_t)USEC_PER_SEC)
/* The buddy allocator's, of 2 MiB and of 4 MiB (pageblock_order, MAX_ORDER). */
#define ORDER_SUPERPAGE 9
#define ORDERS		11

static int number_read(const char *path, uint64_t *ret)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");

	if (!f)
		return -errno;
	return fscanf(f, "%" SCNu64, ret) == 1 ? 0 : -EBADMSG;
}

static int overcommit_write(uint64_t superpages)
{
	_cleanup_close_ int fd = open(OVERCOMMIT, O_WRONLY | O_CLOEXEC);
	char text[32];
	int n = snprintf(text, sizeof(text), "%" PRIu64, superpages);

	if (fd < 0)
		return -errno;
	return write(fd, text, (size_t)n) == n ? 0 : -errno;
}

/* Where that cannot be, nothing is raised. */
static int mark(void)
{
	int fd;

	if (mkdir(POOL_FOLDER, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = open(POOL_MARK, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	return RET_ERRNO(close(fd));
}

/* It was 0 before, or nothing would have been taken. */
static int overcommit_back(void)
{
	int r = overcommit_write(0);

	if (r >= 0)
		(void)unlink(POOL_MARK);
	return r;
}

/* Of other sizes: what lies where cannot be told apart by the flags of a page. */
static uint64_t others_count(void)
{
	_cleanup_closedir_ DIR *dir = opendir(SIZES);
	uint64_t sum = 0, n;

	for (struct dirent *e; dir && (e = readdir(dir));) {
		char path[sizeof(SIZES) + sizeof(e->d_name) + sizeof("/nr_hugepages")];

		snprintf(path, sizeof(path), SIZES "/%s/nr_hugepages", e->d_name);
		if (strncmp(e->d_name, "hugepages-", strlen("hugepages-")) == 0 &&
		    strcmp(e->d_name, "hugepages-2048kB") != 0 && number_read(path, &n) == 0)
			sum += n;
	}
	return sum;
}

bool pool_is_disturbed(const struct pool *p)
{
	uint64_t all, surplus, overcommit, mode;

	if (number_read(OURS "/nr_hugepages", &all) < 0 ||
	    number_read(OURS "/surplus_hugepages", &surplus) < 0 ||
	    number_read(OVERCOMMIT, &overcommit) < 0 ||
	    number_read("/proc/sys/vm/overcommit_memory", &mode) < 0)
		return true;
	return mode == MODE_NEVER || all != p->superpages || surplus != p->superpages ||
	       overcommit || others_count();
}

static int refuse(struct pool *p, int error, const char *text, char *why, size_t why_size)
{
	pool_close(p);
	snprintf(why, why_size, "%s", text);
	return error;
}

int pool_open(struct pool *p, bool clears, char *why, size_t why_size)
{
	uint64_t mode, all;

	*p = (struct pool){ .fd = -1, .flags_fd = -1, .clears = clears };
	if (access(POOL_MARK, F_OK) == 0)
		(void)overcommit_back();
	if (number_read(OURS "/nr_hugepages", &all) < 0)
		return refuse(p, -EOPNOTSUPP, "its kernel has no huge pages of 2 MiB", why,
			      why_size);
	if (number_read("/proc/sys/vm/overcommit_memory", &mode) < 0 || mode == MODE_NEVER)
		return refuse(p, -EOPNOTSUPP,
			      "vm.overcommit_memory is 2: what is out of use would be missing from "
			      "what programs are promised",
			      why, why_size);
	if (pool_is_disturbed(p))
		return refuse(p, -EBUSY,
			      "it uses huge pages itself, or may (vm.nr_hugepages, "
			      "vm.nr_overcommit_hugepages)",
			      why, why_size);
	p->flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (p->flags_fd < 0)
		return refuse(p, -EOPNOTSUPP, "its kernel has no /proc/kpageflags", why, why_size);
	p->fd = memfd_create("pagepact-superpages", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	if (p->fd < 0)
		return refuse(p, -errno, "its kernel makes no file of huge pages", why, why_size);
	return 0;
}

void pool_close(struct pool *p)
{
	close_p(&p->fd);
	close_p(&p->flags_fd);
	free(p->numbers);
	*p = (struct pool){ .fd = -1, .flags_fd = -1 };
}

static bool is_huge(const struct pool *p, uint64_t frame)
{
	const uint64_t head = 1ull << KPF_HUGE | 1ull << KPF_COMPOUND_HEAD;
	uint64_t flags;

	return pread(p->flags_fd, &flags, sizeof(flags), (off_t)(frame * sizeof(flags))) ==
		       sizeof(flags) &&
	       (flags & head) == head;
}

/* Of those in a range as far as there is room for more. */
static void range_find(struct pool *p, const struct ram_range *range)
{
	uint64_t first = (range->start + SUPERPAGE_PAGES - 1) / SUPERPAGE_PAGES;
	uint64_t end = (range->start + range->count) / SUPERPAGE_PAGES;

	for (uint64_t n = first; n < end && p->count < p->superpages; n++)
		if (is_huge(p, n * SUPERPAGE_PAGES))
			p->numbers[p->count++] = n;
}

/* Where they are not found they are out of use all the same. */
static void find(struct pool *p, const struct ram *ram)
{
	free(p->numbers);
	p->count = 0;
	p->numbers = p->superpages ? calloc(p->superpages, sizeof(*p->numbers)) : NULL;
	for (unsigned i = 0; p->numbers && i < ram->count; i++)
		range_find(p, &ram->ranges[i]);
}

uint64_t pool_whole(const char *buddyinfo)
{
	uint64_t whole = 0;

	for (const char *line = buddyinfo; line && *line; line = strchr(line, '\n')) {
		uint64_t blocks;
		char zone[16];
		int at = 0, n;

		line += *line == '\n';
		/* That zone is kept from everybody who can use another. */
		if (sscanf(line, "Node %*u, zone %15s%n", zone, &at) != 1 || !at ||
		    strcmp(zone, "DMA") == 0)
			continue;
		for (int order = 0; order < ORDERS; order++, at += n) {
			if (sscanf(line + at, "%*[ ]%" SCNu64 "%n", &blocks, &n) != 1)
				break;
			if (order >= ORDER_SUPERPAGE)
				whole += blocks << (order - ORDER_SUPERPAGE);
		}
	}
	return whole;
}

uint64_t pool_free_superpages(void)
{
	_cleanup_free_ char *text = NULL;
	size_t size;

	if (read_file(AT_FDCWD, "/proc/buddyinfo", TEXT_MAX, &text, &size) != 0)
		return 0;
	return pool_whole(text);
}

/* It also merges what each CPU keeps for itself, of which 6.12 keeps up to 8 MiB. */
static void compact(struct pool *p)
{
	_cleanup_close_ int fd = -1;
	uint64_t now = now_usec();

	if (p->compacted_usec && now < p->compacted_usec + COMPACT_USEC)
		return;
	p->compacted_usec = now;
	fd = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "1", 1) < 0)
		log_debug("Memory is not compacted: %s", strerror(errno));
}

/* The last few the kernel may make whole itself: what each CPU keeps is not among the free ones,
 * superpages of its own among it. */
static uint64_t most(struct pool *p, uint64_t count, uint64_t spare_bytes)
{
	uint64_t spare = spare_bytes / WIRE_SUPERPAGE_BYTES, wanted = count < spare ? count : spare;
	uint64_t whole = pool_free_superpages();

	if (whole + PIECE < wanted) {
		compact(p);
		whole = pool_free_superpages();
	}
	whole += PIECE;
	return whole < wanted ? whole : wanted;
}

/* What is beyond is free at once, reserved or allocated. It fails for no file of ours. */
static void cut(struct pool *p, uint64_t superpages)
{
	if (ftruncate(p->fd, (off_t)(superpages * WIRE_SUPERPAGE_BYTES)) == 0)
		p->superpages = superpages;
}

/* What is mapped is reserved, and stays so without the mapping. */
static int reserve(struct pool *p, uint64_t count)
{
	off_t from = (off_t)(p->superpages * WIRE_SUPERPAGE_BYTES);
	size_t length = count * WIRE_SUPERPAGE_BYTES;
	void *at;
	int r = 0;

	if (ftruncate(p->fd, from + (off_t)length) < 0)
		return -errno;
	at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, from);
	if (at == MAP_FAILED)
		r = -errno;
	else
		(void)munmap(at, length);
	if (r == 0 && !p->clears && fallocate(p->fd, 0, from, (off_t)length) < 0)
		r = -errno;
	if (r < 0)
		cut(p, p->superpages);
	else
		p->superpages += count;
	return r;
}

/* Whoever else asks for huge pages in this moment is given what we are refused then. */
static int piece_take(struct pool *p, uint64_t count)
{
	int r = mark(), back;

	if (r >= 0)
		r = overcommit_write(p->superpages + count);
	if (r >= 0)
		r = reserve(p, count);
	back = overcommit_back();
	return r < 0 ? r : back;
}

/* How many of them fit into so many runs. */
static uint64_t fitting(const struct pool *p, uint32_t max)
{
	uint32_t runs = 0;
	uint64_t i;

	for (i = 0; i < p->count; i++) {
		runs += !i || p->numbers[i] != p->numbers[i - 1] + 1;
		if (runs > max)
			break;
	}
	return i;
}

/* What cannot be told to the host is of no use to it. Return: whether some were too many. */
static bool tellable_keep(struct pool *p, const struct ram *ram)
{
	bool cut_any = false;

	for (uint64_t n; (n = fitting(p, WIRE_ITEMS_MAX)) < p->superpages; cut_any = true)
		pool_keep(p, ram, n);
	return cut_any;
}

enum wire_untaken pool_take(struct pool *p, const struct ram *ram, uint64_t count,
			    uint64_t spare_bytes, uint64_t until_usec)
{
	enum wire_untaken untaken = WIRE_UNTAKEN_NONE;
	uint64_t left, had = most(p, count, spare_bytes), piece = PIECE;

	if (pool_is_disturbed(p)) {
		pool_keep(p, ram, 0);
		return WIRE_UNTAKEN_HUGETLB;
	}
	for (left = had; left && !untaken;) {
		uint64_t now = left < piece ? left : piece;
		int r = piece_take(p, now);

		if (r >= 0)
			left -= now;
		else if (r == -ENOMEM && piece > 1)
			piece /= 2;
		else
			untaken = r == -ENOMEM ? WIRE_UNTAKEN_SCARCE : WIRE_UNTAKEN_FAILED;
		if (left && !untaken && now_usec() >= until_usec)
			untaken = WIRE_UNTAKEN_TIME;
	}
	if (!untaken && had < count)
		untaken = WIRE_UNTAKEN_SCARCE;
	find(p, ram);
	if (tellable_keep(p, ram))
		untaken = WIRE_UNTAKEN_SCARCE;
	return untaken;
}

void pool_keep(struct pool *p, const struct ram *ram, uint64_t superpages)
{
	if (superpages >= p->superpages)
		return;
	cut(p, superpages);
	find(p, ram);
}

uint32_t pool_runs(const struct pool *p, struct wire_superpages *ret, uint32_t max)
{
	uint32_t n = 0;

	for (uint64_t i = 0; i < p->count; i++) {
		if (n && ret[n - 1].start + ret[n - 1].count == p->numbers[i]) {
			ret[n - 1].count++;
			continue;
		}
		if (n == max)
			break;
		ret[n++] = (struct wire_superpages){ .start = p->numbers[i], .count = 1 };
	}
	return n;
}
