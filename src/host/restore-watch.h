/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for daemons to come and to end, for the dead-man. */
#ifndef PAGEPACT_HOST_RESTORE_WATCH_H
#define PAGEPACT_HOST_RESTORE_WATCH_H

#include <stdint.h>

/**
 * restore_wait() - give a daemon time to come
 * @runtime_dir: with its lock
 *
 * Return: 1: none came within @usec; 0: one runs; or -errno.
 */
int restore_wait(const char *runtime_dir, uint64_t usec);

/** restore_wait_end() - wait for as long as a daemon runs. Return: 0 or -errno. */
int restore_wait_end(const char *runtime_dir);

#endif
