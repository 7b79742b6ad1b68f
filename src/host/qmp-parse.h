/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes to JSON objects, bounded: the only place where the bytes of a QMP peer are parsed. */
#ifndef PAGEPACT_HOST_QMP_PARSE_H
#define PAGEPACT_HOST_QMP_PARSE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define QMP_MESSAGE_MAX (1024 * 1024) /* bytes of one message */
#define QMP_DEPTH_MAX	64	      /* nesting of one message */

/**
 * struct qmp_parser - what was received of one message; all zero to begin with
 *
 * Messages are told apart by their brackets, not by line ends, so that a monitor with pretty=on
 * works too, and so that what is no JSON object is known at its first byte.
 */
struct qmp_parser {
	char *buffer;
	size_t size;
	size_t capacity;
	unsigned int depth;
	bool in_string;
	bool escaped;
	bool failed;
	const char *reason; /* static text, after an error */
};

/**
 * qmp_message_fn - one message
 * @message: an object; borrowed
 *
 * Return: 0, or a negative errno that ends qmp_parser_feed() at once. After that the parser is not
 * touched any more, so that a callback may free what holds it.
 */
typedef int qmp_message_fn(json_t *message, void *userdata);

/**
 * qmp_parser_feed() - take bytes, in pieces of any size
 *
 * Return: 0; -EPROTO: not JSON objects; -EMSGSIZE: longer than QMP_MESSAGE_MAX; -EBADMSG: not
 * JSON, deeper than QMP_DEPTH_MAX, or with duplicate keys; -ENOMEM; or what @fn returned. After an
 * error of its own, parser->reason says why and every further call returns -EPROTO.
 */
int qmp_parser_feed(struct qmp_parser *parser, const void *data, size_t size, qmp_message_fn *fn,
		    void *userdata);

/** qmp_parser_done() - release its memory; the parser is as new */
void qmp_parser_done(struct qmp_parser *parser);

#endif
