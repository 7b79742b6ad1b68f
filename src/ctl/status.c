/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/balloon-table.h"
#include "ctl/limit.h"
#include "ctl/request.h"
#include "ctl/superpage-table.h"
#include "ctl/table.h"
#include "ctl/text.h"
#include "ctl/verb.h"

enum {
	OPTION_NAMES,
};

static const struct args_option options[] = {
	[OPTION_NAMES] = { "names", NULL, "print the guests' names alone, one a line" },
	{ 0 },
};

static const char *size_of(const struct ctl *ctl, const json_t *object, const char *key,
			   char buffer[static TEXT_SIZE_MAX])
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? text_size(json_integer_value(value), ctl->raw_bytes, buffer)
				      : "-";
}

static void print_host(const struct ctl *ctl, const json_t *host)
{
	const json_t *pressure = json_object_get(host, "pressure_some_avg10_permille");
	char memory[TEXT_SIZE_MAX], free_memory[TEXT_SIZE_MAX], available[TEXT_SIZE_MAX];
	char cache[TEXT_SIZE_MAX], permille[TEXT_SIZE_MAX];

	printf("host: memory %s, free %s, available %s, page cache %s, pressure %s%s\n",
	       size_of(ctl, host, "memory_total_bytes", memory),
	       size_of(ctl, host, "memory_free_bytes", free_memory),
	       size_of(ctl, host, "memory_available_bytes", available),
	       size_of(ctl, host, "page_cache_bytes", cache),
	       json_is_integer(pressure) ? text_permille(json_integer_value(pressure), permille)
					 : "unknown",
	       json_is_integer(pressure) ? " %" : "");
}

static void print_daemon(const struct ctl *ctl, const json_t *daemon)
{
	const char *version = json_string_value(json_object_get(daemon, "version"));
	_cleanup_free_ char *safe = text_escape(version ?: "?", text_is_utf8());
	char resident[TEXT_SIZE_MAX], uptime[TEXT_SIZE_MAX];

	printf("daemon: pagepactd %s, up %s, resident %s%s\n", safe ?: "?",
	       text_duration(json_integer_value(json_object_get(daemon, "uptime_usec")), uptime),
	       size_of(ctl, daemon, "rss_bytes", resident),
	       json_is_true(json_object_get(daemon, "dry_run")) ? ", dry run: it plans only" : "");
}

/* What a guest's own tools call cache, less shared memory, which no eviction can give back. */
static void add_cache(struct table *table, const json_t *census)
{
	static const char *const parts[] = {
		"mapped_file_bytes",
		"unmapped_clean_bytes",
		"unmapped_dirty_bytes",
	};
	json_auto_t *sum = NULL;
	json_int_t bytes = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (__builtin_add_overflow(
			    bytes, json_integer_value(json_object_get(census, parts[i])), &bytes))
			census = NULL;
	sum = json_is_object(census) ? json_integer(bytes) : NULL;
	table_size(table, sum);
}

static int print_guests(const struct ctl *ctl, const json_t *vms)
{
	static const struct table_column columns[] = {
		{ "GUEST", false },    { "STATE", false }, { "MEMORY", true },
		{ "ON-HOST", true },   { "CACHE", true },  { "UNMAPPED", true },
		{ "DUPLICATE", true }, { "AGENT", false }, { "ACT", false },
	};
	_cleanup_(table_done) struct table table;
	const json_t *vm;
	size_t i;

	table_begin(&table, ctl, columns, ARRAY_SIZE(columns));
	json_array_foreach (vms, i, vm) {
		const json_t *agent = json_object_get(vm, "agent");
		const json_t *census = json_object_get(vm, "census");

		table_row(&table);
		table_string(&table, json_object_get(vm, "name"));
		table_string(&table, json_object_get(vm, "state"));
		table_size(&table, json_object_get(vm, "memory_bytes"));
		table_size(&table, json_object_get(vm, "host_resident_bytes"));
		add_cache(&table, census);
		table_size(&table, json_object_get(census, "unmapped_clean_bytes"));
		table_size(&table, json_object_get(vm, "duplicate_bytes"));
		table_string(&table, json_object_get(agent, "state"));
		table_text(&table, json_is_true(json_object_get(vm, "act")) ? "yes" : "no");
	}
	if (json_array_size(vms) == 0)
		printf("no guests: 'pagepact help attach' says how to add one\n");
	return table_print(&table);
}

static void join_users(const json_t *users, char **ret_text)
{
	const json_t *user;
	size_t i, size;
	FILE *f = open_memstream(ret_text, &size);

	if (!f)
		return;
	json_array_foreach (users, i, user)
		fprintf(f, "%s%s", i ? ", " : "", json_string_value(user) ?: "?");
	fclose(f);
}

static int print_images(const struct ctl *ctl, const json_t *images)
{
	static const struct table_column columns[] = {
		{ "SIZE", true },   { "ON-HOST", true }, { "TRIM", false },
		{ "USERS", false }, { "IMAGE", false },
	};
	_cleanup_(table_done) struct table table;
	const json_t *image;
	size_t i;

	table_begin(&table, ctl, columns, ARRAY_SIZE(columns));
	json_array_foreach (images, i, image) {
		_cleanup_free_ char *users = NULL;

		join_users(json_object_get(image, "users"), &users);
		table_row(&table);
		table_size(&table, json_object_get(image, "size_bytes"));
		table_size(&table, json_object_get(image, "resident_bytes"));
		table_string(&table, json_object_get(image, "trim"));
		table_text(&table, users);
		table_string(&table, json_object_get(image, "path"));
	}
	return table_print(&table);
}

