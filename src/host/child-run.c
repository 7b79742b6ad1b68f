/* SPDX-License-Identifier: Apache-2.0 */
#include "host/child-run.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Kernel errors in the forked child are told by name: there is nobody else to tell them. */
__attribute__((noreturn)) static void die(const char *what, const char *object)
{
	dprintf(STDERR_FILENO, "%s%s: %s\n", what, object, strerror(errno));
	_exit(CHILD_STATUS_NO_EXEC);
}

static int compare_fds(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* Closes everything above 2 but @keep (sorted in place); descriptors of other guests' sockets must
 * not stay open in a process that may hang for ever. */
static void close_others(int *keep, size_t n, unsigned int flags)
{
	unsigned int from = STDERR_FILENO + 1;

	qsort(keep, n, sizeof(*keep), compare_fds);
	for (size_t i = 0; i < n; i++) {
		unsigned int fd = (unsigned int)keep[i];

		if (fd < from)
			continue;
		if (fd > from)
			(void)close_range(from, fd - 1, (int)flags);
		from = fd + 1;
	}
	(void)close_range(from, ~0U, (int)flags);
}

static void reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < _NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void limit_resources(const struct child_spec *spec)
{
	struct rlimit no_core = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &no_core);
	if (spec->memory_max_bytes > 0) {
		struct rlimit memory = { spec->memory_max_bytes, spec->memory_max_bytes };

		if (setrlimit(RLIMIT_AS, &memory) < 0)
			die("cannot limit memory", "");
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die("cannot set no_new_privs", "");
	/* What is not in the bounding set does not survive the exec; without CAP_SETPCAP nothing
	 * is held that would have to go. */
	for (unsigned long cap = 0; spec->reads_only && cap <= CAP_LAST_CAP; cap++)
		if (cap != CAP_DAC_READ_SEARCH)
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

static void set_standard_fds(int out_fd, int error_fd)
{
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0 ||
	    dup2(error_fd, STDERR_FILENO) < 0)
		_exit(CHILD_STATUS_NO_EXEC);
	/* open() takes 0 itself where the daemon has it closed, and dup2() leaves its flag then. */
	(void)fcntl(STDIN_FILENO, F_SETFD, 0);
}

__attribute__((noreturn)) static void run_fn(const struct child_spec *spec)
{
	int keep[CHILD_KEEP_FDS_MAX] = { 0 };
	int result;

	memcpy(keep, spec->keep_fds ? spec->keep_fds : keep, spec->n_keep_fds * sizeof(*keep));
	close_others(keep, spec->n_keep_fds, 0);
	result = spec->fn(STDOUT_FILENO, spec->arg);
	_exit(result == 0 ? 0 : result < 0 && result > -CHILD_STATUS_NO_EXEC ? -result : EIO);
}

__attribute__((noreturn)) static void run_program(const struct child_spec *spec)
{
	int keep[CHILD_KEEP_FDS_MAX] = { 0 };

	memcpy(keep, spec->keep_fds ? spec->keep_fds : keep, spec->n_keep_fds * sizeof(*keep));
	for (size_t i = 0; i < spec->n_keep_fds; i++)
		(void)fcntl(keep[i], F_SETFD, 0);
	close_others(keep, spec->n_keep_fds, CLOSE_RANGE_CLOEXEC);
	execvp(spec->argv[0], (char *const *)spec->argv);
	die("cannot execute ", spec->argv[0]);
}

void child_run(const struct child_spec *spec, pid_t parent, int out_fd, int error_fd)
{
	/* A group of its own, so that a killed program takes its helpers along. */
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(CHILD_STATUS_NO_EXEC);
	set_standard_fds(out_fd, error_fd);
	reset_signals();
	limit_resources(spec);
	if (spec->fn)
		run_fn(spec);
	run_program(spec);
}
