/* SPDX-License-Identifier: Apache-2.0 */
/* Progress of a long request, on standard error: data goes to standard output alone. */
#ifndef PAGEPACT_CTL_PROGRESS_H
#define PAGEPACT_CTL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

/**
 * struct progress - where it goes
 * @terminal: one line that is written over
 * @lines: plain lines instead
 * @columns: width of the terminal
 */
struct progress {
	bool terminal;
	bool lines;
	bool shown;
	size_t columns;
};

/** progress_begin() - look at standard error; @verbose: lines where it is no terminal */
void progress_begin(struct progress *progress, bool verbose);

/** progress_show() - a client_progress_t; @userdata is the struct progress */
void progress_show(const json_t *parameters, void *userdata);

/** progress_end() - leave no trace on the terminal */
void progress_end(struct progress *progress);

/**
 * progress_text() - one progress message as a line of ASCII
 *
 * Return: to be freed; NULL when memory is short.
 */
char *progress_text(const json_t *parameters);

#endif
