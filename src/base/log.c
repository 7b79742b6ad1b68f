/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *log_ident = "pagepact";
static int log_max = LOG_INFO;
static bool log_journal;

static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2)
		return false;
	return fstat(2, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_open(const char *ident, int max_priority)
{
	log_ident = ident;
	log_max = max_priority;
	log_journal = stderr_is_journal();
}

int log_full(int priority, int error, const char *format, ...)
{
	va_list ap;

	error = abs(error);
	if (priority > log_max)
		return -error;
	if (log_journal)
		fprintf(stderr, "<%d>", priority);
	else
		fprintf(stderr, "%s: ", log_ident);
	errno = error;
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -error;
}

char *log_clean(char *text)
{
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return text;
}
