/* SPDX-License-Identifier: Apache-2.0 */
/* What the journal is told of a guest's balloon, and what is taken over from it. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/balloons.h"
#include "host/resize.h"

void balloon_forget(struct balloon *b)
{
	b->kept = false;
	b->wanted_bytes = 0;
	b->guard.target_bytes = 0;
	b->guard.resting = false;
	b->guard.restarted_usec = b->guard.resume_bytes = 0;
	b->untold_usec = 0;
	b->open_due = false;
}

static int entry_fill(struct balloon *b, uint64_t original_bytes)
{
	const struct vm *vm = b->vm;
	struct journal_entry entry = { .original_bytes = original_bytes,
				       .target_bytes = original_bytes,
				       .mems = b->mems };
	pid_t pid = vm_pid(vm);
	int r;

	if (b->kept)
		return 0;
	/* Never over what could not be read. */
	if (!b->settled)
		return -EUCLEAN;
	r = pid < 0 ? pid : journal_process("", pid, &entry);
	if (r < 0)
		return r;
	snprintf(entry.vm, sizeof(entry.vm), "%s", vm->config.name);
	snprintf(entry.qmp, sizeof(entry.qmp), "%s", vm->config.qmp);
	snprintf(entry.uuid, sizeof(entry.uuid), "%s", vm->inventory ? vm->inventory->uuid : "");
	b->entry = entry;
	return 0;
}

/* What is in the journal is what @b->entry says, also where it could not be written. */
static int entry_write(struct balloon *b, const struct journal_entry *entry)
{
	int r = journal_write(b->m->runtime_dir, entry);

	if (r < 0)
		return r;
	b->entry = *entry;
	b->kept = true;
	return 0;
}

uint64_t balloon_target(const struct balloon *b)
{
	return b->guard.target_bytes ?: b->entry.target_bytes;
}

int balloon_keep(struct balloon *b, uint64_t original_bytes, uint64_t target_bytes)
{
	struct journal_entry entry;
	int r = entry_fill(b, original_bytes);

	if (r < 0)
		return r;
	entry = b->entry;
	entry.target_bytes = target_bytes;
	r = entry_write(b, &entry);
	if (r < 0 && (!b->kept || target_bytes < b->entry.target_bytes))
		return r;
	if (r < 0)
		log_warning_errno(r, "%s: its journal entry cannot be written, and stays: %m",
				  b->vm->config.name);
	b->guard.target_bytes = target_bytes;
	b->guard.resting = false;
	return 0;
}

int balloon_keep_stats(struct balloon *b, uint64_t original_bytes, const char *path,
		       uint64_t seconds)
{
	struct journal_entry entry;
	int r = entry_fill(b, original_bytes);

	if (r < 0)
		return r;
	entry = b->entry;
	snprintf(entry.stats_path, sizeof(entry.stats_path), "%s", path);
	entry.stats_seconds = seconds;
	return entry_write(b, &entry);
}

void balloon_release(struct balloon *b)
{
	int r = b->kept ? journal_remove(b->m->runtime_dir, b->vm->config.name) : 0;

	if (r < 0)
		log_warning_errno(r, "%s: its journal entry cannot be removed: %m",
				  b->vm->config.name);
	balloon_forget(b);
}

void balloon_release_if_whole(struct balloon *b)
{
	if (b->kept && balloon_target(b) == b->entry.original_bytes && !b->entry.stats_path[0] &&
	    !b->guard.restarted_usec && !b->open_due)
		balloon_release(b);
}

static void mems_prune(struct journal_entry *entry, const struct plugged *plugged)
{
	struct journal_mems kept = { 0 };

	entry->original_bytes -= dial_gone_bytes(&entry->mems, plugged);
	if (entry->target_bytes > entry->original_bytes)
		entry->target_bytes = entry->original_bytes;
	for (size_t i = 0; i < plugged->n; i++)
		kept.devices[kept.n++] = entry->mems.devices[plugged->devices[i].index];
	entry->mems = kept;
}

void balloon_prune(struct balloon *b, const struct virtio_mems *now)
{
	struct journal_entry entry = b->entry;
	struct plugged plugged;
	int r;

	dial_plugged(&entry.mems, now, &plugged);
	if (!b->kept || b->resize || !now->is_whole || plugged.n == entry.mems.n)
		return;
	mems_prune(&entry, &plugged);
	r = entry_write(b, &entry);
	if (r < 0)
		log_warning_errno(r, "%s: its journal entry cannot be written, and stays: %m",
				  b->vm->config.name);
	else if (b->guard.target_bytes > entry.original_bytes)
		b->guard.target_bytes = entry.original_bytes;
}

/*
 * What a daemon before this one changed is ours to give back; nothing is changed now. How the guest
 * is found may have changed, or be known only now, and a machine may have been made smaller.
 */
