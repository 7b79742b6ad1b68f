/* SPDX-License-Identifier: Apache-2.0 */
/* What a resize asks of QEMU: the size, whether it migrates, and to set a target. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/json-get.h"
#include "host/migrating.h"
#include "host/resize-parts.h"

void resize_command_cancel(struct resize *r)
{
	if (r->command && r->qmp == r->vm->qmp)
		qmp_cancel(r->qmp, r->command);
	r->command = 0;
	dial_cancel(&r->dial, r->vm->qmp);
}

bool resize_is_asking(const struct resize *r)
{
	return r->command || r->dial.command;
}

/* Whether a command may be sent to whom it is for. Return: 0, -ENOTCONN or -ESTALE. */
static int qemu_check(struct resize *r)
{
	if (!r->vm->qmp || !qmp_is_ready(r->vm->qmp))
		return -ENOTCONN;
	if (vm_pid(r->vm) == r->pid)
		return 0;
	resize_replaced(r);
	return -ESTALE;
}

int resize_command(struct resize *r, const char *name, json_t *arguments, qmp_reply_fn *fn)
{
	int e = qemu_check(r);

	if (e < 0) {
		json_decref(arguments);
		return e;
	}
	r->qmp = r->vm->qmp;
	return qmp_command(r->qmp, name, arguments, now_usec() + BALLOON_COMMAND_USEC, fn, r,
			   &r->command);
}

/* Return: whether QEMU said anything. */
static bool answered(struct resize *r, const struct qmp_reply *reply)
{
	r->command = 0;
	if (reply->result < 0 && reply->result != -EREMOTEIO)
		return false;
	r->seen.answered_usec = now_usec();
	return true;
}

/* The guest writes it: a number that it cannot have is not used. */
static void balloon_see(struct resize *r, int64_t actual)
{
	const struct inventory *inv = r->vm->inventory;
	uint64_t memory = inv ? inventory_most_bytes(inv) : r->goal.memory_bytes;

	r->balloon_known = actual > 0 && (uint64_t)actual <= memory;
	r->balloon_bytes = (uint64_t)actual;
	if (!r->balloon_known)
		resize_note(r, "the guest claims %lld bytes of %llu: not used", (long long)actual,
			    (unsigned long long)memory);
}

/* QEMU's account of a balloon leaves out what is plugged in: both are seen, or neither. */
static void size_see(struct resize *r)
{
	r->seen.actual_known = r->balloon_known;
	r->all_bytes = r->balloon_bytes + plugged_bytes(&r->seen.plugged);
	if (r->balloon_known)
		r->seen.actual_bytes = balloon_size(r->b, r->all_bytes);
	resize_polled(r);
}

/* Until the guest is first changed, what it has is what it had. */
static void mems_see(struct resize *r, const json_t *value)
{
	const struct journal_mems *first = r->b->kept ? &r->b->entry.mems : &r->b->mems;
	struct virtio_mems mems;
	uint64_t all = 0;

	virtio_mems_read(value, &mems);
	if (!r->b->kept)
		dial_first(&mems, &r->b->mems);
	dial_plugged(first, &mems, &r->seen.plugged);
	/* What could not be read is not gone. */
	if (r->seen.plugged.n < first->n && !mems.is_whole)
		r->balloon_known = false;
	for (size_t i = 0; i < mems.n; i++)
		all += mems.devices[i].bytes;
	r->other_bytes = all - plugged_bytes(&r->seen.plugged);
}

/* Return: whether the answer is of use; where QEMU refuses one, that is the end. */
static bool is_told(struct resize *r, const struct qmp_reply *reply)
{
	if (!answered(r, reply))
		return false;
	if (reply->result < 0)
		resize_fail(r, reply->error);
	return reply->result >= 0;
}

static void on_mems(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct resize *r = userdata;

	(void)qmp;
	if (!is_told(r, reply))
		return;
	mems_see(r, reply->value);
	size_see(r);
}

static void on_polled(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct resize *r = userdata;
	int64_t actual;

	(void)qmp;
	if (!is_told(r, reply))
		return;
	if (json_get_i64(reply->value, "actual", &actual)) {
		balloon_see(r, actual);
	} else {
		r->balloon_known = false;
		resize_note(r, "QEMU's account of the guest's size is no number");
	}
	if (r->has_mems)
		(void)resize_command(r, "query-memory-devices", NULL, on_mems);
	else
		size_see(r);
}

void resize_poll(struct resize *r)
{
	(void)resize_command(r, "query-balloon", NULL, on_polled);
}

static void set_failed(struct resize *r, const char *why)
{
	char text[BALLOON_REASON_MAX];

	snprintf(text, sizeof(text), "the target %.1f MiB could not be set: %s",
		 (double)r->set_bytes / (1 << 20), why);
	r->end.set = r->is_set_lost = false;
	if (r->is_ending) {
		resize_note(r, "%s", text);
		/* What is given back is given back as soon as that can be. */
		if (r->b->kept && r->set_bytes > r->former_bytes)
			balloon_open(r->b, r->set_bytes);
	} else
		resize_fail(r, text);
}

