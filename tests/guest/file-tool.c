/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens files by what the scan tells of them, for tests: commands are lines of standard input, each
 * answered by a line of JSON.
 *
 *   scan       forget what is known, and learn all files of which pages are cached
 *   peek PATH  learn this file
 *   open       open and close again, in one batch, all that is known; tell what came of it
 *   evict      the same, and ask the kernel to drop each file's clean pages
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "guest/file.h"
#include "guest/memmap.h"
#include "guest/mounts.h"
#include "guest/ram.h"

#define KEYS_MAX 32768
#define SLOTS	 (4 * KEYS_MAX)
#define HEAD_MAX 32

static struct {
	struct file_key key;
	unsigned pages;
} known[KEYS_MAX];
static unsigned known_count;
static unsigned slots[SLOTS]; /* by mapping; one more than the index into known */
static struct memmap *memmap;
static struct mounts mounts;

static void owner_learn(const struct scan_owner *o)
{
	size_t slot = o->mapping / 64 % SLOTS;

	while (slots[slot] && known[slots[slot] - 1].key.mapping != o->mapping)
		slot = (slot + 1) % SLOTS;
	if (!slots[slot]) {
		if (known_count == KEYS_MAX)
			return;
		known[known_count].pages = 0;
		known[known_count].key = (struct file_key){
			.mapping = o->mapping,
			.inode = o->inode,
			.magic = o->magic,
			.device = o->device,
			.generation = o->generation,
		};
		slots[slot] = ++known_count;
	}
	known[slots[slot] - 1].pages++;
}

static int chunk_learn(uint64_t pfn, unsigned count)
{
	int r = memmap_scan(memmap, pfn, count, NULL);
	const struct scan_page *pages = memmap_pages(memmap);
	unsigned owners_count;
	const struct scan_owner *owners = memmap_owners(memmap, &owners_count);

	for (unsigned i = 0; i < count && r >= 0; i++)
		if (pages[i].kind == SCAN_FILE && pages[i].owner < owners_count)
			owner_learn(&owners[pages[i].owner]);
	return r;
}

static int scan(void)
{
	struct ram ram;
	int r = ram_read("/proc/iomem", &ram);

	known_count = 0;
	memset(slots, 0, sizeof(slots));
	for (unsigned i = 0; i < ram.count && r >= 0; i++) {
		uint64_t end = ram.ranges[i].start + ram.ranges[i].count, pfn = ram.ranges[i].start;

		for (unsigned n; pfn < end && r >= 0; pfn += n) {
			n = end - pfn < SCAN_CHUNK_PAGES ? (unsigned)(end - pfn) : SCAN_CHUNK_PAGES;
			r = chunk_learn(pfn, n);
		}
	}
	return r;
}

static int peek(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned count;
	int r = fd < 0 ? -errno : memmap_peek(memmap, fd, 0, 0);

	if (r >= 0)
		owner_learn(memmap_owners(memmap, &count));
	return r;
}

static unsigned pages_cached(int fd)
{
	unsigned count = 0;

	if (memmap_peek(memmap, fd, 0, SCAN_CHUNK_PAGES) < 0)
		return 0;
	for (unsigned i = 0; i < SCAN_CHUNK_PAGES; i++)
		count += memmap_pages(memmap)[i].kind == SCAN_FILE;
	return count;
}

static uint64_t now_nsec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void tell_open(int fd, bool evict)
{
	uint8_t head[HEAD_MAX];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	printf(", \"st_dev\": %ju, \"st_ino\": %ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	printf(", \"writable\": %s",
	       (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY ? "true" : "false");
	if (evict) {
		unsigned before = pages_cached(fd);

		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		printf(", \"before\": %u, \"after\": %u", before, pages_cached(fd));
	} else {
		ssize_t n = pread(fd, head, sizeof(head), 0);

		printf(", \"head\": \"");
		for (ssize_t i = 0; i < n; i++)
			printf("%02x", head[i]);
		printf("\"");
	}
}

static int open_all(bool evict)
{
	uint64_t start = now_nsec();
	int r = mounts_begin(&mounts);

	printf("{\"begin\": %d, \"begin_nsec\": %ju, \"files\": [", r,
	       (uintmax_t)(now_nsec() - start));
	for (unsigned i = 0; i < known_count && r >= 0; i++) {
		const struct file_key *key = &known[i].key;

		start = now_nsec();
		_cleanup_close_ int fd = file_open_key(memmap, &mounts, key);
		uint64_t nsec = now_nsec() - start;

		printf("%s{\"magic\": %ju, \"device\": %u, \"inode\": %ju, \"generation\": %u, "
		       "\"pages\": %u, \"status\": %d, \"nsec\": %ju",
		       i ? ", " : "", (uintmax_t)key->magic, key->device, (uintmax_t)key->inode,
		       key->generation, known[i].pages, fd < 0 ? -fd : 0, (uintmax_t)nsec);
		if (fd >= 0)
			tell_open(fd, evict);
		printf("}");
	}
	mounts_end(&mounts);
	printf("]}\n");
	return 0;
}

static int command(const char *line)
{
	int r;

	if (strcmp(line, "open") == 0 || strcmp(line, "evict") == 0)
		return open_all(line[0] == 'e');
	if (strcmp(line, "scan") == 0)
		r = scan();
	else if (strncmp(line, "peek ", 5) == 0)
		r = peek(line + 5);
	else
		r = -EINVAL;
	printf("{\"status\": %d, \"known\": %u}\n", r < 0 ? -r : 0, known_count);
	return r;
}

int main(void)
{
	char line[4200], reason[192];

	if (memmap_open(&memmap, reason, sizeof(reason)) < 0) {
		fprintf(stderr, "%s\n", reason);
		return 1;
	}
	mounts_init(&mounts, "/proc");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		(void)command(line);
		fflush(stdout);
	}
	mounts_done(&mounts);
	memmap = memmap_close(memmap);
	return 0;
}
