/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/census.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "guest/page.h"

#define HOT_FLAGS (SCAN_ACTIVE | SCAN_WORKINGSET)

int census_open(struct census *c, char *ret_reason, size_t reason_size)
{
	int r;

	memset(c, 0, sizeof(*c));
	mounts_init(&c->mounts, "/proc");
	r = ram_read("/proc/iomem", &c->ram);
	if (r < 0) {
		snprintf(ret_reason, reason_size, "/proc/iomem tells no System RAM: not root?");
		return r;
	}
	return memmap_open(&c->memmap, ret_reason, reason_size);
}

void census_done(struct census *c)
{
	c->memmap = memmap_close(c->memmap);
	files_reset(&c->files);
	mounts_done(&c->mounts);
}

int census_begin(struct census *c, const struct heat *heat, const struct census_ops *ops,
		 void *userdata)
{
	/* Memory may be plugged in, and out, while the agent runs. */
	int r = ram_read("/proc/iomem", &c->ram);

	if (r < 0)
		return r;
	files_reset(&c->files);
	c->heat = heat;
	c->ops = ops;
	c->userdata = userdata;
	c->totals = (struct wire_census){ 0 };
	c->superpages_spoiled = 0;
	c->disks = (struct disk_table){ .sysfs = "/sys" };
	c->disks_told = 0;
	c->runs_count = 0;
	c->began_usec = now_usec();
	walk_begin(&c->walk, c->memmap, &c->ram);
	return 0;
}

static void totals_add(struct wire_census *t, const struct scan_page *p)
{
	t->total++;
	switch (p->kind) {
	case SCAN_FREE:
		t->free++;
		break;
	case SCAN_ANONYMOUS:
		t->anonymous++;
		break;
	case SCAN_SHMEM:
		t->shmem++;
		break;
	case SCAN_SLAB:
		t->slab++;
		break;
	case SCAN_FILE:
		if (p->flags & SCAN_MAPPED)
			t->mapped_file++;
		else if (p->flags & PAGE_DIRTY_FLAGS)
			t->unmapped_dirty++;
		else
			t->unmapped_clean++;
		break;
	default:
		t->other++;
	}
}

/* Superpages that lie whole in [pfn, pfn + count). */
static int superpages_add(struct census *c, const struct scan_page *pages, uint64_t pfn,
			  unsigned count)
{
	unsigned at = (unsigned)((SUPERPAGE_PAGES - pfn % SUPERPAGE_PAGES) % SUPERPAGE_PAGES);
	struct wire_census *t = &c->totals;

	for (; at + SUPERPAGE_PAGES <= count; at += SUPERPAGE_PAGES) {
		enum superpage state = superpage_judge(&pages[at]);
		int r = 0;

		t->superpages++;
		t->superpages_free += state == SUPERPAGE_FREE;
		t->superpages_reclaimable += state >= SUPERPAGE_RECLAIMABLE;
		c->superpages_spoiled += state == SUPERPAGE_SPOILED;
		if (c->ops && c->ops->superpage)
			r = c->ops->superpage((pfn + at) / SUPERPAGE_PAGES, state, c->userdata);
		if (r < 0)
			return r;
	}
	return 0;
}

static struct wire_identity identity_of(const struct scan_owner *o)
{
	if (o->magic == FILE_SYSTEM_BDEVFS) {
		/* The inode number of a block device's pages is the device's number. */
		return (struct wire_identity){
			.device = (uint32_t)makedev((unsigned)(o->inode >> 20),
						    (unsigned)(o->inode & 0xfffff)),
			.inode = o->inode,
			.kind = WIRE_FILE_BLOCK_DEVICE,
		};
	}
	return (struct wire_identity){
		.device = (uint32_t)makedev(o->device >> 20, o->device & 0xfffff),
		.generation = o->generation,
		.inode = o->inode,
		.kind = WIRE_FILE_REGULAR,
	};
}

