/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/superpage-table.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/table.h"
#include "ctl/text.h"

#define SUPERPAGE_BYTES (2 << 20)

static void add_superpages(struct table *table, const json_t *census, const char *key)
{
	const json_t *count = json_object_get(census, key);
	json_auto_t *bytes = NULL;
	json_int_t product;

	if (json_is_integer(count) &&
	    !__builtin_mul_overflow(json_integer_value(count), SUPERPAGE_BYTES, &product))
		bytes = json_integer(product);
	table_size(table, bytes);
}

static const char *yes_or_no(const json_t *value)
{
	return json_is_boolean(value) ? json_is_true(value) ? "yes" : "no" : NULL;
}

int superpage_print_table(const struct ctl *ctl, const json_t *vms)
{
	static const struct table_column columns[] = {
		{ "GUEST", false },  { "SET-UP", false },	{ "RECLAIMABLE", true },
		{ "SPOILED", true }, { "CLEARS-PAGES", false },
	};
	_cleanup_(table_done) struct table table;
	const json_t *vm;
	size_t i, rows = 0;

	table_begin(&table, ctl, columns, ARRAY_SIZE(columns));
	json_array_foreach (vms, i, vm) {
		const json_t *census = json_object_get(vm, "census");

		if (!json_is_string(json_object_get(vm, "set_up")))
			continue;
		table_row(&table);
		table_string(&table, json_object_get(vm, "name"));
		table_string(&table, json_object_get(vm, "set_up"));
		add_superpages(&table, census, "superpages_reclaimable");
		add_superpages(&table, census, "superpages_spoiled");
		table_text(&table, yes_or_no(json_object_get(json_object_get(vm, "agent"),
							     "clears_pages")));
		rows++;
	}
	if (rows > 0)
		putchar('\n');
	return table_print(&table);
}

void superpage_print_set_ups(const json_t *set_ups)
{
	const json_t *set_up;
	size_t i;

	json_array_foreach (set_ups, i, set_up) {
		const json_t *guests = json_object_get(set_up, "guests");
		const char *text = json_string_value(json_object_get(set_up, "text"));
		_cleanup_free_ char *safe = text_escape(text ?: "?", text_is_utf8());

		printf("set-up: %" JSON_INTEGER_FORMAT " guest%s: %s\n", json_integer_value(guests),
		       json_integer_value(guests) == 1 ? "" : "s", safe ?: "?");
	}
}
