/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cache-limit.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/call-vm.h"
#include "host/report.h"
#include "host/wish-file.h"

#define FOLDER "limits.d"

void cache_limit_load(struct manager *m, struct vm *vm)
{
	const char *name = vm->config.name;
	struct limit_text limit = { 0 };
	char text[WISH_TEXT_SIZE];
	int r = wish_file_read(m->state_dir, FOLDER, name, text);

	if (r > 0 && limit_text_parse(text, &limit) < 0)
		r = -EBADMSG;
	vm->quiet = m->dry_run;
	if (r == -EBADMSG)
		log_warning("%s/limits.d/%s is damaged, ignored: set the limit again with "
			    "pagepact cache-limit",
			    m->state_dir, name);
	else if (r < 0)
		log_warning_errno(r, "%s/limits.d/%s cannot be read, ignored: %m", m->state_dir,
				  name);
	if (r > 0)
		vm_limit_set(vm, &limit, VM_SOURCE_COMMAND);
	else if (vm->config.cache_limit.kind != LIMIT_TEXT_DEFAULT)
		vm_limit_set(vm, &vm->config.cache_limit, VM_SOURCE_CONFIG);
}

json_t *cache_limit_json(const struct vm *vm)
{
	static const char *const sources[] = {
		[VM_SOURCE_CONFIG] = "configuration",
		[VM_SOURCE_COMMAND] = "command",
	};
	char text[LIMIT_TEXT_SIZE];

	if (vm->limit_source == VM_SOURCE_NONE)
		return json_pack("{sn sn}", "text", "source");
	return json_pack("{ss ss}", "text", limit_text_format(&vm->limit, text), "source",
			 sources[vm->limit_source]);
}

/* Nobody wants so little: a suffix was forgotten. */
#define LITTLE_BYTES (1u << 20)

/* Neither off nor default. */
static bool is_limit(const struct limit_text *limit)
{
	return limit->kind == LIMIT_TEXT_BYTES || limit->kind == LIMIT_TEXT_PERMILLE;
}

/* What will keep it from being held now, or what it will do that may not be meant; NULL: nothing
 * that is known here. */
static const char *note_of(const struct vm *vm, const struct limit_text *limit)
{
	if (limit->kind == LIMIT_TEXT_BYTES && vm->inventory &&
	    limit->bytes >= vm->inventory->memory_bytes)
		return "it is not below the guest's memory: it will never be reached";
	if (limit->kind == LIMIT_TEXT_BYTES && limit->bytes < LITTLE_BYTES)
		return "it is less than 1M: next to no page cache will be left; was a suffix (K, "
		       "M, G, T) forgotten?";
	return vm_wish_note(vm, is_limit(limit) ? WIRE_CAN_LIMIT : 0);
}

const char *cache_limit_note(const struct vm *vm)
{
	return is_limit(&vm->limit) ? note_of(vm, &vm->limit) : NULL;
}

/* @checked: what a dry run would have set, or NULL */
static json_t *answer(const struct vm *vm, const char *note, const struct limit_text *checked,
		      bool dry_run)
{
	char text[LIMIT_TEXT_SIZE];
	json_t *would =
		checked ? json_pack("{ss}", "text", limit_text_format(checked, text)) : json_null();

	return json_pack("{ss so so so ss? sb}", "vm", vm->config.name, "cache_limit",
			 cache_limit_json(vm), "checked", would, "report", report_agent_json(vm),
			 "note", note, "dry_run", dry_run);
}

/* Whether the host's word counts for this guest; if not, @call has been answered. */
static bool limit_allowed(const struct vm *vm, struct call *call)
{
	return call_vm_acts(vm, call, "") &&
	       (vm->agent != VM_AGENT_LIVE ||
		call_vm_can(vm, call, WIRE_CAN_LIMIT, "hold a page cache limit"));
}

static void limit_change(struct manager *m, struct call *call, struct vm *vm, const char *text,
			 bool dry_run)
{
	char kept[LIMIT_TEXT_SIZE];
	struct limit_text limit;
	int r = limit_text_parse(text, &limit);

	if (r < 0 || !*text) {
		call_error(call, "invalid",
			   "'%.64s' is no page cache limit: write a size (512M), a share of the "
			   "guest's memory (25%%), off or default",
			   text);
		return;
	}
	/* Whatever stands against a limit does not stand against its end. */
	if (is_limit(&limit) && !limit_allowed(vm, call))
		return;
	if (dry_run) {
		call_reply(call, answer(vm, note_of(vm, &limit), &limit, true));
		return;
	}
	r = wish_file_write(m->state_dir, FOLDER, vm->config.name, limit_text_format(&limit, kept));
	if (r < 0) {
		call_error(call, "failed", "the limit cannot be kept in %s/limits.d: %s",
			   m->state_dir, strerror(-r));
		return;
	}
	log_notice("%s: page cache limit %s, by command", vm->config.name, text);
	vm_limit_set(vm, &limit, VM_SOURCE_COMMAND);
	call_reply(call, answer(vm, note_of(vm, &limit), NULL, false));
}

void cache_limit_handle(struct manager *m, struct call *call, json_t *p)
{
	const char *text = json_string_value(json_object_get(p, "limit"));
	struct vm *vm = call_vm(m, call, p);
	bool dry_run = m->dry_run || json_is_true(json_object_get(p, "dry_run"));

	if (!vm)
		return;
	if (text)
		limit_change(m, call, vm, text, dry_run);
	else
		call_reply(call, answer(vm, NULL, NULL, dry_run));
}
