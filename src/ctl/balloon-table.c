/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/balloon-table.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/limit.h"
#include "ctl/table.h"

const char *hint_wanted_text(const json_t *wanted)
{
	const char *text = json_string_value(json_object_get(wanted, "text"));

	if (!text)
		return "default";
	return strcmp(text, "cache") == 0 || strcmp(text, "none") == 0 ? text : "?";
}

static bool is_hinted(const json_t *vm)
{
	const json_t *report = json_object_get(vm, "report");

	return json_is_string(json_object_get(json_object_get(vm, "hint"), "text")) ||
	       (json_is_object(report) && strcmp(limit_word(report, "hint"), "cache") == 0);
}

static void print_row(struct table *table, const json_t *vm)
{
	const json_t *report = json_object_get(vm, "report");
	bool known = json_is_object(report);

	table_row(table);
	table_string(table, json_object_get(vm, "name"));
	table_text(table, hint_wanted_text(json_object_get(vm, "hint")));
	table_text(table, known ? limit_word(report, "hint") : NULL);
	table_text(table, known ? limit_word(report, "hint_origin") : NULL);
	table_size(table, json_object_get(report, "balloon_held_bytes"));
	table_size(table, json_object_get(report, "inflate_left_bytes"));
	table_size(table, json_object_get(report, "evicted_ahead_bytes"));
	table_text(table, known ? limit_word(report, "inflation_seen_by") : NULL);
}

int balloon_print_table(const struct ctl *ctl, const json_t *vms)
{
	static const struct table_column columns[] = {
		{ "GUEST", false },	   { "WANTED", false },	 { "HINT", false },
		{ "SET-BY", false },	   { "BALLOON", true },	 { "LEFT", true },
		{ "EVICTED-AHEAD", true }, { "SEEN-BY", false },
	};
	_cleanup_(table_done) struct table table;
	const json_t *vm;
	size_t i, rows = 0;

	table_begin(&table, ctl, columns, ARRAY_SIZE(columns));
	json_array_foreach (vms, i, vm) {
		if (!is_hinted(vm))
			continue;
		print_row(&table, vm);
		rows++;
	}
	if (rows > 0)
		putchar('\n');
	return table_print(&table);
}
