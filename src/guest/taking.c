/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/taking.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/psi.h"
#include "guest/answer.h"
#include "guest/free.h"

/* An answer is due after it, and a piece that was begun. */
#define TAKE_USEC 2000000u
/* Before a process that allocates all the time has used up what is left above the watermarks. */
#define LOOK_USEC 250000u
/* Of the time in which some task waited for memory: as the host undoes a step of the balloon. */
#define SHORT_DIVISOR 10
/* At a time, so that a guest keeps away what it does not need: 32 MiB. */
#define BACK_SUPERPAGES 16
/* A host that has not answered by then never will: it asks again after 12 s (host/take.c). What it
 * does with them changes no byte, however late. */
#define OFFER_USEC 15000000u

static int pool_try(struct agent *a, char *why, size_t size)
{
	return pool_open(&a->pool, memmap_clears(a->census.memmap) == MEMMAP_CLEARS, why, size);
}

void taking_open(struct agent *a)
{
	char why[128];

	a->pool.fd = -1;
	if (a->can_scan && pool_try(a, why, sizeof(why)) < 0)
		log_info("No superpages are taken out of use: %s", why);
}

void taking_again(struct agent *a)
{
	char why[128];

	if (!a->can_scan || a->pool.fd >= 0 || pool_try(a, why, sizeof(why)) < 0)
		return;
	log_info("Superpages can be taken out of use now");
	(void)answer_hello(a, 0);
}

static int taken_send(struct agent *a, uint64_t id, enum wire_untaken untaken)
{
	struct wire_taken *t = link_payload(&a->link);

	*t = (struct wire_taken){ .superpages = a->pool.superpages, .untaken = untaken };
	t->count = pool_runs(&a->pool, t->items, WIRE_ITEMS_MAX);
	return link_send(&a->link, WIRE_TAKEN, id,
			 (uint32_t)(sizeof(*t) + t->count * sizeof(t->items[0])));
}

int taking_tell(struct agent *a)
{
	return a->pool.fd >= 0 ? taken_send(a, 0, WIRE_UNTAKEN_NONE) : 0;
}

/* Since the last look. */
static bool has_waited(struct agent *a, uint64_t now)
{
	uint64_t passed = now - a->pool_usec, before = a->pool_waited_usec;
	bool is_first = !a->pool_usec;
	struct psi memory;

	a->pool_usec = now;
	if (psi_read("", "memory", &memory) < 0)
		return false;
	a->pool_waited_usec = memory.some_total_usec;
	return !is_first && memory.some_total_usec - before > passed / SHORT_DIVISOR;
}

/* What is free above the watermarks is used up, and next to no cache is left to be dropped. */
static bool is_used_up(struct agent *a)
{
	uint64_t cache = 0;

	if (free_spare_bytes(a))
		return false;
	for (unsigned i = 0; i < a->nodes.count; i++)
		cache += a->nodes.nodes[i].unmapped_pages;
	return cache * WIRE_BLOCK_BYTES < BACK_SUPERPAGES * WIRE_SUPERPAGE_BYTES;
}

static bool is_short(struct agent *a, uint64_t now)
{
	bool waited = has_waited(a, now);

	return waited || is_used_up(a);
}

int taking_answer(struct agent *a, uint64_t id, const struct wire_take *order)
{
	enum wire_untaken untaken = WIRE_UNTAKEN_NONE;
	uint64_t now = now_usec(), had = a->pool.superpages;

	a->pool.offered = false;
	pool_keep(&a->pool, &a->census.ram, order->superpages);
	if (order->superpages > had) {
		if (is_used_up(a))
			untaken = WIRE_UNTAKEN_PRESSURE;
		else
			untaken = pool_take(&a->pool, &a->census.ram, order->superpages - had,
					    free_spare_bytes(a), now + TAKE_USEC);
	}
	a->pool.offered = a->pool.superpages > had;
	a->pool_offered_usec = now_usec();
	if (a->pool.superpages != had)
		log_info("%llu superpages are out of use now, by the host",
			 (unsigned long long)a->pool.superpages);
	return taken_send(a, id, untaken);
}

/* Return: why so many have to be given back. */
static enum wire_untaken look(struct agent *a, uint64_t now, uint64_t *ret_keep)
{
	struct pool *p = &a->pool;
	bool shortage = is_short(a, now);

	*ret_keep = 0;
	if (pool_is_disturbed(p))
		return WIRE_UNTAKEN_HUGETLB;
	if (now - a->heard_usec >= AGENT_HOST_USEC)
		return WIRE_UNTAKEN_SILENCE;
	*ret_keep = p->superpages;
	if (!shortage || (p->offered && now - a->pool_offered_usec < OFFER_USEC))
		return WIRE_UNTAKEN_NONE;
	*ret_keep -= *ret_keep < BACK_SUPERPAGES ? *ret_keep : BACK_SUPERPAGES;
	return WIRE_UNTAKEN_PRESSURE;
}

uint64_t taking_turn(struct agent *a, uint64_t now)
{
	enum wire_untaken why;
	uint64_t keep;

	if (!a->pool.superpages) {
		a->pool_usec = 0;
		return UINT64_MAX;
	}
	if (a->pool_usec && now - a->pool_usec < LOOK_USEC)
		return LOOK_USEC - (now - a->pool_usec);
	why = look(a, now, &keep);
	if (why == WIRE_UNTAKEN_NONE)
		return LOOK_USEC;
	pool_keep(&a->pool, &a->census.ram, keep);
	log_notice("Superpages are in use again, %llu are not: %s",
		   (unsigned long long)a->pool.superpages, wire_untaken_name(why));
	/* Nobody may be there to hear it. */
	(void)taken_send(a, 0, why);
	return a->pool.superpages ? LOOK_USEC : UINT64_MAX;
}
