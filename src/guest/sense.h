/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A BPF program that is attached and detached, by a thread: the kernel waits for every CPU and
 * task to leave what it changes, which takes a quarter of a second (watch.c has the figures).
 */
#ifndef PAGEPACT_GUEST_SENSE_H
#define PAGEPACT_GUEST_SENSE_H

#include <stdbool.h>
#include <stdint.h>

struct bpf_program;
struct sense;

/**
 * sense_open() - begin, with the program not attached
 * @program: loaded; must live until sense_close()
 *
 * Return: 0 or -errno.
 */
int sense_open(struct sense **ret, struct bpf_program *program);

/** sense_close() - detach and end, which may take its time; NULL is allowed. Return: NULL. */
struct sense *sense_close(struct sense *s);

/**
 * sense_want() - have the program attached, or not, soon
 *
 * Return: 0; or the -errno of an attempt before: it will not be tried again.
 */
int sense_want(struct sense *s, bool on);

/**
 * sense_state() - whether the program is attached
 * @ret_since_ns: since when, by CLOCK_MONOTONIC
 *
 * Return: 1, 0, or the -errno of the attempt that failed.
 */
int sense_state(struct sense *s, uint64_t *ret_since_ns);

/** sense_error() - the -errno of the attempt that failed, or 0; without a lock, for each page */
int sense_error(const struct sense *s);

#endif
