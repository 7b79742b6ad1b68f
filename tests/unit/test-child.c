/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include <dirent.h>
#include <errno.h>

#include "host/child.h"

struct seen {
	bool done;
	unsigned int calls;
	int result;
	int status;
	char out[4096];
	size_t size;
	char error[CHILD_ERROR_MAX + 1];
};

static sd_event *event;

static void done(struct child *child, int result, const void *out, size_t out_size,
		 const char *error, void *userdata)
{
	struct seen *seen = userdata;

	seen->done = true;
	seen->calls++;
	seen->result = result;
	seen->status = child_exit_status(child);
	seen->size = out_size;
	snprintf(seen->out, sizeof(seen->out), "%s", (const char *)out);
	snprintf(seen->error, sizeof(seen->error), "%s", error);
	child_free(child);
}

static struct child *start(struct seen *seen, struct child_spec spec)
{
	struct child *child;

	memset(seen, 0, sizeof(*seen));
	spec.done = done;
	spec.userdata = seen;
	if (!spec.deadline_usec)
		spec.deadline_usec = test_now() + 5000000;
	if (!spec.output_max_bytes)
		spec.output_max_bytes = 4000;
	assert_int_equal(child_start(event, &spec, &child), 0);
	return child;
}

static void run(struct seen *seen, struct child_spec spec)
{
	start(seen, spec);
	assert_true(test_run(event, &seen->done));
	assert_int_equal(seen->calls, 1);
}

static void run_shell(struct seen *seen, const char *script)
{
	run(seen, (struct child_spec){ .argv = (const char *const[]){ "sh", "-c", script, NULL } });
}

/* Killed children are reaped by the loop: nothing may be left once it had the time. */
static void assert_no_children(void)
{
	for (int i = 0; i < 2000; i++) {
		siginfo_t info;

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD)
			return;
		test_idle(event, 5);
	}
	fail_msg("a child is left");
}

static void test_program(void **state)
{
	struct seen seen;

	(void)state;
	run_shell(&seen, "echo yes; echo aside >&2");
	assert_int_equal(seen.result, 0);
	assert_int_equal(seen.status, 0);
	assert_string_equal(seen.out, "yes\n");
	assert_string_equal(seen.error, "aside");
	assert_no_children();
}

static void test_no_output(void **state)
{
	struct seen seen;

	(void)state;
	run_shell(&seen, "exit 0");
	assert_int_equal(seen.result, 0);
	assert_int_equal(seen.size, 0);
	assert_string_equal(seen.out, "");
}

static void test_no_stdin(void **state)
{
	struct seen seen;

	(void)state;
	run_shell(&seen, "cat; echo end");
	assert_string_equal(seen.out, "end\n");
}

static void test_failure(void **state)
{
	struct seen seen;

	(void)state;
	run_shell(&seen, "printf 'one\\ntwo\\033[31m\\n\\n' >&2; echo part; exit 3");
	assert_int_equal(seen.result, -EIO);
	assert_int_equal(seen.status, 3);
	assert_string_equal(seen.out, "part\n");
	assert_string_equal(seen.error, "one two?[31m");
	run_shell(&seen, "kill -9 $$");
	assert_int_equal(seen.result, -EIO);
	assert_int_equal(seen.status, 128 + SIGKILL);
}

static void test_no_program(void **state)
{
	struct seen seen;

	(void)state;
	run(&seen,
	    (struct child_spec){ .argv = (const char *const[]){ "/nonexistent/tool", NULL } });
	assert_int_equal(seen.result, -EIO);
	assert_int_equal(seen.status, 127);
	assert_string_equal(seen.error,
			    "cannot execute /nonexistent/tool: No such file or directory");
}

