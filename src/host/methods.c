/* SPDX-License-Identifier: Apache-2.0 */
#include "host/methods.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/attach.h"
#include "host/balloon-method.h"
#include "host/cache-limit.h"
#include "host/call-vm.h"
#include "host/hint.h"
#include "host/operation.h"
#include "host/report.h"
#include "version.h"

#define FILES_DEFAULT 20
#define FILES_MAX     1000

static void handle_status(struct manager *m, struct call *call, json_t *p)
{
	(void)p;
	call_reply(call, report_status(m));
}

static void handle_version(struct manager *m, struct call *call, json_t *p)
{
	(void)m;
	(void)p;
	call_reply(call, json_pack("{ss si}", "version", PAGEPACT_VERSION, "protocol", 1));
}

/* Return: 0 and @ret_vm, NULL where none is named; or -ENOENT, and @call has been answered. */
static int vm_parameter(struct manager *m, struct call *call, json_t *p, struct vm **ret_vm)
{
	bool is_named = json_object_get(p, "vm");

	*ret_vm = is_named ? call_vm(m, call, p) : NULL;
	return is_named && !*ret_vm ? -ENOENT : 0;
}

static void operation_begin(struct manager *m, struct call *call,
			    const struct operation_request *request)
{
	int r = operation_start(m, call, request);

	if (r == -EBUSY)
		call_error(
			call, "busy",
			"another dup, reclaim or free is under way; try again when it has ended");
	else if (r < 0)
		call_error(call, "failed", "cannot begin: %s", strerror(-r));
}

static void handle_dup(struct manager *m, struct call *call, json_t *p)
{
	struct operation_request request = { 0 };
	json_t *limit = json_object_get(p, "limit");

	if (json_is_integer(limit) &&
	    (json_integer_value(limit) < 1 || json_integer_value(limit) > FILES_MAX)) {
		call_error(call, "invalid", "limit must be 1 to %d", FILES_MAX);
		return;
	}
	if (json_is_true(json_object_get(p, "files")))
		request.files = json_is_integer(limit) ? (unsigned)json_integer_value(limit)
						       : FILES_DEFAULT;
	if (vm_parameter(m, call, p, &request.vm) >= 0)
		operation_begin(m, call, &request);
}

static void handle_reclaim(struct manager *m, struct call *call, json_t *p)
{
	json_t *bytes = json_object_get(p, "bytes");
	struct operation_request request = {
		.kind = OPERATION_RECLAIM,
		.dry_run = m->dry_run || json_is_true(json_object_get(p, "dry_run")),
	};

	if (json_integer_value(bytes) < 0) {
		call_error(call, "invalid", "bytes must be 0 or more");
		return;
	}
	request.bytes = (uint64_t)json_integer_value(bytes);
	if (vm_parameter(m, call, p, &request.vm) < 0)
		return;
	if (request.vm && !request.dry_run &&
	    !call_vm_acts(request.vm, call, "; --dry-run shows what would be done"))
		return;
	operation_begin(m, call, &request);
}

/* Whether this guest's agent can be asked to free memory; if not, @call has been answered. */
static bool free_allowed(const struct operation_request *request, struct call *call)
{
	const struct vm *vm = request->vm;

	if (!request->dry_run && !call_vm_acts(vm, call, "; --dry-run shows what there is"))
		return false;
	if (vm->agent != VM_AGENT_LIVE) {
		call_error(call, "failed", "%s: agent %s%s%s", vm->config.name,
			   vm_agent_name(vm->agent), vm->agent_reason[0] ? ": " : "",
			   vm->agent_reason);
		return false;
	}
	return request->dry_run ? call_vm_can(vm, call, WIRE_CAN_SCAN, "scan")
				: call_vm_can(vm, call, WIRE_CAN_FREE, "free memory");
}

static void handle_free(struct manager *m, struct call *call, json_t *p)
{
	json_int_t bytes = json_integer_value(json_object_get(p, "bytes"));
	struct operation_request request = {
		.kind = OPERATION_FREE,
		.dry_run = m->dry_run || json_is_true(json_object_get(p, "dry_run")),
		.bytes = (uint64_t)bytes,
	};

	if (vm_parameter(m, call, p, &request.vm) < 0)
		return;
	if (!request.vm || bytes <= 0)
		call_error(call, "invalid", "a guest, and bytes above 0, are needed");
	else if (free_allowed(&request, call))
		operation_begin(m, call, &request);
}

