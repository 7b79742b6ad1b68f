/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/cleanup.h"
#include "base/clock.h"

/* How long a port without a host is left alone when no signal comes. */
#define HANGUP_USEC 1000000

int link_open(struct agent_link *l, const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	sigset_t set;

	if (fd < 0)
		return -errno;
	sigemptyset(&set);
	sigaddset(&set, SIGIO);
	sigprocmask(SIG_BLOCK, &set, NULL);
	_cleanup_close_ int signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	/* Without a signal the port is looked at every HANGUP_USEC: slower, not wrong. */
	if (fcntl(fd, F_SETOWN, getpid()) == 0)
		(void)fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC);
	wire_reader_reset(&l->reader);
	l->fd = TAKE_FD(fd);
	l->signal_fd = TAKE_FD(signal_fd);
	return 0;
}

static void queue_forget(struct agent_link *l)
{
	l->out_start = l->out_end = 0;
}

void link_done(struct agent_link *l)
{
	close_p(&l->fd);
	close_p(&l->signal_fd);
	l->fd = l->signal_fd = -1;
	queue_forget(l);
}

static struct timespec timespec_of(uint64_t usec)
{
	return (struct timespec){ (time_t)(usec / 1000000), (long)(usec % 1000000) * 1000 };
}

static bool host_is_there(const struct agent_link *l)
{
	struct pollfd p = { .fd = l->fd };

	return poll(&p, 1, 0) >= 0 && !(p.revents & (POLLHUP | POLLERR));
}

/* What was for a host that has gone is for nobody. */
static int host_is_gone(struct agent_link *l)
{
	queue_forget(l);
	return -ENOTCONN;
}

/*
 * Waits until a host has the port open, @other has something to read or the time has passed. News
 * of a host may be later than its first bytes: the kernel learns of them by different queues.
 * Return: whether one has.
 */
static bool host_wait(const struct agent_link *l, int other, uint64_t timeout_usec)
{
	uint64_t now = now_usec(), end = now + timeout_usec;

	for (;; now = now_usec()) {
		struct pollfd p[] = { { .fd = l->signal_fd, .events = POLLIN },
				      { .fd = other, .events = POLLIN } };
		struct signalfd_siginfo info;

		if (host_is_there(l))
			return true;
		if (now >= end)
			return false;
		struct timespec ts = timespec_of(end - now);
		if (ppoll(p, 2, &ts, NULL) < 0)
			return false;
		while (l->signal_fd >= 0 && read(l->signal_fd, &info, sizeof(info)) > 0)
			;
		if (p[1].revents)
			return host_is_there(l);
	}
}

/* Whether part of a frame is there, and how long its rest may take. */
static bool link_half_frame(const struct agent_link *l, uint64_t *ret_usec)
{
	uint64_t end = l->begun_usec + LINK_STALL_USEC, now = now_usec();

	*ret_usec = now < end ? end - now : 0;
	return l->reader.start != l->reader.end;
}

bool link_is_behind(const struct agent_link *l)
{
	return l->out_start != l->out_end;
}

bool link_is_full(const struct agent_link *l)
{
	return l->out_end - l->out_start > sizeof(l->out) / 2;
}

/* Writes what the host takes of the queue. Return: 0 or -errno. */
static int queue_flush(struct agent_link *l)
{
	while (link_is_behind(l)) {
		ssize_t n = write(l->fd, l->out + l->out_start, l->out_end - l->out_start);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		l->out_start += (size_t)n;
		l->taken_usec = now_usec();
	}
	queue_forget(l);
	return 0;
}

/* For how long the host may go on taking nothing; 0: it has had its time, and the queue is empty.
 */
static uint64_t queue_patience(struct agent_link *l)
{
	uint64_t end = l->taken_usec + LINK_SEND_USEC, now = now_usec();

	if (!link_is_behind(l))
		return UINT64_MAX;
	if (now < end)
		return end - now;
	queue_forget(l);
	return 0;
}

