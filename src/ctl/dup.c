/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ctl/request.h"
#include "ctl/table.h"
#include "ctl/text.h"
#include "ctl/verb.h"

/* Columns of the histogram of holders; the last one counts all larger numbers of guests too. */
#define HOLDERS_MAX 4

/* A screenful: the files that hold most come first. */
#define LIMIT_DEFAULT 20

enum {
	OPTION_FILES,
	OPTION_LIMIT,
	OPTION_VERBOSE,
};

static const struct args_option options[] = {
	[OPTION_FILES] = { "files", NULL, "name the files that hold most duplicates" },
	[OPTION_LIMIT] = { "limit", "N", "name at most N files, 1000 at most; 20 if not given" },
	[OPTION_VERBOSE] = { "verbose", NULL, "print progress where there is no terminal too" },
	{ 0 },
};

/* Bytes held by exactly @n guests and the host; the last column stands for @n and more. */
static json_int_t holders_bytes(const json_t *holders, size_t n, bool last)
{
	size_t end = last ? json_array_size(holders) : n;
	json_int_t bytes = 0;

	for (size_t i = n; i <= end; i++)
		if (__builtin_add_overflow(
			    bytes, json_integer_value(json_array_get(holders, i - 1)), &bytes))
			return bytes;
	return bytes;
}

static size_t holders_columns(const json_t *images)
{
	const json_t *image;
	size_t i, n = 1;

	json_array_foreach (images, i, image) {
		size_t size = json_array_size(json_object_get(image, "holders"));

		n = size > n ? size : n;
	}
	return n < HOLDERS_MAX ? n : HOLDERS_MAX;
}

/* A number of something that could not be looked at is no number. */
static const json_t *known(const json_t *object, const char *key)
{
	return json_is_false(json_object_get(object, "known")) ? NULL
							       : json_object_get(object, key);
}

static void add_holders(struct table *table, const json_t *image, size_t n_columns)
{
	const json_t *holders = known(image, "holders");

	for (size_t n = 1; n <= n_columns; n++) {
		json_auto_t *value =
			json_is_array(holders)
				? json_integer(holders_bytes(holders, n, n == HOLDERS_MAX))
				: NULL;

		table_size(table, value);
	}
}

static int print_images(const struct ctl *ctl, const json_t *images)
{
	static const struct table_column first[] = {
		{ "ON-HOST", true },
		{ "CACHED", true },
		{ "COPIES", true },
		{ "DUPLICATE", true },
	};
	static const struct table_column holders[HOLDERS_MAX] = {
		{ "HOST+1", true },
		{ "HOST+2", true },
		{ "HOST+3", true },
		{ "HOST+4..", true },
	};
	struct table_column columns[ARRAY_SIZE(first) + HOLDERS_MAX + 1];
	size_t n_holders = holders_columns(images), n = 0, i;
	_cleanup_(table_done) struct table table;
	const json_t *image;

	for (i = 0; i < ARRAY_SIZE(first); i++)
		columns[n++] = first[i];
	for (i = 0; i < n_holders; i++)
		columns[n++] = holders[i];
	columns[n++] = (struct table_column){ "IMAGE", false };
	table_begin(&table, ctl, columns, n);
	json_array_foreach (images, i, image) {
		table_row(&table);
		table_size(&table, known(image, "resident_bytes"));
		table_size(&table, json_object_get(image, "cached_bytes"));
		table_size(&table, known(image, "copies_bytes"));
		table_size(&table, known(image, "duplicate_bytes"));
		add_holders(&table, image, n_holders);
		table_string(&table, json_object_get(image, "path"));
	}
	return table_print(&table);
}

static int print_guests(const struct ctl *ctl, const json_t *vms)
{
	static const struct table_column columns[] = {
		{ "GUEST", false },   { "CACHED", true },    { "PLACED", true },
		{ "UNPLACED", true }, { "DUPLICATE", true }, { "EVICTABLE", true },
	};
	_cleanup_(table_done) struct table table;
	const json_t *vm;
	size_t i;

	table_begin(&table, ctl, columns, ARRAY_SIZE(columns));
	json_array_foreach (vms, i, vm) {
		table_row(&table);
		table_string(&table, json_object_get(vm, "name"));
		table_size(&table, known(vm, "cached_bytes"));
		table_size(&table, known(vm, "placed_bytes"));
		table_size(&table, known(vm, "unplaced_bytes"));
		table_size(&table, known(vm, "duplicate_bytes"));
		table_size(&table, known(vm, "evictable_duplicate_bytes"));
	}
	return table_print(&table);
}

static int print_files(const struct ctl *ctl, const json_t *files)
{
	static const struct table_column columns[] = {
		{ "GUEST", false }, { "CACHED", true }, { "DUPLICATE", true },
		{ "MAPPED", true }, { "FILE", false },
	};
	_cleanup_(table_done) struct table table;
	const json_t *file;
	size_t i;

	table_begin(&table, ctl, columns, ARRAY_SIZE(columns));
	json_array_foreach (files, i, file) {
		table_row(&table);
		table_string(&table, json_object_get(file, "vm"));
		table_size(&table, json_object_get(file, "cached_bytes"));
		table_size(&table, json_object_get(file, "duplicate_bytes"));
		table_size(&table, json_object_get(file, "mapped_bytes"));
		table_string(&table, json_object_get(file, "path"));
	}
	return table_print(&table);
}