static void handle_explain(struct manager *m, struct call *call, json_t *p)
{
	json_t *order = json_object_get(p, "order");
	const struct ledger_entry *e =
		json_is_integer(order)
			? ledger_find(&m->ledger, (uint64_t)json_integer_value(order))
			: NULL;

	if (!e)
		call_error(call, "not_found",
			   "no such order is remembered: the last %d are, since the daemon was "
			   "started",
			   LEDGER_MAX);
	else
		call_reply(call, ledger_explain_json(e));
}

#define PARAMETERS_MAX 8

static const struct method {
	const char *name;
	void (*handle)(struct manager *m, struct call *call, json_t *parameters);
	struct parameter {
		const char *name;
		json_type type;
	} parameters[PARAMETERS_MAX];
} methods[] = {
	{ "status", handle_status, { { 0 } } },
	{ "dup",
	  handle_dup,
	  { { "vm", JSON_STRING }, { "files", JSON_TRUE }, { "limit", JSON_INTEGER } } },
	{ "reclaim",
	  handle_reclaim,
	  { { "vm", JSON_STRING }, { "bytes", JSON_INTEGER }, { "dry_run", JSON_TRUE } } },
	{ "cache-limit",
	  cache_limit_handle,
	  { { "vm", JSON_STRING }, { "limit", JSON_STRING }, { "dry_run", JSON_TRUE } } },
	{ "hint",
	  hint_handle,
	  { { "vm", JSON_STRING }, { "hint", JSON_STRING }, { "dry_run", JSON_TRUE } } },
	{ "free",
	  handle_free,
	  { { "vm", JSON_STRING }, { "bytes", JSON_INTEGER }, { "dry_run", JSON_TRUE } } },
	{ "balloon",
	  balloon_handle,
	  { { "vm", JSON_STRING },
	    { "size", JSON_STRING },
	    { "cache", JSON_STRING },
	    { "by", JSON_STRING },
	    { "dry_run", JSON_TRUE },
	    { "no_wait", JSON_TRUE },
	    { "timeout_sec", JSON_INTEGER },
	    { "stop", JSON_TRUE } } },
	{ "explain", handle_explain, { { "order", JSON_INTEGER } } },
	{ "attach",
	  attach_handle,
	  { { "name", JSON_STRING },
	    { "qmp", JSON_STRING },
	    { "agent", JSON_STRING },
	    { "domain", JSON_STRING },
	    { "act", JSON_TRUE } } },
	{ "detach", detach_handle, { { "vm", JSON_STRING } } },
	{ "version", handle_version, { { 0 } } },
};

static bool type_fits(json_type wanted, const json_t *value)
{
	/* Either of the two, and null for "not given". */
	return wanted == JSON_TRUE ? json_is_boolean(value) || json_is_null(value)
				   : json_typeof(value) == wanted || json_is_null(value);
}

/*
 * A parameter that is not understood might have been meant to narrow what is done: "dryrun" must
 * not evict, nor a guest's name in a list stand for all guests.
 */
static int parameters_check(const struct method *method, struct call *call, json_t *parameters)
{
	const char *name;
	json_t *value;

	json_object_foreach (parameters, name, value) {
		const struct parameter *known = NULL;

		for (size_t i = 0; i < PARAMETERS_MAX && method->parameters[i].name; i++)
			if (strcmp(method->parameters[i].name, name) == 0)
				known = &method->parameters[i];
		if (known && type_fits(known->type, value))
			continue;
		call_error(call, "invalid", "%s: %s '%.64s'", method->name,
			   known ? "the wrong type of value for" : "no such parameter:", name);
		return -EINVAL;
	}
	return 0;
}

void methods_handle(struct call *call, const char *method, json_t *parameters, void *userdata)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (strcmp(methods[i].name, method) == 0) {
			if (parameters_check(&methods[i], call, parameters) >= 0)
				methods[i].handle(userdata, call, parameters);
			return;
		}
	call_error(call, "invalid", "no such method: '%.64s'", method);
}
