/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of 4 KiB blocks: of an image, or of a guest's disk; and of superpages of its memory. */
#ifndef PAGEPACT_BASE_BLOCKSET_H
#define PAGEPACT_BASE_BLOCKSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_BYTES 4096u

/* Blocks are numbered below this: 16 TiB less one block, so that a run's end fits in 32 bits. */
#define BLOCKSET_END UINT32_MAX

/** struct block_run - consecutive blocks; @count is never 0, @start + @count <= BLOCKSET_END */
struct block_run {
	uint32_t start;
	uint32_t count;
};

struct blockset;

/** blockset_new() - an empty set, or NULL */
struct blockset *blockset_new(void);

/** blockset_free() - returns NULL; NULL is allowed */
struct blockset *blockset_free(struct blockset *set);

static inline void blockset_freep(struct blockset **set)
{
	*set = blockset_free(*set);
}

/** blockset_copy(), _and(), _or(), _andnot() - a new set, or NULL; inputs are unchanged */
struct blockset *blockset_copy(const struct blockset *set);
struct blockset *blockset_and(const struct blockset *a, const struct blockset *b);
struct blockset *blockset_or(const struct blockset *a, const struct blockset *b);
struct blockset *blockset_andnot(const struct blockset *a, const struct blockset *b);

/**
 * blockset_add() - add blocks [start, start + count)
 * @start, @count: of 64 bits, so that no caller cuts a number off; @count may be 0
 *
 * Return: 0, or -ERANGE beyond BLOCKSET_END: nothing was added.
 */
int blockset_add(struct blockset *set, uint64_t start, uint64_t count);

/** blockset_remove() - as blockset_add() */
int blockset_remove(struct blockset *set, uint64_t start, uint64_t count);

void blockset_clear(struct blockset *set);

/** blockset_and_with(), _or_with(), _andnot_with() - in place */
void blockset_and_with(struct blockset *set, const struct blockset *other);
void blockset_or_with(struct blockset *set, const struct blockset *other);
void blockset_andnot_with(struct blockset *set, const struct blockset *other);

bool blockset_contains(const struct blockset *set, uint64_t block);
bool blockset_equal(const struct blockset *a, const struct blockset *b);
uint64_t blockset_count(const struct blockset *set);

/** blockset_and_count() - size of the intersection, without building it */
uint64_t blockset_and_count(const struct blockset *a, const struct blockset *b);

/** blockset_count_run() - how many of blocks [start, start + count) are in the set */
uint64_t blockset_count_run(const struct blockset *set, uint64_t start, uint64_t count);

/**
 * blockset_next_run() - the first whole stretch of blocks at or after @from
 * @from: a stretch that began before it is returned from @from on
 *
 *	for (uint64_t at = 0; blockset_next_run(set, at, &run); at = run.start + run.count)
 *
 * Allocates nothing; the cost of a step is logarithmic in the run's length.
 *
 * Return: whether there is one
 */
bool blockset_next_run(const struct blockset *set, uint64_t from, struct block_run *ret);

/**
 * blockset_runs() - all whole stretches, ascending
 * @ret: the caller's to free
 *
 * Return: 0 or -ENOMEM.
 */
int blockset_runs(const struct blockset *set, struct block_run **ret, size_t *ret_n);

/** blockset_optimize() - make it small; for sets that are kept and no longer change */
void blockset_optimize(struct blockset *set);

/** blockset_memory_bytes() - what it occupies, about */
size_t blockset_memory_bytes(const struct blockset *set);

#endif
