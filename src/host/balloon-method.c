/* SPDX-License-Identifier: Apache-2.0 */
#include "host/balloon-method.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/call-vm.h"
#include "host/take.h"

#define TIMEOUT_SEC_MAX 86400

/* Return: 0; or -EINVAL, and @call has been answered. */
static int request_read(struct call *call, json_t *p, struct resize_request *ret)
{
	const char *size = json_string_value(json_object_get(p, "size"));
	const char *cache = json_string_value(json_object_get(p, "cache"));
	const char *by = json_string_value(json_object_get(p, "by"));
	json_t *timeout = json_object_get(p, "timeout_sec");
	json_int_t seconds = json_integer_value(timeout);
	struct resize_request request = {
		.dry_run = json_is_true(json_object_get(p, "dry_run")),
		.no_wait = json_is_true(json_object_get(p, "no_wait")),
		.timeout_usec = RESIZE_USEC,
	};

	if (!size || size_text_parse(size, &request.size) < 0) {
		call_error(
			call, "invalid",
			"'%.64s' is no size: write a size above 0 (512M), a change of it (-256M, "
			"+256M), or max",
			size ? size : "");
		return -EINVAL;
	}
	while (cache && request.cache < BALLOON_CACHES &&
	       strcmp(cache, balloon_cache_name(request.cache)) != 0)
		request.cache++;
	if (request.cache == BALLOON_CACHES) {
		call_error(call, "invalid", "cache must be first, only or off, not '%.64s'", cache);
		return -EINVAL;
	}
	while (by && request.by < BALLOON_BYS && strcmp(by, balloon_by_name(request.by)) != 0)
		request.by++;
	if (request.by == BALLOON_BYS) {
		call_error(call, "invalid", "by must be auto, superpages or pages, not '%.64s'",
			   by);
		return -EINVAL;
	}
	if (request.by == BALLOON_BY_SUPERPAGES && request.cache == BALLOON_CACHE_ONLY) {
		call_error(call, "invalid",
			   "by superpages the guest's kernel chooses what it drops of a block, so "
			   "that cache only cannot be promised: use by pages");
		return -EINVAL;
	}
	if (json_is_integer(timeout) && (seconds < 1 || seconds > TIMEOUT_SEC_MAX)) {
		call_error(call, "invalid", "timeout_sec must be 1 to %d", TIMEOUT_SEC_MAX);
		return -EINVAL;
	}
	if (json_is_integer(timeout))
		request.timeout_usec = (uint64_t)seconds * USEC_PER_SEC;
	*ret = request;
	return 0;
}

/* What in the machine stands against it, with what to change; NULL: nothing. */
static const char *obstacle(const struct vm *vm, const struct resize_request *request)
{
	const struct inventory *inv = vm->inventory;
	bool can_take = request->by == BALLOON_BY_SUPERPAGES && !inv->virtio_mems.n;
	const char *why = can_take ? take_obstacle(vm) : NULL;
	bool unplugs = virtio_mems_movable(&inv->virtio_mems) && request->by != BALLOON_BY_PAGES &&
		       request->cache != BALLOON_CACHE_ONLY;

	if (!inv->balloon)
		return "it has no balloon: start it with a virtio-balloon device";
	if (why)
		return why;
	if (request->by == BALLOON_BY_SUPERPAGES && !unplugs && !can_take)
		return "it has no virtio-mem device that could give superpages: start it with "
		       "-device virtio-mem-pci,id=..., or use --by=pages";
	if (inv->vfio && !unplugs)
		return "a device of the host's is passed through, which pins its memory: QEMU "
		       "inhibits the balloon; memory that is plugged by virtio-mem can be given, "
		       "--by=superpages";
	if (inv->confidential)
		return "its memory is encrypted, and the host cannot use what comes back of it";
	if (inv->migrating)
		return "it is being migrated or saved: try again when that has ended";
	if (!inv->running)
		return "it does not run, so it can give nothing back: continue it first";
	return NULL;
}

const char *balloon_refusal(const struct balloon *b, const struct resize_request *request,
			    char text[BALLOON_REFUSAL_MAX])
{
	const struct vm *vm = b->vm;
	const char *why = vm->inventory ? obstacle(vm, request) : NULL, *code = "refused";

	if (!vm->config.act && !request->dry_run)
		why = "it is only observed: set act = yes in its file, or attach it with --act; "
		      "--dry-run shows what would be done";
	else if (!vm->inventory)
		code = "failed", why = vm->reason[0] ? vm->reason : "QEMU has not answered yet";
	else if (!why && request->cache == BALLOON_CACHE_ONLY &&
		 (vm->agent != VM_AGENT_LIVE || !(vm->hello.capabilities & WIRE_CAN_FREE)))
		why = "what of its memory is clean only an agent knows, and none answers that can "
		      "free memory: use --cache=first or off";
	else if (!why && b->blocked[0] && !request->dry_run)
		why = b->blocked;
	if (!why)
		return NULL;
	snprintf(text, BALLOON_REFUSAL_MAX, "%s", why);
	return code;
}

static void begin(struct balloon *b, struct call *call, const struct resize_request *request)
{
	const char *why;
	int r;

	if (b->resize) {
		json_auto_t *now = resize_json(b->resize);

		call_error(call, "busy",
			   "%s is being resized to %.1f MiB, and has %.1f MiB: wait, or stop that "
			   "with --stop",
			   b->vm->config.name,
			   json_number_value(json_object_get(now, "asked_bytes")) / (1 << 20),
			   json_number_value(json_object_get(now, "actual_bytes")) / (1 << 20));
		return;
	}
	if (b->vm->qmp_lent) {
		call_error(call, "busy", "%s is given back what it had, before it is detached",
			   b->vm->config.name);
		return;
	}
	if (balloon_is_untold(b)) {
		call_error(call, "busy",
			   "%s was restarted, and has not told its size since: try again in a "
			   "moment",
			   b->vm->config.name);
		return;
	}
	why = balloon_taken_busy(b);
	if (why) {
		call_error(call, "busy", "%s: %s: try again in a moment", b->vm->config.name, why);
		return;
	}
	r = resize_start(b, call, request);
	if (r < 0)
		call_error(call, "failed", "cannot begin: %s", strerror(-r));
}

static void stop(struct balloon *b, struct call *call)
{
	if (!b->resize)
		call_error(call, "failed", "%s is not being resized", b->vm->config.name);
	else if (resize_stop(b->resize, call) < 0)
		call_error(call, "busy", "%s: somebody else has just stopped it",
			   b->vm->config.name);
}

void balloon_handle(struct manager *m, struct call *call, json_t *p)
{
	struct vm *vm;
	struct balloon *b;
	struct resize_request request;
	char text[BALLOON_REFUSAL_MAX];
	const char *code;

	if (m->stopping) {
		call_error(call, "failed", "the daemon is stopping");
		return;
	}
	vm = call_vm(m, call, p);
	if (!vm)
		return;
	b = balloons_of(m, vm);
	if (!b) {
		call_error(call, "failed", "out of memory");
	} else if (json_is_true(json_object_get(p, "stop"))) {
		stop(b, call);
	} else if (request_read(call, p, &request) >= 0) {
		request.dry_run = request.dry_run || m->dry_run;
		if (!request.dry_run)
			balloon_check(b);
		code = balloon_refusal(b, &request, text);
		if (code)
			call_error(call, code, "%s: %s", vm->config.name, text);
		else
			begin(b, call, &request);
	}
}
