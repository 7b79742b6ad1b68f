/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ini.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

#define SECTION_SIZE 64

static char *trim(char *text)
{
	size_t n;

	while (isspace((unsigned char)*text))
		text++;
	n = strlen(text);
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	text[n] = '\0';
	return text;
}

static void cut_comment(char *value)
{
	for (char *p = value; *p; p++)
		if (*p == '#' && (p == value || isspace((unsigned char)p[-1]))) {
			*p = '\0';
			return;
		}
}

/* Return: NULL, or why it is no section. */
static const char *read_section(char *line, char section[SECTION_SIZE])
{
	char *end = strchr(line, ']');

	if (!end)
		return "a section must end with ]";
	*end = '\0';
	cut_comment(end + 1);
	if (*trim(end + 1))
		return "nothing may follow a section's ]";
	line = trim(line + 1);
	if (strlen(line) >= SECTION_SIZE)
		return "the name of the section is too long";
	memmove(section, line, strlen(line) + 1);
	return NULL;
}

struct reader {
	char section[SECTION_SIZE];
	ini_fn *fn;
	void *userdata;
	unsigned int line;
};

static int read_line(struct reader *reader, char *line)
{
	const char *reason = NULL;
	char *equals, *key = NULL;

	line = trim(line);
	if (*line == '\0' || *line == '#' || *line == ';')
		return 0;
	if (*line == '[') {
		reason = read_section(line, reader->section);
		if (!reason)
			return 0;
		*reader->section = '\0';
	} else if (!(equals = strchr(line, '='))) {
		reason = "a line must be [SECTION], KEY = VALUE or # a comment";
	} else {
		*equals = '\0';
		key = trim(line);
		if (*key == '\0')
			reason = "there is no key before the =";
	}
	if (reason)
		return reader->fn(reader->section, NULL, reason, reader->line, reader->userdata);
	cut_comment(equals + 1);
	return reader->fn(reader->section, key, trim(equals + 1), reader->line, reader->userdata);
}

int ini_parse(const char *text, size_t size, ini_fn *fn, void *userdata)
{
	struct reader reader = { .fn = fn, .userdata = userdata, .line = 1 };
	_cleanup_free_ char *copy = NULL;
	char *line, *rest;
	int r = 0;

	if (memchr(text, '\0', size))
		return fn("", NULL, "it has a NUL byte in it and is no text", 1, userdata);
	copy = strndup(text, size);
	if (!copy)
		return -ENOMEM;
	rest = copy;
	for (; r == 0 && (line = strsep(&rest, "\n")); reader.line++)
		r = read_line(&reader, line);
	return r;
}
