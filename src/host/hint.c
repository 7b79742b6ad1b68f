/* SPDX-License-Identifier: Apache-2.0 */
#include "host/hint.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/call-vm.h"
#include "host/report.h"
#include "host/wish-file.h"

#define FOLDER "hints.d"

int hint_parse(const char *text)
{
	for (unsigned hint = 0; hint < WIRE_HINTS; hint++)
		if (strcmp(text, wire_hint_name(hint)) == 0)
			return (int)hint;
	return -EINVAL;
}

void hint_load(struct manager *m, struct vm *vm)
{
	const char *name = vm->config.name;
	char text[WISH_TEXT_SIZE];
	int hint = WIRE_HINT_GUEST, r = wish_file_read(m->state_dir, FOLDER, name, text);

	if (r > 0) {
		hint = hint_parse(text);
		r = hint < 0 ? -EBADMSG : r;
	}
	if (r == -EBADMSG)
		log_warning("%s/%s/%s is damaged, ignored: set the hint again with pagepact hint",
			    m->state_dir, FOLDER, name);
	else if (r < 0)
		log_warning_errno(r, "%s/%s/%s cannot be read, ignored: %m", m->state_dir, FOLDER,
				  name);
	if (r > 0)
		vm_hint_set(vm, (enum wire_hint)hint, VM_SOURCE_COMMAND);
	else if (vm->config.cache_first != CONFIG_UNSET)
		vm_hint_set(vm,
			    vm->config.cache_first == CONFIG_YES ? WIRE_HINT_CACHE : WIRE_HINT_NONE,
			    VM_SOURCE_CONFIG);
}

json_t *hint_json(const struct vm *vm)
{
	static const char *const sources[] = {
		[VM_SOURCE_CONFIG] = "configuration",
		[VM_SOURCE_COMMAND] = "command",
	};

	if (vm->hint_source == VM_SOURCE_NONE || vm->hint == WIRE_HINT_GUEST)
		return json_pack("{sn ss?}", "text", "source",
				 vm->hint_source == VM_SOURCE_NONE ? NULL
								   : sources[vm->hint_source]);
	return json_pack("{ss ss}", "text", wire_hint_name(vm->hint), "source",
			 sources[vm->hint_source]);
}

/* What will keep it from having an effect now; NULL: nothing that is known here. */
static const char *note_of(const struct vm *vm, int hint)
{
	if (hint == WIRE_HINT_CACHE && vm->agent == VM_AGENT_NONE)
		return "no agent is configured for it, nor is there a port of one: the hint has no "
		       "effect until there is";
	if (hint == WIRE_HINT_CACHE && vm->inventory && !vm->inventory->balloon)
		return "the machine has no balloon: the hint has no effect until it has one";
	return vm_wish_note(vm, hint == WIRE_HINT_CACHE ? WIRE_CAN_HINT : 0);
}

const char *hint_note(const struct vm *vm)
{
	return vm->hint == WIRE_HINT_CACHE ? note_of(vm, WIRE_HINT_CACHE) : NULL;
}

/* @checked: what a dry run would have set, or -1 */
static json_t *answer(const struct vm *vm, const char *note, int checked, bool dry_run)
{
	json_t *would = checked < 0 ? json_null()
				    : json_pack("{ss}", "text", wire_hint_name((unsigned)checked));

	return json_pack("{ss so so so ss? sb}", "vm", vm->config.name, "hint", hint_json(vm),
			 "checked", would, "report", report_agent_json(vm), "note", note, "dry_run",
			 dry_run);
}

/* Whether the host's word counts for this guest; if not, @call has been answered. */
static bool hint_allowed(const struct vm *vm, struct call *call)
{
	return call_vm_acts(vm, call, "") &&
	       (vm->agent != VM_AGENT_LIVE ||
		call_vm_can(vm, call, WIRE_CAN_HINT, "evict ahead of the balloon"));
}

static void hint_change(struct manager *m, struct call *call, struct vm *vm, const char *text,
			bool dry_run)
{
	int hint = hint_parse(text), r;

	if (hint < 0) {
		call_error(call, "invalid",
			   "'%.64s' is no hint: write cache, none, or default (the guest's own "
			   "configuration decides)",
			   text);
		return;
	}
	/* Whatever stands against a hint does not stand against its end. */
	if (hint == WIRE_HINT_CACHE && !hint_allowed(vm, call))
		return;
	if (dry_run) {
		call_reply(call, answer(vm, note_of(vm, hint), hint, true));
		return;
	}
	r = wish_file_write(m->state_dir, FOLDER, vm->config.name, text);
	if (r < 0) {
		call_error(call, "failed", "the hint cannot be kept in %s/%s: %s", m->state_dir,
			   FOLDER, strerror(-r));
		return;
	}
	log_notice("%s: hint %s, by command", vm->config.name, text);
	vm_hint_set(vm, (enum wire_hint)hint, VM_SOURCE_COMMAND);
	call_reply(call, answer(vm, note_of(vm, hint), -1, false));
}

void hint_handle(struct manager *m, struct call *call, json_t *p)
{
	const char *text = json_string_value(json_object_get(p, "hint"));
	struct vm *vm = call_vm(m, call, p);
	bool dry_run = m->dry_run || json_is_true(json_object_get(p, "dry_run"));

	if (!vm)
		return;
	if (text)
		hint_change(m, call, vm, text, dry_run);
	else
		call_reply(call, answer(vm, NULL, -1, dry_run));
}
