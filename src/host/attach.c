/* SPDX-License-Identifier: Apache-2.0 */
#include "host/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/call-vm.h"
#include "host/giveback.h"
#include "host/operation.h"

#define WAIT_USEC (10 * (uint64_t)USEC_PER_SEC)
#define LOOK_USEC 100000
#define PORT_USEC (5 * (uint64_t)USEC_PER_SEC)

struct attach {
	struct attach *next;
	struct manager *m;
	struct call *call; /* NULL when it has been answered */
	char name[CONFIG_NAME_MAX + 1];
	char path[URL_PATH_SIZE];
	bool detach;
	uint64_t deadline_usec;
	sd_event_source *timer;
	struct port_change *change;
	bool gave_back;
};

static struct vm *vm_of(const struct attach *a)
{
	return manager_vm(a->m, a->name);
}

static void attach_free(struct attach *a)
{
	struct attach **at = &a->m->attaches;

	while (*at && *at != a)
		at = &(*at)->next;
	if (*at)
		*at = a->next;
	if (a->call)
		call_error(a->call, "failed", "the daemon is stopping");
	sd_event_source_disable_unref(a->timer);
	port_change_free(a->change);
	free(a);
}

void attach_free_all(struct manager *m)
{
	while (m->attaches)
		attach_free(m->attaches);
}

/* Whether somebody attaches or detaches the guest: it must not go meanwhile. */
static bool attach_pending(const struct manager *m, const char *name)
{
	for (const struct attach *a = m->attaches; a; a = a->next)
		if (strcmp(a->name, name) == 0)
			return true;
	return false;
}

static int on_leave(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct attach *a = userdata;
	struct vm *vm = vm_of(a);

	(void)usec;
	/* A dup or reclaim has begun meanwhile, and looks at this guest too, or the daemon stops
	 * and gives back what it had: that comes first. */
	if (vm && (vm->qmp_lent || manager_remove(a->m, vm) == -EBUSY) &&
	    sd_event_source_set_time_relative(s, LOOK_USEC) >= 0 &&
	    sd_event_source_set_enabled(s, SD_EVENT_ONESHOT) >= 0)
		return 0;
	if (a->call)
		call_reply(TAKE_PTR(a->call), json_object());
	attach_free(a);
	return 0;
}

/* Lets go of the guest, from the loop: the caller may be one of its callbacks. */
static void attach_leave(struct attach *a)
{
	a->change = port_change_free(a->change);
	a->timer = sd_event_source_disable_unref(a->timer);
	if (sd_event_add_time_relative(a->m->event, &a->timer, CLOCK_MONOTONIC, 0, 0, on_leave, a) <
	    0)
		attach_free(a);
}

static void attach_fail(struct attach *a, const char *text)
{
	call_error(TAKE_PTR(a->call), "failed", "%s: %s", a->name, text);
	if (a->detach)
		attach_free(a);
	else
		attach_leave(a);
}

static void attach_reply(struct attach *a, bool added, json_t *advice)
{
	struct vm *vm = vm_of(a);
	char url[URL_PATH_SIZE + 16] = "";

	if (vm)
		(void)url_format(&vm->config.agent, url, sizeof(url));
	call_reply(TAKE_PTR(a->call),
		   json_pack("{ss ss? sb so}", "name", a->name, "agent", url[0] ? url : NULL,
			     "added_port", added, "advice", advice ? advice : json_array()));
	attach_free(a);
}

static void on_attached(int result, const char *error, void *userdata)
{
	struct attach *a = userdata;
	struct vm *vm = vm_of(a);

	if (result < 0 || !vm) {
		attach_fail(a, *error ? error : strerror(abs(result)));
		return;
	}
	vm->config.agent.scheme = URL_SERIAL;
	memcpy(vm->config.agent.path, a->path, sizeof(a->path));
	vm->agent = VM_AGENT_ABSENT;
	vm->port_added = true;
	attach_reply(a, true, NULL);
}

static json_t *advice_json(const char *path)
{
	_cleanup_free_ char **lines = NULL;
	json_t *advice = json_array();

	if (port_advice(path, &lines) >= 0)
		for (char **line = lines; *line; line++)
			json_array_append_new(advice, json_string(*line));
	return advice;
}

/* QEMU is known: is there a port, can there be one? */
static void port_consider(struct attach *a, struct vm *vm)
{
	const struct inventory_serial *serial = &vm->inventory->serial;
	int r;

	if (vm->config.agent.scheme != URL_NONE || serial->port) {
		attach_reply(a, false, NULL);
		return;
	}
	snprintf(a->path, sizeof(a->path), "%s/agent-%s.sock", a->m->runtime_dir, a->name);
	if (!serial->controller) {
		attach_reply(a, false, advice_json(a->path));
		return;
	}
	r = port_attach(vm->qmp, serial->bus, a->path, now_usec() + PORT_USEC, on_attached, a,
			&a->change);
	if (r < 0)
		attach_fail(a, strerror(-r));
}

