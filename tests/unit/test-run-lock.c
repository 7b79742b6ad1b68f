/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's lock, and those who wait for it without taking it: run-lock.c, restore-watch.c. */
#include "host-test.h"

#include <errno.h>

#include "base/cleanup.h"
#include "host/restore-watch.h"
#include "host/run-lock.h"

static char folder[64];

/* A daemon that takes the lock after @delay_msec, and dies with the test. */
static pid_t daemon_start(unsigned int delay_msec)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (delay_msec) {
			close(ready[1]);
			ready[1] = -1;
			(void)poll(NULL, 0, (int)delay_msec);
		}
		if (run_lock_take(folder) < 0)
			_exit(1);
		close_p(&ready[1]);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 0);
	close(ready[0]);
	return pid;
}

static void test_nobody(void **state)
{
	pid_t pid;

	(void)state;
	assert_int_equal(run_lock_holder("/nonexistent", &pid), 0);
	assert_int_equal(run_lock_holder(folder, &pid), 0);
	assert_int_equal(run_lock_take("/nonexistent"), -ENOENT);
	test_write(folder, "lock", "", 0);
	assert_int_equal(run_lock_holder(folder, &pid), 0);
}

static void test_holder(void **state)
{
	pid_t daemon = daemon_start(0), pid = -1;
	int fd;

	(void)state;
	assert_int_equal(run_lock_holder(folder, &pid), 1);
	assert_int_equal(pid, daemon);
	assert_int_equal(run_lock_take(folder), -EWOULDBLOCK);
	assert_int_equal(run_lock_holder(folder, &pid), 1);
	test_qemu_stop(daemon);
	assert_int_equal(run_lock_holder(folder, &pid), 0);
	fd = run_lock_take(folder);
	assert_true(fd >= 0);
	close(fd);
}

/* Its children outlive a daemon for a moment: it is dead all the same. */
static void test_left_child(void **state)
{
	int orphan[2];
	pid_t daemon, pid;

	(void)state;
	assert_int_equal(pipe(orphan), 0);
	daemon = fork();
	if (daemon == 0) {
		if (run_lock_take(folder) < 0)
			_exit(1);
		if (fork() == 0) {
			char byte;

			close(orphan[1]);
			(void)!read(orphan[0], &byte, 1);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(daemon, NULL, 0), daemon);
	assert_int_equal(run_lock_holder(folder, &pid), 0);
	assert_int_equal(run_lock_take(folder), -EWOULDBLOCK);
	close(orphan[0]);
	close(orphan[1]);
}

static void test_wait(void **state)
{
	uint64_t begin = test_now();
	pid_t daemon;

	(void)state;
	assert_int_equal(restore_wait(folder, 0), 1);
	assert_int_equal(restore_wait(folder, 150000), 1);
	assert_in_range(test_now() - begin, 150000, TEST_WAIT_MSEC * 1000);
	daemon = daemon_start(300);
	assert_int_equal(restore_wait(folder, TEST_WAIT_MSEC * 1000ULL), 0);
	assert_int_equal(restore_wait(folder, 0), 0);
	test_qemu_stop(daemon);
}

static void test_wait_end(void **state)
{
	pid_t daemon, killer;
	uint64_t begin;

	(void)state;
	assert_int_equal(restore_wait_end(folder), 0);
	daemon = daemon_start(0);
	begin = test_now();
	killer = fork();
	if (killer == 0) {
		(void)poll(NULL, 0, 300);
		kill(daemon, SIGKILL);
		_exit(0);
	}
	assert_int_equal(restore_wait_end(folder), 0);
	assert_in_range(test_now() - begin, 250000, TEST_WAIT_MSEC * 1000);
	assert_int_equal(waitpid(killer, NULL, 0), killer);
	assert_int_equal(waitpid(daemon, NULL, 0), daemon);
}

/* However often somebody looks, a daemon gets its lock at the first try. */
static void test_looking_takes_nothing(void **state)
{
	pid_t looker = fork();

	(void)state;
	if (looker == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (pid_t pid;;)
			(void)run_lock_holder(folder, &pid);
	}
	for (int i = 0; i < 2000; i++) {
		int fd = run_lock_take(folder);

		assert_true(fd >= 0);
		close(fd);
	}
	test_qemu_stop(looker);
}

static int setup(void **state)
{
	(void)state;
	test_folder(folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	test_folder_remove(folder);
	return 0;
}

#define LOCK(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOCK(test_nobody), LOCK(test_holder),	LOCK(test_left_child),
		LOCK(test_wait),   LOCK(test_wait_end), LOCK(test_looking_takes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
