/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States: greeting → negotiating → ready → closed, never back. Every exchange has an absolute
 * deadline, so that a peer that sends a byte now and then holds nothing for longer.
 *
 * Callbacks may free the connection. Handlers therefore mark it busy while they run, and
 * qmp_free() then only closes it: qmp_leave() releases the memory.
 */
#include "host/qmp.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/qmp-parse.h"
#include "host/qmp-text.h"

#define READ_SIZE     (16 * 1024)
#define READS_MAX     4 /* in one go, then the other guests have their turn */
#define ACCURACY_USEC 10000
#define NAME_SIZE     48
#define TEXT_SIZE     1024

enum qmp_state {
	QMP_GREETING,
	QMP_NEGOTIATING,
	QMP_READY,
	QMP_CLOSED,
};

struct qmp_outstanding {
	uint64_t id; /* 0: free */
	uint64_t deadline_usec;
	char name[NAME_SIZE];
	qmp_reply_fn *fn;
	void *userdata;
};

struct qmp {
	sd_event *event;
	sd_event_source *io;
	sd_event_source *timer; /* of the greeting, then of the next deadline */
	sd_event_source *failed_start;
	const struct qmp_ops *ops;
	void *userdata;
	struct sockaddr_un address;
	int fd;
	int connect_error;
	enum qmp_state state;
	unsigned int busy;
	bool freed;
	pid_t pid;
	char version[32];
	uint64_t last_id;
	struct qmp_outstanding outstanding[QMP_OUTSTANDING_MAX];
	struct qmp_parser parser;
	char *out;
	size_t out_size;
};

static void qmp_disconnect(struct qmp *qmp)
{
	qmp->state = QMP_CLOSED;
	qmp->io = sd_event_source_disable_unref(qmp->io);
	qmp->timer = sd_event_source_disable_unref(qmp->timer);
	qmp->failed_start = sd_event_source_disable_unref(qmp->failed_start);
	close_p(&qmp->fd);
	qmp->fd = -1;
	free(TAKE_PTR(qmp->out));
	qmp->out_size = 0;
}

static void qmp_release(struct qmp *qmp)
{
	qmp_parser_done(&qmp->parser);
	sd_event_unref(qmp->event);
	free(qmp);
}

struct qmp *qmp_free(struct qmp *qmp)
{
	if (!qmp)
		return NULL;
	qmp_disconnect(qmp);
	memset(qmp->outstanding, 0, sizeof(qmp->outstanding));
	qmp->freed = true;
	if (qmp->busy == 0)
		qmp_release(qmp);
	return NULL;
}

static int qmp_leave(struct qmp *qmp)
{
	if (--qmp->busy == 0 && qmp->freed)
		qmp_release(qmp);
	return 0;
}

static void finish(struct qmp *qmp, struct qmp_outstanding *slot, const struct qmp_reply *reply)
{
	struct qmp_outstanding command = *slot;

	*slot = (struct qmp_outstanding){ 0 };
	if (command.fn)
		command.fn(qmp, reply, command.userdata);
}

static void fail(struct qmp *qmp, struct qmp_outstanding *slot, int error, const char *text)
{
	char message[NAME_SIZE + 64];

	snprintf(message, sizeof(message), "%s: %s", slot->name, text);
	finish(qmp, slot,
	       &(struct qmp_reply){ .result = error, .error_class = "", .error = message });
}

/* Every caller is within qmp->busy. */
__attribute__((format(printf, 3, 4))) static void qmp_close(struct qmp *qmp, int reason,
							    const char *format, ...)
{
	char message[TEXT_SIZE];
	va_list ap;
	int n;

	if (qmp->state == QMP_CLOSED)
		return;
	n = snprintf(message, sizeof(message), "%s: ", qmp->address.sun_path);
	va_start(ap, format);
	vsnprintf(message + n, sizeof(message) - (size_t)n, format, ap);
	va_end(ap);
	qmp_disconnect(qmp);
	for (size_t i = 0; i < QMP_OUTSTANDING_MAX; i++)
		if (qmp->outstanding[i].id != 0)
			fail(qmp, &qmp->outstanding[i], -ECONNRESET, "the connection was closed");
	if (!qmp->freed && qmp->ops->closed)
		qmp->ops->closed(qmp, reason, message, qmp->userdata);
}

