/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every guest's balloon: what was the guest's before it was first changed, what is wanted of it,
 * and who else moves it.
 *
 * How it works
 *
 * Before the first change of a guest an entry about it is in the journal, and stays there until the
 * guest is back at its original size, or somebody else has made it smaller still, or QEMU has gone.
 * A guest that has more than it was left may have taken it (its driver was bound anew, it
 * hibernated, it ran out of memory): then no target is set for an hour, and the entry stays. A
 * daemon that finds an entry about the very QEMU that it looks after takes it over, and changes
 * nothing. A guest that is restarted gets its original size for the time of its boot; what was
 * asked for is resumed after that.
 *
 * QEMU's account of a size is what the guest's driver wrote last. A reset does not change it, and a
 * driver that finds nothing to do when it starts writes nothing: what is told then may be the size
 * in the midst of a resize. So a guest that boots is given a page less than it had until it has
 * told that, and then the page.
 */
#ifndef PAGEPACT_HOST_BALLOONS_H
#define PAGEPACT_HOST_BALLOONS_H

#include "host/dial.h"
#include "host/manager.h"
#include "host/take.h"
#include "policy/balloon-guard.h"

struct resize;

/* A resize that nobody bounded: an hour is more than any guest takes that gets anywhere. */
#define RESIZE_USEC (3600 * (uint64_t)1000000)
/* Below balloon_rules.blind_usec: a late answer is not the end. */
#define BALLOON_COMMAND_USEC ((uint64_t)5000000)

/**
 * struct balloon - one guest's
 * @kept: @entry is in the journal: the guest is not, or may not be, as it was
 * @wanted_bytes, @wanted_cache, @wanted_by: what was last asked for; 0: nothing that holds
 * @resize: the one under way, or NULL
 * @last: how the last one ended, or NULL
 * @untold_usec: when the guest was restarted, if it has not told its size since; else 0
 * @adopted_usec: when its entry was taken over from a daemon before this one; 0: it was not
 * @taken_superpages: that we left out of its use; @is_taking: a resize has more taken
 * @mems: its virtio-mem devices, as a resize saw them before it changed any
 * @blocked: why nothing can be written into the journal about it, so that it cannot be resized; ""
 */
struct balloon {
	struct balloon *next;
	struct manager *m;
	struct vm *vm;
	bool kept;
	struct journal_entry entry;
	uint64_t wanted_bytes;
	enum balloon_cache wanted_cache;
	enum balloon_by wanted_by;
	struct balloon_guard guard;
	struct resize *resize;
	struct balloon_result *last;
	uint64_t untold_usec;
	uint64_t adopted_usec;
	uint64_t taken_superpages;
	bool is_taking;
	struct journal_mems mems;
	char blocked[BALLOON_REASON_MAX * 2];

	/* Private to balloons.c, balloon-boot.c and balloon-journal.c. */
	pid_t checked_pid; /* the QEMU about which the journal was asked */
	uint64_t watched_usec;
	struct qmp *qmp;
	uint64_t command;
	struct dial dial;
	struct take *take; /* beside a resize; or NULL */
	uint64_t take_again_usec;
	uint64_t watched_bytes; /* the balloon's size, while the devices are asked about */
	bool open_due;		/* a target is to be set, for its boot */
	uint64_t open_bytes;
	bool settled; /* what the journal says of that QEMU is known */
	bool opening; /* what is awaited is for that */
	uint8_t boot_id[16];
};

/** balloons_begin() - look after all balloons from now on. Return: 0 or -errno. */
int balloons_begin(struct manager *m);

/** balloons_end() - for good; guests and journal are left as they are */
void balloons_end(struct manager *m);

/** balloons_attend() - a guest is new: listen to its QEMU */
void balloons_attend(struct manager *m, struct vm *vm);

/** balloons_of() - a guest's; NULL when memory is short */
struct balloon *balloons_of(struct manager *m, struct vm *vm);

/** balloons_forget() - the guest is about to go */
void balloons_forget(struct manager *m, struct vm *vm);

/** balloons_kept() - the entry of a guest that is not, or may not be, as it was; or NULL */
const struct journal_entry *balloons_kept(const struct manager *m, const struct vm *vm);

