/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child is watched through a pidfd as plain I/O, not by sd_event_add_child(): that one (252)
 * wants SIGCHLD blocked in the whole process even where it uses a pidfd, and reaps only after the
 * callback, which could then not free the child.
 *
 * A killed child is not waited for: it may hang in the kernel for as long as its storage does. Its
 * pidfd is left to a floating event source that reaps it when it ends at last.
 */
#include "host/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "host/child-run.h"

#define READ_SIZE	((size_t)64 * 1024)
#define ERROR_READS_MAX 64 /* of CHILD_ERROR_MAX each: what remains in a pipe at the end */
#define ACCURACY_USEC	10000

struct child {
	pid_t pid;
	int pidfd;
	int out_fd;
	int error_fd;
	bool is_fn;
	int status;
	sd_event *event;
	sd_event_source *exit_source;
	sd_event_source *out_source;
	sd_event_source *error_source;
	sd_event_source *timer;
	char *out;
	size_t out_size;
	size_t out_capacity;
	size_t out_max;
	char error[CHILD_ERROR_MAX + 1];
	size_t error_size;
	child_done_fn *done;
	void *userdata;
};

/* Ends the whole group: also before it is reaped, while nobody else can have its number. */
static void kill_group(pid_t pid)
{
	/* The child may not have made its group yet. */
	(void)kill(pid, SIGKILL);
	(void)kill(-pid, SIGKILL);
}

static int reap_handler(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	siginfo_t info = { 0 };

	(void)revents;
	(void)userdata;
	if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0)
		return 0;
	/* Drops the loop's own reference, the last one; the pidfd goes with it. */
	(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
	(void)sd_event_source_set_floating(source, 0);
	return 0;
}

/* Takes the process out of the world: now where the kernel can, else when it can. */
static void child_kill(struct child *child)
{
	sd_event_source *source = NULL;
	siginfo_t info = { 0 };

	if (child->pidfd < 0)
		return;
	child->exit_source = sd_event_source_disable_unref(child->exit_source);
	kill_group(child->pid);
	if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid != 0)
		goto reaped;
	if (sd_event_add_io(child->event, &source, child->pidfd, EPOLLIN, reap_handler, NULL) < 0)
		goto reaped;
	(void)sd_event_source_set_io_fd_own(source, 1);
	(void)sd_event_source_set_description(source, "child-reap");
	(void)sd_event_source_set_floating(source, 1);
	sd_event_source_unref(source);
	child->pidfd = -1;
	return;
reaped:
	close(child->pidfd);
	child->pidfd = -1;
}

static void child_stop(struct child *child)
{
	child->timer = sd_event_source_disable_unref(child->timer);
	child->out_source = sd_event_source_disable_unref(child->out_source);
	child->error_source = sd_event_source_disable_unref(child->error_source);
	child_kill(child);
	close_p(&child->out_fd);
	close_p(&child->error_fd);
	child->out_fd = child->error_fd = -1;
}

struct child *child_free(struct child *child)
{
	if (!child)
		return NULL;
	child_stop(child);
	sd_event_unref(child->event);
	free(child->out);
	free(child);
	return NULL;
}

/* The text may quote names that a guest chose: nothing of it may start a line or an escape. */
static void tidy_error(struct child *child)
{
	size_t n = child->error_size;

	while (n > 0 && (child->error[n - 1] == '\n' || child->error[n - 1] == ' '))
		n--;
	child->error[n] = '\0';
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)child->error[i];

		if (c == '\n' || c == '\t')
			child->error[i] = ' ';
		else if (c < 0x20 || c == 0x7f)
			child->error[i] = '?';
	}
}

/* The last thing a handler does: the callback may free @child. */
static int child_finish(struct child *child, int result)
{
	child_stop(child);
	if (child->out)
		child->out[child->out_size] = '\0';
	tidy_error(child);
	child->done(child, result, child->out ? child->out : "", child->out_size, child->error,
		    child->userdata);
	return 0;
}

static int grow_output(struct child *child)
{
	size_t want = child->out_capacity ? child->out_capacity * 2 : READ_SIZE;
	char *out;

	/* One byte to notice too much, one for the NUL. */
	if (want > child->out_max + 2)
		want = child->out_max + 2;
	if (child->out_size + 2 <= child->out_capacity)
		return 0;
	out = realloc(child->out, want);
	if (!out)
		return -ENOMEM;
	child->out = out;
	child->out_capacity = want;
	return 0;
}

/* Return: 1 more may come, 0 at the end, -EAGAIN nothing now, -E2BIG, or another error. */
static int read_output(struct child *child)
{
	ssize_t n;
	int r;

	r = grow_output(child);
	if (r < 0)
		return r;
	n = read(child->out_fd, child->out + child->out_size,
		 child->out_capacity - child->out_size - 1);
	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	child->out_size += (size_t)n;
	if (child->out_size > child->out_max) {
		child->out_size = child->out_max;
		return -E2BIG;
	}
	return n > 0;
}

/* As read_output(); what does not fit is read and dropped, so that the program does not block. */
static int read_error(struct child *child)
{
	char dropped[CHILD_ERROR_MAX];
	size_t room = CHILD_ERROR_MAX - child->error_size;
	ssize_t n;

	n = read(child->error_fd, room ? child->error + child->error_size : dropped,
		 room ? room : sizeof(dropped));
	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	if (room)
		child->error_size += (size_t)n;
	return n > 0;
}

