/* SPDX-License-Identifier: Apache-2.0 */
#include "host/balloons.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/balloon-result.h"
#include "host/json-get.h"
#include "host/resize.h"

#define TICK_USEC  USEC_PER_SEC
#define WATCH_USEC (10 * (uint64_t)USEC_PER_SEC)

struct balloon *balloons_of(struct manager *m, struct vm *vm)
{
	struct balloon *b = m->balloons;

	while (b && b->vm != vm)
		b = b->next;
	if (b)
		return b;
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->next = m->balloons;
	b->m = m;
	b->vm = vm;
	m->balloons = b;
	return b;
}

static struct balloon *find(const struct manager *m, const struct vm *vm)
{
	struct balloon *b = m->balloons;

	while (b && b->vm != vm)
		b = b->next;
	return b;
}

const struct journal_entry *balloons_kept(const struct manager *m, const struct vm *vm)
{
	const struct balloon *b = find(m, vm);

	return b && b->kept ? &b->entry : NULL;
}

void balloons_stop(struct manager *m, const struct vm *vm)
{
	struct balloon *b = find(m, vm);

	if (b && b->resize)
		b->resize = resize_free(b->resize);
}

void balloons_restored(struct manager *m, const struct vm *vm)
{
	struct balloon *b = find(m, vm);

	if (b)
		balloon_forget(b);
}

static void command_cancel(struct balloon *b)
{
	if (b->command && b->qmp == b->vm->qmp)
		qmp_cancel(b->qmp, b->command);
	b->command = 0;
	dial_cancel(&b->dial, b->vm->qmp);
}

bool balloon_is_busy(const struct balloon *b)
{
	return b->command || b->dial.command;
}

void balloons_forget(struct manager *m, struct vm *vm)
{
	struct balloon **at = &m->balloons, *b;

	while (*at && (*at)->vm != vm)
		at = &(*at)->next;
	b = *at;
	if (!b)
		return;
	*at = b->next;
	resize_free(b->resize);
	take_free(b->take);
	command_cancel(b);
	balloon_result_free(b->last);
	free(b);
}

/* A guest that takes pages back by itself is out of memory; nobody can tell that from somebody else
 * who makes it larger, so in doubt the guest has what was its own. */
static void took_back(struct balloon *b, uint64_t target, uint64_t actual)
{
	struct balloon_next end = { .state = BALLOON_PRESSURE,
				    .quarantine = true,
				    .reason = "it took memory back by itself" };

	log_warning("%s: its size went from %.1f MiB, which this daemon had set, to %.1f MiB: it "
		    "takes memory back by itself, so it gets all that it had",
		    b->vm->config.name, (double)target / (1 << 20), (double)actual / (1 << 20));
	b->guard.owner_until_usec = 0;
	balloon_guard_end(&b->guard, &balloon_rules_default, &end, now_usec());
	b->wanted_bytes = 0;
	balloon_open(b, b->entry.original_bytes);
}

static bool is_given_back(const struct balloon *b, uint64_t actual)
{
	return b->entry.target_bytes == b->entry.original_bytes &&
	       actual == b->entry.original_bytes && !b->entry.stats_path[0] &&
	       !b->guard.restarted_usec && !b->untold_usec && !b->open_due;
}

/* @all: with what its agent keeps out of use, of which QEMU knows nothing */
static void owner_see(struct balloon *b, uint64_t all)
{
	const struct inventory *inv = b->vm->inventory;
	uint64_t target = b->guard.target_bytes, actual = balloon_size(b, all);
	enum balloon_owner owner;

	/* Who it is lent to gives memory back. */
	if (b->resize || !b->kept || b->vm->qmp_lent || (inv && all > inventory_most_bytes(inv)))
		return;
	/* What its agent keeps has changed, or is not known: the next tick sees to it. */
	if (balloon_taken_busy(b))
		return;
	if (is_given_back(b, actual)) {
		balloon_release(b);
		return;
	}
	owner = balloon_guard_watch(&b->guard, &balloon_rules_default, now_usec(), actual,
				    inv && inv->deflate_on_oom);
	if (owner == BALLOON_OWNER_NONE)
		return;
	if (inv && inv->deflate_on_oom && !inv->migrating && actual > target &&
	    actual <= b->entry.original_bytes) {
		took_back(b, target, actual);
		return;
	}
	log_warning("%s: its size went from %.1f MiB, which this daemon had set, to %.1f MiB: "
		    "somebody else moves its balloon%s, hands off for an hour",
		    b->vm->config.name, (double)target / (1 << 20), (double)actual / (1 << 20),
		    owner == BALLOON_OWNER_OTHER ? "" : ", or the guest itself");
	b->wanted_bytes = 0;
	if (owner == BALLOON_OWNER_OTHER)
		balloon_release(b);
}

static void on_watched_mems(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct balloon *b = userdata;
	struct virtio_mems mems;
	struct plugged plugged;

	(void)qmp;
	b->command = 0;
	if (reply->result < 0)
		return;
	virtio_mems_read(reply->value, &mems);
	balloon_prune(b, &mems);
	dial_plugged(&b->entry.mems, &mems, &plugged);
	/* What could not be read is no proof of anything. */
	if (plugged.n < b->entry.mems.n)
		return;
	owner_see(b, b->watched_bytes + plugged_meant_bytes(&plugged));
}

