/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/free.h"

#include "base/clock.h"
#include "guest/slab.h"
#include "guest/tend.h"

/* The host takes an agent that answers nothing for 15 s for a silent one. */
#define REQUEST_USEC_MAX 5000000u
/* Some 10 ms of work. */
#define BATCH_PIECES	 16
#define SLAB_LEAST_BYTES (64 << 10)
#define SLAB_CPU_USEC	 50000
/* Of a node's memory so much is left free besides, 64 MiB at most: where a balloon took all that
 * was free above the watermarks, the next process that began woke kswapd, which took 2.8 MiB that
 * the host did not hold (one of eight squeezes, lab/run balloon). */
#define CUSHION_DIVISOR 64
#define CUSHION_PAGES	16384
/* What is freed page by page may stay in the lists that each CPU has, and a process may have begun:
 * without it 122 to 127 superpages of 128 were whole a moment later (1 GiB, full of cache). */
#define WHOLE_MORE_BYTES (16 << 20)

/* One request, while it is worked on. */
struct request {
	struct agent *agent;
	struct wire_freed *freed;
	bool is_more, is_whole;
	uint64_t left_bytes;
	uint64_t end_usec;
	uint64_t evicted; /* pages */
	unsigned pieces;
};

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void step_add(struct request *q, enum wire_step step, uint64_t bytes)
{
	q->freed->step_bytes[step] += bytes;
	q->left_bytes -= bytes < q->left_bytes ? bytes : q->left_bytes;
}

static uint64_t cushion_pages(const struct node *n)
{
	uint64_t share = n->managed_pages / CUSHION_DIVISOR;

	return share < CUSHION_PAGES ? share : CUSHION_PAGES;
}

/* What has to be freed before any is free to be given. */
static uint64_t lacking_bytes(struct agent *a)
{
	uint64_t lacking = 0;

	for (unsigned i = 0; i < a->nodes.count; i++) {
		const struct node *n = &a->nodes.nodes[i];
		uint64_t kept = n->high_pages + cushion_pages(n);

		lacking += n->free_pages < kept ? kept - n->free_pages : 0;
	}
	return lacking * WIRE_BLOCK_BYTES;
}

uint64_t free_spare_bytes(struct agent *a)
{
	uint64_t spare = 0;

	if (nodes_count(&a->nodes) < 0)
		return 0;
	for (unsigned i = 0; i < a->nodes.count; i++) {
		const struct node *n = &a->nodes.nodes[i];
		uint64_t kept = n->high_pages + cushion_pages(n);

		spare += n->free_pages > kept ? n->free_pages - kept : 0;
	}
	return spare * WIRE_BLOCK_BYTES;
}

static void free_step(struct request *q)
{
	uint64_t spare = free_spare_bytes(q->agent);

	/* The balloon takes what is below the watermarks too; superpages are not taken of it. */
	if (q->is_whole) {
		q->left_bytes += lacking_bytes(q->agent) + WHOLE_MORE_BYTES;
		spare = smaller(spare, pool_free_superpages() * WIRE_SUPERPAGE_BYTES);
	}
	step_add(q, WIRE_STEP_FREE, spare < q->left_bytes ? spare : q->left_bytes);
}

static void slab_step(struct request *q)
{
	struct slab_result result;

	if (slab_shrink("", SLAB_LEAST_BYTES, SLAB_CPU_USEC, &result) < 0)
		return;
	q->agent->slab_freed_bytes += result.freed_bytes;
	step_add(q, WIRE_STEP_SLAB, result.freed_bytes);
}

static bool must_stop(struct request *q)
{
	struct bound *b = &q->agent->bound;
	uint64_t now = now_usec();

	bound_sample(b, now);
	if (brake_holds(&b->brake, now)) {
		q->freed->stopped = WIRE_STOPPED_BRAKED;
		q->freed->brake = b->brake.reason;
		return true;
	}
	if (now < q->end_usec)
		return false;
	q->freed->stopped = WIRE_STOPPED_TIME;
	return true;
}

/* Nobody's umount is to wait for the whole request. */
static void batch_turn(struct request *q)
{
	if (++q->pieces % BATCH_PIECES)
		return;
	shed_end(&q->agent->shed);
	(void)shed_begin(&q->agent->shed);
}

