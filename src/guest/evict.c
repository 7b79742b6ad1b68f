/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/evict.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "guest/piece.h"

/* As for a request to free memory: the host takes an agent for silent that answers nothing for 15
 * s. */
#define ORDER_USEC_MAX 5000000u

/* One order, while it is worked on. */
struct order {
	const struct wire_evict *message;
	const struct heat *heat;
	struct memmap *memmap;
	struct disk_place place;
	uint64_t mapping; /* of the file */
	uint64_t now_usec;
	struct piece piece;
	bool located[PIECE_PAGES];
	struct wire_extent extents[PIECE_PAGES]; /* each has at least one page of the piece */
};

/* Which pages lie on the blocks that the host counts with. */
static int order_locate(struct order *o, uint64_t block)
{
	const struct piece *piece = &o->piece;
	uint64_t end = piece->index + piece->count;
	int n = file_extents(piece->fd, &o->message->identity, &o->place, piece->index,
			     piece->count, o->extents, PIECE_PAGES);

	if (n < 0)
		return n;
	memset(o->located, 0, sizeof(o->located));
	for (const struct wire_extent *e = o->extents; e < o->extents + n; e++) {
		if (e->block - e->index != block - piece->index)
			continue;
		uint64_t i = e->index > piece->index ? e->index : piece->index;

		for (; i < end && i < e->index + e->count; i++)
			o->located[i - piece->index] = true;
	}
	return 0;
}

static enum fate order_judge(unsigned i, const struct scan_page *page, uint64_t frame,
			     void *userdata)
{
	const struct order *o = userdata;

	if (!o->located[i])
		return FATE_MOVED;
	return heat_look(o->heat, page, frame, o->mapping, o->now_usec).hot ? FATE_HOT
									    : FATE_EVICTED;
}

static int identity_check(const struct wire_identity *identity, const struct scan_owner *owner)
{
	return identity->kind == WIRE_FILE_BLOCK_DEVICE || owner->generation == identity->generation
		       ? 0
		       : -ESTALE;
}

static int owner_check(const struct scan_owner *owner)
{
	return owner->flags & SCAN_OWNER_BUSY ? -EBUSY : 0;
}

static int order_check(const struct scan_owner *owner, void *userdata)
{
	struct order *o = userdata;
	int r = identity_check(&o->message->identity, owner);

	o->mapping = owner->mapping;
	return r < 0 ? r : owner_check(owner);
}

/* Each page counts once. */
static void fates_count(const struct order *o, struct wire_result *ret)
{
	for (unsigned i = 0; i < o->piece.count; i++) {
		uint8_t fate = o->piece.fates[i];

		/* What is not where the host believes is none of its business. */
		if (!o->located[i] || fate == FATE_MOVED) {
			ret->kept_moved++;
			continue;
		}
		ret->evicted += fate == FATE_EVICTED;
		ret->kept_gone += fate == FATE_GONE;
		ret->kept_mapped += fate == FATE_MAPPED;
		ret->kept_dirty += fate == FATE_DIRTY;
		ret->kept_hot += fate == FATE_HOT;
		ret->kept_partial += fate == FATE_PART;
		ret->kept_failed += fate == FATE_HELD || fate == FATE_FAILED;
	}
}

static int order_piece(struct order *o, uint64_t block, struct wire_result *ret)
{
	/* Before the look: asking for extents may wait for the disk. */
	int r = order_locate(o, block);

	if (r >= 0)
		r = piece_evict(o->memmap, &o->piece, order_judge, order_check, o);
	if (r >= 0)
		fates_count(o, ret);
	return r;
}

int evict_find(struct memmap *memmap, struct mounts *mounts, const struct disk_table *disks,
	       const struct wire_identity *identity)
{
	_cleanup_close_ int fd = file_find(mounts, disks, identity);
	unsigned owners;
	int r = fd;

	if (fd >= 0 && identity->kind == WIRE_FILE_REGULAR) {
		r = memmap_peek(memmap, fd, 0, 0);
		if (r >= 0)
			r = identity_check(identity, memmap_owners(memmap, &owners));
	}
	return r < 0 ? r : TAKE_FD(fd);
}

/* Pages that the file has; what is asked for beyond is not cached. */
static uint64_t file_pages(int fd, const struct wire_identity *identity,
			   const struct disk_place *place)
{
	struct stat st;

	if (identity->kind == WIRE_FILE_BLOCK_DEVICE)
		return place->blocks;
	if (fstat(fd, &st) < 0)
		return 0;
	return ((uint64_t)st.st_size + WIRE_BLOCK_BYTES - 1) / WIRE_BLOCK_BYTES;
}

static int order_open(struct order *o, struct mounts *mounts, struct disk_table *disks)
{
	const struct wire_identity *identity = &o->message->identity;
	int r = disk_find(disks, identity->device, &o->place);
	_cleanup_close_ int found = r < 0 ? r : evict_find(o->memmap, mounts, disks, identity);
	unsigned owners;

	if (found >= 0 && identity->kind == WIRE_FILE_REGULAR)
		r = owner_check(memmap_owners(o->memmap, &owners));
	else
		r = found;
	return r < 0 ? r : file_reopen(found);
}

static int run_evict(struct order *o, const struct wire_evict_run *run, struct wire_result *ret)
{
	uint64_t end = file_pages(o->piece.fd, &o->message->identity, &o->place);
	uint64_t there = run->index < end ? end - run->index : 0;
	uint32_t count = run->count < there ? run->count : (uint32_t)there;

	ret->kept_gone += run->count - count;
	for (uint32_t done = 0; done < count; done += o->piece.count) {
		int r = now_usec() < o->now_usec + ORDER_USEC_MAX ? 0 : -ETIMEDOUT;

		o->piece.index = run->index + done;
		o->piece.count = count - done < PIECE_PAGES ? count - done : PIECE_PAGES;
		if (r >= 0)
			r = order_piece(o, run->block + done, ret);
		if (r < 0) {
			ret->kept_failed += count - done;
			return r;
		}
	}
	return 0;
}

void evict_file(struct memmap *memmap, const struct heat *heat, struct mounts *mounts,
		struct disk_table *disks, const struct wire_evict *message, struct wire_result *ret)
{
	uint64_t start = now_usec();
	struct order o = {
		.message = message,
		.heat = heat,
		.memmap = memmap,
		.now_usec = start,
		.piece.split = true,
	};
	_cleanup_close_ int fd = order_open(&o, mounts, disks);

	o.piece.fd = fd;
	piece_drain();
	*ret = (struct wire_result){ .status = fd < 0 ? -fd : 0 };
	for (uint32_t i = 0; i < message->count; i++) {
		const struct wire_evict_run *run = &message->items[i];

		ret->asked += run->count;
		if (ret->status) {
			ret->kept_failed += run->count;
			continue;
		}
		int r = run_evict(&o, run, ret);
		if (r < 0)
			ret->status = -r;
	}
	ret->usec = now_usec() - start;
}
