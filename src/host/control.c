/* SPDX-License-Identifier: Apache-2.0 */
#include "host/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"

struct client {
	struct control *control;
	sd_event_source *io;
	int fd;
	bool ended; /* it asks nothing any more; what it was not sent yet is still sent */
	struct call *call;
	size_t in_size;
	char *out;
	size_t out_start, out_end, out_room;
	char in[CONTROL_REQUEST_MAX];
};

struct call {
	struct client *client; /* NULL once it has gone */
};

struct control {
	sd_event *event;
	sd_event_source *io;
	int fd;
	char path[108];
	control_handle_fn *handle;
	void *userdata;
	struct client *clients[CONTROL_CLIENTS_MAX];
};

static void client_free(struct client *c)
{
	if (c->call)
		c->call->client = NULL;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (c->control->clients[i] == c)
			c->control->clients[i] = NULL;
	sd_event_source_disable_unref(c->io);
	close_p(&c->fd);
	free(c->out);
	free(c);
}

/* A request that is here already is handled at the next turn, for which writing is waited for. */
static void client_want(struct client *c)
{
	uint32_t events = 0;

	if (c->out_end || (!c->call && (c->ended || memchr(c->in, '\n', c->in_size))))
		events = EPOLLOUT;
	else if (!c->call)
		events = EPOLLIN;
	(void)sd_event_source_set_io_events(c->io, events);
}

static int client_flush(struct client *c)
{
	while (c->out_start < c->out_end) {
		ssize_t n = send(c->fd, c->out + c->out_start, c->out_end - c->out_start,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0)
			return -errno;
		c->out_start += (size_t)n;
	}
	if (c->out_start == c->out_end)
		c->out_start = c->out_end = 0;
	client_want(c);
	return 0;
}

static int client_append(struct client *c, const char *text, size_t size)
{
	if (c->out_end + size > CONTROL_OUTPUT_MAX)
		return -ENOBUFS;
	if (c->out_end + size > c->out_room) {
		size_t room = (c->out_end + size) * 2;
		char *out = realloc(c->out, room);

		if (!out)
			return -ENOMEM;
		c->out = out;
		c->out_room = room;
	}
	memcpy(c->out + c->out_end, text, size);
	c->out_end += size;
	return 0;
}

static void client_send(struct client *c, json_t *message)
{
	_cleanup_free_ char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	int r = text ? 0 : -ENOMEM;

	json_decref(message);
	if (r >= 0)
		r = client_append(c, text, strlen(text));
	if (r >= 0)
		r = client_append(c, "\n", 1);
	if (r >= 0)
		r = client_flush(c);
	/* Not from here, where the caller still holds it: an end of file will be read. */
	if (r < 0)
		(void)shutdown(c->fd, SHUT_RDWR);
}

static void call_end(struct call *call, json_t *message)
{
	struct client *c = call->client;

	if (c) {
		c->call = NULL;
		if (!message)
			message = json_pack("{sss{ss}}", "error", "failed", "parameters", "message",
					    "the answer cannot be told: it is no text, or memory "
					    "is short");
		client_send(c, message);
	} else {
		json_decref(message);
	}
	free(call);
}

void call_reply(struct call *call, json_t *parameters)
{
	call_end(call, json_pack("{so}", "parameters", parameters));
}

/* JSON is UTF-8; a text that quotes bytes from outside, or was cut, may not be. */
static void text_clean(char *text)
{
	json_t *valid = json_string(text);

	for (; !valid && *text; text++)
		if ((unsigned char)*text >= 0x80)
			*text = '?';
	json_decref(valid);
}

void call_error(struct call *call, const char *code, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	text_clean(text);
	call_end(call, json_pack("{sss{ss}}", "error", code, "parameters", "message", text));
}

void call_progress(struct call *call, json_t *parameters)
{
	json_t *message = json_pack("{sbso}", "continues", true, "parameters", parameters);

	/* Progress is not worth waiting for a reader. */
	if (call->client && call->client->out_end < CONTROL_REQUEST_MAX)
		client_send(call->client, message);
	else
		json_decref(message);
}

static struct call *call_new(struct client *c)
{
	struct call *call = calloc(1, sizeof(*call));

	if (call) {
		call->client = c;
		c->call = call;
	} else {
		c->ended = true;
	}
	return call;
}