/* Return: LINK_INPUT, LINK_OTHER, or -errno. */
static int fds_wait(struct agent_link *l, int other, uint64_t timeout_usec)
{
	short in = link_is_full(l) ? 0 : POLLIN, out = link_is_behind(l) ? POLLOUT : 0;
	struct pollfd p[] = { { .fd = l->fd, .events = (short)(in | out) },
			      { .fd = other, .events = POLLIN } };
	struct timespec ts = timespec_of(timeout_usec);
	int r = 0;

	if (ppoll(p, 2, &ts, NULL) < 0)
		return errno == EINTR ? 0 : -errno;
	if (p[1].revents)
		r |= LINK_OTHER;
	if (p[0].revents & POLLOUT) {
		int flushed = queue_flush(l);

		if (flushed < 0)
			return flushed;
	}
	if (p[0].revents & POLLIN)
		return r | LINK_INPUT;
	if (r || !(p[0].revents & (POLLHUP | POLLERR)))
		return r;
	if (timeout_usec > HANGUP_USEC)
		timeout_usec = HANGUP_USEC;
	return host_wait(l, other, timeout_usec) ? 0 : host_is_gone(l);
}

int link_wait(struct agent_link *l, int other, uint64_t timeout_usec)
{
	uint64_t stall, patience = queue_patience(l);

	if (!patience)
		return -ETIMEDOUT;
	if (patience < timeout_usec)
		timeout_usec = patience;
	if (link_half_frame(l, &stall)) {
		if (!stall) {
			(void)wire_reader_give_up(&l->reader);
			l->begun_usec = now_usec();
			return 0;
		}
		if (stall < timeout_usec)
			timeout_usec = stall;
	}
	return fds_wait(l, other, timeout_usec);
}

int link_receive(struct agent_link *l, int other, uint64_t timeout_usec)
{
	size_t size;
	void *space = wire_reader_space(&l->reader, &size);
	ssize_t n = read(l->fd, space, size);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0) {
		/* The port's end of file: no host has it open, and half a frame of one is nothing.
		 * Until one comes the port is always readable, and always at its end. */
		wire_reader_reset(&l->reader);
		if (timeout_usec > HANGUP_USEC)
			timeout_usec = HANGUP_USEC;
		return host_wait(l, other, timeout_usec) ? 0 : host_is_gone(l);
	}
	if (l->reader.start == l->reader.end)
		l->begun_usec = now_usec();
	wire_reader_added(&l->reader, (size_t)n);
	return 0;
}

int link_next(struct agent_link *l, struct wire_frame *ret)
{
	int r = wire_reader_next(&l->reader, ret);

	if (r > 0)
		l->begun_usec = now_usec();
	return r;
}

void *link_payload(struct agent_link *l)
{
	_Static_assert(WIRE_HEADER_BYTES % sizeof(uint64_t) == 0, "payloads are aligned");
	return l->frame + WIRE_HEADER_BYTES;
}

/* Waits until the host takes something of the queue. */
static int room_wait(struct agent_link *l, uint64_t deadline)
{
	struct pollfd p = { .fd = l->fd, .events = POLLOUT };
	uint64_t now = now_usec();

	if (now >= deadline) {
		queue_forget(l);
		return -ETIMEDOUT;
	}
	struct timespec ts = timespec_of(deadline - now);
	if (ppoll(&p, 1, &ts, NULL) < 0)
		return errno == EINTR ? 0 : -errno;
	if (p.revents & (POLLHUP | POLLERR) && !host_wait(l, -1, HANGUP_USEC))
		return host_is_gone(l);
	return queue_flush(l);
}

/* Return: 0 when so many bytes fit, or -errno. */
static int queue_room(struct agent_link *l, size_t size)
{
	uint64_t deadline = now_usec() + LINK_ROOM_USEC;
	int r = 0;

	while (r >= 0 && sizeof(l->out) - (l->out_end - l->out_start) < size)
		r = room_wait(l, deadline);
	if (r < 0)
		return r;
	if (sizeof(l->out) - l->out_end < size) {
		memmove(l->out, l->out + l->out_start, l->out_end - l->out_start);
		l->out_end -= l->out_start;
		l->out_start = 0;
	}
	return 0;
}

int link_send(struct agent_link *l, uint16_t type, uint64_t id, uint32_t length)
{
	size_t size = wire_frame_seal(l->frame, type, id, length);
	int r = queue_room(l, size);

	if (r < 0)
		return r;
	if (!link_is_behind(l))
		l->taken_usec = now_usec();
	memcpy(l->out + l->out_end, l->frame, size);
	l->out_end += size;
	return queue_flush(l);
}
