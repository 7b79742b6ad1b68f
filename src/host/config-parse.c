/* SPDX-License-Identifier: Apache-2.0 */
#include "host/config-parse.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/ini.h"
#include "base/log.h"
#include "base/parse.h"

#define TEXT_SIZE 512

/* One file being read. */
struct reader {
	const char *file;
	struct config_messages *messages;
	struct config_vm *vm;
	struct config *config;
	uint64_t seen; /* bits of keys, by their place in the table */
};

struct key {
	const char *name;
	int (*set)(struct reader *reader, const char *value, unsigned int line);
	bool list; /* may be given more than once: the values add up */
};

__attribute__((format(printf, 5, 0))) static void add_message(struct config_messages *messages,
							      bool error, const char *file,
							      unsigned int line, const char *format,
							      va_list ap)
{
	struct config_message *items;
	char text[TEXT_SIZE], number[16] = "";
	char *message = NULL;

	if (messages->n_items == CONFIG_MESSAGES_MAX)
		return;
	vsnprintf(text, sizeof(text), format, ap);
	if (messages->n_items == CONFIG_MESSAGES_MAX - 1)
		snprintf(text, sizeof(text), "too many messages: the others are not shown");
	if (line > 0)
		snprintf(number, sizeof(number), ":%u", line);
	items = reallocarray(messages->items, messages->n_items + 1, sizeof(*items));
	if (!items)
		return;
	messages->items = items;
	if (asprintf(&message, "%s%s: %s", file, number, text) < 0)
		return;
	items[messages->n_items++] = (struct config_message){ error, log_clean(message) };
}

int config_error(struct config_messages *messages, const char *file, unsigned int line,
		 const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	add_message(messages, true, file, line, format, ap);
	va_end(ap);
	return -EINVAL;
}

int config_warning(struct config_messages *messages, const char *file, unsigned int line,
		   const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	add_message(messages, false, file, line, format, ap);
	va_end(ap);
	return 0;
}

int config_check_name(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > CONFIG_NAME_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)name[i];
		bool word =
			(c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

		if (!word && (i == 0 || !strchr("._-", c)))
			return -EINVAL;
	}
	return 0;
}

static int set_name(struct reader *reader, char name[CONFIG_NAME_MAX + 1], const char *value,
		    unsigned int line)
{
	if (config_check_name(value) < 0)
		return config_error(reader->messages, reader->file, line,
				    "\"%.80s\" is no name: use up to 63 of A-Z a-z 0-9 . _ - and "
				    "begin with a letter or digit",
				    value);
	strcpy(name, value);
	return 0;
}

static int set_vm_name(struct reader *reader, const char *value, unsigned int line)
{
	return set_name(reader, reader->vm->name, value, line);
}

static int set_vm_domain(struct reader *reader, const char *value, unsigned int line)
{
	return set_name(reader, reader->vm->domain, value, line);
}

static int set_vm_qmp(struct reader *reader, const char *value, unsigned int line)
{
	const char *reason;

	/* What QEMU's own -qmp takes is a likely thing to paste. */
	if (strncmp(value, "unix:", 5) == 0)
		return config_error(reader->messages, reader->file, line,
				    "qmp wants the path alone, without \"unix:\"");
	if (url_check_path(value, &reason) < 0)
		return config_error(reader->messages, reader->file, line, "qmp: %s", reason);
	strcpy(reader->vm->qmp, value);
	return 0;
}

static int set_vm_agent(struct reader *reader, const char *value, unsigned int line)
{
	const char *reason;

	if (url_parse(value, &reader->vm->agent, &reason) < 0)
		return config_error(reader->messages, reader->file, line, "agent: %s", reason);
	return 0;
}

static int set_vm_act(struct reader *reader, const char *value, unsigned int line)
{
	if (parse_bool(value, &reader->vm->act) == 0)
		return 0;
	return config_error(reader->messages, reader->file, line,
			    "act must be yes or no, not \"%.80s\"", value);
}

