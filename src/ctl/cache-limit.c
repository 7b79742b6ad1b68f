/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
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
	_cleanup_free_ char *safe = NULL;
	struct limit_text limit;

	if (*text && limit_text_parse(text, &limit) >= 0)
		return CTL_DONE;
	safe = text_escape(text, text_is_utf8());
	log_error("cache-limit: '%s' is no limit: write a size (512M), a share of the guest's "
		  "memory (25%%), off or default",
		  safe ?: "?");
	return CTL_USAGE;
}

static void print_held(const struct ctl *ctl, const json_t *report)
{
	char age[TEXT_SIZE_MAX], unmapped[TEXT_SIZE_MAX], limit[LIMIT_CELL_MAX];

	if (!json_is_object(report)) {
		printf("the agent has not reported yet\n");
		return;
	}
	printf("the agent, %s ago: limit %s, set by %s; %s unmapped, state %s\n",
	       text_duration(json_integer_value(json_object_get(report, "age_usec")), age),
	       limit_held_text(ctl, report, limit), limit_word(report, "limit_origin"),
	       text_size(json_integer_value(json_object_get(report, "unmapped_bytes")),
			 ctl->raw_bytes, unmapped),
	       limit_word(report, "limit_state"));
}

static void print_reply(const struct ctl *ctl, const struct args *args, const json_t *reply)
{
	const char *note = json_string_value(json_object_get(reply, "note"));
	_cleanup_free_ char *name = text_escape(args->arg[0], text_is_utf8());
	_cleanup_free_ char *safe = text_escape(note ?: "", text_is_utf8());
	const json_t *checked = json_object_get(reply, "checked");
	char limit[LIMIT_CELL_MAX];

	if (json_is_object(checked))
		printf("%s: dry run: nothing was changed, the limit would be %s\n", name ?: "?",
		       limit_wanted_text(ctl, checked, limit));
	printf("%s: page cache limit %s\n", name ?: "?",
	       limit_wanted_text(ctl, json_object_get(reply, "cache_limit"), limit));
	if (note)
		printf("%s: %s\n", name ?: "?", safe ?: "?");
	if (args->n_args == 1)
		print_held(ctl, json_object_get(reply, "report"));
}

static int cache_limit_run(const struct ctl *ctl, const struct args *args)
{
	json_auto_t *reply = NULL;
	int r = args->n_args > 1 ? check_value(args->arg[1]) : CTL_DONE;

	if (r != CTL_DONE)
		return r;
	r = request(ctl, &verb_cache_limit,
		    json_pack("{s:s, s:s*, s:b}", "vm", args->arg[0], "limit", args->arg[1],
			      "dry_run", args->option[OPTION_DRY_RUN] != NULL),
		    false, &reply);
	if (r == CTL_DONE && !ctl->json)
		print_reply(ctl, args, reply);
	return r;
}

const struct verb verb_cache_limit = {
	.name = "cache-limit",
	.run = cache_limit_run,
	.summary = "show or set the upper bound of a guest's unmapped page cache",
	.cost = "the guest reads again what it evicted above the limit, from the host's memory or "
		"from storage; CPU time in the guest while it evicts",
	.usage = "pagepact cache-limit VM [SIZE|N%|off|default] [--dry-run]",
	.details =
		"The host's word is the last. default gives the decision back to the guest's own "
		"configuration.\nThe limit is kept over restarts of the agent, the guest and the "
		"daemon.",
	.options = options,
	.min_args = 1,
	.max_args = 2,
	.deadline_sec = 30,
};
