/* SPDX-License-Identifier: Apache-2.0 */
#include "base/blockset.h"

#include <errno.h>
#include <roaring/roaring.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define CONTAINER_BLOCKS 65536u

struct blockset {
	roaring_bitmap_t *bits;
};

static struct blockset *wrap(roaring_bitmap_t *bits)
{
	struct blockset *set;

	if (!bits)
		return NULL;
	set = malloc(sizeof(*set));
	if (!set) {
		roaring_bitmap_free(bits);
		return NULL;
	}
	set->bits = bits;
	return set;
}

struct blockset *blockset_new(void)
{
	return wrap(roaring_bitmap_create());
}

struct blockset *blockset_free(struct blockset *set)
{
	if (set)
		roaring_bitmap_free(set->bits);
	free(set);
	return NULL;
}

struct blockset *blockset_copy(const struct blockset *set)
{
	return wrap(roaring_bitmap_copy(set->bits));
}

struct blockset *blockset_and(const struct blockset *a, const struct blockset *b)
{
	return wrap(roaring_bitmap_and(a->bits, b->bits));
}

struct blockset *blockset_or(const struct blockset *a, const struct blockset *b)
{
	return wrap(roaring_bitmap_or(a->bits, b->bits));
}

struct blockset *blockset_andnot(const struct blockset *a, const struct blockset *b)
{
	return wrap(roaring_bitmap_andnot(a->bits, b->bits));
}

static bool in_range(uint64_t start, uint64_t count)
{
	return start <= BLOCKSET_END && count <= BLOCKSET_END - start;
}

int blockset_add(struct blockset *set, uint64_t start, uint64_t count)
{
	if (!in_range(start, count))
		return -ERANGE;
	if (count)
		roaring_bitmap_add_range(set->bits, start, start + count);
	return 0;
}

int blockset_remove(struct blockset *set, uint64_t start, uint64_t count)
{
	if (!in_range(start, count))
		return -ERANGE;
	if (count)
		roaring_bitmap_remove_range(set->bits, start, start + count);
	return 0;
}

void blockset_clear(struct blockset *set)
{
	roaring_bitmap_clear(set->bits);
}

void blockset_and_with(struct blockset *set, const struct blockset *other)
{
	roaring_bitmap_and_inplace(set->bits, other->bits);
}

void blockset_or_with(struct blockset *set, const struct blockset *other)
{
	roaring_bitmap_or_inplace(set->bits, other->bits);
}

void blockset_andnot_with(struct blockset *set, const struct blockset *other)
{
	roaring_bitmap_andnot_inplace(set->bits, other->bits);
}

bool blockset_contains(const struct blockset *set, uint64_t block)
{
	return block < BLOCKSET_END && roaring_bitmap_contains(set->bits, (uint32_t)block);
}

bool blockset_equal(const struct blockset *a, const struct blockset *b)
{
	return roaring_bitmap_equals(a->bits, b->bits);
}

uint64_t blockset_count(const struct blockset *set)
{
	return roaring_bitmap_get_cardinality(set->bits);
}

uint64_t blockset_and_count(const struct blockset *a, const struct blockset *b)
{
	return roaring_bitmap_and_cardinality(a->bits, b->bits);
}

uint64_t blockset_count_run(const struct blockset *set, uint64_t start, uint64_t count)
{
	if (start >= BLOCKSET_END)
		return 0;
	if (count > BLOCKSET_END - start)
		count = BLOCKSET_END - start;
	return count ? roaring_bitmap_range_cardinality(set->bits, start, start + count) : 0;
}

/*
 * The library stores 2^16 blocks to a container. Whole ones are skipped by counting them, which is
 * as quick as a look at each where they are stored as runs; roaring_bitmap_contains_range() of
 * 0.2.66 would be quicker and asserts beyond the last container.
 */
static uint64_t skip_containers(const roaring_bitmap_t *bits, uint64_t end)
{
	while (end + CONTAINER_BLOCKS <= BLOCKSET_END &&
	       roaring_bitmap_range_cardinality(bits, end, end + CONTAINER_BLOCKS) ==
		       CONTAINER_BLOCKS)
		end += CONTAINER_BLOCKS;
	return end;
}

/* Where the run ends in which @it is, or a multiple of CONTAINER_BLOCKS where it may go on. */
static uint64_t container_end(roaring_uint32_iterator_t *it)
{
	uint64_t end = it->current_value;
	uint32_t values[64], want = 8, n;

	do {
		n = roaring_read_uint32_iterator(it, values, want);
		for (uint32_t i = 0; i < n; i++, end++)
			if (values[i] != end || (i && end % CONTAINER_BLOCKS == 0))
				return end;
		want = ARRAY_SIZE(values);
	} while (n && end % CONTAINER_BLOCKS);
	return end;
}

bool blockset_next_run(const struct blockset *set, uint64_t from, struct block_run *ret)
{
	roaring_uint32_iterator_t it;
	uint64_t start, end;

	if (from >= BLOCKSET_END)
		return false;
	roaring_init_iterator(set->bits, &it);
	if (!it.has_value || !roaring_move_uint32_iterator_equalorlarger(&it, (uint32_t)from))
		return false;

	start = it.current_value;
	end = container_end(&it);
	while (end % CONTAINER_BLOCKS == 0) {
		uint64_t boundary = end = skip_containers(set->bits, end);

		if (!blockset_contains(set, boundary))
			break;
		roaring_init_iterator(set->bits, &it);
		roaring_move_uint32_iterator_equalorlarger(&it, (uint32_t)boundary);
		end = container_end(&it);
	}
	*ret = (struct block_run){ (uint32_t)start, (uint32_t)(end - start) };
	return true;
}

int blockset_runs(const struct blockset *set, struct block_run **ret, size_t *ret_n)
{
	size_t n = 0, room = 256;
	struct block_run run, *runs = calloc(room, sizeof(*runs));

	for (uint64_t at = 0; runs && blockset_next_run(set, at, &run);
	     at = (uint64_t)run.start + run.count) {
		if (n == room) {
			void *more = reallocarray(runs, room * 2, sizeof(*runs));

			if (!more)
				free(runs);
			runs = more;
			room *= 2;
		}
		if (runs)
			runs[n++] = run;
	}
	if (!runs)
		return -ENOMEM;
	*ret = runs;
	*ret_n = n;
	return 0;
}

void blockset_optimize(struct blockset *set)
{
	roaring_bitmap_run_optimize(set->bits);
	roaring_bitmap_shrink_to_fit(set->bits);
}

size_t blockset_memory_bytes(const struct blockset *set)
{
	return sizeof(*set) + sizeof(*set->bits) + roaring_bitmap_size_in_bytes(set->bits);
}
