/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that boots needs what it had at first; what was asked for is resumed after that. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/balloon-method.h"
#include "host/balloons.h"
#include "host/json-get.h"
#include "host/migrating.h"
#include "host/resize.h"

#define UNTOLD_USEC                                                                                \
	(120 * (uint64_t)USEC_PER_SEC) /* a driver that is silent so long is not there */
#define TOLD_BYTES (1 << 20)	       /* the page, however large the guest's are */
#define ASK_BYTES  4096

bool balloon_is_untold(const struct balloon *b)
{
	return b->untold_usec && now_usec() < b->untold_usec + UNTOLD_USEC;
}

/* An answer that does not come says nothing of what QEMU did: to set it again does no harm. */
static bool is_answered(struct balloon *b, const struct qmp_reply *reply)
{
	b->command = 0;
	return reply->result == 0 || reply->result == -EREMOTEIO;
}

static void on_opened(struct dial *dial, const struct qmp_reply *reply, void *userdata)
{
	struct balloon *b = userdata;

	(void)dial;
	b->opening = false;
	if (!is_answered(b, reply))
		return;
	b->open_due = false;
	if (reply->result < 0)
		log_warning("%s: it has %.1f MiB, and its size cannot be set to %.1f MiB: %s",
			    b->vm->config.name, (double)balloon_target(b) / (1 << 20),
			    (double)b->open_bytes / (1 << 20), reply->error);
}

/* Whoever has the machine after a migration goes by the target that QEMU sends along. */
static void on_migrate(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct balloon *b = userdata;
	uint64_t bytes = b->open_bytes;
	/* It may be a page less than all. */
	struct dial_request request = { .entry = &b->entry,
					.is_exact = true,
					.command_usec = BALLOON_COMMAND_USEC };

	b->opening = false;
	if (!is_answered(b, reply) || (reply->result == 0 && is_migrating(reply->value)) ||
	    !b->kept || balloon_keep(b, b->entry.original_bytes, bytes) < 0)
		return;
	request.bytes = bytes + balloon_taken_keep(b, bytes) * WIRE_SUPERPAGE_BYTES;
	b->opening = dial_set(&b->dial, qmp, &request, on_opened, b) >= 0;
}

static void open_try(struct balloon *b)
{
	if (!b->open_due || b->vm->qmp_lent || (b->opening && balloon_is_busy(b)))
		return;
	if (!b->kept) {
		b->open_due = false;
		return;
	}
	balloon_command(b, "query-migrate", NULL, on_migrate);
	b->opening = balloon_is_busy(b);
}

void balloon_open(struct balloon *b, uint64_t bytes)
{
	b->open_bytes = bytes;
	b->open_due = true;
	open_try(b);
}

static void on_booting(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct balloon *b = userdata;
	uint64_t original = b->entry.original_bytes, told;
	int64_t actual;

	(void)qmp;
	b->command = 0;
	if (!b->kept || b->resize || reply->result < 0 ||
	    !json_get_i64(reply->value, "actual", &actual) || actual < 0)
		return;
	/* It is the balloon that has to tell; devices plug in all that they had by themselves. */
	told = (uint64_t)actual + dial_first_bytes(&b->entry.mems);
	if (told == original && balloon_target(b) == original)
		b->untold_usec = 0;
	else if (told < original && told + TOLD_BYTES >= original)
		balloon_open(b, original);
	else
		balloon_open(b, original - ASK_BYTES);
}

/* Return: whether the guest is still to tell its size. */
static bool untold_see(struct balloon *b)
{
	const struct inventory *inv = b->vm->inventory;

	if (!b->untold_usec)
		return false;
	if (!b->kept || !balloon_is_untold(b)) {
		b->untold_usec = 0;
		if (b->kept && !b->resize)
			balloon_open(b, b->entry.original_bytes);
		return false;
	}
	if (!b->resize && !b->open_due && !balloon_is_busy(b) && inv && inv->running &&
	    !inv->migrating)
		balloon_command(b, "query-balloon", NULL, on_booting);
	return true;
}

void balloon_restarted(struct balloon *b)
{
	/* It may be another one's event. */
	balloon_check(b);
	b->taken_superpages = 0;
	memset(b->boot_id, 0, sizeof(b->boot_id));
	if (b->resize || b->kept)
		balloon_guard_restart(&b->guard, b->untold_usec = now_usec(), b->wanted_bytes);
	if (b->resize)
		resize_restarted(b->resize);
	if (!b->kept)
		return;
	log_notice("%s: restarted: its original size for the time of its boot", b->vm->config.name);
	/* Whatever resize there is: it may have set nothing yet, or nothing more to set. */
	balloon_open(b, b->entry.original_bytes);
}

/* A kernel that starts another one (kexec) tells QEMU nothing. */
static void boot_see(struct balloon *b)
{
	static const uint8_t none[sizeof(b->boot_id)];
	const uint8_t *now = b->vm->hello.boot_id;
	bool known = memcmp(b->boot_id, none, sizeof(none)) != 0;

	if (b->vm->agent != VM_AGENT_LIVE || memcmp(b->boot_id, now, sizeof(none)) == 0)
		return;
	/* After a RESET it is no news. */
	if (known && !b->guard.restarted_usec)
		balloon_restarted(b);
	memcpy(b->boot_id, now, sizeof(none));
}

static void resume(struct balloon *b, uint64_t now)
{
	struct resize_request request = { .cache = b->wanted_cache,
					  .by = b->wanted_by,
					  .size = { .kind = SIZE_TEXT_BYTES },
					  .timeout_usec = RESIZE_USEC };
	char text[BALLOON_REFUSAL_MAX];
	int r;

	if (b->resize || b->open_due || balloon_taken_busy(b) || !b->vm->inventory ||
	    !b->vm->inventory->running)
		return;
	request.size.bytes = balloon_guard_resume(&b->guard, &balloon_rules_default, now,
						  b->vm->agent == VM_AGENT_LIVE);
	if (!request.size.bytes)
		return;
	if (balloon_refusal(b, &request, text)) {
		log_notice("%s: not resized again after its restart: %s", b->vm->config.name, text);
		return;
	}
	log_notice("%s: it was restarted and has had time to boot: back to %.1f MiB",
		   b->vm->config.name, (double)request.size.bytes / (1 << 20));
	r = resize_start(b, NULL, &request);
	if (r < 0)
		log_warning_errno(r, "%s: cannot be resized: %m", b->vm->config.name);
}

bool balloon_boot_tick(struct balloon *b, uint64_t now)
{
	boot_see(b);
	open_try(b);
	if (untold_see(b))
		return true;
	resume(b, now);
	return false;
}
