/* SPDX-License-Identifier: Apache-2.0 */
#include "host/restore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/hostmem.h"
#include "host/restore-guest.h"
#include "host/room.h"

#define ROUND_USEC USEC_PER_SEC
#define SOON_USEC  10000
/* Between the beginnings of two guests. sd-event goes through all that is ready for each thing that
 * it serves: when 4000 guests answered at the same time, half a minute went into that. */
#define APART_USEC 1500
#define MIB	   (1024 * 1024)

struct restore {
	struct restore_options options;
	struct restore_guest **guests;
	size_t n_guests;
	size_t n_told; /* of @ended */
	bool *told;
	uint64_t next_round_usec;
	struct snapshot_host host;
	sd_event_source *timer;
	bool soon; /* it is due for a change */
};

struct restore *restore_free(struct restore *restore)
{
	if (!restore)
		return NULL;
	for (size_t i = 0; i < restore->n_guests; i++)
		restore_guest_free(restore->guests[i]);
	sd_event_source_disable_unref(restore->timer);
	free(restore->guests);
	free(restore->told);
	free(restore);
	return NULL;
}

/* Unless a daemon has begun to go by it, or another restorer has been there. */
static bool entry_is_ours(const struct restore *restore, const struct journal_entry *entry)
{
	const struct restore_options *o = &restore->options;
	struct journal_entry now;

	return !(o->yield && o->yield(o->userdata)) &&
	       journal_read(o->runtime_dir, entry->vm, &now) == 1 && now.pid == entry->pid &&
	       now.start_ticks == entry->start_ticks && now.target_bytes == entry->target_bytes;
}

/* What is left in the journal is what is so. Return: 0 or -errno. */
static int entry_settle(const struct restore *restore, const struct restore_guest *g)
{
	const char *dir = restore->options.runtime_dir;
	struct journal_entry entry = g->entry;

	if (g->end == RESTORE_LEFT || !entry_is_ours(restore, &g->entry))
		return 0;
	if (g->end != RESTORE_FAILED)
		return journal_remove(dir, entry.vm);
	/* Of one that was not held the target is what it was, whatever size the guest has. */
	if (!g->held)
		return 0;
	entry.target_bytes = g->now_bytes;
	return entry.target_bytes == g->entry.target_bytes ? 0 : journal_write(dir, &entry);
}

static void tell(struct restore *restore, size_t i)
{
	const struct restore_guest *g = restore->guests[i];
	char text[RESTORE_TEXT_MAX + 96];
	enum restore_end end = g->end;
	int r = entry_settle(restore, g);

	snprintf(text, sizeof(text), "%s", g->text);
	if (r < 0) {
		end = RESTORE_FAILED;
		snprintf(text, sizeof(text), "%s, but its journal entry cannot be changed: %s",
			 g->text, strerror(-r));
	}
	restore->told[i] = true;
	restore->n_told++;
	restore->options.ended(&g->entry, end, text, restore->options.userdata);
}

static struct room room_now(struct restore *restore)
{
	struct room room = { 0 };

	hostmem_read(restore->options.root, &restore->host);
	room.total_bytes = restore->host.memory_total_bytes;
	room.available_bytes = restore->host.memory_available_bytes;
	for (size_t i = 0; i < restore->n_guests; i++) {
		const struct restore_guest *g = restore->guests[i];

		if (g->entry.original_bytes > g->start_bytes && g->end != RESTORE_GONE)
			room.owed_bytes += g->entry.original_bytes - g->start_bytes;
	}
	return room;
}

static void give(struct restore *restore, uint64_t now)
{
	const struct room room = room_now(restore);
	uint64_t budget = room_budget(&room), target;
	bool round = now >= restore->next_round_usec;

	for (size_t i = 0; i < restore->n_guests; i++) {
		struct restore_guest *g = restore->guests[i];

		if (g->state != RESTORE_READY)
			continue;
		target = g->now_bytes;
		if (budget == ROOM_ALL || (round && g->held))
			target = room_take(&budget, g->now_bytes, g->entry.original_bytes);
		/* Without room for more, it is at least not squeezed any further. */
		if (target > g->now_bytes || !g->held)
			restore_guest_set(g, target);
	}
	if (round)
		restore->next_round_usec = now + ROUND_USEC;
}