static enum wire_unplaced owner_unplaced(const struct scan_owner *o)
{
	if (o->magic != FILE_SYSTEM_BDEVFS && o->magic != FILE_SYSTEM_EXT4 &&
	    o->magic != FILE_SYSTEM_XFS)
		return WIRE_UNPLACED_FILE_SYSTEM;
	if (o->flags & SCAN_OWNER_LEASED)
		return WIRE_UNPLACED_LEASED;
	if (o->flags & SCAN_OWNER_WRITE_ERROR)
		return WIRE_UNPLACED_WRITE_ERROR;
	return WIRE_PLACED;
}

static enum wire_unplaced error_unplaced(int r)
{
	switch (-r) {
	case EOPNOTSUPP:
		return WIRE_UNPLACED_DEVICE;
	case EBADF:
		return WIRE_UNPLACED_ALIGNMENT;
	case E2BIG:
		return WIRE_UNPLACED_LIMIT;
	case ESTALE:
	case ENOENT:
		return WIRE_UNPLACED_GONE;
	default:
		return WIRE_UNPLACED_FAILED;
	}
}

static enum wire_unplaced file_place(struct census *c, struct file_entry *e)
{
	_cleanup_close_ int fd = -1;
	struct disk_place place;
	uint32_t room;
	int r = disk_find(&c->disks, e->identity.device, &place);

	if (r < 0)
		return r == -ENOENT ? WIRE_UNPLACED_DEVICE : error_unplaced(r);
	if (e->identity.kind == WIRE_FILE_REGULAR) {
		fd = file_open(&c->mounts, &e->identity);
		if (fd < 0)
			return error_unplaced(fd == -EOPNOTSUPP ? -EIO : fd);
	}
	struct wire_extent *items = files_extents_room(&c->files, FILE_EXTENTS_MAX, &room);
	if (!items)
		return WIRE_UNPLACED_LIMIT;
	r = file_extents(fd, &e->identity, &place, 0, UINT64_MAX, items, room);
	if (r < 0)
		return error_unplaced(r);
	e->disk = place.disk;
	e->extents_first = c->files.extents_count;
	e->extents_count = (uint32_t)r;
	c->files.extents_count += (uint32_t)r;
	return WIRE_PLACED;
}