static int set_vm_cache_limit(struct reader *reader, const char *value, unsigned int line)
{
	if (!*value || limit_text_parse(value, &reader->vm->cache_limit) < 0)
		return config_error(reader->messages, reader->file, line,
				    "cache_limit must be a size (512M), a share of the guest's "
				    "memory (25%%), off or default, not \"%.80s\"",
				    value);
	return 0;
}

static int set_vm_balloon_floor(struct reader *reader, const char *value, unsigned int line)
{
	struct limit_text floor;

	if (limit_text_parse(value, &floor) < 0 ||
	    (floor.kind != LIMIT_TEXT_BYTES && floor.kind != LIMIT_TEXT_PERMILLE))
		return config_error(reader->messages, reader->file, line,
				    "balloon_floor must be a size (512M) or a share of the guest's "
				    "memory (25%%), not \"%.80s\"",
				    value);
	reader->vm->balloon_floor = floor;
	return 0;
}

static int set_vm_cache_first(struct reader *reader, const char *value, unsigned int line)
{
	bool yes;

	if (parse_bool(value, &yes) < 0)
		return config_error(reader->messages, reader->file, line,
				    "reclaim_cache_first must be yes or no, not \"%.80s\"", value);
	reader->vm->cache_first = yes ? CONFIG_YES : CONFIG_NO;
	return 0;
}

static int list_add(struct reader *reader, struct config_list *list, const char *word,
		    unsigned int line)
{
	char **items;

	if (list->n_items == CONFIG_LIST_MAX)
		return config_error(reader->messages, reader->file, line,
				    "\"%.80s\" and what follows: more than %d of them", word,
				    CONFIG_LIST_MAX);
	items = reallocarray(list->items, list->n_items + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->n_items] = strdup(word);
	if (!items[list->n_items])
		return -ENOMEM;
	list->n_items++;
	return 0;
}

static int check_image(struct reader *reader, const char *path, unsigned int line)
{
	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return config_error(reader->messages, reader->file, line,
				    "public_images: \"%.200s\" must begin with /", path);
	return 0;
}

static int check_process(struct reader *reader, const char *name, unsigned int line)
{
	/* TASK_COMM_LEN of the kernel, less the NUL. */
	if (strlen(name) > 15)
		return config_error(reader->messages, reader->file, line,
				    "trusted_processes: \"%.80s\" is longer than the 15 bytes of "
				    "/proc/PID/comm",
				    name);
	return 0;
}

/* Words between spaces; each list's words add up. */
static int set_list(struct reader *reader, struct config_list *list, const char *value,
		    unsigned int line, int (*check)(struct reader *, const char *, unsigned int))
{
	_cleanup_free_ char *copy = strdup(value);
	char *rest = copy, *word;
	int r = 0;

	if (!copy)
		return -ENOMEM;
	while (r == 0 && (word = strsep(&rest, " \t"))) {
		if (!*word)
			continue;
		r = check(reader, word, line);
		if (r == 0)
			r = list_add(reader, list, word, line);
	}
	return r;
}

static int set_public_images(struct reader *reader, const char *value, unsigned int line)
{
	return set_list(reader, &reader->config->public_images, value, line, check_image);
}

static int set_trusted_processes(struct reader *reader, const char *value, unsigned int line)
{
	return set_list(reader, &reader->config->trusted_processes, value, line, check_process);
}

static const struct key vm_keys[] = {
	{ "name", set_vm_name, false },
	{ "qmp", set_vm_qmp, false },
	{ "agent", set_vm_agent, false },
	{ "act", set_vm_act, false },
	{ "domain", set_vm_domain, false },
	{ "cache_limit", set_vm_cache_limit, false },
	{ "balloon_floor", set_vm_balloon_floor, false },
	{ "reclaim_cache_first", set_vm_cache_first, false },
};

