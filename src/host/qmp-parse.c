/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qmp-parse.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define BUFFER_INITIAL 4096

void qmp_parser_done(struct qmp_parser *parser)
{
	free(parser->buffer);
	*parser = (struct qmp_parser){ 0 };
}

static int fail(struct qmp_parser *parser, int error, const char *reason)
{
	free(TAKE_PTR(parser->buffer));
	parser->size = parser->capacity = 0;
	parser->failed = true;
	parser->reason = reason;
	return error;
}

static int append(struct qmp_parser *parser, const char *data, size_t size)
{
	size_t capacity = parser->capacity ? parser->capacity : BUFFER_INITIAL;
	char *buffer;

	if (size > QMP_MESSAGE_MAX - parser->size)
		return fail(parser, -EMSGSIZE, "a message is longer than 1 MiB");
	while (capacity < parser->size + size)
		capacity *= 2;
	if (capacity != parser->capacity) {
		buffer = realloc(parser->buffer, capacity);
		if (!buffer)
			return fail(parser, -ENOMEM, "out of memory");
		parser->buffer = buffer;
		parser->capacity = capacity;
	}
	memcpy(parser->buffer + parser->size, data, size);
	parser->size += size;
	return 0;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Follows one byte of a message; whether brackets match each other is the JSON parser's matter. */
static int scan(struct qmp_parser *parser, char c)
{
	if (parser->in_string) {
		if (parser->escaped)
			parser->escaped = false;
		else if (c == '\\')
			parser->escaped = true;
		else if (c == '"')
			parser->in_string = false;
		return 0;
	}
	switch (c) {
	case '"':
		parser->in_string = true;
		return 0;
	case '{':
	case '[':
		if (parser->depth == QMP_DEPTH_MAX)
			return fail(parser, -EBADMSG, "a message is nested deeper than 64 levels");
		parser->depth++;
		return 0;
	case '}':
	case ']':
		parser->depth--;
		return 0;
	default:
		return 0;
	}
}

/* QEMU prints unsigned 64-bit numbers, which jansson's integers cannot all hold: such a message is
 * read with real numbers throughout rather than lost. */
static json_t *load(const char *text, size_t size)
{
	json_error_t error;
	json_t *message;

	message = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
	if (!message && json_error_code(&error) == json_error_numeric_overflow)
		message = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
				     &error);
	return message;
}

static int deliver(struct qmp_parser *parser, qmp_message_fn *fn, void *userdata)
{
	json_t *message;
	int r;

	message = load(parser->buffer, parser->size);
	if (!message)
		return fail(parser, -EBADMSG, "a message is not valid JSON, or has a key twice");
	parser->size = 0;
	/* A query of all disks may have been large: do not keep that for ever. */
	if (parser->capacity > BUFFER_INITIAL) {
		free(TAKE_PTR(parser->buffer));
		parser->capacity = 0;
	}
	r = fn(message, userdata);
	json_decref(message);
	return r < 0 ? r : 0;
}

/* Takes bytes up to the end of one message. Return: how many, or a negative errno. */
static ssize_t feed_one(struct qmp_parser *parser, const char *data, size_t size,
			qmp_message_fn *fn, void *userdata)
{
	size_t n = 0;
	int r;

	if (parser->depth == 0) {
		if (is_space(data[0]))
			return 1;
		if (data[0] != '{')
			return fail(parser, -EPROTO, "what it sends is not JSON objects");
	}
	do {
		r = scan(parser, data[n++]);
		if (r < 0)
			return r;
	} while (n < size && parser->depth > 0);
	r = append(parser, data, n);
	if (r < 0)
		return r;
	if (parser->depth == 0) {
		r = deliver(parser, fn, userdata);
		if (r < 0)
			return r;
	}
	return (ssize_t)n;
}

int qmp_parser_feed(struct qmp_parser *parser, const void *data, size_t size, qmp_message_fn *fn,
		    void *userdata)
{
	const char *bytes = data;
	ssize_t n;

	if (parser->failed)
		return -EPROTO;
	while (size > 0) {
		n = feed_one(parser, bytes, size, fn, userdata);
		if (n < 0)
			return (int)n;
		bytes += n;
		size -= (size_t)n;
	}
	return 0;
}