static void test_deadline(void **state)
{
	uint64_t begin = test_now();
	struct seen seen;

	(void)state;
	run(&seen,
	    (struct child_spec){
		    .argv = (const char *const[]){ "sh", "-c", "trap '' TERM; sleep 60", NULL },
		    .deadline_usec = begin + 100000 });
	assert_int_equal(seen.result, -ETIMEDOUT);
	assert_int_equal(seen.status, CHILD_STATUS_UNKNOWN);
	assert_true(test_now() - begin < TEST_WAIT_MSEC * 1000ULL);
	assert_no_children();
	/* A deadline that is over already. */
	run(&seen, (struct child_spec){ .argv = (const char *const[]){ "sleep", "60", NULL },
					.deadline_usec = 1 });
	assert_int_equal(seen.result, -ETIMEDOUT);
	assert_no_children();
}

static void test_output_limit(void **state)
{
	struct seen seen;

	(void)state;
	run_shell(&seen, "yes");
	assert_int_equal(seen.result, -E2BIG);
	assert_no_children();
	run(&seen, (struct child_spec){ .argv = (const char *const[]){ "head", "-c", "1000000",
								       "/dev/zero", NULL },
					.output_max_bytes = 1000000 });
	assert_int_equal(seen.result, 0);
	assert_int_equal(seen.size, 1000000);
	run(&seen, (struct child_spec){ .argv = (const char *const[]){ "head", "-c", "1000001",
								       "/dev/zero", NULL },
					.output_max_bytes = 1000000 });
	assert_int_equal(seen.result, -E2BIG);
}

static void test_error_limit(void **state)
{
	struct seen seen;

	(void)state;
	run_shell(&seen, "head -c 300000 /dev/zero | tr '\\0' x >&2; echo out");
	assert_int_equal(seen.result, 0);
	assert_string_equal(seen.out, "out\n");
	assert_int_equal(strlen(seen.error), CHILD_ERROR_MAX);
}

static void test_grandchild(void **state)
{
	uint64_t begin = test_now();
	struct seen seen;
	pid_t pid;

	(void)state;
	run_shell(&seen, "sleep 60 & echo $!");
	assert_int_equal(seen.result, 0);
	assert_true(test_now() - begin < TEST_WAIT_MSEC * 1000ULL);
	pid = atoi(seen.out);
	assert_true(pid > 1);
	/* Gone, or a zombie that init has yet to reap. */
	for (int i = 0; i < 200 && kill(pid, 0) == 0; i++) {
		char path[64], text[256] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		f = fopen(path, "r");
		if (!f)
			return;
		(void)!fgets(text, sizeof(text), f);
		fclose(f);
		if (strstr(text, ") Z ") || strstr(text, ") X "))
			return;
		test_idle(event, 5);
	}
	assert_int_not_equal(kill(pid, 0), 0);
}

static int fn_answer(int out_fd, void *arg)
{
	return write(out_fd, arg, strlen(arg)) < 0 ? -errno : 0;
}

static int fn_refuse(int out_fd, void *arg)
{
	(void)out_fd;
	(void)arg;
	return -EACCES;
}

static int fn_crash(int out_fd, void *arg)
{
	(void)out_fd;
	(void)arg;
	raise(SIGSEGV);
	return 0;
}

static int fn_list_fds(int out_fd, void *arg)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	(void)arg;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir))
			dprintf(out_fd, "%s ", entry->d_name);
	closedir(dir);
	return 0;
}

static void test_function(void **state)
{
	struct seen seen;

	(void)state;
	run(&seen, (struct child_spec){ .fn = fn_answer, .arg = (void *)"hello" });
	assert_int_equal(seen.result, 0);
	assert_string_equal(seen.out, "hello");
	run(&seen, (struct child_spec){ .fn = fn_refuse });
	assert_int_equal(seen.result, -EACCES);
	run(&seen, (struct child_spec){ .fn = fn_crash });
	assert_int_equal(seen.result, -EIO);
	assert_no_children();
}

