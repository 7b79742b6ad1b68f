/* SPDX-License-Identifier: Apache-2.0 */
/* pagepact.conf and vms.d/NAME.conf. */
#ifndef PAGEPACT_HOST_CONFIG_H
#define PAGEPACT_HOST_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/parse.h"
#include "host/url.h"

#define CONFIG_NAME_MAX	    63
#define CONFIG_FILE_MAX	    (64 * 1024) /* bytes */
#define CONFIG_VMS_MAX	    4096
#define CONFIG_MESSAGES_MAX 128
#define CONFIG_LIST_MAX	    1024

/* A key that may be absent. */
enum config_choice {
	CONFIG_UNSET,
	CONFIG_NO,
	CONFIG_YES,
};

/**
 * struct config_vm - one [vm] section
 * @name: its name; the file's, less ".conf", where the key is absent
 * @qmp: path of the QMP socket
 * @agent: scheme URL_NONE where the key is absent
 * @act: whether anything may be done, other than observing
 * @domain: sharing domain; @name where the key is absent
 * @cache_limit: the page cache limit to begin with; LIMIT_TEXT_DEFAULT where the key is absent
 * @balloon_floor: never ballooned below; LIMIT_TEXT_DEFAULT where the key is absent, else bytes or
 *	a share of the guest's memory
 * @cache_first: reclaim_cache_first, the hint to begin with
 */
struct config_vm {
	char name[CONFIG_NAME_MAX + 1];
	char qmp[URL_PATH_SIZE];
	struct url agent;
	bool act;
	char domain[CONFIG_NAME_MAX + 1];
	struct limit_text cache_limit;
	struct limit_text balloon_floor;
	enum config_choice cache_first;
};

/** struct config_list - words, in the order of the file */
struct config_list {
	char **items;
	size_t n_items;
};

/**
 * struct config - everything
 * @public_images: absolute paths
 * @trusted_processes: names (/proc/PID/comm) of processes that even root may not look at on some
 *	hosts, and that the operator knows to have no image open
 * @vms: sorted by the names of their files
 */
struct config {
	struct config_list public_images;
	struct config_list trusted_processes;
	struct config_vm *vms;
	size_t n_vms;
};

/**
 * struct config_message - one line for the log, "FILE:LINE: what, and what to do"
 * @error: the file was refused; else a warning
 */
struct config_message {
	bool error;
	char *text;
};

struct config_messages {
	struct config_message *items;
	size_t n_items;
};

/**
 * config_load() - read DIR/pagepact.conf and DIR/vms.d/\*.conf
 * @ret: to be given to config_done(), after success only
 * @messages: zeroed or in use; added to, even on failure; config_messages_done()
 *
 * Absent files are an empty configuration. A guest's file with a bad value is refused and the
 * others are read; so is the second of two guests with one name, QMP socket or agent.
 *
 * Return: 0; -EINVAL: pagepact.conf has a bad value; -ENOENT and others: DIR cannot be read.
 */
int config_load(const char *dir, struct config *ret, struct config_messages *messages);

/** config_done() - release what it holds; all zero is allowed, and is what it leaves */
void config_done(struct config *config);

void config_messages_done(struct config_messages *messages);

/** config_check_name() - [A-Za-z0-9][A-Za-z0-9._-]{0,62}: 0 or -EINVAL */
int config_check_name(const char *name);

/**
 * config_parse_vm(), config_parse_main() - read the text of one file
 * @file: its name, for messages
 * @text: @size bytes, not ended by NUL
 *
 * Return: 0, -EINVAL (refused; @messages says why), -ENOMEM.
 */
int config_parse_vm(const char *file, const char *text, size_t size, struct config_vm *ret,
		    struct config_messages *messages);
int config_parse_main(const char *file, const char *text, size_t size, struct config *ret,
		      struct config_messages *messages);

#endif