static int failed_start_handler(sd_event_source *source, void *userdata)
{
	struct qmp *qmp = userdata;
	int error = qmp->connect_error;

	(void)source;
	qmp->busy++;
	/* The kernel queues as many as QEMU's listen() asked for, which is one. */
	if (error == -EAGAIN)
		qmp_close(qmp, -EBUSY, "its queue is full: %s", QMP_TEXT_BUSY);
	else
		qmp_close(qmp, error, "cannot connect: %s", qmp_text_connect(error));
	return qmp_leave(qmp);
}

/* The timer serves whichever deadline is next; one that comes too early finds nothing to do. */
static int arm_timer(struct qmp *qmp)
{
	uint64_t next = UINT64_MAX;
	int r;

	for (size_t i = 0; i < QMP_OUTSTANDING_MAX; i++)
		if (qmp->outstanding[i].id != 0 && qmp->outstanding[i].deadline_usec < next)
			next = qmp->outstanding[i].deadline_usec;
	if (next == UINT64_MAX)
		return sd_event_source_set_enabled(qmp->timer, SD_EVENT_OFF);
	r = sd_event_source_set_time(qmp->timer, next);
	if (r < 0)
		return r;
	return sd_event_source_set_enabled(qmp->timer, SD_EVENT_ONESHOT);
}

static int timer_handler(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct qmp *qmp = userdata;
	uint64_t now = now_usec();

	(void)source, (void)usec;
	qmp->busy++;
	if (qmp->state == QMP_GREETING)
		qmp_close(qmp, -EBUSY, "no QMP greeting within 2 s: %s", QMP_TEXT_BUSY);
	for (size_t i = 0; i < QMP_OUTSTANDING_MAX; i++)
		if (qmp->outstanding[i].id != 0 && qmp->outstanding[i].deadline_usec <= now)
			fail(qmp, &qmp->outstanding[i], -ETIMEDOUT, "QEMU did not answer in time");
	if (qmp->state != QMP_CLOSED)
		(void)arm_timer(qmp);
	return qmp_leave(qmp);
}

static struct qmp_outstanding *find(struct qmp *qmp, uint64_t id)
{
	for (size_t i = 0; i < QMP_OUTSTANDING_MAX; i++)
		if (qmp->outstanding[i].id == id)
			return &qmp->outstanding[i];
	return NULL;
}

static int enqueue(struct qmp *qmp, const char *text)
{
	size_t size = strlen(text);
	char *out;

	if (size + 1 > QMP_OUTPUT_MAX - qmp->out_size)
		return -ENOBUFS;
	out = realloc(qmp->out, qmp->out_size + size + 1);
	if (!out)
		return -ENOMEM;
	memcpy(out + qmp->out_size, text, size);
	out[qmp->out_size + size] = '\n';
	qmp->out = out;
	qmp->out_size += size + 1;
	return sd_event_source_set_io_events(qmp->io, EPOLLIN | EPOLLOUT);
}

static int submit(struct qmp *qmp, const char *name, json_t *arguments, uint64_t deadline_usec,
		  qmp_reply_fn *fn, void *userdata, uint64_t *ret_id)
{
	struct qmp_outstanding *slot = find(qmp, 0);
	_cleanup_free_ char *text = NULL;
	int r;

	if (!slot) {
		json_decref(arguments);
		return -ENOBUFS;
	}
	text = qmp_text_command(name, arguments, qmp->last_id + 1);
	if (!text)
		return -ENOMEM;
	r = enqueue(qmp, text);
	if (r < 0)
		return r;
	*slot = (struct qmp_outstanding){
		.id = ++qmp->last_id,
		.deadline_usec = deadline_usec,
		.fn = fn,
		.userdata = userdata,
	};
	snprintf(slot->name, sizeof(slot->name), "%s", name);
	if (ret_id)
		*ret_id = slot->id;
	return arm_timer(qmp);
}

int qmp_command(struct qmp *qmp, const char *name, json_t *arguments, uint64_t deadline_usec,
		qmp_reply_fn *fn, void *userdata, uint64_t *ret_id)
{
	if (qmp->state != QMP_READY || deadline_usec == UINT64_MAX) {
		json_decref(arguments);
		return qmp->state != QMP_READY ? -ENOTCONN : -EINVAL;
	}
	return submit(qmp, name, arguments, deadline_usec, fn, userdata, ret_id);
}