static int disks_tell(struct census *c)
{
	for (; c->disks_told < c->disks.count; c->disks_told++) {
		int r = c->ops && c->ops->disk
				? c->ops->disk(&c->disks.disks[c->disks_told], c->userdata)
				: 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int file_tell(struct census *c, uint32_t number, const struct file_entry *e)
{
	struct wire_file file = {
		.identity = e->identity,
		.size_bytes = e->size_bytes,
		.file = number,
		.disk = e->disk,
		.unplaced = e->unplaced,
	};

	if (!c->ops || !c->ops->file)
		return 0;
	return c->ops->file(&file, c->files.extents + e->extents_first, e->extents_count,
			    c->userdata);
}

/* The number of the file that a chunk's owner is; a new one is placed and told. */
static int owner_file(struct census *c, const struct scan_owner *o)
{
	struct wire_identity identity = identity_of(o);
	bool is_new;
	int r, number = files_find(&c->files, &identity, &is_new);

	if (number < 0 || !is_new)
		return number;

	struct file_entry *e = &c->files.entries[number];

	e->size_bytes = o->size_bytes;
	e->disk = WIRE_NO_DISK;
	e->unplaced = owner_unplaced(o);
	if (e->unplaced == WIRE_PLACED)
		e->unplaced = file_place(c, e);
	c->totals.files = c->files.count;
	r = disks_tell(c);
	if (r >= 0)
		r = file_tell(c, (uint32_t)number, e);
	return r < 0 ? r : number;
}

static uint32_t run_flags(const struct scan_page *p)
{
	return (p->flags & SCAN_MAPPED ? WIRE_PAGE_MAPPED : 0) |
	       (p->flags & PAGE_DIRTY_FLAGS ? WIRE_PAGE_DIRTY : 0) |
	       (p->flags & HOT_FLAGS ? WIRE_PAGE_HOT : 0) |
	       (p->flags & SCAN_REFERENCED ? WIRE_PAGE_REFERENCED : 0) |
	       (p->flags & PAGE_HELD_FLAGS ? WIRE_PAGE_HELD : 0);
}

static void placed_add(struct census *c, const struct wire_run *run)
{
	const struct file_entry *e = &c->files.entries[run->file];

	if (e->unplaced != WIRE_PLACED) {
		c->totals.unplaced[e->unplaced] += run->count;
		return;
	}
	uint32_t placed = files_placed(&c->files, e, run->index, run->count);

	c->totals.placed += placed;
	c->totals.unplaced[WIRE_UNPLACED_ENCODED] += run->count - placed;
}

static int runs_flush(struct census *c)
{
	int r = 0;

	for (unsigned i = 0; i < c->runs_count; i++)
		placed_add(c, &c->runs[i]);
	if (c->runs_count && c->ops && c->ops->runs)
		r = c->ops->runs(c->runs, c->runs_count, c->userdata);
	c->runs_count = 0;
	return r;
}

static bool run_extend(struct wire_run *run, const struct wire_run *next)
{
	if (run->file != next->file || run->flags != next->flags || run->age != next->age ||
	    run->order != next->order || run->index + run->count != next->index)
		return false;
	run->count++;
	return true;
}

static int run_add(struct census *c, const struct wire_run *next)
{
	int r = 0;

	if (c->runs_count && run_extend(&c->runs[c->runs_count - 1], next))
		return 0;
	if (c->runs_count == WIRE_ITEMS_MAX)
		r = runs_flush(c);
	c->runs[c->runs_count++] = *next;
	return r;
}

static uint16_t page_age(const struct census *c, const struct scan_page *p,
			 const struct scan_owner *o, uint64_t frame)
{
	return c->heat ? heat_look(c->heat, p, frame - p->offset, o->mapping, c->began_usec).age_sec
		       : UINT16_MAX;
}

static int page_add(struct census *c, const struct scan_page *p, const struct scan_owner *o,
		    int file, uint64_t frame)
{
	struct file_entry *e = &c->files.entries[file];
	struct wire_run next = {
		.index = p->index,
		.file = (uint32_t)file,
		.count = 1,
		.flags = run_flags(p),
		.age = page_age(c, p, o, frame),
		.order = p->order,
	};

	e->cached_pages++;
	e->mapped_pages += (p->flags & SCAN_MAPPED) != 0;
	return run_add(c, &next);
}

static int pages_add(struct census *c)
{
	const struct scan_page *pages = memmap_pages(c->memmap);
	unsigned owners_count, last = UINT32_MAX;
	const struct scan_owner *owners = memmap_owners(c->memmap, &owners_count);
	int file = -1;

	for (unsigned i = 0; i < c->walk.count; i++) {
		const struct scan_page *p = &pages[i];
		int r;

		if (p->kind != SCAN_FILE)
			continue;
		/* The page changed hands while it was read. */
		if (p->owner >= owners_count || p->index >= WIRE_BLOCK_MAX) {
			c->totals.unplaced[WIRE_UNPLACED_FAILED]++;
			continue;
		}
		if (p->owner != last) {
			last = p->owner;
			file = owners[last].inode ? owner_file(c, &owners[last]) : -EBADF;
			if (file < 0 && file != -E2BIG && file != -EBADF)
				return file;
		}
		if (file < 0) {
			c->totals.unplaced[file == -E2BIG ? WIRE_UNPLACED_LIMIT
							  : WIRE_UNPLACED_FAILED]++;
			continue;
		}
		r = page_add(c, p, &owners[last], file, c->walk.start + i);
		if (r < 0)
			return r;
	}
	return 0;
}

static int chunk_files(struct census *c)
{
	int r = mounts_begin(&c->mounts);

	if (r >= 0)
		r = pages_add(c);
	mounts_end(&c->mounts);
	return r;
}

int census_step(struct census *c)
{
	const struct scan_page *pages = memmap_pages(c->memmap);
	int r = walk_step(&c->walk);

	if (r <= 0)
		return r < 0 ? r : runs_flush(c);
	for (unsigned i = 0; i < c->walk.count; i++)
		totals_add(&c->totals, &pages[i]);
	r = superpages_add(c, pages, c->walk.start, c->walk.count);
	if (r >= 0)
		r = chunk_files(c);
	return r < 0 ? r : 1;
}
