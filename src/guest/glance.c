/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/glance.h"

#include <errno.h>

static void items_list(struct glance *g, const struct spans *queue)
{
	struct file_key key;
	uint64_t index;
	uint32_t count;

	g->next = g->count = 0;
	while (g->count < GLANCES_MAX && spans_look(queue, g->count, &key, &index, &count) &&
	       count <= GLANCE_PAGES_MAX)
		g->items[g->count++] = (struct scan_glance){
			.mapping = key.mapping,
			.inode = key.inode,
			.index = index,
			.device = key.device,
			.generation = key.generation,
			.count = count,
		};
}

static bool is_next(const struct glance *g, const struct file_key *key, uint64_t index,
		    uint32_t count)
{
	const struct scan_glance *item = &g->items[g->next];

	return g->next < g->count && item->mapping == key->mapping && item->inode == key->inode &&
	       item->index == index && item->count == count;
}

/* Whether the piece at the front is worth to be opened. */
static bool is_there(struct glance *g, struct memmap *memmap, const struct spans *queue,
		     const struct file_key *key, uint64_t index, uint32_t count)
{
	if (count > GLANCE_PAGES_MAX)
		return true;
	/* The queue may be another, or another order. */
	if (!is_next(g, key, index, count)) {
		items_list(g, queue);
		if (memmap_glance(memmap, g->items, g->count) < 0)
			g->count = 0;
	}
	return g->next == g->count || g->items[g->next++].there;
}

int glance_pop(struct glance *g, struct memmap *memmap, struct spans *queue,
	       struct file_key *ret_key, uint64_t *ret_index, uint32_t *ret_count,
	       uint32_t *ret_passed)
{
	*ret_passed = 0;
	for (unsigned i = 0; i < GLANCES_MAX; i++) {
		bool there;

		if (!spans_look(queue, 0, ret_key, ret_index, ret_count))
			return 0;
		there = is_there(g, memmap, queue, ret_key, *ret_index, *ret_count);
		(void)spans_pop(queue, ret_key, ret_index, ret_count);
		if (there)
			return 1;
		*ret_passed += *ret_count;
	}
	return -EAGAIN;
}
