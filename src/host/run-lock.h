/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock that a running daemon holds in its runtime directory.
 *
 * How it works
 *
 * Two locks on one file. flock(2) keeps a second daemon out, and is shared with children that were
 * forked, so that it lasts until the last of them has gone. The record lock (fcntl(2)) is the
 * daemon's alone and goes with it at once; the kernel tells who holds it without its being taken,
 * so that looking never keeps a starting daemon from its own.
 */
#ifndef PAGEPACT_HOST_RUN_LOCK_H
#define PAGEPACT_HOST_RUN_LOCK_H

#include <sys/types.h>

/**
 * run_lock_take() - take both, for as long as the descriptor is open
 * @runtime_dir: is there
 *
 * The process must not open the file again: closing any descriptor of it gives the record lock up.
 *
 * Return: a descriptor; -EWOULDBLOCK: another daemon runs; or another -errno.
 */
int run_lock_take(const char *runtime_dir);

/**
 * run_lock_holder() - who holds it
 * @ret_pid: of the daemon; 0 where it is in a PID namespace that cannot be seen from here
 *
 * Return: 1; 0: nobody; or -errno. No file, and no directory, is nobody.
 */
int run_lock_holder(const char *runtime_dir, pid_t *ret_pid);

#endif
