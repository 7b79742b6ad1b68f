/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the daemon's parts: a loop with an end, a folder of one's own, a QEMU. */
#ifndef PAGEPACT_TESTS_HOST_TEST_H
#define PAGEPACT_TESTS_HOST_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#define QEMU	  "qemu-system-x86_64"
#define SKIP_TEST 77

static inline uint64_t test_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* How long a test waits for what must happen: only one that fails waits so long. */
#define TEST_WAIT_MSEC 20000

/* Runs the loop until @flag, for at most @msec; returns whether the flag came. */
static inline bool test_run_for(sd_event *event, const bool *flag, unsigned int msec)
{
	uint64_t end = test_now() + msec * 1000ULL, now;

	while (!*flag && (now = test_now()) < end)
		assert_true(sd_event_run(event, end - now) >= 0);
	return *flag;
}

static inline bool test_run(sd_event *event, const bool *flag)
{
	return test_run_for(event, flag, TEST_WAIT_MSEC);
}

/* Lets the loop go on for a while, for what must not happen. */
static inline void test_idle(sd_event *event, unsigned int msec)
{
	bool never = false;

	assert_false(test_run_for(event, &never, msec));
}

static inline void test_folder(char path[64])
{
	strcpy(path, "/tmp/pagepact-test-XXXXXX");
	assert_non_null(mkdtemp(path));
}

static inline void test_folder_remove(const char *path)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	assert_int_equal(system(command), 0);
}

static inline void test_write(const char *folder, const char *name, const void *data, size_t size)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), (ssize_t)size);
	close(fd);
}

static inline bool test_have(const char *program)
{
	char command[128];

	snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", program);
	return system(command) == 0;
}

/* Whether the QMP server at @path greeted. On a busy machine QEMU needs longer for its first
 * greeting than a client of ours waits. */
static inline bool test_qemu_greeted(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	bool greeted;
	char byte;

	assert_true(fd >= 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	greeted = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		  poll(&ready, 1, TEST_WAIT_MSEC) == 1 && recv(fd, &byte, 1, 0) == 1;
	close(fd);
	return greeted;
}

/* Starts QEMU with @args (ended by NULL) in @folder, a QMP socket "qmp" in it, and waits until that
 * answers; dies with the test. */
static inline pid_t test_qemu(const char *folder, const char *const *args)
{
	const char *argv[64] = {
		QEMU,	  "-nodefaults", "-display", "none",
		"-accel", "tcg",	 "-qmp",     "unix:qmp,server=on,wait=off"
	};
	size_t n = 8;
	char path[128];
	pid_t pid;

	for (; *args; args++)
		argv[n++] = *args;
	snprintf(path, sizeof(path), "%s/qmp", folder);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (chdir(folder) < 0)
			_exit(127);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	assert_true(pid > 0);
	for (uint64_t end = test_now() + TEST_WAIT_MSEC * 1000ULL; test_now() < end;) {
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		if (test_qemu_greeted(path))
			return pid;
		nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
	}
	fail_msg("QEMU did not greet at %s", path);
	return pid;
}

static inline void test_qemu_stop(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

#endif