int qmp_send_hmp(struct qmp *qmp, const char *line, uint64_t deadline_usec, qmp_reply_fn *fn,
		 void *userdata, uint64_t *ret_id)
{
	json_t *arguments = json_pack("{s:s}", "command-line", line);

	if (!arguments)
		return -EINVAL;
	return qmp_command(qmp, "human-monitor-command", arguments, deadline_usec, fn, userdata,
			   ret_id);
}

void qmp_cancel(struct qmp *qmp, uint64_t id)
{
	struct qmp_outstanding *slot = id ? find(qmp, id) : NULL;

	if (slot)
		*slot = (struct qmp_outstanding){ 0 };
}

static void negotiated(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	(void)userdata;
	if (reply->result == -ECONNRESET)
		return;
	if (reply->result == -ETIMEDOUT) {
		qmp_close(qmp, -ETIMEDOUT, "QEMU greeted, but did not answer qmp_capabilities");
	} else if (reply->result < 0) {
		qmp_close(qmp, -EPROTO, "QEMU refused qmp_capabilities: %s", reply->error);
	} else {
		qmp->state = QMP_READY;
		if (qmp->ops->ready)
			qmp->ops->ready(qmp, qmp->userdata);
	}
}

static void handle_greeting(struct qmp *qmp, json_t *message)
{
	json_t *greeting = json_object_get(message, "QMP");
	int major, minor, micro;

	if (!json_is_object(greeting)) {
		qmp_close(qmp, -EPROTO,
			  "not a QMP socket: it speaks JSON, but sent no QMP greeting");
		return;
	}
	if (json_unpack(greeting, "{s:{s:{s:i,s:i,s:i}}}", "version", "qemu", "major", &major,
			"minor", &minor, "micro", &micro) == 0)
		snprintf(qmp->version, sizeof(qmp->version), "%d.%d.%d", major, minor, micro);
	qmp->state = QMP_NEGOTIATING;
	if (submit(qmp, "qmp_capabilities", NULL, now_usec() + QMP_GREETING_USEC, negotiated, NULL,
		   NULL) < 0)
		qmp_close(qmp, -ENOMEM, "out of memory");
}

static void handle_reply(struct qmp *qmp, json_t *message)
{
	json_t *id = json_object_get(message, "id"), *error = json_object_get(message, "error");
	struct qmp_reply reply = { .error_class = "", .error = "" };
	double number = json_number_value(id);
	struct qmp_outstanding *slot;
	char text[256];
	const char *class;

	if (number < 1 || number > (double)qmp->last_id)
		return;
	slot = find(qmp, (uint64_t)number);
	if (!slot)
		return;
	if (error) {
		reply.result = -EREMOTEIO;
		class = json_string_value(json_object_get(error, "class"));
		qmp_text_clean(text, sizeof(text),
			       json_string_value(json_object_get(error, "desc")));
		reply.error_class = class ? class : "";
		reply.error = text[0] ? text : "QEMU refused without saying why";
	} else {
		reply.value = json_object_get(message, "return");
		if (!reply.value)
			return;
	}
	finish(qmp, slot, &reply);
	if (qmp->state != QMP_CLOSED)
		(void)arm_timer(qmp);
}

static int message_handler(json_t *message, void *userdata)
{
	struct qmp *qmp = userdata;
	const char *event = json_string_value(json_object_get(message, "event"));

	if (qmp->state == QMP_GREETING)
		handle_greeting(qmp, message);
	else if (!event)
		handle_reply(qmp, message);
	else if (qmp->state == QMP_READY && qmp->ops->event)
		qmp->ops->event(qmp, event, json_object_get(message, "data"), qmp->userdata);
	return qmp->state == QMP_CLOSED ? -ECANCELED : 0;
}

