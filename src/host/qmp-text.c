/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qmp-text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *qmp_text_connect(int error)
{
	switch (abs(error)) {
	case ENOENT:
		return "no such socket: is the guest running, is qmp= right?";
	case ECONNREFUSED:
		return "nobody listens: QEMU has ended, or its socket is not a server";
	case EACCES:
	case EPERM:
		return "no permission: check owner and mode of the socket and its folders";
	case ENOTSOCK:
	case EPROTOTYPE:
		return "it is not a stream socket";
	default:
		return strerror(abs(error));
	}
}

char *qmp_text_command(const char *name, json_t *arguments, uint64_t id)
{
	json_t *command = json_object();
	char *text = NULL;
	int r;

	r = json_object_set_new(command, "execute", json_string(name));
	if (arguments)
		r |= json_object_set_new(command, "arguments", arguments);
	r |= json_object_set_new(command, "id", json_integer((json_int_t)id));
	if (r == 0)
		text = json_dumps(command, JSON_COMPACT);
	json_decref(command);
	return text;
}

/* QEMU's words quote names that others chose: no line ends, no escapes. */
void qmp_text_clean(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; i + 1 < size && from && from[i]; i++) {
		unsigned char c = (unsigned char)from[i];

		to[i] = from[i];
		if (c < 0x20 || c == 0x7f)
			to[i] = c == '\n' ? ' ' : '?';
	}
	to[i] = '\0';
}
