/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/order.h"
#include "ctl/request.h"
#include "ctl/text.h"
#include "ctl/verb.h"

enum {
	OPTION_BYTES,
	OPTION_DRY_RUN,
	OPTION_VERBOSE,
};

static const struct args_option options[] = {
	[OPTION_BYTES] = { "bytes", "N[K|M|G|T]", "stop when this much was given back" },
	[OPTION_DRY_RUN] = { "dry-run", NULL,
			     "print the orders that would be given, and give none" },
	[OPTION_VERBOSE] = { "verbose", NULL, "print progress where there is no terminal too" },
	{ 0 },
};

static void print_refused(const json_t *refused)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (refused, i, entry) {
		const char *vm = json_string_value(json_object_get(entry, "vm"));
		const char *image = json_string_value(json_object_get(entry, "image"));
		const char *reason = json_string_value(json_object_get(entry, "reason"));
		_cleanup_free_ char *safe_vm = text_escape(vm ?: "(host)", text_is_utf8());
		_cleanup_free_ char *safe_image = text_escape(image ?: "", text_is_utf8());
		_cleanup_free_ char *safe = text_escape(reason ?: "?", text_is_utf8());

		printf("refused: %s%s%s: %s\n", safe_vm ?: "?", image ? ": " : "",
		       safe_image ?: "?", safe ?: "?");
	}
}

static bool is_refused(const json_t *refused, const char *name)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (refused, i, entry) {
		const char *vm = json_string_value(json_object_get(entry, "vm"));

		if (name && vm && strcmp(vm, name) == 0)
			return true;
	}
	return false;
}

static void print_totals(const struct ctl *ctl, const json_t *reply)
{
	char evicted[TEXT_SIZE_MAX], trimmed[TEXT_SIZE_MAX], returned[TEXT_SIZE_MAX];

	if (json_is_true(json_object_get(reply, "dry_run"))) {
		printf("dry run: nothing was done\n");
		return;
	}
	printf("evicted %s in guests, trimmed %s on the host; the host sees %s of guest memory "
	       "returned\n",
	       text_size(json_integer_value(json_object_get(reply, "evicted_bytes")),
			 ctl->raw_bytes, evicted),
	       text_size(json_integer_value(json_object_get(reply, "trimmed_bytes")),
			 ctl->raw_bytes, trimmed),
	       text_size(json_integer_value(json_object_get(reply, "host_returned_bytes")),
			 ctl->raw_bytes, returned));
}

static int reclaim_run(const struct ctl *ctl, const struct args *args)
{
	const char *bytes_text = args->option[OPTION_BYTES];
	json_auto_t *reply = NULL, *number = NULL;
	const json_t *orders, *refused;
	int64_t bytes = 0;
	int r;

	if (bytes_text && args_number("reclaim: --bytes", bytes_text, true, &bytes) < 0)
		return CTL_USAGE;
	number = bytes_text ? json_integer(bytes) : NULL;
	r = request(ctl, &verb_reclaim,
		    json_pack("{s:s*, s:O*, s:b}", "vm", args->arg[0], "bytes", number, "dry_run",
			      args->option[OPTION_DRY_RUN] != NULL),
		    args->option[OPTION_VERBOSE] != NULL, &reply);
	if (r == CTL_DONE)
		r = request_array(reply, "orders", &orders);
	if (r == CTL_DONE)
		r = request_array(reply, "refused", &refused);
	if (r != CTL_DONE)
		return r;
	if (!ctl->json) {
		r = order_print_table(ctl, orders);
		print_refused(refused);
		print_totals(ctl, reply);
	}
	/* A script has to notice that the guest it named was left alone. */
	if (r == CTL_DONE && json_array_size(orders) == 0 && is_refused(refused, args->arg[0]))
		return CTL_REFUSED;
	return r;
}

const struct verb verb_reclaim = {
	.name = "reclaim",
	.run = reclaim_run,
	.summary = "give duplicates back to the host, in guests that were opted in",
	.cost = "CPU time in the guests; a page that a guest reads again comes from the host's "
		"memory, microseconds slower, and from storage only if the host dropped it since",
	.usage = "pagepact reclaim [VM] [--bytes N[K|M|G|T]] [--dry-run] [--verbose]",
	.details =
		"Clean, unmapped page cache alone is touched, and only copies of what stays cached "
		"elsewhere.\nPlain numbers of bytes in its output: pagepact --bytes reclaim "
		"(before the verb).",
	.options = options,
	.max_args = 1,
	.deadline_sec = 3600,
};
