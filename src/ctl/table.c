/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/table.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ctl/text.h"

static void set_error(struct table *table, int r)
{
	if (r < 0 && table->error == 0)
		table->error = r;
}

void table_begin(struct table *table, const struct ctl *ctl, const struct table_column *columns,
		 size_t n_columns)
{
	*table = (struct table){ .ctl = ctl, .scols = scols_new_table() };
	if (!table->scols) {
		set_error(table, -ENOMEM);
		return;
	}
	scols_table_enable_noheadings(table->scols, ctl->noheadings);
	/* Cells are escaped here; the library would escape the escapes. */
	scols_table_enable_noencoding(table->scols, 1);
	for (size_t i = 0; i < n_columns; i++)
		if (!scols_table_new_column(table->scols, columns[i].name, 0,
					    columns[i].right ? SCOLS_FL_RIGHT : 0))
			set_error(table, -ENOMEM);
}

void table_row(struct table *table)
{
	if (table->error < 0)
		return;
	table->column = 0;
	table->line = scols_table_new_line(table->scols, NULL);
	if (!table->line)
		set_error(table, -ENOMEM);
}

static void add_cell(struct table *table, const char *text)
{
	if (table->error == 0)
		set_error(table, scols_line_set_data(table->line, table->column++, text));
}

void table_text(struct table *table, const char *text)
{
	_cleanup_free_ char *safe = text && *text ? text_escape(text, text_is_utf8()) : NULL;

	if (text && *text && !safe)
		set_error(table, -ENOMEM);
	add_cell(table, safe ?: "-");
}

void table_string(struct table *table, const json_t *value)
{
	table_text(table, json_string_value(value));
}

static void add_integer(struct table *table, const json_t *value, bool raw)
{
	char buffer[TEXT_SIZE_MAX];

	add_cell(table,
		 json_is_integer(value) ? text_size(json_integer_value(value), raw, buffer) : "-");
}

void table_number(struct table *table, const json_t *value)
{
	add_integer(table, value, true);
}

void table_size(struct table *table, const json_t *value)
{
	add_integer(table, value, table->ctl->raw_bytes);
}

int table_print(struct table *table)
{
	if (table->error == 0 && !scols_table_is_empty(table->scols))
		set_error(table, scols_print_table(table->scols));
	if (table->error < 0) {
		log_error_errno(table->error, "cannot print a table: %m");
		return CTL_FAILED;
	}
	return CTL_DONE;
}

void table_done(struct table *table)
{
	scols_unref_table(table->scols);
	table->scols = NULL;
}
