/* SPDX-License-Identifier: Apache-2.0 */
#include "host/restore-guest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/json-get.h"
#include "host/migrating.h"

#define COMMAND_USEC   5000000ULL
#define RETRY_USEC     500000ULL  /* after the first try, then twice as long each time, ... */
#define RETRY_MAX_USEC 4000000ULL /* ... for a busy host needs its time for the answers */

static void disconnect(struct restore_guest *g)
{
	if (g->command)
		qmp_cancel(g->qmp, g->command);
	g->command = 0;
	dial_cancel(&g->dial, g->qmp);
	if (g->own)
		g->qmp = qmp_free(g->qmp);
}

struct restore_guest *restore_guest_free(struct restore_guest *g)
{
	if (!g)
		return NULL;
	disconnect(g);
	sd_event_source_disable_unref(g->retry);
	free(g);
	return NULL;
}

static void enter(struct restore_guest *g, enum restore_state state)
{
	g->state = state;
	g->changed(g->group);
}

void restore_guest_end(struct restore_guest *g, enum restore_end end, const char *format, ...)
{
	char text[RESTORE_TEXT_MAX];
	va_list ap;

	if (g->state == RESTORE_ENDED)
		return;
	/* Its own text may be among the arguments. */
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	memcpy(g->text, text, sizeof(text));
	disconnect(g);
	g->retry = sd_event_source_disable_unref(g->retry);
	g->end = end;
	enter(g, RESTORE_ENDED);
}

/* Something that may be better at the next try, with a connection of one's own. */
static void trouble(struct restore_guest *g, const char *text)
{
	if (g->state == RESTORE_ENDED)
		return;
	if (!g->own) {
		restore_guest_end(g, RESTORE_FAILED, "%s", text);
		return;
	}
	snprintf(g->text, sizeof(g->text), "%s", text);
	disconnect(g);
	g->held = g->migrates = false;
	g->state = RESTORE_CONNECTING;
	g->retry_usec = g->retry_usec == 0		 ? RETRY_USEC
			: g->retry_usec < RETRY_MAX_USEC ? 2 * g->retry_usec
							 : RETRY_MAX_USEC;
	if (sd_event_source_set_time_relative(g->retry, g->retry_usec) < 0 ||
	    sd_event_source_set_enabled(g->retry, SD_EVENT_ONESHOT) < 0)
		restore_guest_end(g, RESTORE_FAILED, "%s", text);
}

static uint64_t command_deadline(const struct restore_guest *g)
{
	uint64_t deadline = now_usec() + COMMAND_USEC;

	return deadline < g->options->deadline_usec ? deadline : g->options->deadline_usec;
}

static void ask(struct restore_guest *g, const char *command, json_t *arguments, qmp_reply_fn *fn)
{
	uint64_t deadline = command_deadline(g);
	int r;

	g->state = RESTORE_ASKING;
	r = qmp_command(g->qmp, command, arguments, deadline, fn, g, &g->command);
	if (r < 0)
		trouble(g, "the QMP connection is closed");
}

/*
 * What all answers have in common. Return: whether there is one, though it be a refusal. A
 * connection of one's own that was closed is seen to by on_closed().
 */
static bool answered(struct restore_guest *g, const struct qmp_reply *reply)
{
	g->command = 0;
	if (reply->result == 0 || reply->result == -EREMOTEIO)
		return true;
	if (reply->result != -ECONNRESET || !g->own)
		trouble(g, reply->error);
	return false;
}

static bool is_class(const struct qmp_reply *reply, const char *class)
{
	return reply->result == -EREMOTEIO && strcmp(reply->error_class, class) == 0;
}

/* Whether QEMU does not do it; that is the end. */
static bool refused(struct restore_guest *g, const struct qmp_reply *reply, const char *what)
{
	if (reply->result >= 0)
		return false;
	if (is_class(reply, "DeviceNotActive"))
		restore_guest_end(g, RESTORE_DONE, "it has no balloon any more");
	else
		restore_guest_end(g, RESTORE_FAILED, "QEMU refuses %s: %s", what, reply->error);
	return true;
}