/** balloons_stop() - end a guest's resize without another word to QEMU */
void balloons_stop(struct manager *m, const struct vm *vm);

/** balloons_restored() - the guest is as it was: its entry has been removed */
void balloons_restored(struct manager *m, const struct vm *vm);

/**
 * balloon_check() - take over what the journal says of this QEMU, once; before anything else
 *
 * The process decides (pid, start, boot), not the guest's name, path or UUID. An entry is removed
 * only where its process has ended.
 */
void balloon_check(struct balloon *b);

/**
 * balloon_keep() - before a change: have the journal know
 * @original_bytes: counts for the first change alone
 * @target_bytes: that is about to be set
 *
 * To give memory back does not depend on a write: where there is an entry, that is only warned of.
 *
 * Return: 0 or -errno; then nothing may be changed.
 */
int balloon_keep(struct balloon *b, uint64_t original_bytes, uint64_t target_bytes);

/**
 * balloon_keep_stats() - as balloon_keep(), before the polling of statistics is turned on
 * @path, @seconds: of the device, and what its interval was; "" and 0: it is as it was again
 */
int balloon_keep_stats(struct balloon *b, uint64_t original_bytes, const char *path,
		       uint64_t seconds);

/**
 * balloon_prune() - of an entry, leave out devices that the machine has no more
 * @now: all that it has
 *
 * QEMU removes one only when nothing is plugged in: what it had once is not owed any more.
 */
void balloon_prune(struct balloon *b, const struct virtio_mems *now);

/* balloon-taken.c: superpages that its agent keeps out of use, of which QEMU knows nothing. */
/** balloon_taken_tick() - each second: see to those that were lost, and to those that are too many
 */
void balloon_taken_tick(struct balloon *b, uint64_t now);
/** balloon_taken_busy() - why no resize can begin yet; or NULL */
const char *balloon_taken_busy(const struct balloon *b);
/** balloon_taken() - how many of them are of our asking: they count in the guest's size */
uint64_t balloon_taken(const struct balloon *b);
/** balloon_size() - a guest's size, of what it has by QEMU's account */
uint64_t balloon_size(const struct balloon *b, uint64_t all);
/** balloon_taken_keep() - how many may stay out of use at a size: pages come back first */
uint64_t balloon_taken_keep(const struct balloon *b, uint64_t bytes);

/** balloon_is_untold() - QEMU's account of the size is of before the guest was restarted */
bool balloon_is_untold(const struct balloon *b);
/** balloon_target() - that was set last; @b->kept */
uint64_t balloon_target(const struct balloon *b);

/** balloon_command() - ask QEMU; one at a time: an older one is given up; lost where none answers
 */
void balloon_command(struct balloon *b, const char *name, json_t *arguments, qmp_reply_fn *fn);

/** balloon_is_busy() - whether an answer is awaited */
bool balloon_is_busy(const struct balloon *b);

/** balloon_restarted() - the guest boots: its original size is set until QEMU has answered that */
void balloon_restarted(struct balloon *b);

/** balloon_open() - have a target set until QEMU has answered that; not while it migrates */
void balloon_open(struct balloon *b, uint64_t bytes);

/**
 * balloon_boot_tick() - each second: see to a guest that boots, or has had the time to
 *
 * Return: whether it is still to tell its size.
 */
bool balloon_boot_tick(struct balloon *b, uint64_t now);

/** balloon_release() - nothing of ours is left: remove the entry */
void balloon_release(struct balloon *b);

/** balloon_release_if_whole() - where it is back at its original size, and nothing else is left */
void balloon_release_if_whole(struct balloon *b);

/** balloon_forget() - as balloon_release(), where the entry has been removed */
void balloon_forget(struct balloon *b);

/** balloon_is_of() - whether an entry is about a guest's QEMU: the process, and one name of it */
bool balloon_is_of(const struct vm *vm, const struct journal_entry *entry);

/** balloon_journal_live() - whether an entry is about a process that runs, or cannot be read */
bool balloon_journal_live(const struct manager *m);

/** balloon_journal_sweep() - remove entries about processes that have ended */
void balloon_journal_sweep(struct manager *m);

/** balloons_json() - for status, of one guest; a new reference */
json_t *balloons_json(const struct manager *m, const struct vm *vm);

#endif
