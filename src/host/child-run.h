/* SPDX-License-Identifier: Apache-2.0 */
/* The part of a child that runs in the forked process. */
#ifndef PAGEPACT_HOST_CHILD_RUN_H
#define PAGEPACT_HOST_CHILD_RUN_H

#include <sys/types.h>

#include "host/child.h"

#define CHILD_STATUS_NO_EXEC 127 /* as of a shell */

/**
 * child_run() - become what @spec says
 * @parent: that the child is to die with
 * @out_fd: write end, above 2
 * @error_fd: write end, above 2
 *
 * Called after fork() with all signals blocked.
 */
__attribute__((noreturn)) void child_run(const struct child_spec *spec, pid_t parent, int out_fd,
					 int error_fd);

#endif