/* Return: 0 when nothing is left to read or the connection is closed, else 1. */
static int receive(struct qmp *qmp)
{
	char buffer[READ_SIZE];
	ssize_t n;
	int r;

	n = recv(qmp->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0) {
		r = -errno;
		qmp_close(qmp, r, "cannot read: %m");
		return 0;
	}
	if (n == 0) {
		qmp_close(qmp, -ECONNRESET, "closed by the other side%s",
			  qmp->state == QMP_GREETING ? " before it greeted" : "");
		return 0;
	}
	r = qmp_parser_feed(&qmp->parser, buffer, (size_t)n, message_handler, qmp);
	if (qmp->state == QMP_CLOSED)
		return 0;
	if (r == -EPROTO && qmp->state == QMP_GREETING)
		qmp_close(qmp, r, "not a QMP socket: %s (a human monitor, an agent, a console?)",
			  qmp->parser.reason);
	else if (r < 0)
		qmp_close(qmp, r, "not understood: %s", qmp->parser.reason);
	return r == 0 && (size_t)n == sizeof(buffer);
}

static void transmit(struct qmp *qmp)
{
	ssize_t n;
	int r;

	n = send(qmp->fd, qmp->out, qmp->out_size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		r = -errno;
		qmp_close(qmp, r == -EPIPE ? -ECONNRESET : r, "cannot write: %m");
		return;
	}
	qmp->out_size -= (size_t)n;
	memmove(qmp->out, qmp->out + n, qmp->out_size);
	if (qmp->out_size == 0) {
		free(TAKE_PTR(qmp->out));
		(void)sd_event_source_set_io_events(qmp->io, EPOLLIN);
	}
}

static int io_handler(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct qmp *qmp = userdata;

	(void)source, (void)fd;
	qmp->busy++;
	/* What the peer sent before it went away is read first. */
	for (int i = 0; i < READS_MAX && (revents & ~(uint32_t)EPOLLOUT) && receive(qmp); i++)
		;
	if (qmp->state != QMP_CLOSED && (revents & EPOLLOUT) && qmp->out_size > 0)
		transmit(qmp);
	return qmp_leave(qmp);
}

static int qmp_connect(struct qmp *qmp)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	qmp->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (qmp->fd < 0)
		return -errno;
	if (connect(qmp->fd, (struct sockaddr *)&qmp->address, sizeof(qmp->address)) < 0)
		qmp->connect_error = -errno;
	else if (getsockopt(qmp->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
		qmp->pid = peer.pid;
	return 0;
}

static int qmp_watch(struct qmp *qmp)
{
	int r;

	if (qmp->connect_error < 0)
		return sd_event_add_defer(qmp->event, &qmp->failed_start, failed_start_handler,
					  qmp);
	r = sd_event_add_io(qmp->event, &qmp->io, qmp->fd, EPOLLIN, io_handler, qmp);
	if (r < 0)
		return r;
	return sd_event_add_time(qmp->event, &qmp->timer, CLOCK_MONOTONIC,
				 now_usec() + QMP_GREETING_USEC, ACCURACY_USEC, timer_handler, qmp);
}

int qmp_new(sd_event *event, const char *path, const struct qmp_ops *ops, void *userdata,
	    struct qmp **ret)
{
	_cleanup_(qmp_freep) struct qmp *qmp = NULL;
	int r;

	if (path[0] != '/' || strlen(path) >= sizeof(qmp->address.sun_path))
		return -EINVAL;
	qmp = calloc(1, sizeof(*qmp));
	if (!qmp)
		return -ENOMEM;
	qmp->fd = -1;
	qmp->event = sd_event_ref(event);
	qmp->ops = ops;
	qmp->userdata = userdata;
	qmp->address.sun_family = AF_UNIX;
	strcpy(qmp->address.sun_path, path);
	r = qmp_connect(qmp);
	if (r < 0)
		return r;
	r = qmp_watch(qmp);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(qmp);
	return 0;
}

bool qmp_is_ready(const struct qmp *qmp)
{
	return qmp && qmp->state == QMP_READY;
}

pid_t qmp_peer_pid(const struct qmp *qmp)
{
	if (qmp->state == QMP_CLOSED)
		return -ENOTCONN;
	return qmp->pid > 0 ? qmp->pid : -ENODATA;
}

sd_event *qmp_event(const struct qmp *qmp)
{
	return qmp->event;
}

const char *qmp_version(const struct qmp *qmp)
{
	return qmp->version;
}
