/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/progress.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctl/text.h"

/* A terminal that does not say how wide it is, and the least that is worth a line. */
#define COLUMNS_DEFAULT 80
#define COLUMNS_MIN	20

void progress_begin(struct progress *progress, bool verbose)
{
	const char *term = getenv("TERM");
	struct winsize size;

	*progress = (struct progress){ .columns = COLUMNS_DEFAULT };
	progress->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
	progress->lines = !progress->terminal && verbose;
	if (progress->terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 &&
	    size.ws_col >= COLUMNS_MIN)
		progress->columns = size.ws_col;
}

static void put_string(FILE *f, const char *before, const json_t *value, const char *after)
{
	const char *text = json_string_value(value);
	/* ASCII alone: the line is cut to the terminal's width by bytes. */
	_cleanup_free_ char *safe = text && *text ? text_escape(text, false) : NULL;

	if (safe)
		fprintf(f, "%s%s%s", before, safe, after);
}

char *progress_text(const json_t *parameters)
{
	json_int_t done = json_integer_value(json_object_get(parameters, "done"));
	json_int_t total = json_integer_value(json_object_get(parameters, "total"));
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	put_string(f, "", json_object_get(parameters, "vm"), ": ");
	put_string(f, "", json_object_get(parameters, "stage"), "");
	if (total > 0 && done >= 0 && done <= total)
		fprintf(f, " %d %%", (int)((__int128)done * 100 / total));
	put_string(f, " ", json_object_get(parameters, "message"), "");
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

void progress_show(const json_t *parameters, void *userdata)
{
	struct progress *progress = userdata;
	_cleanup_free_ char *text = NULL;

	if (!progress->terminal && !progress->lines)
		return;
	text = progress_text(parameters);
	if (!text)
		return;
	if (progress->lines) {
		fprintf(stderr, "%s\n", text);
		return;
	}
	fprintf(stderr, "\r%.*s\033[K", (int)progress->columns - 1, text);
	fflush(stderr);
	progress->shown = true;
}

void progress_end(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}
