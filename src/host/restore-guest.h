/* SPDX-License-Identifier: Apache-2.0 */
/* One guest that is given back what it had; restore.c says when, and how much at a time. */
#ifndef PAGEPACT_HOST_RESTORE_GUEST_H
#define PAGEPACT_HOST_RESTORE_GUEST_H

#include "host/dial.h"
#include "host/restore.h"

#define RESTORE_TEXT_MAX 1280

enum restore_state {
	RESTORE_CONNECTING, /* or waiting for the next try */
	RESTORE_ASKING,	    /* a command is under way */
	RESTORE_READY,	    /* restore_guest_set() may be called */
	RESTORE_ENDED,
};

/**
 * struct restore_guest - its fields are for reading
 * @start_bytes: what it had when it was first looked at; until then, the entry's target
 * @now_bytes: its target, or what it has where that is more
 * @held: QEMU was told not to inflate any further
 * @end, @text: with RESTORE_ENDED; before, @text is the last trouble, or ""
 */
struct restore_guest {
	const struct restore_options *options;
	void (*changed)(void *group);
	void *group;
	struct journal_entry entry;
	enum restore_state state;
	uint64_t start_bytes;
	uint64_t now_bytes;
	bool held;
	enum restore_end end;
	char text[RESTORE_TEXT_MAX];

	/* Private. */
	struct qmp *qmp;
	bool own;	  /* the connection */
	uint64_t command; /* under way; 0: none */
	struct dial dial;
	int64_t balloon_bytes; /* of its size */
	uint64_t next_bytes;
	bool stats_failed;
	bool migrates; /* the target is set after that, if it ends in time */
	sd_event_source *retry;
	uint64_t retry_usec; /* how long the last wait was */
};

/**
 * restore_guest_new() - begin, from the event loop, after a delay
 * @changed: called whenever @state became RESTORE_READY or RESTORE_ENDED
 */
int restore_guest_new(const struct restore_options *options, const struct journal_entry *entry,
		      struct qmp *qmp, uint64_t delay_usec, void (*changed)(void *group),
		      void *group, struct restore_guest **ret);
struct restore_guest *restore_guest_free(struct restore_guest *guest);

/** restore_guest_set() - set a target: with the original one or more, the guest is restored */
void restore_guest_set(struct restore_guest *guest, uint64_t bytes);

/** restore_guest_end() - no further; @format is for RESTORE_FAILED, RESTORE_LEFT, RESTORE_GONE */
__attribute__((format(printf, 3, 4))) void
restore_guest_end(struct restore_guest *guest, enum restore_end end, const char *format, ...);

#endif
