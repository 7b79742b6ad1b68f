/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ctl/balloon-table.h"
#include "ctl/limit.h"
#include "ctl/request.h"
#include "ctl/text.h"
#include "ctl/verb.h"

enum {
	OPTION_DRY_RUN,
};

static const struct args_option options[] = {
	[OPTION_DRY_RUN] = { "dry-run", NULL, "check the value and the guest, and change nothing" },
	{ 0 },
};

static int check_value(const char *text)
{
	static const char *const hints[] = { "cache", "none", "default" };
	_cleanup_free_ char *safe = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
		if (strcmp(text, hints[i]) == 0)
			return CTL_DONE;
	safe = text_escape(text, text_is_utf8());
	log_error("hint: '%s' is no hint: write cache, none or default", safe ?: "?");
	return CTL_USAGE;
}

static void print_held(const struct ctl *ctl, const json_t *report)
{
	char age[TEXT_SIZE_MAX], ahead[TEXT_SIZE_MAX];

	if (!json_is_object(report)) {
		printf("the agent has not reported yet\n");
		return;
	}
	printf("the agent, %s ago: hint %s, set by %s; %s evicted ahead of %lld inflations, seen "
	       "by %s\n",
	       text_duration(json_integer_value(json_object_get(report, "age_usec")), age),
	       limit_word(report, "hint"), limit_word(report, "hint_origin"),
	       text_size(json_integer_value(json_object_get(report, "evicted_ahead_bytes")),
			 ctl->raw_bytes, ahead),
	       (long long)json_integer_value(json_object_get(report, "inflations")),
	       limit_word(report, "inflation_seen_by"));
}

static void print_reply(const struct ctl *ctl, const struct args *args, const json_t *reply)
{
	const char *note = json_string_value(json_object_get(reply, "note"));
	_cleanup_free_ char *name = text_escape(args->arg[0], text_is_utf8());
	_cleanup_free_ char *safe = text_escape(note ?: "", text_is_utf8());
	const json_t *checked = json_object_get(reply, "checked");

	if (json_is_object(checked))
		printf("%s: dry run: nothing was changed, the hint would be %s\n", name ?: "?",
		       hint_wanted_text(checked));
	printf("%s: hint %s\n", name ?: "?", hint_wanted_text(json_object_get(reply, "hint")));
	if (note)
		printf("%s: %s\n", name ?: "?", safe ?: "?");
	if (args->n_args == 1)
		print_held(ctl, json_object_get(reply, "report"));
}

static int hint_run(const struct ctl *ctl, const struct args *args)
{
	json_auto_t *reply = NULL;
	int r = args->n_args > 1 ? check_value(args->arg[1]) : CTL_DONE;

	if (r != CTL_DONE)
		return r;
	r = request(ctl, &verb_hint,
		    json_pack("{s:s, s:s*, s:b}", "vm", args->arg[0], "hint", args->arg[1],
			      "dry_run", args->option[OPTION_DRY_RUN] != NULL),
		    false, &reply);
	if (r == CTL_DONE && !ctl->json)
		print_reply(ctl, args, reply);
	return r;
}

const struct verb verb_hint = {
	.name = "hint",
	.run = hint_run,
	.summary = "show or set whether a guest's page cache goes first when its balloon inflates",
	.cost = "what the guest evicts ahead of the balloon it may read again, from the host's "
		"memory or from storage; CPU time in the guest while the balloon inflates",
	.usage = "pagepact hint VM [cache|none|default] [--dry-run]",
	.details =
		"Whoever inflates the balloon. default gives the decision back to the guest's own "
		"configuration.\nThe hint is kept over restarts of the agent, the guest and the "
		"daemon.",
	.options = options,
	.min_args = 1,
	.max_args = 2,
	.deadline_sec = 30,
};