/* An answer that does not come says nothing of what QEMU did: to set it again does no harm. */
static void set_lost(struct resize *r)
{
	if (now_usec() > r->seen.answered_usec + balloon_rules_default.blind_usec)
		set_failed(r, "QEMU does not answer");
	else
		r->is_set_lost = true;
}

static void set_begin(struct resize *r);

bool resize_set_again(struct resize *r)
{
	if (!r->is_set_lost)
		return false;
	if (now_usec() > r->seen.answered_usec + balloon_rules_default.blind_usec)
		set_failed(r, "QEMU does not answer");
	else if (r->vm->qmp && qmp_is_ready(r->vm->qmp))
		set_begin(r);
	return true;
}

static void on_set(struct dial *dial, const struct qmp_reply *reply, void *userdata)
{
	struct resize *r = userdata;

	if (!answered(r, reply)) {
		set_lost(r);
		return;
	}
	if (reply->result < 0) {
		/* Where it took none, what QEMU has is the one before. */
		if (!dial->is_target_set)
			(void)balloon_keep(r->b, r->goal.original_bytes, r->former_bytes);
		set_failed(r, reply->error);
		return;
	}
	/* Larger, where blocks come back: that is what the guest is to have. */
	if (!r->unplug.id[0] && r->has_mems && dial->request.bytes > r->set_bytes) {
		r->set_bytes = dial->request.bytes;
		(void)balloon_keep(r->b, r->goal.original_bytes, r->set_bytes);
	}
	log_info("%s: target %.1f MiB%s", r->vm->config.name, (double)r->set_bytes / (1 << 20),
		 r->unplug.id[0] ? ", by virtio-mem" : "");
	r->settle_until_usec = now_usec() + balloon_rules_default.settle_usec;
	if (!r->is_ending)
		resize_set_done(r);
}

/*
 * Superpages that are in use again are not made up for by pages. Return: whether the target is to
 * be set all the same.
 */
static bool lost_see(struct resize *r)
{
	uint64_t lost = resize_taken_lost(r);

	if (!r->is_ending) {
		r->seen.gave_back = true;
		resize_decide(r);
		return false;
	}
	r->set_bytes += lost * WIRE_SUPERPAGE_BYTES;
	if (r->set_bytes > r->goal.original_bytes)
		r->set_bytes = r->goal.original_bytes;
	r->end.bytes = r->set_bytes;
	r->b->taken_superpages = r->vm->taken_superpages;
	return true;
}

static void target_set(struct resize *r)
{
	struct dial_request request = { .entry = &r->b->entry,
					.command_usec = BALLOON_COMMAND_USEC };
	uint64_t keep;
	int e = qemu_check(r);

	/* A guest that boots meanwhile has its original size, and keeps it. */
	if (r->seen.restarted && r->set_bytes < r->goal.original_bytes) {
		r->set_bytes = r->end.bytes = r->goal.original_bytes;
		r->unplug.id[0] = '\0';
		r->take_superpages = 0;
	}
	if (e >= 0 && resize_taken_lost(r) && !lost_see(r))
		return;
	if (e >= 0)
		e = balloon_keep(r->b, r->goal.original_bytes, r->set_bytes);
	if (e == -ESTALE)
		return;
	if (e == -ENOTCONN) {
		set_lost(r);
		return;
	}
	if (e < 0) {
		log_warning_errno(e, "%s: not resized: the journal in %s cannot be written: %m",
				  r->vm->config.name, r->m->runtime_dir);
		set_failed(r, "the journal cannot be written");
		return;
	}
	if (r->take_superpages) {
		resize_take(r, r->take_superpages);
		resize_set_done(r);
		return;
	}
	/* One that was cut short may not be paged out, nor answered for. */
	keep = balloon_taken_keep(r->b, r->set_bytes);
	if (keep < r->vm->taken_superpages || r->take_cut)
		resize_take(r, keep);
	request.bytes = r->set_bytes + keep * WIRE_SUPERPAGE_BYTES;
	request.unplug = r->unplug;
	if (dial_set(&r->dial, r->vm->qmp, &request, on_set, r) < 0)
		set_lost(r);
}

static void on_migrate(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct resize *r = userdata;

	(void)qmp;
	if (!answered(r, reply)) {
		set_lost(r);
		return;
	}
	if (reply->result < 0) {
		set_failed(r, reply->error);
		return;
	}
	if (is_migrating(reply->value))
		r->seen.migrating = true;
	if (!r->seen.migrating) {
		target_set(r);
		return;
	}
	r->run.target_bytes = 0;
	if (r->is_ending)
		set_failed(r, "the guest is being migrated or saved");
	else
		resize_decide(r);
}

static void set_begin(struct resize *r)
{
	int e;

	r->is_set_lost = false;
	e = resize_command(r, "query-migrate", NULL, on_migrate);
	if (e < 0 && e != -ESTALE)
		set_lost(r);
}

void resize_set(struct resize *r, uint64_t bytes, const struct journal_mem *unplug, uint64_t take)
{
	r->set_bytes = bytes;
	r->take_superpages = take;
	r->unplug = unplug ? *unplug : (struct journal_mem){ 0 };
	r->former_bytes = r->b->kept ? balloon_target(r->b) : r->goal.original_bytes;
	set_begin(r);
}
