/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ctl/limit.h"
#include "ctl/request.h"
#include "ctl/table.h"
#include "ctl/text.h"
#include "ctl/verb.h"

enum {
	OPTION_DRY_RUN,
	OPTION_VERBOSE,
};

static const struct args_option options[] = {
	[OPTION_DRY_RUN] = { "dry-run", NULL,
			     "scan the guest and print what there is at most, and free nothing" },
	[OPTION_VERBOSE] = { "verbose", NULL, "print progress where there is no terminal too" },
	{ 0 },
};

static int print_steps(const struct ctl *ctl, const json_t *steps)
{
	static const struct table_column columns[] = { { "STEP", false }, { "SIZE", true } };
	_cleanup_(table_done) struct table table;
	const json_t *step;
	size_t i;

	table_begin(&table, ctl, columns, ARRAY_SIZE(columns));
	json_array_foreach (steps, i, step) {
		table_row(&table);
		table_string(&table, json_object_get(step, "step"));
		table_size(&table, json_object_get(step, "bytes"));
	}
	return table_print(&table);
}

static void print_totals(const struct ctl *ctl, const json_t *reply)
{
	char asked[TEXT_SIZE_MAX], freed[TEXT_SIZE_MAX], returned[TEXT_SIZE_MAX];
	char took[TEXT_SIZE_MAX];
	const char *brake = limit_word(reply, "brake");
	bool braked = brake[0] != '?' && strcmp(brake, "none") != 0;

	if (json_is_true(json_object_get(reply, "dry_run"))) {
		printf("dry run: nothing was done; of unmapped_clean, what was used lately would "
		       "stay\n");
		return;
	}
	printf("order %lld: of %s asked for, %s were given back in %s; it ended with: %s%s%s\n",
	       (long long)json_integer_value(json_object_get(reply, "order")),
	       text_size(json_integer_value(json_object_get(reply, "asked_bytes")), ctl->raw_bytes,
			 asked),
	       text_size(json_integer_value(json_object_get(reply, "freed_bytes")), ctl->raw_bytes,
			 freed),
	       text_duration(json_integer_value(json_object_get(reply, "usec")), took),
	       limit_word(reply, "stopped"), braked ? ", brake " : "", braked ? brake : "");
	printf("the host sees %s of guest memory returned\n",
	       text_size(json_integer_value(json_object_get(reply, "host_returned_bytes")),
			 ctl->raw_bytes, returned));
}

static int free_run(const struct ctl *ctl, const struct args *args)
{
	json_auto_t *reply = NULL;
	_cleanup_free_ char *safe = NULL;
	const char *error;
	const json_t *steps;
	int64_t bytes;
	int r;

	if (args_number("free: SIZE", args->arg[1], true, &bytes) < 0)
		return CTL_USAGE;
	r = request(ctl, &verb_free,
		    json_pack("{s:s, s:I, s:b}", "vm", args->arg[0], "bytes", (json_int_t)bytes,
			      "dry_run", args->option[OPTION_DRY_RUN] != NULL),
		    args->option[OPTION_VERBOSE] != NULL, &reply);
	if (r == CTL_DONE)
		r = request_array(reply, "steps", &steps);
	if (r != CTL_DONE)
		return r;
	error = json_string_value(json_object_get(reply, "error"));
	if (!ctl->json) {
		r = print_steps(ctl, steps);
		if (!error)
			print_totals(ctl, reply);
	}
	if (!error)
		return r;
	safe = text_escape(error, text_is_utf8());
	log_error("free: %s: %s", args->arg[0], safe ?: "?");
	return CTL_FAILED;
}

const struct verb verb_free = {
	.name = "free",
	.run = free_run,
	.summary = "have a guest free memory, by its own order of reclaim",
	.cost = "CPU time in the guest; a page that it reads again comes from the host's memory "
		"or, "
		"where the host does not hold it, from storage",
	.usage = "pagepact free VM SIZE [--dry-run] [--verbose]",
	.details =
		"In this order: pages that are free already, empty slab pages, cold unmapped clean "
		"pages that the\nhost holds, those that complete a superpage, other cold ones. "
		"Mapped, dirty and recently used pages stay.",
	.options = options,
	.min_args = 2,
	.max_args = 2,
	.deadline_sec = 600,
};
