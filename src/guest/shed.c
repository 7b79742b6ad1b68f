/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/shed.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "guest/piece.h"

/* What is hot stays hot for half a minute, what is dirty is written after five seconds at the
 * earliest (dirty_writeback_centisecs); a look at all of it costs more than it brings. */
#define KEPT_WAIT_USEC 5000000u
/* Of those looked at again, if one in so many went it was worth it: chosen, not measured. */
#define KEPT_WORTH_DIVISOR 16
#define KEPT_WAIT_MAX_USEC 60000000u

/* One piece, while it is worked on. */
struct shed_piece {
	struct shed *shed;
	struct shed_goal *goal;
	struct file_key key;
	uint64_t now_usec;
	bool choosy; /* only what is held by the host */
	struct piece piece;
	uint8_t age_class[PIECE_PAGES];
	uint8_t node[PIECE_PAGES];
	bool held[PIECE_PAGES];
	bool unheld[PIECE_PAGES]; /* stayed for that reason */
};

void shed_init(struct shed *s)
{
	s->kept_wait_usec = KEPT_WAIT_USEC;
	s->incomplete = true;
}

int shed_begin(struct shed *s)
{
	return batch_begin(&s->batch, now_usec());
}

void shed_end(struct shed *s)
{
	batch_end(&s->batch);
}

void shed_forget(struct shed *s)
{
	for (int i = 0; i < SHED_QUEUES; i++)
		spans_done(&s->queues[i]);
	s->sweeping = s->overflowed = s->guessed = false;
	s->incomplete = true;
	s->kept_wait_usec = KEPT_WAIT_USEC;
	s->kept_due_usec = 0;
	s->kept_pages = s->kept_tried = s->kept_evicted = 0;
	memset(s->unwanted, 0, sizeof(s->unwanted));
}

void shed_want_node(struct shed *s, unsigned node)
{
	if (!s->unwanted[node])
		return;
	s->unwanted[node] = false;
	s->kept_due_usec = 0;
}

uint64_t shed_goal_left(const struct shed_goal *goal)
{
	uint64_t left = 0;

	for (int i = 0; i < NODES_MAX; i++)
		left += goal->pages[i];
	return left;
}

/* What does not fit is found again by a sweep. */
static int queue_push(struct shed *s, enum shed_queue to, const struct file_key *key,
		      uint64_t index, uint32_t count, uint16_t age_sec)
{
	int r = spans_push(&s->queues[to], key, index, count, age_sec);

	if (r != -ENOBUFS && r != -ENOMEM)
		return r;
	s->incomplete = true;
	return 0;
}

static int run_take(const struct watch_run *run, void *userdata)
{
	struct shed *s = userdata;
	struct file_key key = {
		.mapping = run->mapping,
		.inode = run->inode,
		.magic = run->magic,
		.device = run->device,
		.generation = run->generation,
	};

	if (!file_magic_opens(key.magic))
		return 0;
	s->added_usec = now_usec();
	return queue_push(s, SHED_FRESH, &key, run->index, run->count, 0);
}

static int run_drop(const struct watch_run *run, void *userdata)
{
	(void)run;
	(void)userdata;
	return 0;
}

int shed_drain(struct shed *s, bool keep)
{
	int r = watch_drain(s->heat->watch, keep ? run_take : run_drop, s);
	uint64_t lost = watch_lost(s->heat->watch);

	if (!keep || lost != s->lost)
		s->incomplete = true;
	s->lost = lost;
	return r;
}

/* Taken again, it would come back again. */
static bool is_spared(const struct shed_piece *p, const struct scan_page *page)
{
	return p->goal->spare_returned && watch_came_back(p->shed->heat->watch, p->key.device,
							  p->key.inode, page->index, p->now_usec);
}

static enum fate shed_judge(unsigned i, const struct scan_page *page, uint64_t frame,
			    void *userdata)
{
	struct shed_piece *p = userdata;
	struct heat_view heat = heat_look(p->shed->heat, page, frame, p->key.mapping, p->now_usec);
	unsigned node = nodes_of(p->shed->nodes, frame);

	p->shed->guessed |= heat.guessed;
	if (heat.hot || heat.awaited || is_spared(p, page))
		return FATE_HOT;
	if (!p->goal->pages[node]) {
		p->shed->unwanted[node] = true;
		return FATE_OTHER;
	}
	/* By the folio's first page: it goes whole or not at all. */
	if (p->choosy && !p->held[page->offset <= i ? i - page->offset : 0]) {
		p->unheld[i] = true;
		return FATE_OTHER;
	}
	p->age_class[i] = heat.age_class;
	p->node[i] = (uint8_t)node;
	return FATE_EVICTED;
}

