/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/age.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "guest/scan.h"

#define SEEN_REFERENCED 1
#define SEEN_ACTIVE	2
#define SEEN_MASK	3
#define COUNT_SHIFT	2
#define COUNT_UNKNOWN	63
#define COUNT_MAX	62

int age_init(struct age_table *t, size_t pages)
{
	/* Anonymous memory that is never written takes none. */
	uint8_t *map = mmap(NULL, pages * 2, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return -ENOMEM;
	*t = (struct age_table){ .tags = map, .ages = map + pages, .pages = pages };
	return 0;
}

void age_done(struct age_table *t)
{
	if (t->tags)
		munmap(t->tags, t->pages * 2);
	memset(t, 0, sizeof(*t));
}

void age_scan_done(struct age_table *t)
{
	t->scans++;
}

/* Never 0, which stands for a frame that held nothing. */
static uint8_t tag_of(uint64_t inode, uint64_t index)
{
	uint64_t hash = (inode * 0x9e3779b97f4a7c15u) ^ (index * 0xc2b2ae3d27d4eb4fu);

	return (uint8_t)((hash >> 56) % 255 + 1);
}

static uint8_t seen_of(unsigned flags)
{
	return (uint8_t)((flags & SCAN_REFERENCED ? SEEN_REFERENCED : 0) |
			 (flags & (SCAN_ACTIVE | SCAN_WORKINGSET) ? SEEN_ACTIVE : 0));
}

static uint8_t count_next(const struct age_table *t, bool same, uint8_t old, uint8_t seen)
{
	uint8_t count = old >> COUNT_SHIFT;

	if (!same)
		return t->scans ? 0 : COUNT_UNKNOWN;
	if (seen & ~old & SEEN_MASK)
		return 0;
	if (count == COUNT_UNKNOWN)
		return 1;
	return count < COUNT_MAX ? count + 1 : count;
}

uint16_t age_see(struct age_table *t, size_t at, uint64_t inode, uint64_t index, unsigned flags)
{
	if (at >= t->pages)
		return AGE_UNKNOWN;

	uint8_t tag = tag_of(inode, index);
	uint8_t seen = seen_of(flags);
	uint8_t count = count_next(t, t->tags[at] == tag, t->ages[at], seen);

	t->tags[at] = tag;
	t->ages[at] = (uint8_t)(count << COUNT_SHIFT) | seen;
	if (count == COUNT_UNKNOWN || seen == (SEEN_REFERENCED | SEEN_ACTIVE))
		return AGE_UNKNOWN;
	return count;
}
