/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ctl/request.h"
#include "ctl/text.h"
#include "ctl/verb.h"

enum {
	OPTION_AGENT,
	OPTION_ACT,
	OPTION_DOMAIN,
};

static const struct args_option options[] = {
	[OPTION_AGENT] = { "agent", "URL", "where the agent's port is: serial:PATH of its socket" },
	[OPTION_ACT] = { "act", NULL, "allow reclaim to act on this guest; else it observes only" },
	[OPTION_DOMAIN] = { "domain", "NAME", "sharing domain; the guest alone if not given" },
	{ 0 },
};

/* The daemon has another working directory: paths go to it absolute. */
static char *absolute_path(const char *path)
{
	_cleanup_free_ char *cwd = NULL;
	char *result = NULL;

	if (path[0] == '/')
		return strdup(path);
	cwd = getcwd(NULL, 0);
	if (!cwd || asprintf(&result, "%s/%s", cwd, path) < 0)
		return NULL;
	return result;
}

static int check_agent(const char *url)
{
	static const char scheme[] = "serial:";

	if (!url)
		return CTL_DONE;
	if (strncmp(url, scheme, strlen(scheme)) == 0 && url[strlen(scheme)] == '/')
		return CTL_DONE;
	log_error("attach: --agent takes serial: and the absolute path of a socket, such as "
		  "serial:/run/guest/agent.sock");
	return CTL_USAGE;
}

static json_t *make_parameters(const struct args *args, const char *qmp)
{
	return json_pack("{s:s, s:s, s:s*, s:b, s:s*}", "name", args->arg[0], "qmp", qmp, "agent",
			 args->option[OPTION_AGENT], "act", args->option[OPTION_ACT] != NULL,
			 "domain", args->option[OPTION_DOMAIN]);
}

static int print_reply(const struct args *args, const json_t *reply)
{
	const char *agent = json_string_value(json_object_get(reply, "agent"));
	_cleanup_free_ char *name = text_escape(args->arg[0], text_is_utf8());
	_cleanup_free_ char *url = text_escape(agent ?: "none", text_is_utf8());
	const json_t *advice = json_object_get(reply, "advice"), *line;
	size_t i;

	printf("attached %s, agent %s%s\n", name ?: "?", url ?: "?",
	       json_is_true(json_object_get(reply, "added_port")) ? " (port added)" : "");
	json_array_foreach (advice, i, line) {
		const char *text = json_string_value(line);
		_cleanup_free_ char *safe = text_escape(text ?: "", text_is_utf8());

		puts(safe ?: "?");
	}
	return CTL_DONE;
}

static int attach_run(const struct ctl *ctl, const struct args *args)
{
	_cleanup_free_ char *qmp = NULL;
	json_auto_t *reply = NULL;
	int r = check_agent(args->option[OPTION_AGENT]);

	if (r != CTL_DONE)
		return r;
	qmp = absolute_path(args->arg[1]);
	if (!qmp) {
		log_error("attach: the current directory is gone: give the socket's absolute path");
		return CTL_FAILED;
	}
	r = request(ctl, &verb_attach, make_parameters(args, qmp), false, &reply);
	if (r != CTL_DONE || ctl->json)
		return r;
	return print_reply(args, reply);
}

const struct verb verb_attach = {
	.name = "attach",
	.run = attach_run,
	.summary = "start watching a guest, by its QMP socket",
	.cost = "a virtio-serial port for the agent, added to the guest if it has none; the QMP "
		"socket is in use from then on",
	.usage = "pagepact attach NAME QMP-SOCKET [--agent URL] [--act] [--domain NAME]",
	.details =
		"Where the guest has no virtio-serial controller, it prints what to add to it. A "
		"file in\n/etc/pagepact/vms.d does the same at each start of the daemon: see "
		"pagepact.conf(5).",
	.options = options,
	.min_args = 2,
	.max_args = 2,
	.deadline_sec = 60,
};
