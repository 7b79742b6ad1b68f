/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: the socket does not block, and each wait is a poll(2) against an absolute
 * deadline, so that a daemon that drips one byte a second is given up as a silent one is. The
 * buffer for a line grows by doubling up to CLIENT_REPLY_MAX; nothing else is kept.
 */
#include "ctl/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "ctl/ctl.h"

/* connect(2) waits only while the daemon's queue of connections is full. */
#define CONNECT_USEC (5ULL * USEC_PER_SEC)

struct line_buffer {
	char *data;
	size_t size, used;
};

struct waiter {
	uint64_t total_deadline_usec;
	uint64_t line_deadline_usec;
	const struct client_limits *limits;
	bool woken;
};

static int fail(struct client_error *error, int exit_code, int errnum, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int fail(struct client_error *error, int exit_code, int errnum, const char *format, ...)
{
	va_list ap;

	error->exit_code = exit_code;
	va_start(ap, format);
	vsnprintf(error->message, sizeof(error->message), format, ap);
	va_end(ap);
	return -errnum;
}

static int connect_failed(int errnum, const char *path, uint64_t wait_usec,
			  struct client_error *error)
{
	switch (errnum) {
	case ENOENT:
	case ENOTDIR:
	case ECONNREFUSED:
		return fail(error, CTL_UNREACHABLE, errnum,
			    "no daemon at %s: start it with 'systemctl start pagepactd', or say "
			    "with --socket where it is",
			    path);
	case EACCES:
	case EPERM:
		return fail(error, CTL_REFUSED, errnum,
			    "no permission to use %s: run as root, or through sudo", path);
	case EAGAIN:
	case EINPROGRESS:
		return fail(error, CTL_UNREACHABLE, ETIMEDOUT,
			    "the daemon at %s accepted no connection within %llu s", path,
			    (unsigned long long)wait_usec / USEC_PER_SEC);
	default:
		return fail(error, CTL_UNREACHABLE, errnum, "cannot connect to %s: %s", path,
			    strerror(errnum));
	}
}

int client_connect(const char *path, const struct client_limits *limits,
		   struct client_error *ret_error)
{
	const uint64_t wait_usec =
		limits->total_usec < CONNECT_USEC ? limits->total_usec : CONNECT_USEC;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval timeout = {
		.tv_sec = (time_t)(wait_usec / USEC_PER_SEC),
		.tv_usec = (suseconds_t)(wait_usec % USEC_PER_SEC),
	};
	_cleanup_close_ int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return fail(ret_error, CTL_USAGE, ENAMETOOLONG,
			    "the path of the socket is longer than %zu bytes",
			    sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return connect_failed(errno, path, wait_usec, ret_error);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return connect_failed(errno, path, wait_usec, ret_error);
	return TAKE_FD(fd);
}

/* Waits for @events: 0, or -ETIMEDOUT at the nearer of the two deadlines. */
static int wait_for(int fd, short events, struct waiter *w)
{
	const struct client_wake *wake = w->limits->wake;
	struct pollfd p[] = { { .fd = fd, .events = events },
			      { .fd = wake && !w->woken ? wake->fd : -1, .events = POLLIN } };
	uint64_t deadline = w->total_deadline_usec < w->line_deadline_usec ? w->total_deadline_usec
									   : w->line_deadline_usec;

	for (;;) {
		uint64_t now = now_usec();
		struct timespec ts;
		int r;

		if (now >= deadline)
			return -ETIMEDOUT;
		ts.tv_sec = (time_t)((deadline - now) / USEC_PER_SEC);
		ts.tv_nsec = (long)((deadline - now) % USEC_PER_SEC * 1000);
		r = ppoll(p, ARRAY_SIZE(p), &ts, NULL);
		if (r > 0 && p[1].revents) {
			w->woken = true;
			p[1].fd = -1;
			wake->fn(wake->userdata);
			continue;
		}
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
	}
}

static int timed_out(const char *path, const struct waiter *w, struct client_error *error)
{
	bool total = now_usec() >= w->total_deadline_usec;

	return fail(error, CTL_UNREACHABLE, ETIMEDOUT,
		    total ? "the daemon at %s did not finish within %llu s"
			  : "the daemon at %s said nothing for %llu s",
		    path,
		    (unsigned long long)(total ? w->limits->total_usec : w->limits->silence_usec) /
			    USEC_PER_SEC);
}

static int send_all(int fd, const char *data, size_t size, struct waiter *w)
{
	while (size > 0) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
		int r;

		if (n >= 0) {
			data += n;
			size -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		/* A daemon that hung up may have said why: the reply is read all the same. */
		if (errno == EPIPE || errno == ECONNRESET)
			return 0;
		if (errno != EAGAIN)
			return -errno;
		r = wait_for(fd, POLLOUT, w);
		if (r < 0)
			return r;
	}
	return 0;
}

static int buffer_reserve(struct line_buffer *b)
{
	size_t size = b->size ? b->size * 2 : 64 * 1024;
	char *data;

	if (b->used < b->size)
		return 0;
	if (b->size > CLIENT_REPLY_MAX)
		return -EMSGSIZE;
	data = realloc(b->data, size);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->size = size;
	return 0;
}

/* Reads up to the end of a line: its length, 0 at the end of the stream, or -errno. */
static ssize_t read_line(int fd, struct line_buffer *b, struct waiter *w)
{
	size_t seen = 0;

	for (;;) {
		char *end = b->used > seen ? memchr(b->data + seen, '\n', b->used - seen) : NULL;
		ssize_t n;
		int r;

		if (end)
			return end - b->data + 1;
		seen = b->used;
		if (seen > CLIENT_REPLY_MAX)
			return -EMSGSIZE;
		r = buffer_reserve(b);
		if (r == 0)
			r = wait_for(fd, POLLIN, w);
		if (r < 0)
			return r;
		n = read(fd, b->data + b->used, b->size - b->used);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		b->used += n > 0 ? (size_t)n : 0;
	}
}

static int read_failed(int r, const char *path, const struct waiter *w, struct client_error *error)
{
	switch (r) {
	case 0:
		return fail(error, CTL_UNREACHABLE, ECONNRESET,
			    "the daemon at %s closed the connection before it answered", path);
	case -ETIMEDOUT:
		return timed_out(path, w, error);
	case -EMSGSIZE:
		return fail(error, CTL_FAILED, EMSGSIZE,
			    "the daemon at %s sent a line of more than %d MiB", path,
			    CLIENT_REPLY_MAX >> 20);
	default:
		return fail(error, CTL_FAILED, -r, "cannot talk to the daemon at %s: %s", path,
			    strerror(-r));
	}
}

/* Exit codes of the daemon's error codes; those that are not here mean "failed". */
static int error_exit_code(const char *code)
{
	if (strcmp(code, "invalid") == 0)
		return CTL_USAGE;
	if (strcmp(code, "refused") == 0)
		return CTL_REFUSED;
	return CTL_FAILED;
}

static int bad_answer(const char *path, const char *why, struct client_error *error)
{
	return fail(error, CTL_FAILED, EPROTO, "what answers at %s is not pagepactd: %s", path,
		    why);
}

/* Takes one line apart: 1 for progress, 0 for the reply, -errno for an error. */
static int take_line(const char *path, const char *line, size_t length, json_t **ret_parameters,
		     struct client_error *error)
{
	json_error_t why;
	json_auto_t *root = json_loadb(line, length, JSON_REJECT_DUPLICATES, &why);
	json_t *parameters = json_object_get(root, "parameters");
	const json_t *code = json_object_get(root, "error");

	if (!root)
		return bad_answer(path, why.text, error);
	if (code) {
		const char *text = json_string_value(code);
		const char *message = json_string_value(json_object_get(parameters, "message"));

		if (!text)
			return bad_answer(path, "\"error\" is no string", error);
		return fail(error, error_exit_code(text), EREMOTEIO, "%s", message ?: text);
	}
	if (!json_is_object(parameters))
		return bad_answer(path, "no \"parameters\"", error);
	*ret_parameters = json_incref(parameters);
	return json_is_true(json_object_get(root, "continues"));
}

static int receive(int fd, const char *path, struct waiter *w, client_progress_t progress,
		   void *userdata, json_t **ret_parameters, struct client_error *error)
{
	_cleanup_free_ char *owner = NULL;
	struct line_buffer b = { 0 };

	for (;;) {
		json_auto_t *parameters = NULL;
		ssize_t length;
		int r;

		w->line_deadline_usec = now_usec() + w->limits->silence_usec;
		length = read_line(fd, &b, w);
		owner = b.data;
		if (length <= 0)
			return read_failed((int)length, path, w, error);
		r = take_line(path, b.data, (size_t)length, &parameters, error);
		if (r < 0)
			return r;
		if (r == 0) {
			*ret_parameters = TAKE_PTR(parameters);
			return 0;
		}
		if (progress)
			progress(parameters, userdata);
		b.used -= (size_t)length;
		memmove(b.data, b.data + length, b.used);
		/* Lines that are already here must not outrun the deadline either. */
		if (now_usec() >= w->total_deadline_usec)
			return timed_out(path, w, error);
	}
}

int client_exchange(int fd, const char *path, const char *method, json_t *parameters,
		    const struct client_limits *limits, client_progress_t progress, void *userdata,
		    json_t **ret_parameters, struct client_error *ret_error)
{
	json_auto_t *request = json_pack("{s:s, s:O}", "method", method, "parameters", parameters);
	_cleanup_free_ char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	uint64_t now = now_usec();
	struct waiter w = {
		.total_deadline_usec = now + limits->total_usec,
		.line_deadline_usec = now + limits->silence_usec,
		.limits = limits,
	};
	size_t length;
	int r;

	if (!text)
		return fail(ret_error, CTL_FAILED, ENOMEM, "out of memory");
	length = strlen(text);
	if (length >= CLIENT_REQUEST_MAX)
		return fail(ret_error, CTL_USAGE, E2BIG, "the arguments are too long");
	/* The text's end becomes the line's end: the length goes along, not the NUL. */
	text[length] = '\n';
	r = RET_ERRNO(fcntl(fd, F_SETFL, O_NONBLOCK));
	if (r >= 0)
		r = send_all(fd, text, length + 1, &w);
	if (r < 0)
		return read_failed(r, path, &w, ret_error);
	return receive(fd, path, &w, progress, userdata, ret_parameters, ret_error);
}