static int out_handler(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct child *child = userdata;
	int r = read_output(child);

	(void)fd;
	(void)revents;
	if (r > 0 || r == -EAGAIN)
		return 0;
	if (r < 0)
		return child_finish(child, r);
	return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

static int error_handler(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	int r = read_error(userdata);

	(void)fd;
	(void)revents;
	if (r > 0 || r == -EAGAIN)
		return 0;
	return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

static int result_of(struct child *child, const siginfo_t *info)
{
	if (info->si_code != CLD_EXITED) {
		child->status = 128 + info->si_status;
		return -EIO;
	}
	child->status = info->si_status;
	if (child->status == 0)
		return 0;
	return child->is_fn && child->status < CHILD_STATUS_NO_EXEC ? -child->status : -EIO;
}

static int exit_handler(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct child *child = userdata;
	siginfo_t info = { 0 };
	int r, result;

	(void)source;
	(void)revents;
	/* WNOWAIT first: as long as it is a zombie its group's number is its own. */
	if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		return child_finish(child, -errno);
	if (info.si_pid == 0)
		return 0;
	kill_group(child->pid);
	do
		r = read_output(child);
	while (r > 0);
	for (int i = 0; i < ERROR_READS_MAX && read_error(child) > 0; i++)
		;
	result = result_of(child, &info);
	return child_finish(child, r < 0 && r != -EAGAIN ? r : result);
}

static int deadline_handler(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	return child_finish(userdata, -ETIMEDOUT);
}

static int child_watch(struct child *child, uint64_t deadline_usec)
{
	int r;

	r = sd_event_add_io(child->event, &child->out_source, child->out_fd, EPOLLIN, out_handler,
			    child);
	if (r < 0)
		return r;
	r = sd_event_add_io(child->event, &child->error_source, child->error_fd, EPOLLIN,
			    error_handler, child);
	if (r < 0)
		return r;
	r = sd_event_add_io(child->event, &child->exit_source, child->pidfd, EPOLLIN, exit_handler,
			    child);
	if (r < 0)
		return r;
	return sd_event_add_time(child->event, &child->timer, CLOCK_MONOTONIC, deadline_usec,
				 ACCURACY_USEC, deadline_handler, child);
}

/* A pipe whose ends are above 2, so that the daemon may have its standard descriptors closed. */
static int pipe_above_standard(int ret_fds[2])
{
	_cleanup_close_ int read_end = -1, write_end = -1;
	int fds[2], r = 0;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	read_end = fcntl(fds[0], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (read_end >= 0)
		write_end = fcntl(fds[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (write_end < 0 || fcntl(read_end, F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	close(fds[0]);
	close(fds[1]);
	if (r < 0)
		return r;
	ret_fds[0] = TAKE_FD(read_end);
	ret_fds[1] = TAKE_FD(write_end);
	return 0;
}

static int child_fork(struct child *child, const struct child_spec *spec, int out_fd, int error_fd)
{
	pid_t parent = getpid();
	sigset_t all, old;
	int r = 0;

	/* No handler of the daemon may run in the child. */
	sigfillset(&all);
	if (sigprocmask(SIG_BLOCK, &all, &old) < 0)
		return -errno;
	child->pid = fork();
	if (child->pid == 0)
		child_run(spec, parent, out_fd, error_fd);
	if (child->pid < 0)
		r = -errno;
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	if (r < 0)
		return r;
	child->pidfd = pidfd_open(child->pid, 0);
	if (child->pidfd >= 0)
		return 0;
	r = -errno;
	(void)kill(child->pid, SIGKILL);
	(void)waitpid(child->pid, NULL, 0);
	return r;
}

static int spec_check(const struct child_spec *spec)
{
	if (!spec->done || !spec->fn == !spec->argv || (spec->argv && !spec->argv[0]))
		return -EINVAL;
	if (spec->n_keep_fds > CHILD_KEEP_FDS_MAX || (spec->n_keep_fds && !spec->keep_fds))
		return -EINVAL;
	if (spec->output_max_bytes > SIZE_MAX / 4)
		return -EINVAL;
	return 0;
}

int child_start(sd_event *event, const struct child_spec *spec, struct child **ret)
{
	_cleanup_close_ int out_write = -1, error_write = -1;
	_cleanup_(child_freep) struct child *child = NULL;
	int out[2], error[2], r;

	r = spec_check(spec);
	if (r < 0)
		return r;
	child = calloc(1, sizeof(*child));
	if (!child)
		return -ENOMEM;
	*child = (struct child){
		.pidfd = -1,
		.out_fd = -1,
		.error_fd = -1,
		.status = CHILD_STATUS_UNKNOWN,
		.is_fn = spec->fn,
		.event = sd_event_ref(event),
		.out_max = spec->output_max_bytes,
		.done = spec->done,
		.userdata = spec->userdata,
	};
	r = pipe_above_standard(out);
	if (r < 0)
		return r;
	child->out_fd = out[0];
	out_write = out[1];
	r = pipe_above_standard(error);
	if (r < 0)
		return r;
	child->error_fd = error[0];
	error_write = error[1];
	r = child_fork(child, spec, out_write, error_write);
	if (r < 0)
		return r;
	r = child_watch(child, spec->deadline_usec);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(child);
	return 0;
}

int child_exit_status(const struct child *child)
{
	return child->status;
}
