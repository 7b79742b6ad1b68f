/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The balloon's own statistics, where no agent reports: polled each second while a resize is under
 * way, and as before after it.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/json-get.h"
#include "host/resize-parts.h"

#define STATS_USEC    USEC_PER_SEC
#define STATS_SECONDS 1
#define SECONDS_MAX   UINT32_MAX /* more than QEMU takes */
#define INTERVAL      "guest-stats-polling-interval"

static const char *path_of(const struct resize *r)
{
	return r->vm->inventory ? r->vm->inventory->balloon_path : "";
}

/* Where one value does not fit 63 bits, jansson reads all of them as real: QEMU writes 2^64 - 1 for
 * what the guest does not tell. */
static uint64_t stat_get(const json_t *stats, const char *name)
{
	const json_t *value = json_object_get(stats, name);
	double number = json_number_value(value);

	return json_is_number(value) && number >= 0 && number < (double)INT64_MAX ? (uint64_t)number
										  : BALLOON_UNKNOWN;
}

/*
 * What the guest needs is its size less what it could have: MemTotal knows the balloon in some
 * guests only (not with deflate-on-oom), and MemAvailable leaves it out in all.
 */
static void stats_see(struct resize *r, const json_t *value)
{
	const json_t *stats = json_object_get(value, "stats");
	uint64_t available = stat_get(stats, "stat-available-memory");
	int64_t update;

	if (!json_get_i64(value, "last-update", &update)) {
		double number = json_number_value(json_object_get(value, "last-update"));

		update = number > 0 && number < 1e15 ? (int64_t)number : 0;
	}
	if (!update || update == r->stats_update)
		return;
	r->stats_update = update;
	r->stats = (struct balloon_report){
		.usec = now_usec(),
		.stats = true,
		.pressure = BALLOON_BLIND,
		.oom_kills = stat_get(stats, "stat-oom-kill"),
		.alloc_stalls = stat_get(stats, "stat-alloc-stall"),
	};
	if (r->seen.actual_known && available <= r->seen.actual_bytes)
		r->stats.needed_bytes = r->seen.actual_bytes - available;
	else if (available != BALLOON_UNKNOWN)
		resize_note(r, "the guest claims more available memory than it has: not used");
}

static void on_stats(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct resize *r = userdata;

	(void)qmp;
	r->command = 0;
	if (reply->result == 0)
		stats_see(r, reply->value);
}

static json_t *property(const struct resize *r, const char *name)
{
	return json_pack("{ss ss}", "path", path_of(r), "property", name);
}

static void on_interval_set(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct resize *r = userdata;

	(void)qmp;
	r->command = 0;
	r->stats_on = reply->result == 0;
	if (!r->stats_on)
		resize_note(r, "the balloon's statistics cannot be had: %s", reply->error);
}

static int interval_set(struct resize *r, uint64_t seconds, qmp_reply_fn *fn)
{
	return resize_command(r, "qom-set",
			      json_pack("{ss ss sI}", "path", path_of(r), "property", INTERVAL,
					"value", (json_int_t)seconds),
			      fn);
}

static void on_interval(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct resize *r = userdata;
	json_int_t seconds = json_integer_value(reply->value);

	(void)qmp;
	r->command = 0;
	if (reply->result < 0 || seconds < 0 || seconds > SECONDS_MAX) {
		resize_note(r, "the balloon's statistics cannot be had");
		return;
	}
	/* Another reader's are as good; a dry run changes nothing. */
	if (seconds == STATS_SECONDS || (r->request.dry_run && seconds > 0))
		r->stats_on = true;
	else if (!r->request.dry_run && balloon_keep_stats(r->b, r->goal.original_bytes, path_of(r),
							   (uint64_t)seconds) >= 0)
		(void)interval_set(r, STATS_SECONDS, on_interval_set);
}

static bool stats_begin(struct resize *r)
{
	r->stats_tried = true;
	r->stats_begun_usec = now_usec();
	if (r->vm->agent == VM_AGENT_LIVE)
		resize_note(r, "its agent does not say what the guest needs");
	else
		resize_note(r,
			    "no agent answers: the plain balloon, and the balloon's statistics in "
			    "place of reports");
	return path_of(r)[0] &&
	       resize_command(r, "qom-get", property(r, INTERVAL), on_interval) >= 0;
}

bool resize_stats_due(struct resize *r)
{
	uint64_t now = now_usec();

	if (r->run.phase < BALLOON_PHASE_LOOK || r->seen.report.usec > r->stats.usec ||
	    r->agent_reports)
		return false;
	if (!r->stats_tried)
		return stats_begin(r);
	if (!r->stats_on || now < r->stats_asked_usec + STATS_USEC)
		return false;
	r->stats_asked_usec = now;
	return resize_command(r, "qom-get", property(r, "guest-stats"), on_stats) >= 0;
}

static void on_interval_back(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct resize *r = userdata;

	(void)qmp;
	r->command = 0;
	if (reply->result < 0)
		log_warning("%s: the interval of its balloon's statistics cannot be set back: %s",
			    r->vm->config.name, reply->error);
	else
		(void)balloon_keep_stats(r->b, r->goal.original_bytes, "", 0);
}

bool resize_stats_end(struct resize *r)
{
	r->stats_on = false;
	if (!r->b->kept || !r->b->entry.stats_path[0] || r->request.dry_run || r->seen.migrating)
		return false;
	if (r->stats_asked_usec == UINT64_MAX)
		return false;
	/* Once. */
	r->stats_asked_usec = UINT64_MAX;
	return interval_set(r, r->b->entry.stats_seconds, on_interval_back) >= 0;
}