static const struct key main_keys[] = {
	{ "public_images", set_public_images, true },
	{ "trusted_processes", set_trusted_processes, true },
};

static int set_key(struct reader *reader, const char *wanted, const struct key *keys, size_t n,
		   const char *section, const char *name, const char *value, unsigned int line)
{
	if (!name)
		return config_error(reader->messages, reader->file, line, "%s", value);
	if (strcmp(section, wanted) != 0)
		return config_warning(
			reader->messages, reader->file, line,
			"\"%.80s\" is in section [%.80s], ignored: only [%s] is known "
			"here",
			name, section, wanted);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(name, keys[i].name) != 0)
			continue;
		if (!keys[i].list && (reader->seen & (1ULL << i)))
			(void)config_warning(reader->messages, reader->file, line,
					     "%s is given twice: this one counts", name);
		reader->seen |= 1ULL << i;
		return keys[i].set(reader, value, line);
	}
	return config_warning(reader->messages, reader->file, line,
			      "unknown key \"%.80s\", ignored", name);
}

static int vm_key(const char *section, const char *key, const char *value, unsigned int line,
		  void *userdata)
{
	return set_key(userdata, "vm", vm_keys, ARRAY_SIZE(vm_keys), section, key, value, line);
}

static int main_key(const char *section, const char *key, const char *value, unsigned int line,
		    void *userdata)
{
	return set_key(userdata, "pagepact", main_keys, ARRAY_SIZE(main_keys), section, key, value,
		       line);
}

/* "/etc/pagepact/vms.d/alpha.conf" names the guest "alpha". */
static int default_name(struct reader *reader)
{
	const char *base = strrchr(reader->file, '/'), *dot;
	char name[CONFIG_NAME_MAX + 1];
	size_t n;

	base = base ? base + 1 : reader->file;
	dot = strrchr(base, '.');
	n = dot ? (size_t)(dot - base) : strlen(base);
	if (n > CONFIG_NAME_MAX)
		n = 0;
	memcpy(name, base, n);
	name[n] = '\0';
	if (config_check_name(name) < 0)
		return config_error(reader->messages, reader->file, 0,
				    "the file's name is no name for a guest: add name = NAME");
	strcpy(reader->vm->name, name);
	return 0;
}

int config_parse_vm(const char *file, const char *text, size_t size, struct config_vm *ret,
		    struct config_messages *messages)
{
	struct config_vm vm = { 0 };
	struct reader reader = { .file = file, .messages = messages, .vm = &vm };
	int r;

	r = ini_parse(text, size, vm_key, &reader);
	if (r < 0)
		return r;
	if (vm.qmp[0] == '\0')
		return config_error(messages, file, 0,
				    "no QMP socket: add qmp = /PATH/OF/SOCKET in section [vm]");
	if (vm.name[0] == '\0') {
		r = default_name(&reader);
		if (r < 0)
			return r;
	}
	if (vm.cache_limit.kind != LIMIT_TEXT_DEFAULT && !vm.act)
		(void)config_warning(messages, file, 0,
				     "cache_limit has no effect while the guest is only observed: "
				     "add act = yes");
	if (vm.cache_first != CONFIG_UNSET && !vm.act)
		(void)config_warning(messages, file, 0,
				     "reclaim_cache_first has no effect while the guest is only "
				     "observed: add act = yes");
	if (vm.domain[0] == '\0')
		strcpy(vm.domain, vm.name);
	*ret = vm;
	return 0;
}

int config_parse_main(const char *file, const char *text, size_t size, struct config *ret,
		      struct config_messages *messages)
{
	_cleanup_(config_done) struct config config = { 0 };
	struct reader reader = { .file = file, .messages = messages, .config = &config };
	int r;

	r = ini_parse(text, size, main_key, &reader);
	if (r < 0)
		return r;
	ret->public_images = config.public_images;
	ret->trusted_processes = config.trusted_processes;
	config = (struct config){ 0 };
	return 0;
}
