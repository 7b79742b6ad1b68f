/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/request.h"
#include "ctl/text.h"
#include "ctl/verb.h"

static int detach_run(const struct ctl *ctl, const struct args *args)
{
	json_auto_t *reply = NULL;
	_cleanup_free_ char *name = NULL;
	int r = request(ctl, &verb_detach, json_pack("{s:s}", "vm", args->arg[0]), false, &reply);

	if (r != CTL_DONE || ctl->json)
		return r;
	name = text_escape(args->arg[0], text_is_utf8());
	printf("detached %s\n", name ?: "?");
	return CTL_DONE;
}

const struct verb verb_detach = {
	.name = "detach",
	.run = detach_run,
	.summary = "stop watching a guest and acting on it",
	.cost = "what the guest caches counts no longer, and its images are not trimmed",
	.usage = "pagepact detach VM",
	.details = "A port that attach added to the guest is taken away again, and a guest whose "
		   "balloon was moved is given back what it had. Else it runs on as it is.",
	.min_args = 1,
	.max_args = 1,
	.deadline_sec = 60,
};