static void adopt(struct balloon *b, const struct journal_entry *entry)
{
	const struct inventory *inv = b->vm->inventory;
	struct journal_entry now = *entry;

	snprintf(now.vm, sizeof(now.vm), "%s", b->vm->config.name);
	snprintf(now.qmp, sizeof(now.qmp), "%s", b->vm->config.qmp);
	if (inv->uuid[0])
		snprintf(now.uuid, sizeof(now.uuid), "%s", inv->uuid);
	/* Where devices are a part of it, the first look at them tells. */
	if (!now.mems.n && inv->memory_bytes && now.original_bytes > inventory_most_bytes(inv))
		now.original_bytes = inventory_most_bytes(inv);
	b->entry = *entry;
	b->kept = true;
	/* One of another name stays until this one is there. */
	if (memcmp(&now, entry, sizeof(now)) != 0 && entry_write(b, &now) >= 0 &&
	    strcmp(now.vm, entry->vm) != 0)
		(void)journal_remove(b->m->runtime_dir, entry->vm);
	b->adopted_usec = now_usec();
	b->wanted_bytes = entry->target_bytes;
	b->guard.target_bytes = entry->target_bytes;
	log_notice("%s: taken over from a daemon before this one: target %.1f MiB, originally "
		   "%.1f MiB",
		   b->vm->config.name, (double)b->entry.target_bytes / (1 << 20),
		   (double)b->entry.original_bytes / (1 << 20));
}

static void block(struct balloon *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void block(struct balloon *b, const char *format, ...)
{
	char text[sizeof(b->blocked)];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (strcmp(text, b->blocked) != 0)
		log_warning("%s: it is not resized: %s", b->vm->config.name, text);
	memcpy(b->blocked, text, sizeof(text));
}

static bool is_ours(const struct balloon *b, const struct journal_entry *entry)
{
	return entry->pid == vm_pid(b->vm) && journal_is_live("", entry);
}

/* Sockets that a launcher made for QEMU are all that one process's, by their peer's pid. */
bool balloon_is_of(const struct vm *vm, const struct journal_entry *entry)
{
	const char *uuid = vm->inventory ? vm->inventory->uuid : "";

	return entry->pid == vm_pid(vm) &&
	       (strcmp(entry->vm, vm->config.name) == 0 ||
		strcmp(entry->qmp, vm->config.qmp) == 0 ||
		(uuid[strspn(uuid, "0-")] && strcmp(uuid, entry->uuid) == 0));
}

/* The guest may have had another name. */
static void adopt_any(struct balloon *b)
{
	struct journal_entry entry;
	char **names;
	int n = journal_list(b->m->runtime_dir, &names);

	for (int i = 0; i < n && !b->kept; i++)
		if (journal_read(b->m->runtime_dir, names[i], &entry) == 1 &&
		    balloon_is_of(b->vm, &entry) && is_ours(b, &entry))
			adopt(b, &entry);
	if (n >= 0)
		journal_list_free(names, n);
}

/* Return: whether all is known. */
static bool entry_look(struct balloon *b)
{
	const char *name = b->vm->config.name;
	struct journal_entry entry;
	int r = journal_read(b->m->runtime_dir, name, &entry);

	if (r < 0) {
		block(b,
		      "its journal entry cannot be read (%s): set its balloon to its full size by "
		      "QMP, then remove %s/journal.d/%s",
		      strerror(-r), b->m->runtime_dir, name);
		return false;
	}
	if (r > 0 && is_ours(b, &entry)) {
		adopt(b, &entry);
	} else if (r > 0 && journal_is_live("", &entry)) {
		block(b,
		      "its journal entry is about another process, %d, which runs and is to get "
		      "its memory back first",
		      (int)entry.pid);
		return false;
	} else if (r > 0) {
		log_info("%s: the QEMU whose size was changed has ended: its journal entry is "
			 "removed",
			 name);
		(void)journal_remove(b->m->runtime_dir, name);
	} else {
		adopt_any(b);
	}
	b->blocked[0] = '\0';
	return true;
}

/* Another QEMU answers there now: nothing of what was done to the one before holds. */
static void replaced(struct balloon *b)
{
	if (b->resize)
		resize_replaced(b->resize);
	b->kept = false;
	b->wanted_bytes = 0;
	b->taken_superpages = 0;
	b->take = take_free(b->take);
	vm_taken_forget(b->vm);
	b->untold_usec = 0;
	b->guard = (struct balloon_guard){ 0 };
	b->open_due = false;
	/* That its kernel is another one is no news either. */
	memset(b->boot_id, 0, sizeof(b->boot_id));
}

void balloon_check(struct balloon *b)
{
	pid_t pid = vm_pid(b->vm);

	if (!b->vm->qmp || !qmp_is_ready(b->vm->qmp))
		return;
	/* Before anything else is known of it: what was still to be set was the other one's. */
	if (b->checked_pid != pid) {
		if (b->checked_pid)
			replaced(b);
		b->checked_pid = pid;
		b->settled = false;
	}
	if (!b->settled && b->vm->inventory)
		b->settled = entry_look(b);
}

bool balloon_journal_live(const struct manager *m)
{
	char **names;
	int n = journal_list(m->runtime_dir, &names);
	bool found = n < 0;

	for (int i = 0; i < n && !found; i++) {
		struct journal_entry entry;
		int r = journal_read(m->runtime_dir, names[i], &entry);

		found = r < 0 || (r > 0 && journal_is_live("", &entry));
	}
	if (n >= 0)
		journal_list_free(names, n);
	return found;
}

/* Those about processes that have ended have nothing to restore. */
void balloon_journal_sweep(struct manager *m)
{
	char **names = NULL;
	int n = journal_list(m->runtime_dir, &names);

	for (int i = 0; i < n; i++) {
		struct journal_entry entry;

		if (journal_read(m->runtime_dir, names[i], &entry) > 0 &&
		    !journal_is_live("", &entry) && journal_remove(m->runtime_dir, names[i]) >= 0)
			log_info("%s: the QEMU whose size was changed has ended: its journal entry "
				 "is removed",
				 names[i]);
	}
	if (n >= 0)
		journal_list_free(names, n);
}
