/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Superpages that are out of the guest's use: pages of its hugetlb pool that nobody else can have.
 *
 * How it works
 *
 * A memfd of huge pages is made longer, and its new part is mapped once. That reserves huge pages,
 * and the kernel takes what is reserved beyond the pool's size from free memory at once, as surplus
 * pages (gather_surplus_pages(), mm/hugetlb.c), as far as vm.nr_overcommit_hugepages lets it: that
 * is raised for the moment of it, and 0 otherwise. What is reserved nobody else is given. Where the
 * file is made shorter, or we die, the kernel frees as much at once. What an agent that was killed in
 * that moment left raised the next one sets back: POOL_MARK is there meanwhile.
 *
 * A reservation is a number, not certain pages. It is of certain pages only where nobody else has
 * any: so none are taken where the guest uses huge pages itself, and all are given back once it
 * does (pool_is_disturbed()). Where they lie is in /proc/kpageflags.
 *
 * What the host does with them leaves their content (host/page-out.h), and is worth something where
 * that is zero. A kernel that clears what it gives out (init_on_alloc) has cleared them; from
 * another they are allocated one by one, which clears them (hugetlbfs_fallocate()).
 */
#ifndef PAGEPACT_GUEST_POOL_H
#define PAGEPACT_GUEST_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/ram.h"
#include "wire/message.h"

#define POOL_FOLDER "/run/pagepact-agent"
#define POOL_MARK   POOL_FOLDER "/overcommit"

/**
 * struct pool - superpages out of use
 * @fd: the memfd; -1: none can be taken here, and everything else is 0
 * @flags_fd: /proc/kpageflags
 * @superpages: so many
 * @clears: the kernel clears what it gives out
 * @offered: the host was told of some that it has not answered for
 * @compacted_usec: when the kernel was had compact memory last; 0: not yet
 * @numbers: of @count of them, ascending: page frame number / 512
 */
struct pool {
	int fd;
	int flags_fd;
	uint64_t superpages;
	bool clears;
	bool offered;
	uint64_t compacted_usec;
	uint64_t *numbers;
	uint64_t count;
};

/**
 * pool_open() - see whether superpages can be taken here
 * @why: for people, of an error
 *
 * Return: 0; or -errno, and @p->fd is -1: -EBUSY where the guest uses huge pages itself,
 * -EOPNOTSUPP for a kernel without them, with others than of 2 MiB, or one that counts what it
 * promises (vm.overcommit_memory=2).
 */
int pool_open(struct pool *p, bool clears, char *why, size_t why_size);

/** pool_close() - all are given back */
void pool_close(struct pool *p);

/**
 * pool_take() - take so many more out of use, or as many as can be had
 * @spare_bytes: are free and need not stay so: no more than that are taken, so that the kernel has
 *	nothing to reclaim for it. Where too little of it is whole superpages the kernel compacts
 *	memory first, once a minute at most.
 * @until_usec: the last piece is begun before that
 *
 * Return: why they are fewer.
 */
enum wire_untaken pool_take(struct pool *p, const struct ram *ram, uint64_t count,
			    uint64_t spare_bytes, uint64_t until_usec);

/** pool_keep() - give back all but so many */
void pool_keep(struct pool *p, const struct ram *ram, uint64_t superpages);

/** pool_is_disturbed() - whether somebody else has huge pages, or could have */
bool pool_is_disturbed(const struct pool *p);

/**
 * pool_runs() - where they lie
 *
 * Return: how many runs, @max at most.
 */
uint32_t pool_runs(const struct pool *p, struct wire_superpages *ret, uint32_t max);

/** pool_free_superpages() - that are free as a whole now, whoever could use them */
uint64_t pool_free_superpages(void);

/** pool_whole() - of a text of /proc/buddyinfo: superpages that are free as a whole */
uint64_t pool_whole(const char *buddyinfo);

#endif