static int on_look(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct attach *a = userdata;
	struct vm *vm = vm_of(a);

	(void)usec;
	if (!vm)
		attach_fail(a, "it was detached meanwhile");
	else if (vm->inventory)
		port_consider(a, vm);
	else if (vm->qmp_failed || now_usec() > a->deadline_usec)
		attach_fail(a, vm->reason[0] ? vm->reason : "QEMU did not answer in time");
	else if (sd_event_source_set_time_relative(s, LOOK_USEC) < 0 ||
		 sd_event_source_set_enabled(s, SD_EVENT_ONESHOT) < 0)
		attach_fail(a, "no timer");
	return 0;
}

static int config_parameter(json_t *p, struct config_vm *ret, const char **ret_why)
{
	const char *name = json_string_value(json_object_get(p, "name"));
	const char *qmp = json_string_value(json_object_get(p, "qmp"));
	const char *agent = json_string_value(json_object_get(p, "agent"));
	const char *domain = json_string_value(json_object_get(p, "domain"));

	*ret = (struct config_vm){ .act = json_is_true(json_object_get(p, "act")) };
	*ret_why = "a name is [A-Za-z0-9] and then at most 62 of [A-Za-z0-9._-]";
	if (!name || config_check_name(name) < 0 || (domain && config_check_name(domain) < 0))
		return -EINVAL;
	if (!qmp || url_check_path(qmp, ret_why) < 0)
		return -EINVAL;
	if (agent && url_parse(agent, &ret->agent, ret_why) < 0)
		return -EINVAL;
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	snprintf(ret->domain, sizeof(ret->domain), "%s", domain ? domain : name);
	snprintf(ret->qmp, sizeof(ret->qmp), "%s", qmp);
	return 0;
}

/* @name: config_check_name() has accepted it, or it is an attached guest's. */
static struct attach *attach_new(struct manager *m, struct call *call, const char *name)
{
	struct attach *a = calloc(1, sizeof(*a));

	if (a) {
		*a = (struct attach){ .next = m->attaches,
				      .m = m,
				      .call = call,
				      .deadline_usec = now_usec() + WAIT_USEC };
		snprintf(a->name, sizeof(a->name), "%s", name);
		m->attaches = a;
	}
	return a;
}

void attach_handle(struct manager *m, struct call *call, json_t *parameters)
{
	struct config_vm config;
	const char *why = NULL;
	struct attach *a;
	struct vm *vm;
	int r = config_parameter(parameters, &config, &why);

	if (r < 0) {
		call_error(call, "invalid", "%s", why ? why : "a name and a QMP socket are needed");
		return;
	}
	r = manager_add(m, &config, &vm);
	if (r < 0) {
		call_error(call, r == -EBUSY ? "busy" : "failed", "cannot attach %s: %s",
			   config.name,
			   r == -EEXIST	 ? "a guest of that name is attached already"
			   : r == -EBUSY ? "a dup, reclaim or free is under way"
					 : strerror(-r));
		return;
	}
	a = attach_new(m, call, config.name);
	if (!a || sd_event_add_time_relative(m->event, &a->timer, CLOCK_MONOTONIC, LOOK_USEC, 0,
					     on_look, a) < 0) {
		call_error(call, "failed", "out of memory");
		(void)manager_remove(m, vm);
		if (a) {
			a->call = NULL;
			attach_free(a);
		}
	}
}

static void on_detached(int result, const char *error, void *userdata)
{
	struct attach *a = userdata;

	if (result < 0)
		attach_fail(a, *error ? error : strerror(abs(result)));
	else
		attach_leave(a);
}

static void on_given_back(unsigned failed, const char *error, void *userdata);

/* First what was the guest's, then the port. Return: -errno where that cannot be begun. */
static int detach_go(struct attach *a, struct vm *vm)
{
	int r = a->gave_back ? 0 : giveback_start(a->m, vm, on_given_back, a);

	a->gave_back = true;
	if (r != 0)
		return r;
	if (vm->port_added && vm->qmp && qmp_is_ready(vm->qmp))
		return port_detach(vm->qmp, now_usec() + PORT_USEC, on_detached, a, &a->change);
	attach_leave(a);
	return 0;
}

static void on_given_back(unsigned failed, const char *error, void *userdata)
{
	struct attach *a = userdata;
	struct vm *vm = vm_of(a);

	if (failed || !vm)
		attach_fail(a, failed ? error : "it has gone");
	else if (detach_go(a, vm) < 0)
		attach_fail(a, "QEMU cannot be asked to remove the port");
}

void detach_handle(struct manager *m, struct call *call, json_t *parameters)
{
	struct vm *vm = call_vm(m, call, parameters);
	struct attach *a;

	if (!vm)
		return;
	if (m->stopping) {
		call_error(call, "failed",
			   "the daemon is stopping, and gives back what was the "
			   "guest's");
		return;
	}
	if (m->operation || attach_pending(m, vm->config.name)) {
		call_error(call, "busy", "%s",
			   m->operation ? "a dup, reclaim or free is under way"
					: "it is just being attached or detached");
		return;
	}
	a = attach_new(m, call, vm->config.name);
	if (a)
		a->detach = true;
	if (!a || detach_go(a, vm) < 0) {
		call_error(call, "failed",
			   "QEMU cannot be asked for what a detached guest gets back");
		if (a) {
			a->call = NULL;
			attach_free(a);
		}
	}
}
