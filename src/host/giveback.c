/* SPDX-License-Identifier: Apache-2.0 */
#include "host/giveback.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/balloons.h"
#include "host/restore.h"

struct giveback {
	struct giveback *next;
	struct manager *m;
	struct restore *restore;
	struct restore_options options;
	giveback_done_fn *done;
	void *userdata;
	bool one;      /* is detached */
	bool waits;    /* for another one, which some of its guests are lent to */
	bool finished; /* with its own */
	unsigned failed;
	char error[512];
};

static void giveback_free(struct giveback *g)
{
	struct giveback **at = &g->m->givebacks;

	while (*at && *at != g)
		at = &(*at)->next;
	if (*at)
		*at = g->next;
	restore_free(g->restore);
	free(g);
}

void giveback_free_all(struct manager *m)
{
	while (m->givebacks)
		giveback_free(m->givebacks);
}

static void on_ended(const struct journal_entry *entry, enum restore_end end, const char *text,
		     void *userdata)
{
	struct giveback *g = userdata;
	struct vm *vm = manager_vm(g->m, entry->vm);

	if (vm)
		vm->qmp_lent = false;
	if (end == RESTORE_FAILED) {
		g->failed++;
		snprintf(g->error, sizeof(g->error), "%s", text);
		log_warning("%s: %s", entry->vm, text);
		return;
	}
	log_notice("%s: %s", entry->vm, text);
	if (vm)
		balloons_restored(g->m, vm);
}

static void finish(struct giveback *g)
{
	giveback_done_fn *done = g->done;
	void *for_whom = g->userdata;
	unsigned failed = g->failed;
	char error[sizeof(g->error)];

	memcpy(error, g->error, sizeof(error));
	giveback_free(g);
	done(failed, error, for_whom);
}

/* Whether all that it may wait for has ended too: those that began before it. */
static bool is_over(const struct giveback *g)
{
	/* A newer one is before an older one in the list. */
	return g->finished && !(g->waits && g->next);
}

static void on_finished(void *userdata)
{
	struct giveback *g = userdata;
	struct manager *m = g->m;

	g->finished = true;
	for (g = m->givebacks; g;) {
		if (!is_over(g)) {
			g = g->next;
			continue;
		}
		/* Whom it tells may begin or end others. */
		finish(g);
		g = m->givebacks;
	}
}

/* QEMU sends the target along, and whoever has the machine then goes by it. */
static bool is_leaving(const struct vm *vm)
{
	static const char *const states[] = { "inmigrate", "postmigrate", "finish-migrate",
					      "save-vm",   "restore-vm",  "colo" };

	for (size_t i = 0; vm->inventory && i < ARRAY_SIZE(states); i++)
		if (strcmp(vm->inventory->status, states[i]) == 0)
			return true;
	return vm->inventory && vm->inventory->migrating;
}

/* Return: 1 where there is something to give back, 0 where there is not, or -errno. */
static int guest_add(struct giveback *g, struct vm *vm)
{
	bool ready = vm->qmp && qmp_is_ready(vm->qmp);
	struct balloon *b = balloons_of(g->m, vm);
	const struct journal_entry *entry;
	int r;

	/* A connection is lent once: who has it gives back what there is. */
	if (vm->qmp_lent) {
		g->waits = true;
		return 1;
	}
	balloons_stop(g->m, vm);
	/* A daemon that ends at once has not looked yet. */
	if (b && !g->m->dry_run)
		balloon_check(b);
	entry = balloons_kept(g->m, vm);
	if (g->one || !is_leaving(vm))
		vm_take_back(vm);
	if (!entry)
		return 0;
	/* Who is detached is asked itself, and waited for: nobody would know of it any more. */
	if (!g->one && is_leaving(vm)) {
		log_notice("%s: it is being migrated or saved: its size is left at %.1f MiB",
			   vm->config.name, (double)entry->target_bytes / (1 << 20));
		return 0;
	}
	r = restore_add(g->restore, entry, ready ? vm->qmp : NULL);
	if (r < 0)
		return r;
	vm->qmp_lent = true;
	return 1;
}

int giveback_start(struct manager *m, struct vm *vm, giveback_done_fn *done, void *userdata)
{
	struct giveback *g = calloc(1, sizeof(*g));
	int r, n = 0;

	if (!g)
		return -ENOMEM;
	*g = (struct giveback){ .next = m->givebacks, .m = m, .done = done, .userdata = userdata };
	g->one = vm != NULL;
	m->givebacks = g;
	g->options = (struct restore_options){
		.event = m->event,
		.root = "",
		.runtime_dir = m->runtime_dir,
		.deadline_usec = now_usec() + GIVEBACK_USEC,
		.ended = on_ended,
		.finished = on_finished,
		.userdata = g,
	};
	r = restore_new(&g->options, &g->restore);
	for (size_t i = 0; r >= 0 && i < m->n_vms; i++)
		if (!vm || vm == m->vms[i]) {
			r = guest_add(g, m->vms[i]);
			n += r > 0;
		}
	if (r < 0 || !n)
		giveback_free(g);
	return r < 0 ? r : n > 0;
}