static void on_set(struct dial *dial, const struct qmp_reply *reply, void *userdata)
{
	struct restore_guest *g = userdata;
	char what[64];

	(void)dial;
	if (!answered(g, reply))
		return;
	snprintf(what, sizeof(what), "a target of %llu bytes", (unsigned long long)g->next_bytes);
	if (!refused(g, reply, what)) {
		g->now_bytes = g->next_bytes;
		g->held = true;
		if (g->now_bytes < g->entry.original_bytes)
			enter(g, RESTORE_READY);
		else if (g->stats_failed)
			restore_guest_end(g, RESTORE_FAILED, "%s", g->text);
		else
			restore_guest_end(g, RESTORE_DONE, "its target is %llu bytes again",
					  (unsigned long long)g->now_bytes);
	}
}

static void wait_for_migration(struct restore_guest *g)
{
	snprintf(g->text, sizeof(g->text),
		 "it is being migrated or saved, so its size is left as it is: whoever has it then "
		 "goes by that");
	g->migrates = true;
	if (sd_event_source_set_time_relative(g->retry, RETRY_USEC) < 0 ||
	    sd_event_source_set_enabled(g->retry, SD_EVENT_ONESHOT) < 0)
		restore_guest_end(g, RESTORE_FAILED, "%s", g->text);
}

static void set(struct restore_guest *g)
{
	uint64_t now = now_usec(), deadline = command_deadline(g);
	const struct dial_request request = {
		.entry = &g->entry,
		.bytes = g->next_bytes,
		.command_usec = deadline > now ? deadline - now : 0,
	};

	g->state = RESTORE_ASKING;
	if (dial_set(&g->dial, g->qmp, &request, on_set, g) < 0)
		trouble(g, "the QMP connection is closed");
}

static void on_migrate(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct restore_guest *g = userdata;

	(void)qmp;
	if (!answered(g, reply))
		return;
	if (reply->result == 0 && is_migrating(reply->value))
		wait_for_migration(g);
	else
		set(g);
}

void restore_guest_set(struct restore_guest *g, uint64_t bytes)
{
	g->next_bytes = bytes;
	ask(g, "query-migrate", NULL, on_migrate);
}

static void on_stats(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct restore_guest *g = userdata;

	(void)qmp;
	if (!answered(g, reply))
		return;
	/* A device that was unplugged has no statistics. */
	g->stats_failed = reply->result < 0 && !is_class(reply, "DeviceNotFound");
	if (g->stats_failed)
		snprintf(g->text, sizeof(g->text),
			 "QEMU refuses to set guest-stats-polling-interval of %s back to %llu: %s",
			 g->entry.stats_path, (unsigned long long)g->entry.stats_seconds,
			 reply->error);
	enter(g, RESTORE_READY);
}

static void restore_stats(struct restore_guest *g)
{
	if (g->entry.stats_path[0])
		ask(g, "qom-set",
		    json_pack("{ss ss sI}", "path", g->entry.stats_path, "property",
			      "guest-stats-polling-interval", "value",
			      (json_int_t)g->entry.stats_seconds),
		    on_stats);
	else
		enter(g, RESTORE_READY);
}

/*
 * The guest writes the number, and may have taken back less than it was allowed. More than the
 * original size it has where memory was plugged in since, which a target of that size would take
 * away again; a guest that lies about it gets no more than the machine has.
 */
static void see_size(struct restore_guest *g, int64_t actual)
{
	if (actual > 0 && (uint64_t)actual > g->now_bytes)
		g->now_bytes = (uint64_t)actual;
	if (g->start_bytes == g->entry.target_bytes)
		g->start_bytes = g->now_bytes;
}

static void on_mems(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct restore_guest *g = userdata;
	struct virtio_mems mems;
	struct plugged plugged;

	(void)qmp;
	if (!answered(g, reply) || refused(g, reply, "query-memory-devices"))
		return;
	virtio_mems_read(reply->value, &mems);
	dial_plugged(&g->entry.mems, &mems, &plugged);
	see_size(g, g->balloon_bytes + (int64_t)plugged_bytes(&plugged));
	restore_stats(g);
}

