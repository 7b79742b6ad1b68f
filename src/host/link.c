/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"

/* Read at most so much at one turn of the loop: other guests wait meanwhile. */
#define READS_PER_TURN 4

struct link {
	sd_event *event;
	sd_event_source *io;
	sd_event_source *hello_timer;
	sd_event_source *frame_timer; /* runs while a frame is incomplete */
	const struct link_ops *ops;
	void *userdata;
	int fd;
	bool heard;
	uint64_t forgiven_frames; /* bad ones before the last HELLO */
	uint64_t forgiven_bytes;
	size_t out_start;
	size_t out_end;
	uint8_t *out;
	struct wire_reader reader;
	_Alignas(uint64_t) uint8_t scratch[WIRE_PAYLOAD_MAX];
};

struct link *link_free(struct link *l)
{
	if (!l)
		return NULL;
	sd_event_source_disable_unref(l->io);
	sd_event_source_disable_unref(l->hello_timer);
	sd_event_source_disable_unref(l->frame_timer);
	close_p(&l->fd);
	free(l->out);
	free(l);
	return NULL;
}

static void link_close(struct link *l, int reason, const char *message)
{
	l->io = sd_event_source_disable_unref(l->io);
	l->hello_timer = sd_event_source_disable_unref(l->hello_timer);
	l->frame_timer = sd_event_source_disable_unref(l->frame_timer);
	close_p(&l->fd);
	l->fd = -1;
	l->ops->closed(reason, message, l->userdata);
}

static int link_flush(struct link *l)
{
	while (l->out_start < l->out_end) {
		ssize_t n = send(l->fd, l->out + l->out_start, l->out_end - l->out_start,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		l->out_start += (size_t)n;
	}
	l->out_start = l->out_end = 0;
	return 0;
}

static void link_want(struct link *l)
{
	uint32_t events = EPOLLIN | (l->out_start < l->out_end ? (uint32_t)EPOLLOUT : 0);

	(void)sd_event_source_set_io_events(l->io, events);
}

int link_send(struct link *l, uint16_t type, uint64_t id, const void *payload, uint32_t length)
{
	size_t size = WIRE_HEADER_BYTES + length;

	if (l->fd < 0)
		return -ENOTCONN;
	if (l->out_end + size > LINK_OUTPUT_MAX) {
		memmove(l->out, l->out + l->out_start, l->out_end - l->out_start);
		l->out_end -= l->out_start;
		l->out_start = 0;
	}
	if (l->out_end + size > LINK_OUTPUT_MAX)
		return -ENOBUFS;
	if (length)
		memcpy(l->out + l->out_end + WIRE_HEADER_BYTES, payload, length);
	l->out_end += wire_frame_seal(l->out + l->out_end, type, id, length);

	int r = link_flush(l);
	link_want(l);
	return r;
}

static void frame_deliver(struct link *l, const struct wire_frame *frame)
{
	const struct wire_hello other = { .version = frame->version };
	union wire_message m = { .hello = &other };

	if (frame->version != WIRE_VERSION) {
		/* What another version says is laid out as it likes; that it says HELLO is enough.
		 */
		if (frame->type != WIRE_HELLO)
			return;
	} else if (wire_decode(frame, l->scratch, &m) < 0) {
		l->reader.bad_frames++;
		return;
	}
	if (frame->type == WIRE_HELLO) {
		l->hello_timer = sd_event_source_disable_unref(l->hello_timer);
		l->forgiven_frames = l->reader.bad_frames;
		l->forgiven_bytes = l->reader.skipped_bytes;
	}
	l->ops->message(frame->type, frame->id, &m, frame->length, l->userdata);
}

/* The deadline is the frame's: bytes that drip in do not put it off. */
static void frame_timer_set(struct link *l, bool delivered)
{
	int enabled = SD_EVENT_OFF;

	if (l->reader.start == l->reader.end) {
		(void)sd_event_source_set_enabled(l->frame_timer, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_get_enabled(l->frame_timer, &enabled);
	if (enabled != SD_EVENT_OFF && !delivered)
		return;
	(void)sd_event_source_set_time_relative(l->frame_timer, LINK_FRAME_USEC);
	(void)sd_event_source_set_enabled(l->frame_timer, SD_EVENT_ONESHOT);
}

/* Return: whether the link is still open. */
static bool frames_deliver(struct link *l)
{
	struct wire_frame frame;
	bool delivered = false;

	while (wire_reader_next(&l->reader, &frame)) {
		frame_deliver(l, &frame);
		delivered = true;
	}
	if (l->reader.bad_frames - l->forgiven_frames > LINK_BAD_FRAMES_MAX ||
	    l->reader.skipped_bytes - l->forgiven_bytes > LINK_SKIPPED_BYTES_MAX) {
		link_close(l, -EBADMSG, "the agent's bytes are not the protocol's");
		return false;
	}
	frame_timer_set(l, delivered);
	return true;
}

static int link_read(struct link *l)
{
	for (int turn = 0; turn < READS_PER_TURN; turn++) {
		size_t size;
		void *space = wire_reader_space(&l->reader, &size);
		ssize_t n = recv(l->fd, space, size, MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (n == 0)
			return -ECONNRESET;
		l->heard = true;
		wire_reader_added(&l->reader, (size_t)n);
		if (!frames_deliver(l))
			return 0;
	}
	return 0;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct link *l = userdata;
	int r = 0;

	(void)s;
	(void)fd;
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = link_read(l);
	if (r >= 0 && l->fd >= 0 && revents & EPOLLOUT)
		r = link_flush(l);
	if (l->fd < 0)
		return 0;
	if (r < 0)
		link_close(l, r,
			   r == -ECONNRESET ? "the agent's socket was closed"
					    : "the agent's socket failed");
	else
		link_want(l);
	return 0;
}

static int on_hello_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct link *l = userdata;

	(void)s;
	(void)usec;
	l->ops->silent(l->heard, l->userdata);
	return 0;
}

static int on_frame_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct link *l = userdata;

	(void)s;
	(void)usec;
	if (wire_reader_give_up(&l->reader))
		(void)frames_deliver(l);
	return 0;
}

static int socket_connect(const struct url *url)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (fd < 0)
		return -errno;
	memcpy(address.sun_path, url->path, sizeof(address.sun_path));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int link_new(sd_event *event, const struct url *url, const struct link_ops *ops, void *userdata,
	     struct link **ret)
{
	const struct wire_welcome welcome = { .version = WIRE_VERSION };
	struct link *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->event = event;
	l->ops = ops;
	l->userdata = userdata;
	wire_reader_reset(&l->reader);
	l->fd = socket_connect(url);
	l->out = malloc(LINK_OUTPUT_MAX);
	r = l->fd < 0 ? l->fd : l->out ? 0 : -ENOMEM;
	if (r >= 0)
		r = sd_event_add_io(event, &l->io, l->fd, EPOLLIN, on_io, l);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &l->hello_timer, CLOCK_MONOTONIC,
					       LINK_HELLO_USEC, 0, on_hello_timeout, l);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &l->frame_timer, CLOCK_MONOTONIC,
					       LINK_FRAME_USEC, 0, on_frame_timeout, l);
	if (r >= 0)
		r = sd_event_source_set_enabled(l->frame_timer, SD_EVENT_OFF);
	if (r >= 0)
		r = link_send(l, WIRE_WELCOME, LINK_WELCOME_ID, &welcome, sizeof(welcome));
	if (r < 0) {
		link_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

uint64_t link_lost(const struct link *l)
{
	return l->reader.bad_frames;
}
