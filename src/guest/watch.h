/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's own word of what enters the page cache and of what is used.
 *
 * How it works
 *
 * Programs on tracepoints, in watch.bpf.c. What enters the cache (mm_filemap_add_to_page_cache) is
 * always watched: it wakes the agent when enough has come, it is told in runs, it stamps the page's
 * frame, and a page that was evicted by us less than a minute ago and comes back is counted as
 * refaulted. What is used is watched only while the sensor is on: by folio_mark_accessed(), or
 * where the kernel does not let us (no trampolines) by the tracepoint mm_filemap_get_pages of 6.12
 * and later, or not at all. A stamp is two bytes a page frame (events.h); its tag tells that the
 * frame still holds what it held.
 */
#ifndef PAGEPACT_GUEST_WATCH_H
#define PAGEPACT_GUEST_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/events.h"
#include "wire/message.h"

struct watch;

/**
 * struct watch_heat - what is known of the use of a page
 * @known: whether anything is
 * @uses: how often it was used since it entered the cache, 0 to STAMP_USES_MAX: more are not told
 * apart. A page that came back within a minute of its eviction enters with 1.
 * @age_sec: seconds since the last use (or entry), at least; what was never seen used since the
 * watch began has the age of the watch
 */
struct watch_heat {
	bool known;
	unsigned uses;
	uint32_t age_sec;
};

/**
 * watch_open() - load the programs and begin to watch what enters the cache
 * @frames: page frames, from 0 to the last of RAM
 * @ret_reason: why not, for people
 *
 * Return: 0 or -errno.
 */
int watch_open(struct watch **ret, uint64_t frames, char *ret_reason, size_t reason_size);

/**
 * watch_close() - stop watching; NULL is allowed. Return: NULL.
 */
struct watch *watch_close(struct watch *w);

/**
 * watch_fd() - readable when about as many pages as watch_wake_after() said have come, and until
 * watch_drain() is called
 */
int watch_fd(const struct watch *w);

/**
 * watch_wake_after() - be woken after this many pages more, on all CPUs together, at the latest
 *
 * And again after as many, and when what watch_drain() would tell is half of what can be kept.
 * Without a call, never for the number of pages.
 */
void watch_wake_after(struct watch *w, uint64_t pages);

/**
 * watch_drain() - take all runs that have come since the last call, the unfinished ones too
 * @take: gets each; a negative result ends the call with it
 *
 * Return: 0 or -errno.
 */
int watch_drain(struct watch *w, int (*take)(const struct watch_run *run, void *userdata),
		void *userdata);

/** watch_added() - pages that have entered the cache since the watch began */
uint64_t watch_added(const struct watch *w);

/** watch_lost() - runs that could not be told, for want of room, since the watch began */
uint64_t watch_lost(const struct watch *w);

/**
 * watch_sense() - turn the sensor of uses on or off, soon: the kernel takes up to a quarter of a
 * second over it, which nobody waits for
 *
 * Return: 0; -EOPNOTSUPP where the kernel has none that we may use; or another -errno.
 */
int watch_sense(struct watch *w, bool on);

/** watch_sensing() - whether the sensor is on by now */
bool watch_sensing(const struct watch *w);

/** watch_sensor() - which sensor there is; none once it could not be turned on */
enum wire_heat watch_sensor(const struct watch *w);

/**
 * watch_heat() - what is known of the use of a page
 * @pfn: of the first page of its folio
 * @mapping: the kernel's address of its address_space, as in struct scan_owner
 * @index: of the first page of its folio
 * @now_usec: CLOCK_MONOTONIC; read once for many pages, because some guests' clocks are devices
 */
struct watch_heat watch_heat(struct watch *w, uint64_t pfn, uint64_t mapping, uint64_t index,
			     uint64_t now_usec);

/**
 * watch_sweep() - mark what was long ago as such; to be called every 60 s
 */
void watch_sweep(struct watch *w);

/**
 * watch_age_class() - the class of an age, for wire_report's counts
 */
unsigned watch_age_class(struct watch_heat heat);

/**
 * watch_evicted() - a page was evicted by us: count it, and count it as refaulted should it be
 * added to the cache again within a minute
 * @device, @inode, @index: as in struct watch_run
 * @age_class: from watch_age_class(), before the eviction
 * @now_usec: when it was looked at
 */
void watch_evicted(struct watch *w, uint32_t device, uint64_t inode, uint64_t index,
		   unsigned age_class, uint64_t now_usec);

/**
 * watch_came_back() - whether a page came back within a minute of when watch_evicted() told of it,
 * and that was in the last five minutes
 * @device, @inode, @index: as in struct watch_run
 *
 * No, too, of a page that could not be followed (watch_returns()), or whose place in the table
 * another one has taken since: most have lost it when as many more were evicted as it has places.
 */
bool watch_came_back(const struct watch *w, uint32_t device, uint64_t inode, uint64_t index,
		     uint64_t now_usec);

/**
 * struct watch_returns - pages evicted, and of those that could be followed for a minute or until
 * they came back, the ones that did; by age at the eviction
 *
 * The table of what was evicted is finite: what is evicted while it is full for its minute counts
 * in neither.
 */
struct watch_returns {
	uint64_t evicted[WIRE_AGE_CLASSES];
	uint64_t refaulted[WIRE_AGE_CLASSES];
};

/** watch_returns() - the counts so far */
void watch_returns(const struct watch *w, struct watch_returns *ret);

#endif
