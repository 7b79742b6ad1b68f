/* SPDX-License-Identifier: Apache-2.0 */
/* Work that may block (a storage that hangs, an image tool) in a process of its own. */
#ifndef PAGEPACT_HOST_CHILD_H
#define PAGEPACT_HOST_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define CHILD_ERROR_MAX	     4096 /* bytes of standard error that are kept */
#define CHILD_KEEP_FDS_MAX   8
#define CHILD_STATUS_UNKNOWN (-1)

struct child;

/**
 * child_done_fn - what became of a child; called exactly once, from the event loop
 * @child: still the caller's: child_free() may be called in here or later
 * @result: 0 when it ended with status 0; -ETIMEDOUT and -E2BIG when it was killed for its
 *          deadline or its output; -errno as returned by a child_spec.fn; -EIO for any other
 *          status or a signal (see child_exit_status())
 * @out: its standard output, with a NUL byte after the end; valid until child_free()
 * @out_size: bytes in @out
 * @error: its standard error, cut at CHILD_ERROR_MAX, made one printable line; never NULL
 */
typedef void child_done_fn(struct child *child, int result, const void *out, size_t out_size,
			   const char *error, void *userdata);

/**
 * struct child_spec - what to run
 * @argv: program, searched in $PATH, and arguments, ended by NULL; or NULL and @fn
 * @fn: run in the forked child; returns 0 or a negative errno, writes its answer to @out_fd. It
 *      starts with no descriptors but 0 (nothing), 2, @out_fd and @keep_fds
 * @arg: for @fn
 * @keep_fds: descriptors that @fn or the program (by number) may use
 * @n_keep_fds: at most CHILD_KEEP_FDS_MAX
 * @reads_only: give up every capability but CAP_DAC_READ_SEARCH before @argv is executed
 * @memory_max_bytes: limit of its address space; 0 for none
 * @output_max_bytes: more than that on standard output, and it is killed
 * @deadline_usec: CLOCK_MONOTONIC, absolute; at that time it is killed
 * @done: required
 * @userdata: for @done
 */
struct child_spec {
	const char *const *argv;
	int (*fn)(int out_fd, void *arg);
	void *arg;
	const int *keep_fds;
	size_t n_keep_fds;
	bool reads_only;
	uint64_t memory_max_bytes;
	size_t output_max_bytes;
	uint64_t deadline_usec;
	child_done_fn *done;
	void *userdata;
};

/**
 * child_start() - start a child
 * @event: the loop; SIGCHLD may be blocked or not, but not ignored
 * @spec: copied; strings and arrays are needed only during the call
 *
 * A program that cannot be executed is reported to @spec->done: -EIO, status 127.
 *
 * Return: 0, -EINVAL, or the negative errno of pipe, fork or sd-event.
 */
int child_start(sd_event *event, const struct child_spec *spec, struct child **ret);

/**
 * child_free() - kill it if it runs, and forget it
 *
 * Does not wait: a child that the kernel cannot end at once (storage that hangs) is reaped later
 * by the event loop. @child->done is not called any more.
 *
 * Return: NULL
 */
struct child *child_free(struct child *child);

static inline void child_freep(struct child **child)
{
	*child = child_free(*child);
}

/**
 * child_exit_status() - exit status (0-255), 128 + signal, or CHILD_STATUS_UNKNOWN
 *
 * Known in and after child_done_fn(), unless the child was killed for its deadline or output.
 */
int child_exit_status(const struct child *child);

#endif
