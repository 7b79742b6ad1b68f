/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/order.h"
#include "ctl/request.h"
#include "ctl/text.h"
#include "ctl/verb.h"

static bool ends_in(const char *text, const char *end)
{
	size_t length = strlen(text), n = strlen(end);

	return length >= n && strcmp(text + length - n, end) == 0;
}

static void print_text(const json_t *lines)
{
	const json_t *line;
	size_t i;

	json_array_foreach (lines, i, line) {
		const char *text = json_string_value(line);
		_cleanup_free_ char *safe = text_escape(text ?: "", text_is_utf8());

		puts(safe ?: "?");
	}
}

static void print_input(const struct ctl *ctl, const char *key, const json_t *value)
{
	_cleanup_free_ char *safe_key = text_escape(key, text_is_utf8());
	_cleanup_free_ char *safe = NULL;
	char size[TEXT_SIZE_MAX];

	if (json_is_integer(value) && ends_in(key, "_bytes")) {
		printf("  %s = %s\n", safe_key ?: "?",
		       text_size(json_integer_value(value), ctl->raw_bytes, size));
		return;
	}
	safe = json_is_string(value) ? text_escape(json_string_value(value), text_is_utf8())
				     : text_json(value, JSON_COMPACT);
	printf("  %s = %s\n", safe_key ?: "?", safe ?: "?");
}

static int explain_run(const struct ctl *ctl, const struct args *args)
{
	json_auto_t *reply = NULL, *orders = NULL;
	const json_t *value, *lines;
	const char *key;
	int64_t order;
	int r;

	if (args_number("explain: ORDER", args->arg[0], false, &order) < 0)
		return CTL_USAGE;
	r = request(ctl, &verb_explain, json_pack("{s:I}", "order", (json_int_t)order), false,
		    &reply);
	if (r != CTL_DONE || ctl->json)
		return r;
	r = request_array(reply, "text", &lines);
	if (r != CTL_DONE)
		return r;
	orders = json_pack("[O]", json_object_get(reply, "order"));
	r = order_print_table(ctl, orders);
	putchar('\n');
	print_text(lines);
	if (json_object_size(json_object_get(reply, "inputs")) > 0)
		puts("\ninputs:");
	json_object_foreach (json_object_get(reply, "inputs"), key, value)
		print_input(ctl, key, value);
	return r;
}

const struct verb verb_explain = {
	.name = "explain",
	.run = explain_run,
	.summary = "show why an order was given, from which inputs, and what came of it",
	.cost = "nothing",
	.usage = "pagepact explain ORDER",
	.details = "ORDER is a number from the first column of 'pagepact reclaim'.",
	.min_args = 1,
	.max_args = 1,
	.deadline_sec = 30,
};