/* Sheds a queue. Return: whether the next one may have its turn. */
static bool queue_step(struct request *q, enum shed_queue from, bool held_only, enum wire_step step)
{
	int more = 1;

	while (q->left_bytes && more > 0) {
		struct shed_goal goal = { .held_only = held_only };
		uint64_t pages = (q->left_bytes + WIRE_BLOCK_BYTES - 1) / WIRE_BLOCK_BYTES;

		if (must_stop(q))
			return false;
		for (unsigned i = 0; i < q->agent->nodes.count; i++)
			goal.pages[i] = pages;
		more = shed_piece(&q->agent->shed, from, &goal);
		step_add(q, step, goal.evicted * WIRE_BLOCK_BYTES);
		q->evicted += goal.evicted;
		batch_turn(q);
	}
	return q->left_bytes > 0;
}

static bool queues_empty(const struct shed *s)
{
	for (int i = 0; i < SHED_QUEUES; i++)
		if (i != SHED_KEPT && s->queues[i].count)
			return false;
	return true;
}

/* More of a request goes on where the last part of it stopped, unless a limit filled the queues in
 * its own order since. Return: whether they are filled. */
static bool queues_fill(struct request *q)
{
	struct shed *s = &q->agent->shed;
	int r = s->sweeping;

	if (!q->is_more || !s->by_superpage || (!s->sweeping && queues_empty(s))) {
		shed_forget(s);
		shed_sweep_begin(s, &q->agent->census.ram, true);
		r = 1;
	}
	while (r > 0 && !must_stop(q))
		r = shed_sweep_step(s);
	return r == 0;
}

static void cache_steps(struct request *q)
{
	struct shed *s = &q->agent->shed;

	if (!queues_fill(q))
		return;
	if (held_any(&s->held, now_usec()) &&
	    (!queue_step(q, SHED_SUPER, true, WIRE_STEP_HELD) ||
	     (!q->is_whole && !queue_step(q, SHED_FRESH, true, WIRE_STEP_HELD))))
		return;
	if (!queue_step(q, SHED_SOLE_SUPER, false, WIRE_STEP_SUPERPAGE) ||
	    !queue_step(q, SHED_SUPER, false, WIRE_STEP_SUPERPAGE) || q->is_whole ||
	    !queue_step(q, SHED_SOLE, false, WIRE_STEP_COLD) ||
	    !queue_step(q, SHED_FRESH, false, WIRE_STEP_COLD))
		return;
	/* Not all that was found had room in the queues. */
	if (s->incomplete && q->evicted)
		q->freed->stopped = WIRE_STOPPED_TIME;
}

static void kernel_step(struct request *q)
{
	uint64_t freed;
	int more = 1;

	while (q->left_bytes && more > 0 && !must_stop(q)) {
		more = rough_free(&q->agent->rough, q->left_bytes, &freed);
		step_add(q, WIRE_STEP_COLD, freed);
	}
}

void free_bytes(struct agent *a, const struct wire_free *request, struct wire_freed *ret)
{
	uint64_t start = now_usec();
	struct request q = {
		.agent = a,
		.freed = ret,
		.is_more = request->flags & WIRE_FREE_MORE,
		.is_whole = request->flags & WIRE_FREE_WHOLE,
		.left_bytes = request->bytes,
		.end_usec = start + (request->usec_max < REQUEST_USEC_MAX ? request->usec_max
									  : REQUEST_USEC_MAX),
	};

	*ret = (struct wire_freed){ .asked_bytes = request->bytes,
				    .stopped = WIRE_STOPPED_NOTHING_LEFT };
	if (!q.is_more) {
		free_step(&q);
		slab_step(&q);
	}
	if (!a->can_watch) {
		kernel_step(&q);
	} else {
		if (q.left_bytes && shed_begin(&a->shed) >= 0)
			cache_steps(&q);
		shed_end(&a->shed);
		tend_slab(a);
	}
	if (!q.left_bytes)
		ret->stopped = WIRE_STOPPED_DONE;
	/* The queues were filled for this request; a limit fills them in its own order. */
	a->freed_usec = ret->stopped == WIRE_STOPPED_TIME ? now_usec() : 0;
	if (!a->freed_usec)
		bound_emptied(&a->bound);
	/* What comes of it is watched as what a limit evicts is. */
	a->bound_due_usec = 0;
	ret->usec = now_usec() - start;
}