static void test_descriptors(void **state)
{
	int keep[2], fd = open("/dev/null", O_RDONLY);
	char want[64];
	struct seen seen;

	(void)state;
	keep[0] = fcntl(fd, F_DUPFD_CLOEXEC, 70);
	keep[1] = fcntl(fd, F_DUPFD_CLOEXEC, 50);
	run(&seen, (struct child_spec){ .fn = fn_list_fds });
	assert_string_equal(seen.out, "0 1 2 ");
	snprintf(want, sizeof(want), "0 1 2 %d %d ", keep[1], keep[0]);
	run(&seen, (struct child_spec){ .fn = fn_list_fds, .keep_fds = keep, .n_keep_fds = 2 });
	assert_string_equal(seen.out, want);
	run(&seen, (struct child_spec){
			   .argv = (const char *const[]){ "sh", "-c",
							  "cd /proc/self/fd; echo [0-9]*", NULL },
			   .keep_fds = keep,
			   .n_keep_fds = 1 });
	assert_non_null(strstr(seen.out, " 70"));
	assert_null(strstr(seen.out, " 50"));
	close(keep[0]);
	close(keep[1]);
	close(fd);
}

static void test_limits(void **state)
{
	struct seen seen;

	(void)state;
	run(&seen,
	    (struct child_spec){
		    .argv = (const char *const[]){ "sh", "-c",
						   "ulimit -v; ulimit -c; grep -E "
						   "'^(NoNewPrivs|SigBlk)' /proc/self/status",
						   NULL },
		    .memory_max_bytes = 256 << 20 });
	assert_string_equal(seen.out, "262144\n0\nSigBlk:\t0000000000000000\nNoNewPrivs:\t1\n");
	if (geteuid() != 0)
		return;
	run(&seen, (struct child_spec){ .argv = (const char *const[]){ "grep", "CapEff",
								       "/proc/self/status", NULL },
					.reads_only = true });
	assert_string_equal(seen.out, "CapEff:\t0000000000000004\n");
}

static void test_free_early(void **state)
{
	struct seen seen;
	struct child *child;

	(void)state;
	child = start(&seen,
		      (struct child_spec){ .argv = (const char *const[]){ "sleep", "60", NULL } });
	assert_null(child_free(child));
	child = start(&seen,
		      (struct child_spec){ .argv = (const char *const[]){ "echo", "x", NULL } });
	nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
	child_free(child);
	assert_no_children();
	assert_int_equal(seen.calls, 0);
	assert_null(child_free(NULL));
}

static void test_many(void **state)
{
	struct seen seen[20];

	(void)state;
	for (size_t i = 0; i < 20; i++)
		start(&seen[i], (struct child_spec){ .fn = fn_answer, .arg = (void *)"x" });
	for (size_t i = 0; i < 20; i++)
		assert_true(test_run(event, &seen[i].done));
	for (size_t i = 0; i < 20; i++)
		assert_string_equal(seen[i].out, "x");
	assert_no_children();
}

static void test_bad_spec(void **state)
{
	const char *const nothing[] = { NULL };
	struct child_spec spec = { .done = done };
	struct child *child;

	(void)state;
	assert_int_equal(child_start(event, &spec, &child), -EINVAL);
	spec.argv = nothing;
	assert_int_equal(child_start(event, &spec, &child), -EINVAL);
	spec.fn = fn_answer;
	assert_int_equal(child_start(event, &spec, &child), -EINVAL);
}

/* The daemon may have been started with nothing open at all. */
static void test_standard_closed(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0) {
		struct seen seen;

		close(0);
		close(1);
		close(2);
		sd_event_unref(event);
		if (sd_event_new(&event) < 0)
			_exit(1);
		start(&seen,
		      (struct child_spec){ .argv = (const char *const[]){
						   "sh", "-c", "cat; echo a; echo b >&2", NULL } });
		test_run(event, &seen.done);
		_exit(seen.calls == 1 && seen.result == 0 && strcmp(seen.out, "a\n") == 0 &&
				      strcmp(seen.error, "b") == 0
			      ? 0
			      : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int setup(void **state)
{
	(void)state;
	return sd_event_new(&event);
}

static int teardown(void **state)
{
	(void)state;
	/* The loop reaps those that were killed: it may go when they have. */
	assert_no_children();
	event = sd_event_unref(event);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_program, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_output, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_stdin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_program, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_output_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_error_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grandchild, setup, teardown),
		cmocka_unit_test_setup_teardown(test_function, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_early, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_spec, setup, teardown),
		cmocka_unit_test_setup_teardown(test_standard_closed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
