/* SPDX-License-Identifier: Apache-2.0 */
/* In place of the BPF programs: a kernel that tells what a test wants told. */
#ifndef PAGEPACT_TESTS_FAKE_KERNEL_H
#define PAGEPACT_TESTS_FAKE_KERNEL_H

#include <errno.h>
#include <sys/mman.h>

#include "guest/memmap.h"
#include "guest/watch.h"

static uint64_t added, wake_after;
/* What the next watch_drain() tells. */
static const struct watch_run *told_runs;
static unsigned told_count;
static unsigned told_evicted; /* by watch_evicted() */
static uint64_t told_lost;
/* The page that came back: of the device and inode, and from that index on; UINT64_MAX: none. */
static struct watch_run fake_returned = { .index = UINT64_MAX };

/* Of a file that is looked at, page N is in frame N if it is cached in truth; the rest is the
 * test's word. Without it, what is looked at is gone. */
#define FAKE_FRAMES 1024
struct fake_frame {
	unsigned short flags;
	struct watch_heat heat;
};
static struct fake_frame *fake_frames;

uint64_t watch_added(const struct watch *w)
{
	(void)w;
	return added;
}

void watch_wake_after(struct watch *w, uint64_t pages)
{
	(void)w;
	wake_after = pages;
}

int watch_drain(struct watch *w, int (*take)(const struct watch_run *run, void *userdata),
		void *userdata)
{
	int r = 0;

	(void)w;
	for (unsigned i = 0; i < told_count && r >= 0; i++)
		r = take(&told_runs[i], userdata);
	told_count = 0;
	return r;
}

uint64_t watch_lost(const struct watch *w)
{
	(void)w;
	return told_lost;
}

void watch_returns(const struct watch *w, struct watch_returns *ret)
{
	(void)w;
	*ret = (struct watch_returns){ 0 };
}

void watch_evicted(struct watch *w, uint32_t device, uint64_t inode, uint64_t index,
		   unsigned age_class, uint64_t now_usec)
{
	(void)w;
	(void)device;
	(void)inode;
	(void)index;
	(void)age_class;
	(void)now_usec;
	told_evicted++;
}

bool watch_came_back(const struct watch *w, uint32_t device, uint64_t inode, uint64_t index,
		     uint64_t now_usec)
{
	(void)w;
	(void)now_usec;
	return device == fake_returned.device && inode == fake_returned.inode &&
	       index >= fake_returned.index;
}

struct watch_heat watch_heat(struct watch *w, uint64_t pfn, uint64_t mapping, uint64_t index,
			     uint64_t now_usec)
{
	(void)w;
	(void)mapping;
	(void)index;
	(void)now_usec;
	return fake_frames && pfn < FAKE_FRAMES ? fake_frames[pfn].heat : (struct watch_heat){ 0 };
}

enum wire_heat watch_sensor(const struct watch *w)
{
	(void)w;
	return WIRE_HEAT_ACCESSED;
}

int watch_sense(struct watch *w, bool on)
{
	(void)w;
	(void)on;
	return 0;
}

/* Memory in which nothing is cached, or a page of another file in each frame. */
static struct scan_page fake_pages[SCAN_CHUNK_PAGES];
static struct scan_owner fake_owners[SCAN_CHUNK_PAGES];
static uint64_t fake_pfns[FAKE_FRAMES];
static unsigned fake_owners_count;
static uint64_t fake_magic; /* of the file system that these files are of; 0: nothing is cached */

static void fake_chunk(uint64_t pfn, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		fake_pages[i] = (struct scan_page){ .kind = SCAN_FILE, .owner = (uint16_t)i };
		fake_owners[i] = (struct scan_owner){ .mapping = 1 + pfn + i,
						      .inode = 1 + pfn + i,
						      .magic = fake_magic,
						      .device = 1 };
	}
	fake_owners_count = count;
}

int memmap_scan(struct memmap *m, uint64_t pfn, unsigned count, uint64_t *ret_usec)
{
	(void)m;
	if (fake_magic)
		fake_chunk(pfn, count);
	*ret_usec = 1;
	return 0;
}

int memmap_open(struct memmap **ret, char *ret_reason, size_t reason_size)
{
	(void)ret;
	(void)ret_reason;
	(void)reason_size;
	return -EOPNOTSUPP;
}

struct memmap *memmap_close(struct memmap *m)
{
	(void)m;
	return NULL;
}

const struct scan_page *memmap_pages(const struct memmap *m)
{
	(void)m;
	return fake_pages;
}

const struct scan_owner *memmap_owners(const struct memmap *m, unsigned *ret_count)
{
	(void)m;
	*ret_count = fake_owners_count;
	return fake_owners;
}

const uint64_t *memmap_frames(const struct memmap *m)
{
	(void)m;
	return fake_pfns;
}

int memmap_peek(struct memmap *m, int fd, uint64_t index, unsigned count)
{
	unsigned char cached[FAKE_FRAMES];
	void *map;

	(void)m;
	if (!fake_frames || index + count > FAKE_FRAMES)
		return -ESTALE;
	map = mmap(NULL, (size_t)count * 4096, PROT_READ, MAP_SHARED, fd, (off_t)index * 4096);
	assert_true(map != MAP_FAILED);
	assert_int_equal(mincore(map, (size_t)count * 4096, cached), 0);
	munmap(map, (size_t)count * 4096);
	for (unsigned i = 0; i < count; i++) {
		fake_pfns[i] = index + i;
		fake_pages[i] = (struct scan_page){ .index = index + i,
						    .kind = cached[i] & 1 ? SCAN_FILE : SCAN_FREE,
						    .flags = fake_frames[index + i].flags };
	}
	return 0;
}

/* What a test says has left since it was queued. */
static uint64_t gone_index = UINT64_MAX;

int memmap_glance(struct memmap *m, struct scan_glance *glances, unsigned count)
{
	(void)m;
	for (unsigned i = 0; i < count; i++)
		glances[i].there = glances[i].index != gone_index;
	return 0;
}

int memmap_presence(struct memmap *m, int fd, uint64_t index, unsigned count)
{
	return memmap_peek(m, fd, index, count);
}

#endif