static void request_handle(struct client *c, const char *line, size_t size)
{
	json_error_t error;
	json_t *request = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);
	json_t *parameters = json_object_get(request, "parameters");
	const char *method = json_string_value(json_object_get(request, "method"));
	json_t *none = json_object();
	struct call *call = call_new(c);

	if (call) {
		if (!method || (parameters && !json_is_object(parameters)))
			call_error(call, "invalid",
				   "not a request: {\"method\": ..., \"parameters\": {...}}");
		else
			c->control->handle(call, method, parameters ? parameters : none,
					   c->control->userdata);
	}
	json_decref(none);
	json_decref(request);
}

static void line_too_long(struct client *c)
{
	struct call *call = call_new(c);

	c->ended = true;
	c->in_size = 0;
	if (call)
		call_error(call, "invalid", "a request is at most %d bytes", CONTROL_REQUEST_MAX);
}

static void client_request(struct client *c)
{
	char *end = memchr(c->in, '\n', c->in_size);
	size_t size;

	if (!end) {
		if (c->in_size == sizeof(c->in))
			line_too_long(c);
		return;
	}
	size = (size_t)(end - c->in);
	request_handle(c, c->in, size);
	memmove(c->in, end + 1, c->in_size - size - 1);
	c->in_size -= size + 1;
}

static int client_read(struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_size, sizeof(c->in) - c->in_size, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	/* It may have closed its half only, and wait for the answers to what it asked before. */
	if (n == 0)
		c->ended = true;
	c->in_size += (size_t)n;
	return 0;
}

/* Return: whether it still has something to say or to be told. */
static bool client_has_business(const struct client *c)
{
	return !c->ended || c->call || c->out_end || memchr(c->in, '\n', c->in_size);
}

static int on_client(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct client *c = userdata;
	int r = 0;

	(void)s;
	(void)fd;
	if (revents & EPOLLIN)
		r = client_read(c);
	else if (revents & (EPOLLHUP | EPOLLERR))
		r = -ECONNRESET;
	if (r >= 0)
		r = client_flush(c);
	if (r >= 0 && !c->call && !c->out_end)
		client_request(c);
	if (r < 0 || !client_has_business(c))
		client_free(c);
	else
		client_want(c);
	return 0;
}

static int client_new(struct control *control, int fd)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c;
		int r;

		if (control->clients[i])
			continue;
		c = calloc(1, sizeof(*c));
		if (!c)
			return -ENOMEM;
		c->control = control;
		c->fd = -1;
		r = sd_event_add_io(control->event, &c->io, fd, EPOLLIN, on_client, c);
		if (r < 0) {
			client_free(c);
			return r;
		}
		c->fd = fd;
		control->clients[i] = c;
		return 0;
	}
	return -EMFILE;
}

static int on_listen(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	static const char full[] = "{\"error\":\"busy\",\"parameters\":{\"message\":"
				   "\"the daemon serves as many clients as it can\"}}\n";
	_cleanup_close_ int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)s;
	(void)revents;
	if (client < 0)
		return 0;
	if (client_new(userdata, client) >= 0)
		(void)TAKE_FD(client);
	else
		(void)!send(client, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	return 0;
}

/* Whether somebody answers on the socket; a dead daemon's is left behind. */
static bool socket_alive(const struct sockaddr_un *address)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* EAGAIN: it has more to accept than it gets to. */
	return fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
			   errno == EAGAIN);
}

static int socket_listen(const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int r;

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (socket_alive(&address))
		return -EADDRINUSE;
	(void)unlink(path);
	mask = umask(0117);
	r = RET_ERRNO(bind(fd, (struct sockaddr *)&address, sizeof(address)));
	umask(mask);
	if (r < 0)
		return r;
	/* More than are served: each is told so, which it is not while it waits to connect. */
	if (listen(fd, SOMAXCONN) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int control_new(sd_event *event, const char *path, control_handle_fn *handle, void *userdata,
		struct control **ret)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->event = event;
	c->handle = handle;
	c->userdata = userdata;
	c->fd = socket_listen(path);
	r = c->fd;
	if (r >= 0) {
		memcpy(c->path, path, strlen(path) + 1);
		r = sd_event_add_io(event, &c->io, c->fd, EPOLLIN, on_listen, c);
	}
	if (r < 0) {
		control_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

struct control *control_free(struct control *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (c->clients[i])
			client_free(c->clients[i]);
	sd_event_source_disable_unref(c->io);
	close_p(&c->fd);
	if (c->path[0])
		(void)unlink(c->path);
	free(c);
	return NULL;
}
