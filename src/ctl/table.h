/* SPDX-License-Identifier: Apache-2.0 */
/* Tables through libsmartcols, filled row by row from JSON. */
#ifndef PAGEPACT_CTL_TABLE_H
#define PAGEPACT_CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>
#include <libsmartcols.h>

#include "ctl/ctl.h"

/** struct table_column - @right: for numbers */
struct table_column {
	const char *name;
	bool right;
};

/**
 * struct table - a table that is being filled
 * @error: the first failure, -errno: later calls do nothing, and table_print() reports it
 */
struct table {
	struct libscols_table *scols;
	struct libscols_line *line;
	size_t column;
	const struct ctl *ctl;
	int error;
};

/** table_begin() - an empty table; table_done() it */
void table_begin(struct table *table, const struct ctl *ctl, const struct table_column *columns,
		 size_t n_columns);

/** table_row() - start the next row; cells are added from left to right */
void table_row(struct table *table);

/** table_text() - add a cell; @text is escaped, "-" stands for NULL and for nothing */
void table_text(struct table *table, const char *text);

/** table_string() - add a cell: a JSON string, or "-" */
void table_string(struct table *table, const json_t *value);

/** table_number() - add a cell: a JSON integer as it is, or "-" */
void table_number(struct table *table, const json_t *value);

/** table_size() - add a cell: a JSON integer as a size, or "-" */
void table_size(struct table *table, const json_t *value);

/**
 * table_print() - print it on standard output, unless it has no row
 *
 * Return: CTL_DONE, or CTL_FAILED after a message.
 */
int table_print(struct table *table);

/** table_done() - release what it holds; for _cleanup_() */
void table_done(struct table *table);

#endif
