/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/limit.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/table.h"
#include "ctl/text.h"

const char *limit_wanted_text(const struct ctl *ctl, const json_t *wanted,
			      char buffer[static LIMIT_CELL_MAX])
{
	const char *text = json_string_value(json_object_get(wanted, "text"));
	struct limit_text limit = { .kind = LIMIT_TEXT_DEFAULT };
	char size[TEXT_SIZE_MAX];

	if (text && limit_text_parse(text, &limit) < 0)
		return strcpy(buffer, "?");
	if (limit.kind == LIMIT_TEXT_BYTES)
		snprintf(buffer, LIMIT_CELL_MAX, "%s",
			 text_size((long long)limit.bytes, ctl->raw_bytes, size));
	else if (limit.kind == LIMIT_TEXT_PERMILLE)
		snprintf(buffer, LIMIT_CELL_MAX, "%s %%", text_permille(limit.permille, size));
	else
		strcpy(buffer, limit.kind == LIMIT_TEXT_OFF ? "off" : "default");
	return buffer;
}

const char *limit_held_text(const struct ctl *ctl, const json_t *report,
			    char buffer[static LIMIT_CELL_MAX])
{
	const json_t *bytes = json_object_get(report, "limit_bytes");
	char size[TEXT_SIZE_MAX];

	snprintf(buffer, LIMIT_CELL_MAX, "%s",
		 json_is_integer(bytes) ? text_size(json_integer_value(bytes), ctl->raw_bytes, size)
					: "none");
	return buffer;
}

const char *limit_word(const json_t *report, const char *key)
{
	const char *word = json_string_value(json_object_get(report, key));

	if (!word || !*word || strspn(word, "abcdefghijklmnopqrstuvwxyz_") != strlen(word))
		return "?";
	return word;
}

static void print_row(struct table *table, const json_t *vm)
{
	const json_t *report = json_object_get(vm, "report");
	bool known = json_is_object(report);
	char wanted[LIMIT_CELL_MAX], held[LIMIT_CELL_MAX], age[TEXT_SIZE_MAX];

	table_row(table);
	table_string(table, json_object_get(vm, "name"));
	table_text(table,
		   limit_wanted_text(table->ctl, json_object_get(vm, "cache_limit"), wanted));
	table_text(table, known ? limit_held_text(table->ctl, report, held) : NULL);
	table_text(table, known ? limit_word(report, "limit_origin") : NULL);
	table_size(table, json_object_get(report, "unmapped_bytes"));
	table_text(table, known ? limit_word(report, "limit_state") : NULL);
	table_size(table, json_object_get(report, "evicted_bytes"));
	table_size(table, json_object_get(report, "refaulted_bytes"));
	table_text(table, known ? limit_word(report, "heat") : NULL);
	table_text(
		table,
		known ? text_duration(json_integer_value(json_object_get(report, "age_usec")), age)
		      : NULL);
}

int limit_print_table(const struct ctl *ctl, const json_t *vms)
{
	static const struct table_column columns[] = {
		{ "GUEST", false },   { "WANTED", true },    { "LIMIT", true },
		{ "SET-BY", false },  { "UNMAPPED", true },  { "STATE", false },
		{ "EVICTED", true },  { "REFAULTED", true }, { "HEAT", false },
		{ "REPORTED", true },
	};
	_cleanup_(table_done) struct table table;
	const json_t *vm;
	size_t i, rows = 0;

	table_begin(&table, ctl, columns, ARRAY_SIZE(columns));
	json_array_foreach (vms, i, vm) {
		if (!json_is_object(json_object_get(vm, "report")) &&
		    !json_is_string(json_object_get(json_object_get(vm, "cache_limit"), "text")))
			continue;
		print_row(&table, vm);
		rows++;
	}
	if (rows > 0)
		putchar('\n');
	return table_print(&table);
}
