/* SPDX-License-Identifier: Apache-2.0 */
#include "host/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/read.h"
#include "host/config-parse.h"

static void list_done(struct config_list *list)
{
	for (size_t i = 0; i < list->n_items; i++)
		free(list->items[i]);
	free(list->items);
}

void config_done(struct config *config)
{
	list_done(&config->public_images);
	list_done(&config->trusted_processes);
	free(config->vms);
	*config = (struct config){ 0 };
}

void config_messages_done(struct config_messages *messages)
{
	for (size_t i = 0; i < messages->n_items; i++)
		free(messages->items[i].text);
	free(messages->items);
	*messages = (struct config_messages){ 0 };
}

static int read_config(int dir_fd, const char *name, char **ret, size_t *ret_size)
{
	int r = read_file(dir_fd, name, CONFIG_FILE_MAX, ret, ret_size);

	return r > 0 ? -EFBIG : r;
}

static void report_unreadable(struct config_messages *messages, const char *file, int error)
{
	if (error == -EFBIG)
		config_error(messages, file, 0,
			     "longer than 64 KiB, ignored: is it the right file?");
	else if (error == -EINVAL)
		config_error(messages, file, 0, "not a regular file, ignored");
	else
		config_error(messages, file, 0, "cannot be read, ignored: %s", strerror(-error));
}

static int load_main(int dir_fd, const char *dir, struct config *config,
		     struct config_messages *messages)
{
	_cleanup_free_ char *file = NULL, *text = NULL;
	size_t size;
	int r;

	if (asprintf(&file, "%s/pagepact.conf", dir) < 0) {
		file = NULL;
		return -ENOMEM;
	}
	r = read_config(dir_fd, "pagepact.conf", &text, &size);
	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		report_unreadable(messages, file, r);
		return r;
	}
	return config_parse_main(file, text, size, config, messages);
}

/* Two of anything that must be one guest's own: which of the two is meant cannot be known. */
static int check_unique(const struct config *config, const char *file,
			struct config_messages *messages)
{
	const struct config_vm *vm = &config->vms[config->n_vms - 1];

	for (const struct config_vm *other = config->vms; other < vm; other++) {
		if (strcmp(vm->name, other->name) == 0)
			return config_error(
				messages, file, 0,
				"another file has a guest named \"%s\": ignored, give it "
				"another name",
				vm->name);
		if (strcmp(vm->qmp, other->qmp) == 0)
			return config_error(
				messages, file, 0,
				"guest \"%s\" has the same qmp socket: ignored, give each "
				"guest its own",
				other->name);
		if (vm->agent.scheme != URL_NONE && strcmp(vm->agent.path, other->agent.path) == 0)
			return config_error(
				messages, file, 0,
				"guest \"%s\" has the same agent address: ignored, give "
				"each guest its own",
				other->name);
	}
	return 0;
}

static int add_vm(int dir_fd, const char *dir, const char *name, struct config *config,
		  struct config_messages *messages)
{
	_cleanup_free_ char *file = NULL, *text = NULL;
	struct config_vm *vms;
	size_t size;
	int r;

	if (asprintf(&file, "%s/vms.d/%s", dir, name) < 0) {
		file = NULL;
		return -ENOMEM;
	}
	r = read_config(dir_fd, name, &text, &size);
	if (r < 0) {
		report_unreadable(messages, file, r);
		return r == -ENOMEM ? r : 0;
	}
	vms = reallocarray(config->vms, config->n_vms + 1, sizeof(*vms));
	if (!vms)
		return -ENOMEM;
	config->vms = vms;
	r = config_parse_vm(file, text, size, &vms[config->n_vms], messages);
	if (r < 0)
		return r == -EINVAL ? 0 : r;
	config->n_vms++;
	if (check_unique(config, file, messages) < 0)
		config->n_vms--;
	return 0;
}

static int is_config_file(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return entry->d_name[0] != '.' && n > 5 && strcmp(entry->d_name + n - 5, ".conf") == 0;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_vms(int dir_fd, const char *dir, struct config *config,
		    struct config_messages *messages)
{
	_cleanup_close_ int vms_fd = openat(dir_fd, "vms.d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **entries = NULL;
	int n, r = 0;

	if (vms_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	n = scandirat(vms_fd, ".", &entries, is_config_file, compare_names);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n && r == 0; i++) {
		if (i < CONFIG_VMS_MAX)
			r = add_vm(vms_fd, dir, entries[i]->d_name, config, messages);
		else if (i == CONFIG_VMS_MAX)
			config_error(messages, dir, 0,
				     "more than %d guests: the others are ignored", CONFIG_VMS_MAX);
	}
	for (int i = 0; i < n; i++)
		free(entries[i]);
	free(entries);
	return r;
}

int config_load(const char *dir, struct config *ret, struct config_messages *messages)
{
	_cleanup_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(config_done) struct config config = { 0 };
	int r;

	if (dir_fd < 0)
		return -errno;
	r = load_main(dir_fd, dir, &config, messages);
	if (r < 0)
		return r;
	r = load_vms(dir_fd, dir, &config, messages);
	if (r < 0)
		return r;
	*ret = config;
	config = (struct config){ 0 };
	return 0;
}