static void on_size(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct restore_guest *g = userdata;
	int64_t actual;

	(void)qmp;
	if (!answered(g, reply))
		return;
	/* What its devices gave they are given back all the same. */
	if (g->entry.mems.n && is_class(reply, "DeviceNotActive")) {
		restore_stats(g);
		return;
	}
	if (refused(g, reply, "query-balloon"))
		return;
	if (!json_get_i64(reply->value, "actual", &actual)) {
		restore_guest_end(g, RESTORE_FAILED, "query-balloon: the answer has no size");
	} else if (g->entry.mems.n) {
		g->balloon_bytes = actual;
		ask(g, "query-memory-devices", NULL, on_mems);
	} else {
		see_size(g, actual);
		restore_stats(g);
	}
}

static void ask_size(struct restore_guest *g)
{
	ask(g, "query-balloon", NULL, on_size);
}

/* Another process than the entry's, which lives. A listener that has ended says nothing: it is what
 * was QEMU's parent before that became a daemon. */
static bool is_other(const struct restore_guest *g, pid_t peer)
{
	struct journal_entry other;

	return peer > 0 && peer != g->entry.pid &&
	       journal_process(g->options->root, peer, &other) >= 0;
}

static void on_uuid(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct restore_guest *g = userdata;
	const char *uuid = json_string_value(json_object_get(reply->value, "UUID"));

	(void)qmp;
	if (!answered(g, reply))
		return;
	if (!uuid)
		restore_guest_end(g, RESTORE_FAILED, "QEMU does not tell the machine's UUID: %s",
				  reply->error);
	else if (strcasecmp(uuid, g->entry.uuid) != 0)
		/* The entry's own may have lost its socket to it, and have nobody else who knows.
		 */
		restore_guest_end(g,
				  is_other(g, qmp_peer_pid(g->qmp)) ? RESTORE_FAILED : RESTORE_GONE,
				  "another machine answers at %s", g->entry.qmp);
	else
		ask_size(g);
}

static void identify(struct restore_guest *g)
{
	pid_t peer = qmp_peer_pid(g->qmp);

	if (g->entry.uuid[0])
		ask(g, "query-uuid", NULL, on_uuid);
	else if (is_other(g, peer))
		restore_guest_end(g, RESTORE_FAILED,
				  "process %d listens at %s, not QEMU, which is process %d",
				  (int)peer, g->entry.qmp, (int)g->entry.pid);
	else
		ask_size(g);
}

static void on_ready(struct qmp *qmp, void *userdata)
{
	(void)qmp;
	identify(userdata);
}

static void on_closed(struct qmp *qmp, int reason, const char *message, void *userdata)
{
	(void)qmp;
	(void)reason;
	trouble(userdata, message);
}

static const struct qmp_ops qmp_ops = { .ready = on_ready, .closed = on_closed };

static int on_try(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct restore_guest *g = userdata;

	(void)source, (void)usec;
	if (g->migrates) {
		g->migrates = false;
		restore_guest_set(g, g->next_bytes);
		return 0;
	}
	if (!journal_is_live(g->options->root, &g->entry))
		restore_guest_end(g, RESTORE_GONE, "its QEMU has ended");
	else if (!g->own)
		identify(g);
	else if (qmp_new(g->options->event, g->entry.qmp, &qmp_ops, g, &g->qmp) < 0)
		trouble(g, "cannot make a connection");
	return 0;
}

int restore_guest_new(const struct restore_options *options, const struct journal_entry *entry,
		      struct qmp *qmp, uint64_t delay_usec, void (*changed)(void *group),
		      void *group, struct restore_guest **ret)
{
	struct restore_guest *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->options = options;
	g->changed = changed;
	g->group = group;
	g->entry = *entry;
	g->start_bytes = g->now_bytes = entry->target_bytes;
	g->qmp = qmp;
	g->own = !qmp;
	r = sd_event_add_time_relative(options->event, &g->retry, CLOCK_MONOTONIC, delay_usec, 1,
				       on_try, g);
	if (r < 0) {
		restore_guest_free(g);
		return r;
	}
	*ret = g;
	return 0;
}
