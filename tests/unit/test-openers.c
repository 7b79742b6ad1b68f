/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/loop.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include "host/openers.h"
#include "image-test.h"

/* A file that this process does not have open. */
struct closed_image {
	char path[64];
	struct image_ref ref;
};

static void closed_done(struct closed_image *image)
{
	unlink(image->path);
}

#define _cleanup_closed_ _cleanup_(closed_done)

static void closed_make(struct closed_image *image)
{
	char data[8192] = "x";
	int fd;

	strcpy(image->path, "/tmp/pagepact-test-XXXXXX");
	fd = mkostemp(image->path, O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, sizeof(data)), sizeof(data));
	close(fd);
	image->ref = ref_of(image->path);
}

static int search_as(const struct closed_image *image, pid_t daemon, const pid_t *allowed,
		     size_t n_allowed, void (*as)(void), struct openers *ret)
{
	struct openers_arg arg = { image->ref.dev, image->ref.ino, daemon, allowed, n_allowed };
	_cleanup_output_ struct output out = { 0 };
	int r = run_child_as(openers_child, &arg, as, &out);

	if (r < 0)
		return r;
	assert_true(out.size <= OPENERS_OUTPUT_MAX);
	assert_int_equal(openers_decode(out.data, out.size, ret), 0);
	return 0;
}

static struct openers search(const struct closed_image *image)
{
	struct openers found;

	assert_int_equal(search_as(image, 0, NULL, 0, NULL, &found), 0);
	return found;
}

static void hold_open(const char *path)
{
	if (open(path, O_RDONLY) < 0)
		_exit(1);
}

static void hold_mapped(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096) == MAP_FAILED)
		_exit(1);
	close(fd);
}

static __attribute__((noreturn)) void *tell_and_wait(void *arg)
{
	(void)!write(*(int *)arg, "r", 1);
	for (;;)
		pause();
}

/* The first thread ends; what it opened stays open. */
static void hold_by_thread(const char *path)
{
	pthread_t thread;
	static int out = STDOUT_FILENO;

	hold_open(path);
	if (pthread_create(&thread, NULL, tell_and_wait, &out))
		_exit(1);
	pthread_exit(NULL);
}

/* A process that holds a file as fn does, until it is killed. */
static pid_t holder_start(void (*fn)(const char *), const char *path, const char *name)
{
	int fds[2];
	char ready;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, name);
		dup2(fds[1], STDOUT_FILENO);
		fn(path);
		(void)!write(STDOUT_FILENO, "r", 1);
		for (;;)
			pause();
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &ready, 1), 1);
	close(fds[0]);
	return pid;
}

static void holder_stop(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Processes that nobody may look at are vouched for, until the answer is "nobody". */
static void test_nobody(void **state)
{
	_cleanup_closed_ struct closed_image image = { 0 };
	pid_t vouched[64];
	struct openers found;
	size_t n = 0;

	(void)state;
	closed_make(&image);
	do {
		assert_int_equal(search_as(&image, 0, vouched, n, NULL, &found), 0);
		assert_int_equal(found.count, 0);
		assert_int_equal(found.n_listed, 0);
		assert_int_equal(found.complete, found.reason[0] == '\0');
		if (found.unknown_pid)
			vouched[n++] = found.unknown_pid;
	} while (found.unknown_pid && n < ARRAY_SIZE(vouched));
	if (!found.complete) {
		print_message("%s\n", found.reason);
		skip();
	}
	print_message("%zu processes had to be vouched for\n", n);
}

static void test_open_elsewhere(void **state)
{
	_cleanup_closed_ struct closed_image image = { 0 };
	struct openers found;
	pid_t pid;

	(void)state;
	closed_make(&image);
	pid = holder_start(hold_open, image.path, "back\x1b[1mup\n");
	found = search(&image);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.n_listed, 1);
	assert_int_equal(found.listed[0].pid, pid);
	assert_int_equal(found.listed[0].kind, OPENER_FD);
	assert_string_equal(found.listed[0].name, "back?[1mup");

	/* It is the file that counts, not its name. */
	assert_int_equal(unlink(image.path), 0);
	assert_int_equal(search(&image).count, 1);
	holder_stop(pid);
	assert_int_equal(search(&image).count, 0);
}

static void test_allowed(void **state)
{
	_cleanup_closed_ struct closed_image image = { 0 };
	struct openers found;
	pid_t pids[2];

	(void)state;
	closed_make(&image);
	pids[0] = holder_start(hold_open, image.path, "qemu");
	pids[1] = holder_start(hold_open, image.path, "qemu");
	assert_int_equal(search(&image).count, 2);
	assert_int_equal(search_as(&image, 0, pids, 1, NULL, &found), 0);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.listed[0].pid, pids[1]);
	assert_int_equal(search_as(&image, 0, pids, 2, NULL, &found), 0);
	assert_int_equal(found.count, 0);
	/* This process as the daemon: both are its children. */
	assert_int_equal(search_as(&image, getpid(), NULL, 0, NULL, &found), 0);
	assert_int_equal(found.count, 0);
	holder_stop(pids[0]);
	holder_stop(pids[1]);
}

