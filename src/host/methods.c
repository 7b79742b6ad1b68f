/* SPDX-License-Identifier: Apache-2.0 */
#include "host/methods.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/attach.h"
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
	const char *name = json_string_value(json_object_get(p, "vm"));

	*ret_vm = name ? manager_vm(m, name) : NULL;
	if (!name || *ret_vm)
		return 0;
	call_error(call, "not_found", "no guest named '%.64s' is attached; see pagepact status",
		   name);
	return -ENOENT;
}

static void operation_begin(struct manager *m, struct call *call,
			    const struct operation_request *request)
{
	int r = operation_start(m, call, request);

	if (r == -EBUSY)
		call_error(call, "busy",
			   "another dup or reclaim is under way; try again when it has ended");
	else if (r < 0)
		call_error(call, "failed", "cannot begin: %s", strerror(-r));
}

static void handle_dup(struct manager *m, struct call *call, json_t *p)
{
	struct operation_request request = { 0 };
	json_t *limit = json_object_get(p, "limit");

	if (limit && (!json_is_integer(limit) || json_integer_value(limit) < 1 ||
		      json_integer_value(limit) > FILES_MAX)) {
		call_error(call, "invalid", "limit must be 1 to %d", FILES_MAX);
		return;
	}
	if (json_is_true(json_object_get(p, "files")))
		request.files = limit ? (unsigned)json_integer_value(limit) : FILES_DEFAULT;
	if (vm_parameter(m, call, p, &request.vm) >= 0)
		operation_begin(m, call, &request);
}

static void handle_reclaim(struct manager *m, struct call *call, json_t *p)
{
	json_t *bytes = json_object_get(p, "bytes");
	struct operation_request request = {
		.reclaim = true,
		.dry_run = m->dry_run || json_is_true(json_object_get(p, "dry_run")),
	};

	if (bytes && (!json_is_integer(bytes) || json_integer_value(bytes) < 0)) {
		call_error(call, "invalid", "bytes must be a number of bytes, 0 or more");
		return;
	}
	request.bytes = (uint64_t)json_integer_value(bytes);
	if (vm_parameter(m, call, p, &request.vm) < 0)
		return;
	if (request.vm && !request.vm->config.act && !request.dry_run) {
		call_error(call, "refused",
			   "%s is only observed: set act = yes in its file, or attach it with "
			   "--act; --dry-run shows what would be done",
			   request.vm->config.name);
		return;
	}
	operation_begin(m, call, &request);
}

static void handle_explain(struct manager *m, struct call *call, json_t *p)
{
	json_t *order = json_object_get(p, "order");
	const struct ledger_entry *e =
		json_is_integer(order) ?
			ledger_find(&m->ledger, (uint64_t)json_integer_value(order)) :
			NULL;

	if (!e)
		call_error(call, "not_found",
			   "no such order is remembered: the last %d are, since the daemon was "
			   "started",
			   LEDGER_MAX);
	else
		call_reply(call, ledger_explain_json(e));
}

static const struct method {
	const char *name;
	void (*handle)(struct manager *m, struct call *call, json_t *parameters);
} methods[] = {
	{ "status", handle_status }, { "dup", handle_dup },	  { "reclaim", handle_reclaim },
	{ "explain", handle_explain }, { "attach", attach_handle }, { "detach", detach_handle },
	{ "version", handle_version },
};

void methods_handle(struct call *call, const char *method, json_t *parameters, void *userdata)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (strcmp(methods[i].name, method) == 0) {
			methods[i].handle(userdata, call, parameters);
			return;
		}
	call_error(call, "invalid", "no such method: '%.64s'", method);
}
