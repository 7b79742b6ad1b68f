/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/help.h"
#include "ctl/request.h"
#include "ctl/text.h"
#include "ctl/verb.h"

static int version_run(const struct ctl *ctl, const struct args *args)
{
	json_auto_t *reply = NULL;
	_cleanup_free_ char *text = NULL;
	const char *version;
	int r;

	(void)args;
	if (!ctl->json)
		help_print_version();
	r = request(ctl, &verb_version, json_object(), false, &reply);
	if (r != CTL_DONE || ctl->json)
		return r;
	version = json_string_value(json_object_get(reply, "version"));
	text = text_escape(version ?: "?", text_is_utf8());
	printf("pagepactd %s, protocol %lld\n", text ?: "?",
	       (long long)json_integer_value(json_object_get(reply, "protocol")));
	return CTL_DONE;
}

const struct verb verb_version = {
	.name = "version",
	.run = version_run,
	.summary = "print the versions of this program, the daemon and their protocol",
	.cost = "nothing",
	.usage = "pagepact version",
	.details = "--version prints this program's version alone, and asks no daemon.",
	.deadline_sec = 10,
};
