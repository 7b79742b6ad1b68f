/* SPDX-License-Identifier: Apache-2.0 */
#include "host/orphans.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/balloons.h"
#include "host/restore.h"

/* For whoever attaches guests by command after a daemon's start. */
#define FIRST_USEC (5 * (uint64_t)USEC_PER_SEC)
#define AGAIN_USEC (60 * (uint64_t)USEC_PER_SEC)

struct orphans {
	struct manager *m;
	sd_event_source *timer;
	struct restore_options options;
	struct restore *restore; /* under way, or NULL */
};

/* A guest of that name and socket which is not connected yet may turn out to be it. */
static bool is_attached(const struct manager *m, const struct journal_entry *entry)
{
	for (size_t i = 0; i < m->n_vms; i++) {
		pid_t pid = vm_pid(m->vms[i]);

		if (balloon_is_of(m->vms[i], entry))
			return true;
		if (pid <= 0 && strcmp(m->vms[i]->config.name, entry->vm) == 0 &&
		    strcmp(m->vms[i]->config.qmp, entry->qmp) == 0)
			return true;
	}
	return false;
}

static void on_ended(const struct journal_entry *entry, enum restore_end end, const char *text,
		     void *userdata)
{
	struct orphans *o = userdata;
	struct vm *vm = manager_vm(o->m, entry->vm);
	const struct journal_entry *kept = vm ? balloons_kept(o->m, vm) : NULL;

	if (end == RESTORE_FAILED) {
		log_warning("%s: it is not attached, and may have less than its %llu MiB: %s",
			    entry->vm, (unsigned long long)(entry->original_bytes >> 20), text);
		return;
	}
	log_notice("%s: it is not attached, and is given back what it had: %s", entry->vm, text);
	/* It was attached meanwhile. */
	if (kept && kept->pid == entry->pid)
		balloons_restored(o->m, vm);
}

static void on_finished(void *userdata)
{
	struct orphans *o = userdata;

	o->restore = restore_free(o->restore);
}

/* Return: how many there are, or -errno. */
static int orphans_add(struct orphans *o)
{
	char **names;
	int n = journal_list(o->m->runtime_dir, &names), r = 0, added = 0;

	if (n < 0)
		return n;
	for (int i = 0; i < n && r >= 0; i++) {
		struct journal_entry entry;

		if (journal_read(o->m->runtime_dir, names[i], &entry) != 1 ||
		    is_attached(o->m, &entry))
			continue;
		r = restore_add(o->restore, &entry, NULL);
		added += r >= 0;
	}
	journal_list_free(names, n);
	return r < 0 ? r : added;
}

static void orphans_look(struct orphans *o)
{
	int r;

	o->options.deadline_usec = now_usec() + RESTORE_DEADLINE_USEC;
	r = restore_new(&o->options, &o->restore);
	if (r >= 0)
		r = orphans_add(o);
	if (r < 0)
		log_warning_errno(r, "Cannot look for guests that nobody looks after: %m");
	if (r <= 0)
		o->restore = restore_free(o->restore);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct orphans *o = userdata;

	(void)usec;
	if (!o->restore && !o->m->stopping)
		orphans_look(o);
	(void)sd_event_source_set_time_relative(s, AGAIN_USEC);
	(void)sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

int orphans_begin(struct manager *m)
{
	struct orphans *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->m = m;
	o->options = (struct restore_options){
		.event = m->event,
		.root = "",
		.runtime_dir = m->runtime_dir,
		.ended = on_ended,
		.finished = on_finished,
		.userdata = o,
	};
	m->orphans = o;
	return sd_event_add_time_relative(m->event, &o->timer, CLOCK_MONOTONIC, FIRST_USEC, 0,
					  on_timer, o);
}

void orphans_end(struct manager *m)
{
	struct orphans *o = m->orphans;

	if (!o)
		return;
	restore_free(o->restore);
	sd_event_source_disable_unref(o->timer);
	free(o);
	m->orphans = NULL;
}
