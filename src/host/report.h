/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's answers as JSON. Each function returns a new reference, or NULL without memory. */
#ifndef PAGEPACT_HOST_REPORT_H
#define PAGEPACT_HOST_REPORT_H

#include <jansson.h>

#include "host/hostmem.h"
#include "host/manager.h"

/** report_status() - host, daemon, guests, images, as far as known without asking anybody */
json_t *report_status(const struct manager *m);

/** report_agent_json() - the last REPORT of a guest's agent, with its age; null without one */
json_t *report_agent_json(const struct vm *vm);

/** report_duplicates() - a survey's duplicates; @vm: of one guest only, or NULL */
json_t *report_duplicates(const struct survey *s, const struct vm *vm);

/**
 * struct report_file - how much of one file a guest caches, in pages
 */
struct report_file {
	size_t vm;
	uint32_t file;
	uint64_t cached;
	uint64_t mapped;
	uint64_t duplicate;
};

/**
 * report_files() - the files that hold most, most duplicate first
 * @vm: of one guest only, or NULL
 * @max: how many
 *
 * Return: how many there are in @ret, to be freed; or -ENOMEM.
 */
int report_files(const struct survey *s, const struct vm *vm, unsigned max,
		 struct report_file **ret);

/** report_file_json() - one file; @path may be NULL */
json_t *report_file_json(const struct survey *s, const struct report_file *f, const char *path,
			 size_t length);

#endif