static void give_up(struct restore *restore, struct restore_guest *g)
{
	if (g->state == RESTORE_READY)
		restore_guest_end(
			g, RESTORE_FAILED,
			"the host has no room for more: %llu MiB are available, and %llu "
			"MiB are kept; free some",
			(unsigned long long)restore->host.memory_available_bytes / MIB,
			(unsigned long long)room_reserve_bytes(restore->host.memory_total_bytes) /
				MIB);
	else
		restore_guest_end(g, RESTORE_FAILED, "%s",
				  g->text[0] ? g->text : "QEMU did not answer in time");
}

static void look(struct restore *restore, uint64_t now)
{
	const struct restore_options *o = &restore->options;
	bool leave = o->yield && o->yield(o->userdata);

	for (size_t i = 0; i < restore->n_guests; i++) {
		struct restore_guest *g = restore->guests[i];

		if (g->state != RESTORE_ENDED && leave)
			restore_guest_end(g, RESTORE_LEFT, "left to the daemon that has started");
		else if (g->state != RESTORE_ENDED && now >= o->deadline_usec)
			give_up(restore, g);
		if (g->state == RESTORE_ENDED && !restore->told[i])
			tell(restore, i);
	}
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct restore *restore = userdata;
	const struct restore_options *o = &restore->options;
	uint64_t now = now_usec(), next = now + ROUND_USEC;

	(void)usec;
	restore->soon = false;
	look(restore, now);
	if (restore->n_told == restore->n_guests) {
		o->finished(o->userdata);
		return 0;
	}
	if (!restore->soon)
		(void)sd_event_source_set_time(source,
					       next < o->deadline_usec ? next : o->deadline_usec);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	give(restore, now);
	return 0;
}

/*
 * A guest may have changed within any call: what follows from it is seen to from the loop, and for
 * all that change at about the same time at once. Of 4000, each was looked at 16,000 times else.
 */
static void on_changed(void *userdata)
{
	struct restore *restore = userdata;

	if (restore->soon)
		return;
	restore->soon = true;
	(void)sd_event_source_set_time(restore->timer, now_usec() + SOON_USEC);
	(void)sd_event_source_set_enabled(restore->timer, SD_EVENT_ONESHOT);
}

int restore_new(const struct restore_options *options, struct restore **ret)
{
	struct restore *restore = calloc(1, sizeof(*restore));
	int r;

	if (!restore)
		return -ENOMEM;
	restore->options = *options;
	/* Those that answer at once are seen together, and a step is not the first thing. */
	restore->next_round_usec = now_usec() + ROUND_USEC;
	r = sd_event_add_time_relative(options->event, &restore->timer, CLOCK_MONOTONIC, 0, 1,
				       on_timer, restore);
	if (r < 0) {
		restore_free(restore);
		return r;
	}
	*ret = restore;
	return 0;
}

int restore_add(struct restore *restore, const struct journal_entry *entry, struct qmp *qmp)
{
	size_t n = restore->n_guests;
	struct restore_guest **guests = reallocarray(restore->guests, n + 1, sizeof(*guests));
	bool *told = reallocarray(restore->told, n + 1, sizeof(*told));
	int r;

	if (guests)
		restore->guests = guests;
	if (told)
		restore->told = told;
	if (!guests || !told)
		return -ENOMEM;
	r = restore_guest_new(&restore->options, entry, qmp, n * APART_USEC, on_changed, restore,
			      &guests[n]);
	if (r < 0)
		return r;
	told[n] = false;
	restore->n_guests++;
	return 0;
}