static void test_more_than_listed(void **state)
{
	_cleanup_closed_ struct closed_image image = { 0 };
	pid_t pids[OPENERS_LISTED_MAX + 2];
	struct openers found;

	(void)state;
	closed_make(&image);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = holder_start(hold_open, image.path, "many");
	found = search(&image);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		holder_stop(pids[i]);
	assert_int_equal(found.count, ARRAY_SIZE(pids));
	assert_int_equal(found.n_listed, OPENERS_LISTED_MAX);
}

static void test_only_mapped(void **state)
{
	_cleanup_closed_ struct closed_image image = { 0 };
	struct openers found;
	pid_t pid;

	(void)state;
	closed_make(&image);
	pid = holder_start(hold_mapped, image.path, "mapper");
	found = search(&image);
	holder_stop(pid);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.listed[0].pid, pid);
	assert_int_equal(found.listed[0].kind, OPENER_MAP);
}

static void test_first_thread_ended(void **state)
{
	_cleanup_closed_ struct closed_image image = { 0 };
	struct openers found;
	pid_t pid;

	(void)state;
	closed_make(&image);
	pid = holder_start(hold_by_thread, image.path, "threads");
	usleep(20000); /* the thread may be ready before the first one has ended */
	found = search(&image);
	holder_stop(pid);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.listed[0].pid, pid);
}

static void become_stranger(void)
{
	if (setgid(12345) < 0 || setuid(12345) < 0)
		_exit(EXIT_FAILURE);
}

/* Who may not look at others does not know that there is nobody. */
static void test_no_right(void **state)
{
	_cleanup_closed_ struct closed_image image = { 0 };
	struct openers found;
	pid_t pid;

	(void)state;
	if (geteuid() != 0) {
		print_message("needs root, to become somebody else\n");
		skip();
	}
	closed_make(&image);
	pid = holder_start(hold_open, image.path, "hidden");
	assert_int_equal(search_as(&image, 0, NULL, 0, become_stranger, &found), 0);
	holder_stop(pid);
	assert_int_equal(found.count, 0);
	assert_false(found.complete);
	assert_true(strlen(found.reason) > 10);
	assert_true(found.n_unknown > 0);
}

/* Binds @path to a free loop device; its number, or -1 where that cannot be had. */
static int loop_bind(const char *path, int *ret_fd)
{
	_cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int backing = open(path, O_RDONLY | O_CLOEXEC);
	char device[32];

	for (int attempt = 0; control >= 0 && attempt < 5; attempt++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		if (number < 0)
			return -1;
		snprintf(device, sizeof(device), "/dev/loop%d", number);
		*ret_fd = open(device, O_RDONLY | O_CLOEXEC);
		if (*ret_fd < 0)
			return -1;
		if (ioctl(*ret_fd, LOOP_SET_FD, backing) == 0)
			return number;
		close(*ret_fd);
	}
	return -1;
}

static void test_loop(void **state)
{
	_cleanup_closed_ struct closed_image image = { 0 };
	struct openers found;
	int number, fd = -1;

	(void)state;
	closed_make(&image);
	number = loop_bind(image.path, &fd);
	if (number < 0) {
		print_message("no loop device can be had\n");
		skip();
	}
	found = search(&image);
	assert_int_equal(ioctl(fd, LOOP_CLR_FD), 0);
	close(fd);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.listed[0].kind, OPENER_LOOP);
	assert_int_equal(found.listed[0].pid, number);
	assert_memory_equal(found.listed[0].name, "loop", 4);
	assert_int_equal(search(&image).count, 0);
}

static void test_decode_bad(void **state)
{
	_cleanup_closed_ struct closed_image image = { 0 };
	_cleanup_output_ struct output out = { 0 };
	struct openers_arg arg;
	struct openers found;

	(void)state;
	closed_make(&image);
	arg = (struct openers_arg){ image.ref.dev, image.ref.ino, 0, NULL, 0 };
	assert_int_equal(run_child(openers_child, &arg, &out), 0);
	for (size_t size = 0; size < out.size; size++)
		assert_int_equal(openers_decode(out.data, size, &found), -EBADMSG);
	for (size_t bit = 0; bit < out.size * 8; bit++) {
		out.data[bit / 8] = (char)(out.data[bit / 8] ^ 1 << bit % 8);
		if (openers_decode(out.data, out.size, &found) == 0)
			assert_true(found.n_listed <= OPENERS_LISTED_MAX &&
				    strlen(found.reason) < sizeof(found.reason));
		out.data[bit / 8] = (char)(out.data[bit / 8] ^ 1 << bit % 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody),	    cmocka_unit_test(test_open_elsewhere),
		cmocka_unit_test(test_allowed),	    cmocka_unit_test(test_more_than_listed),
		cmocka_unit_test(test_only_mapped), cmocka_unit_test(test_first_thread_ended),
		cmocka_unit_test(test_no_right),    cmocka_unit_test(test_loop),
		cmocka_unit_test(test_decode_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
