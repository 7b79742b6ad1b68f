/* SPDX-License-Identifier: Apache-2.0 */
#include "host/restore-watch.h"

#include <errno.h>
#include <poll.h>
#include <sys/pidfd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/run-lock.h"

/* Looking takes no lock: it may be often. */
#define LOOK_MSEC 100

static void pause_msec(uint64_t msec)
{
	(void)poll(NULL, 0, (int)msec);
}

int restore_wait(const char *runtime_dir, uint64_t usec)
{
	uint64_t end = now_usec() + usec, now;
	pid_t pid;
	int r;

	while ((r = run_lock_holder(runtime_dir, &pid)) == 0 && (now = now_usec()) < end)
		pause_msec(end - now < LOOK_MSEC * 1000 ? (end - now) / 1000 + 1 : LOOK_MSEC);
	return r < 0 ? r : !r;
}

/* Until a process ends, where that can be waited for. */
static void wait_process(const char *runtime_dir, pid_t pid)
{
	_cleanup_close_ int fd = pid > 0 ? pidfd_open(pid, 0) : -1;
	struct pollfd ended = { .fd = fd, .events = POLLIN };
	pid_t again;

	/* The pid may have been another's by the time it was opened. */
	if (fd >= 0 && run_lock_holder(runtime_dir, &again) == 1 && again == pid)
		(void)poll(&ended, 1, -1);
	else
		pause_msec(LOOK_MSEC);
}

int restore_wait_end(const char *runtime_dir)
{
	pid_t pid;
	int r;

	while ((r = run_lock_holder(runtime_dir, &pid)) == 1)
		wait_process(runtime_dir, pid);
	return r;
}