static void print_warning(const json_t *vm, const char *what, const json_t *text)
{
	const char *name = json_string_value(json_object_get(vm, "name"));
	_cleanup_free_ char *safe_name = NULL, *safe = NULL;

	if (!json_is_string(text))
		return;
	safe_name = text_escape(name ?: "?", text_is_utf8());
	safe = text_escape(json_string_value(text), text_is_utf8());
	printf("warning: %s: %s%s\n", safe_name ?: "?", what, safe ?: "?");
}

static void print_warnings(const json_t *vms)
{
	const json_t *vm, *warning;
	size_t i, j;

	json_array_foreach (vms, i, vm) {
		print_warning(vm, "", json_object_get(vm, "reason"));
		print_warning(vm,
			      "agent: ", json_object_get(json_object_get(vm, "agent"), "reason"));
		json_array_foreach (json_object_get(vm, "warnings"), j, warning)
			print_warning(vm, "", warning);
		json_array_foreach (json_object_get(json_object_get(vm, "balloon"), "notes"), j,
				    warning)
			print_warning(vm, "balloon: ", warning);
	}
}

static int print_names(const json_t *vms)
{
	const json_t *vm;
	size_t i;

	json_array_foreach (vms, i, vm) {
		const char *name = json_string_value(json_object_get(vm, "name"));
		_cleanup_free_ char *safe = text_escape(name ?: "", text_is_utf8());

		puts(safe ?: "");
	}
	return CTL_DONE;
}

static void print_left_alone(const char *name, const json_t *balloon, const char *key,
			     const char *what)
{
	const json_t *left = json_object_get(balloon, key);
	char text[TEXT_SIZE_MAX];

	if (json_is_integer(left))
		printf("balloon: %s: %s for another %s\n", name, what,
		       text_duration(json_integer_value(left), text));
}

/* What it is about to have, or what it lacks. */
static void print_size(const struct ctl *ctl, const json_t *vm)
{
	const json_t *name = json_object_get(vm, "name"), *balloon = json_object_get(vm, "balloon");
	const json_t *resize = json_object_get(balloon, "resize");
	_cleanup_free_ char *safe = text_escape(json_string_value(name) ?: "?", text_is_utf8());
	char actual[TEXT_SIZE_MAX], whole[TEXT_SIZE_MAX];

	if (json_is_object(resize))
		printf("balloon: %s: %s, from %s to %s\n", safe ?: "?", limit_word(resize, "stage"),
		       size_of(ctl, resize, "actual_bytes", actual),
		       size_of(ctl, resize, "asked_bytes", whole));
	else if (json_is_integer(json_object_get(balloon, "target_bytes")))
		printf("balloon: %s: has %s of %s; 'pagepact balloon %s max' gives it all back\n",
		       safe ?: "?", size_of(ctl, balloon, "size_bytes", actual),
		       size_of(ctl, balloon, "original_bytes", whole), safe ?: "?");
	print_left_alone(safe ?: "?", balloon, "hands_off_left_usec",
			 "somebody else moves it, left alone");
	print_left_alone(safe ?: "?", balloon, "quarantine_left_usec", "not made smaller");
}

static int status_run(const struct ctl *ctl, const struct args *args)
{
	json_auto_t *reply = NULL;
	const json_t *vms, *images, *vm;
	size_t i;
	int r = request(ctl, &verb_status, json_object(), false, &reply);

	if (r != CTL_DONE || ctl->json)
		return r;
	r = request_array(reply, "vms", &vms);
	if (r != CTL_DONE)
		return r;
	if (args->option[OPTION_NAMES])
		return print_names(vms);
	r = request_array(reply, "images", &images);
	if (r != CTL_DONE)
		return r;
	print_host(ctl, json_object_get(reply, "host"));
	print_daemon(ctl, json_object_get(reply, "daemon"));
	putchar('\n');
	r = print_guests(ctl, vms);
	if (r == CTL_DONE)
		r = limit_print_table(ctl, vms);
	if (r == CTL_DONE)
		r = balloon_print_table(ctl, vms);
	if (r == CTL_DONE)
		r = superpage_print_table(ctl, vms);
	if (r == CTL_DONE && json_array_size(images) > 0) {
		putchar('\n');
		r = print_images(ctl, images);
	}
	json_array_foreach (vms, i, vm)
		print_size(ctl, vm);
	superpage_print_set_ups(json_object_get(reply, "set_ups"));
	print_warnings(vms);
	return r;
}

const struct verb verb_status = {
	.name = "status",
	.run = status_run,
	.summary = "show the host, every guest, every image, and what is wrong with them",
	.cost = "nothing: it prints what the daemon knows already",
	.usage = "pagepact status [--names]",
	.options = options,
	.deadline_sec = 30,
};
