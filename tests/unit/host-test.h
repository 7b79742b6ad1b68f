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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
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

/* Runs the loop until @flag, for at most @msec; returns whether the flag came. */
static inline bool test_run(sd_event *event, const bool *flag, unsigned int msec)
{
	uint64_t end = test_now() + msec * 1000ULL, now;

	while (!*flag && (now = test_now()) < end)
		assert_true(sd_event_run(event, end - now) >= 0);
	return *flag;
}

/* Lets the loop go on for a while, for what must not happen. */
static inline void test_idle(sd_event *event, unsigned int msec)
{
	bool never = false;

	assert_false(test_run(event, &never, msec));
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

/* Starts QEMU with @args (ended by NULL) in @folder, a QMP socket "qmp" in it, and waits for that;
 * dies with the test. */
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
	for (int i = 0; i < 1000 && access(path, F_OK) < 0; i++) {
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
	}
	assert_int_equal(access(path, F_OK), 0);
	return pid;
}

static inline void test_qemu_stop(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

#endif
