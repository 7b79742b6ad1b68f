/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives guests back what was theirs before they were changed: for the dead-man (pagepact-restore)
 * and for a daemon that ends.
 *
 * How it works
 *
 * All guests at the same time, each by its own connection, within one deadline: a QEMU that does
 * not answer costs the others nothing. A guest is asked who it is and how large; the polling of its
 * statistics is set back; then its size is raised (dial.h), at once or in steps as the host has
 * room (room.h). A target that QEMU took is a guest restored: QEMU keeps it, also for a guest that
 * is paused or boots. A guest that has more than it had (memory was plugged in) is not made
 * smaller.
 *
 * A guest that is being migrated or saved has no target set: QEMU sends that along, and whoever has
 * the machine then goes by it. It is waited for until the deadline.
 *
 * Then the guest's journal entry is removed, unless it was written anew meanwhile.
 */
#ifndef PAGEPACT_HOST_RESTORE_H
#define PAGEPACT_HOST_RESTORE_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "host/journal.h"
#include "host/qmp.h"

#define RESTORE_DEADLINE_USEC 45000000ULL /* for all guests; systemd waits 90 s */

enum restore_end {
	RESTORE_DONE,	/* as it was, or with no balloon any more */
	RESTORE_GONE,	/* the machine that the entry is about is no more */
	RESTORE_FAILED, /* it is still changed, and its entry is kept */
	RESTORE_LEFT,	/* to a daemon, which has started: it goes by the entry */
};

struct restore;

/**
 * struct restore_options - what is common to all guests; kept, not copied: the strings
 * @root: "" for this machine; or a fixture's directory, for /proc
 * @runtime_dir: where the journal is
 * @deadline_usec: CLOCK_MONOTONIC, absolute
 * @yield: whether a daemon runs that is not the caller; NULL: none can
 * @ended: once for each guest. @text: one line: what, where, what to do; without the guest's name
 * @finished: once, after the last of them, or at once where none was added; may restore_free()
 *
 * Both are called from the event loop alone; nothing may be freed in @ended.
 */
struct restore_options {
	sd_event *event;
	const char *root;
	const char *runtime_dir;
	uint64_t deadline_usec;
	bool (*yield)(void *userdata);
	void (*ended)(const struct journal_entry *entry, enum restore_end end, const char *text,
		      void *userdata);
	void (*finished)(void *userdata);
	void *userdata;
};

/** restore_new() - Return: 0, -ENOMEM or a negative errno of sd-event */
int restore_new(const struct restore_options *options, struct restore **ret);

/** restore_free() - give up; calls nothing back. Returns NULL. */
struct restore *restore_free(struct restore *restore);

static inline void restore_freep(struct restore **restore)
{
	*restore = restore_free(*restore);
}

/**
 * restore_add() - one more guest, before the event loop has run
 * @entry: copied
 * @qmp: the caller's connection to it, ready, which must outlive @restore and is not tried again
 *	once it fails, for QEMU serves one client at a time; NULL: one of its own, tried until the
 *	deadline
 *
 * Return: 0, or -ENOMEM.
 */
int restore_add(struct restore *restore, const struct journal_entry *entry, struct qmp *qmp);

#endif