static void print_unplaced(const struct ctl *ctl, const json_t *vms)
{
	const json_t *vm, *bytes;
	const char *reason;
	size_t i;

	json_array_foreach (vms, i, vm) {
		const char *name = json_string_value(json_object_get(vm, "name"));

		json_object_foreach ((json_t *)json_object_get(vm, "unplaced_reasons"), reason,
				     bytes) {
			_cleanup_free_ char *safe_name = text_escape(name ?: "?", text_is_utf8());
			_cleanup_free_ char *safe = text_escape(reason, text_is_utf8());
			char size[TEXT_SIZE_MAX];

			if (json_integer_value(bytes) == 0)
				continue;
			printf("unplaced: %s: %s: %s\n", safe_name ?: "?",
			       text_size(json_integer_value(bytes), ctl->raw_bytes, size),
			       safe ?: "?");
		}
	}
}

static void print_note(const char *what, const json_t *name, const json_t *text)
{
	_cleanup_free_ char *safe_name = NULL, *safe = NULL;

	if (!json_is_string(text))
		return;
	safe_name = text_escape(json_string_value(name) ?: "?", text_is_utf8());
	safe = text_escape(json_string_value(text), text_is_utf8());
	printf("%s: %s: %s\n", what, safe_name ?: "?", safe ?: "?");
}

/* What is not in the tables because it could not be looked at, and why. */
static void print_notes(const json_t *images, const json_t *vms)
{
	const json_t *object, *note;
	size_t i, j;

	json_array_foreach (images, i, object)
		print_note("warning", json_object_get(object, "path"),
			   json_object_get(object, "reason"));
	json_array_foreach (vms, i, object) {
		const json_t *name = json_object_get(object, "name");

		print_note("warning", name, json_object_get(object, "reason"));
		json_array_foreach (json_object_get(object, "notes"), j, note)
			print_note("note", name, note);
	}
}

static void print_totals(const struct ctl *ctl, const json_t *totals)
{
	json_int_t cached = json_integer_value(json_object_get(totals, "cached_bytes"));
	json_int_t copies = json_integer_value(json_object_get(totals, "copies_bytes"));
	json_int_t duplicate = json_integer_value(json_object_get(totals, "duplicate_bytes"));
	json_int_t factor = json_integer_value(json_object_get(totals, "copy_factor_permille"));
	char size[3][TEXT_SIZE_MAX];

	printf("total: %s cached, in copies of %s, of which %s are duplicates",
	       text_size(cached, ctl->raw_bytes, size[0]),
	       text_size(copies, ctl->raw_bytes, size[1]),
	       text_size(duplicate, ctl->raw_bytes, size[2]));
	if (cached > 0)
		printf("; copy factor %lld.%02lld", factor / 1000, llabs(factor % 1000) / 10);
	putchar('\n');
}

static int print_reply(const struct ctl *ctl, const json_t *reply, bool with_files)
{
	const json_t *images, *vms, *files = NULL;
	int r = request_array(reply, "images", &images);

	if (r == CTL_DONE)
		r = request_array(reply, "vms", &vms);
	if (r == CTL_DONE && with_files)
		r = request_array(reply, "files", &files);
	if (r != CTL_DONE)
		return r;
	r = print_images(ctl, images);
	if (json_array_size(images) > 0)
		putchar('\n');
	if (r == CTL_DONE)
		r = print_guests(ctl, vms);
	if (json_array_size(vms) > 0)
		putchar('\n');
	if (r == CTL_DONE && json_array_size(files) > 0) {
		r = print_files(ctl, files);
		putchar('\n');
	}
	print_notes(images, vms);
	print_unplaced(ctl, vms);
	print_totals(ctl, json_object_get(reply, "totals"));
	return r;
}

static json_t *make_parameters(const struct args *args, int64_t limit)
{
	bool files = args->option[OPTION_FILES] != NULL;
	json_auto_t *number = files ? json_integer(limit) : NULL;

	return json_pack("{s:s*, s:b, s:O*}", "vm", args->arg[0], "files", files, "limit", number);
}

static int dup_run(const struct ctl *ctl, const struct args *args)
{
	const char *limit_text = args->option[OPTION_LIMIT];
	bool files = args->option[OPTION_FILES] != NULL;
	int64_t limit = LIMIT_DEFAULT;
	json_auto_t *reply = NULL;
	int r;

	if (limit_text && !files) {
		log_error("dup: --limit is of use with --files only");
		return CTL_USAGE;
	}
	if (limit_text && args_number("dup: --limit", limit_text, false, &limit) < 0)
		return CTL_USAGE;
	r = request(ctl, &verb_dup, make_parameters(args, limit),
		    args->option[OPTION_VERBOSE] != NULL, &reply);
	if (r != CTL_DONE || ctl->json)
		return r;
	return print_reply(ctl, reply, files);
}

const struct verb verb_dup = {
	.name = "dup",
	.run = dup_run,
	.summary = "scan, and show what is cached more than once, by image, guest and file",
	.cost = "a fresh scan of each guest, within its agent's share of one CPU, and a look at "
		"the "
		"images on the host; it changes nothing",
	.usage = "pagepact dup [VM] [--files [--limit N]] [--verbose]",
	.options = options,
	.max_args = 1,
	.deadline_sec = 1800,
};