static int shed_check(const struct scan_owner *owner, void *userdata)
{
	struct shed_piece *p = userdata;

	if (owner->mapping != p->key.mapping)
		return -ESTALE;
	/* Since it was opened: a write error, say, whose pages look clean. */
	return owner->flags & SCAN_OWNER_BUSY ? -EBUSY : 0;
}

/* Of a block device's own pages the inode number is the device's. */
static dev_t key_device(const struct file_key *key)
{
	uint64_t device = key->magic == FILE_SYSTEM_BDEVFS ? key->inode : key->device;

	return makedev((unsigned)(device >> 20), (unsigned)(device & 0xfffff));
}

/* What lies on no disk that we know is held by nobody. */
static const struct held_disk *piece_disk(struct shed_piece *p, struct disk_place *ret_place)
{
	struct shed *s = p->shed;
	const struct wire_disk *disk = batch_disk(&s->batch, key_device(&p->key), ret_place);

	return disk ? held_of(&s->held, disk) : NULL;
}

/* Which pages the host holds, of those that it holds of the disk. Return: whether there is any. */
static bool piece_find_held(struct shed_piece *p, const struct held_disk *disk,
			    const struct disk_place *place)
{
	_uninitialized_ struct wire_extent extents[PIECE_PAGES];
	bool is_device = p->key.magic == FILE_SYSTEM_BDEVFS;
	struct wire_identity identity = {
		.kind = is_device ? WIRE_FILE_BLOCK_DEVICE : WIRE_FILE_REGULAR,
	};
	const struct piece *piece = &p->piece;
	uint64_t end = piece->index + piece->count;
	int n = file_extents(piece->fd, &identity, place, piece->index, piece->count, extents,
			     PIECE_PAGES);
	bool any = false, *held = p->held;

	memset(p->held, 0, sizeof(p->held));
	for (int i = 0; i < n; i++) {
		const struct wire_extent *e = &extents[i];
		uint64_t at = e->index > piece->index ? e->index : piece->index;

		for (; at < end && at < e->index + e->count; at++) {
			held[at - piece->index] = held_has(disk, e->block + at - e->index);
			any = any || held[at - piece->index];
		}
	}
	return any;
}

/* Where what the host does not hold waits for its turn. */
static enum shed_queue sole_queue(enum shed_queue from)
{
	return from == SHED_SUPER ? SHED_SOLE_SUPER : SHED_SOLE;
}

/* Where a page that is still cached goes next; SHED_QUEUES: nowhere. */
static enum shed_queue page_next(const struct shed_piece *p, enum shed_queue from, unsigned i)
{
	switch (p->piece.fates[i]) {
	case FATE_EVICTED:
	case FATE_GONE:
		return SHED_QUEUES;
	case FATE_OTHER:
		return p->unheld[i] ? sole_queue(from) : SHED_KEPT;
	default:
		return SHED_KEPT;
	}
}