static void on_watched(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct balloon *b = userdata;
	int64_t actual;

	(void)qmp;
	b->command = 0;
	if (reply->result < 0 || !json_get_i64(reply->value, "actual", &actual) || actual < 0)
		return;
	b->watched_bytes = (uint64_t)actual;
	if (b->entry.mems.n)
		balloon_command(b, "query-memory-devices", NULL, on_watched_mems);
	else
		owner_see(b, b->watched_bytes);
}

void balloon_command(struct balloon *b, const char *name, json_t *arguments, qmp_reply_fn *fn)
{
	command_cancel(b);
	b->qmp = b->vm->qmp;
	if (!b->qmp || !qmp_is_ready(b->qmp))
		json_decref(arguments);
	else
		(void)qmp_command(b->qmp, name, arguments, now_usec() + BALLOON_COMMAND_USEC, fn, b,
				  &b->command);
}

static void on_interval_back(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct balloon *b = userdata;

	(void)qmp;
	b->command = 0;
	if (reply->result < 0)
		return;
	(void)balloon_keep_stats(b, b->entry.original_bytes, "", 0);
	balloon_release_if_whole(b);
}

/* What the end of a resize could not set back; a device that was unplugged is not asked for ever.
 */
static bool interval_back(struct balloon *b)
{
	const struct inventory *inv = b->vm->inventory;

	if (!b->entry.stats_path[0] || !inv || inv->migrating ||
	    strcmp(b->entry.stats_path, inv->balloon_path) != 0)
		return false;
	balloon_command(b, "qom-set",
			json_pack("{ss ss sI}", "path", b->entry.stats_path, "property",
				  "guest-stats-polling-interval", "value",
				  (json_int_t)b->entry.stats_seconds),
			on_interval_back);
	return true;
}

static void watch(struct balloon *b, uint64_t now)
{
	if (b->resize || !b->kept || balloon_is_busy(b) || now < b->watched_usec + WATCH_USEC)
		return;
	b->watched_usec = now;
	if (!journal_is_live("", &b->entry)) {
		log_notice("%s: the QEMU whose size was changed has ended", b->vm->config.name);
		balloon_release(b);
		return;
	}
	/* It has what it needs at the next look. */
	if (!interval_back(b))
		balloon_command(b, "query-balloon", NULL, on_watched);
}

static int on_tick(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct manager *m = userdata;
	uint64_t now = now_usec();

	(void)usec;
	for (size_t i = 0; i < m->n_vms && !m->dry_run && !m->stopping; i++) {
		struct balloon *b = balloons_of(m, m->vms[i]);

		if (!b)
			continue;
		balloon_check(b);
		balloon_taken_tick(b, now);
		if (!balloon_boot_tick(b, now))
			watch(b, now);
	}
	(void)sd_event_source_set_time_relative(s, TICK_USEC);
	(void)sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

static void on_event(struct vm *vm, const char *name, json_t *data, void *userdata)
{
	struct balloon *b = find(userdata, vm);
	int64_t actual;

	if (!b)
		return;
	if (strcmp(name, "RESET") == 0)
		balloon_restarted(b);
	else if (b->kept && b->entry.mems.n &&
		 (strcmp(name, "BALLOON_CHANGE") == 0 ||
		  strcmp(name, "MEMORY_DEVICE_SIZE_CHANGE") == 0))
		b->watched_usec = 0; /* at the next tick, with its devices */
	else if (strcmp(name, "BALLOON_CHANGE") == 0 && json_get_i64(data, "actual", &actual) &&
		 actual >= 0)
		owner_see(b, (uint64_t)actual);
	else if (b->resize && strcmp(name, "STOP") == 0)
		resize_paused(b->resize);
	else if (b->resize && strcmp(name, "MIGRATION") == 0)
		resize_migrating(b->resize);
}

void balloons_attend(struct manager *m, struct vm *vm)
{
	vm->event_seen = on_event;
	vm->event_userdata = m;
}

int balloons_begin(struct manager *m)
{
	if (!m->dry_run)
		balloon_journal_sweep(m);
	return sd_event_add_time_relative(m->event, &m->balloon_timer, CLOCK_MONOTONIC, TICK_USEC,
					  0, on_tick, m);
}

void balloons_end(struct manager *m)
{
	m->balloon_timer = sd_event_source_disable_unref(m->balloon_timer);
	while (m->balloons)
		balloons_forget(m, m->balloons->vm);
}

static json_t *usec_left(uint64_t until, uint64_t now)
{
	return until > now ? json_integer((json_int_t)(until - now)) : json_null();
}

static json_t *size_json(const struct balloon *b, uint64_t bytes)
{
	return b && b->kept ? json_integer((json_int_t)bytes) : json_null();
}

json_t *balloons_json(const struct manager *m, const struct vm *vm)
{
	const struct balloon *b = find(m, vm);
	const struct balloon_guard none = { 0 }, *guard = b ? &b->guard : &none;
	uint64_t now = now_usec();

	return json_pack("{so so so so so so so}", "original_bytes",
			 size_json(b, b ? b->entry.original_bytes : 0), "target_bytes",
			 size_json(b, b ? balloon_target(b) : 0), "resize",
			 b && b->resize ? resize_json(b->resize) : json_null(), "last",
			 b && b->last ? balloon_result_json(b->last) : json_null(),
			 "quarantine_left_usec", usec_left(guard->quarantine_until_usec, now),
			 "hands_off_left_usec", usec_left(guard->owner_until_usec, now),
			 "resume_bytes",
			 guard->restarted_usec && guard->resume_bytes
				 ? json_integer((json_int_t)guard->resume_bytes)
				 : json_null());
}
