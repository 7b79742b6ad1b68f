/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/order.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/table.h"
#include "ctl/text.h"

char *order_kept_text(const struct ctl *ctl, const json_t *kept)
{
	const char *why, *separator = "";
	char *text = NULL;
	const json_t *bytes;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	json_object_foreach ((json_t *)kept, why, bytes) {
		char buffer[TEXT_SIZE_MAX];

		if (json_integer_value(bytes) == 0)
			continue;
		fprintf(f, "%s%s %s", separator, why,
			text_size(json_integer_value(bytes), ctl->raw_bytes, buffer));
		separator = ", ";
	}
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

int order_print_table(const struct ctl *ctl, const json_t *orders)
{
	static const struct table_column columns[] = {
		{ "ORDER", true },  { "ROUND", true }, { "STEP", true },
		{ "WHERE", false }, { "WHAT", false }, { "ASKED", true },
		{ "DONE", true },   { "KEPT", false }, { "IMAGE", false },
	};
	_cleanup_(table_done) struct table table;
	const json_t *order;
	size_t i;

	table_begin(&table, ctl, columns, ARRAY_SIZE(columns));
	json_array_foreach (orders, i, order) {
		const char *vm = json_string_value(json_object_get(order, "vm"));
		_cleanup_free_ char *kept = order_kept_text(ctl, json_object_get(order, "kept"));

		table_row(&table);
		table_number(&table, json_object_get(order, "id"));
		table_number(&table, json_object_get(order, "round"));
		table_number(&table, json_object_get(order, "step"));
		table_text(&table, vm ?: "(host)");
		table_string(&table, json_object_get(order, "action"));
		table_size(&table, json_object_get(order, "asked_bytes"));
		table_size(&table, json_object_get(order, "done_bytes"));
		table_text(&table, kept);
		table_string(&table, json_object_get(order, "image"));
	}
	return table_print(&table);
}