static int piece_requeue(struct shed_piece *p, enum shed_queue from)
{
	unsigned count = p->piece.count;

	for (unsigned i = 0, end; i < count; i = end) {
		enum shed_queue to = page_next(p, from, i);
		int r = 0;

		for (end = i + 1; end < count && page_next(p, from, end) == to; end++)
			;
		if (to != SHED_QUEUES)
			r = queue_push(p->shed, to, &p->key, p->piece.index + i, end - i, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

static void piece_account(struct shed_piece *p)
{
	for (unsigned i = 0; i < p->piece.count; i++) {
		if (p->piece.fates[i] != FATE_EVICTED)
			continue;
		watch_evicted(p->shed->heat->watch, p->key.device, p->key.inode, p->piece.index + i,
			      p->age_class[i], p->now_usec);
		p->goal->pages[p->node[i]] -= p->goal->pages[p->node[i]] > 0;
		p->goal->evicted++;
		p->shed->evicted_pages++;
	}
}

static int piece_shed(struct shed_piece *p, enum shed_queue from)
{
	struct shed *s = p->shed;
	const struct held_disk *disk = NULL;
	struct disk_place place;

	p->choosy = p->goal->held_only;
	if (p->choosy) {
		disk = piece_disk(p, &place);
		/* Nothing of it will be wanted now: not worth a look. */
		if (!disk)
			return queue_push(s, sole_queue(from), &p->key, p->piece.index,
					  p->piece.count, 0);
	}

	int r, fd = batch_file(&s->batch, &p->key);

	if (fd < 0 && fd != -EBUSY) {
		/* Gone, with its pages; or none that we open; or one that we could not open now. */
		if (fd != -ESTALE && fd != -EOPNOTSUPP && fd != -ENODEV)
			s->incomplete = true;
		return 0;
	}
	p->piece.fd = fd;
	if (disk && fd >= 0 && !piece_find_held(p, disk, &place))
		return queue_push(s, sole_queue(from), &p->key, p->piece.index, p->piece.count, 0);
	r = fd < 0 ? fd : piece_evict(s->batch.memmap, &p->piece, shed_judge, shed_check, p);
	if (r < 0 && r != -EBUSY && r != -ESTALE)
		s->incomplete = true;
	if (r < 0)
		memset(p->piece.fates, r == -EBUSY ? FATE_HELD : FATE_GONE, p->piece.count);
	piece_account(p);
	return piece_requeue(p, from);
}

/* Whether it was worth it to look again at those kept. */
static void kept_account(struct shed *s, uint32_t count, uint64_t evicted)
{
	if (!s->kept_pages)
		return;
	s->kept_pages -= count < s->kept_pages ? count : s->kept_pages;
	s->kept_evicted += evicted;
	if (s->kept_pages)
		return;
	if (s->kept_evicted * KEPT_WORTH_DIVISOR >= s->kept_tried)
		s->kept_wait_usec = KEPT_WAIT_USEC;
	else
		s->kept_wait_usec = s->kept_wait_usec < KEPT_WAIT_MAX_USEC / 2
					    ? s->kept_wait_usec * 2
					    : KEPT_WAIT_MAX_USEC;
}

/* Forgets what is short at the front: a sweep finds it where there is enough of it. Return: whether
 * there was any. */
static bool short_drop(struct shed *s, enum shed_queue from)
{
	struct file_key key;
	uint64_t index;
	uint32_t count;
	bool any = false;

	for (unsigned i = 0; i < GLANCES_MAX && spans_is_short(&s->queues[from]); i++) {
		(void)spans_pop(&s->queues[from], &key, &index, &count);
		if (from == SHED_FRESH)
			kept_account(s, count, 0);
		s->incomplete = any = true;
	}
	return any;
}

/* What a request sorted by superpages is short by its nature. */
static bool is_by_length(enum shed_queue from)
{
	return from == SHED_FRESH || from == SHED_SOLE;
}

int shed_piece(struct shed *s, enum shed_queue from, struct shed_goal *goal)
{
	struct shed_piece p = { .shed = s, .goal = goal, .now_usec = now_usec() };
	uint64_t evicted = goal->evicted;
	uint32_t passed;

	if (goal->worth_only && is_by_length(from) && short_drop(s, from))
		return 1;
	int r = glance_pop(&s->glance, s->batch.memmap, &s->queues[from], &p.key, &p.piece.index,
			   &p.piece.count, &passed);

	if (from == SHED_FRESH && passed)
		kept_account(s, passed, 0);
	if (r <= 0)
		return r == -EAGAIN;
	r = piece_shed(&p, from);
	if (from == SHED_FRESH)
		kept_account(s, p.piece.count, goal->evicted - evicted);
	return r < 0 ? r : 1;
}

void shed_shorten(struct shed *s, uint64_t pages)
{
	struct file_key key;
	uint64_t index;
	uint32_t count;

	while (s->queues[SHED_FRESH].pages > pages &&
	       spans_pop(&s->queues[SHED_FRESH], &key, &index, &count))
		s->incomplete = true;
}

/* Those kept are older than what is still to come to its turn. */
static void kept_go_first(struct shed *s)
{
	struct spans rest;
	struct file_key key;
	uint64_t index;
	uint32_t count;

	while (spans_pop(&s->queues[SHED_FRESH], &key, &index, &count))
		(void)queue_push(s, SHED_KEPT, &key, index, count, 0);
	rest = s->queues[SHED_FRESH];
	s->queues[SHED_FRESH] = s->queues[SHED_KEPT];
	s->queues[SHED_KEPT] = rest;
}

uint64_t shed_retry_kept(struct shed *s, uint64_t now_usec, uint64_t least_usec)
{
	if (!s->queues[SHED_KEPT].count)
		return UINT64_MAX;
	if (!s->kept_due_usec)
		s->kept_due_usec = now_usec + least_usec;
	if (now_usec < s->kept_due_usec)
		return s->kept_due_usec - now_usec;
	s->kept_pages = s->kept_tried = s->queues[SHED_KEPT].pages;
	s->kept_evicted = 0;
	kept_go_first(s);
	s->kept_due_usec =
		now_usec + (s->kept_wait_usec > least_usec ? s->kept_wait_usec : least_usec);
	return 0;
}
