/* SPDX-License-Identifier: Apache-2.0 */
/* What loading BPF programs has in common. */
#ifndef PAGEPACT_GUEST_LOADER_H
#define PAGEPACT_GUEST_LOADER_H

#include <stddef.h>

struct bpf_program;

/** loader_begin() - let libbpf tell the log what it has to say, not standard error */
void loader_begin(void);

/**
 * loader_reason() - why programs were not loaded, for people
 * @error: a positive errno
 * @whose: whose programs
 */
void loader_reason(int error, const char *whose, char *ret_reason, size_t reason_size);

/**
 * loader_run() - run a program that is not attached
 *
 * Return: 0; -EOPNOTSUPP where it did not return 1; or another -errno.
 */
int loader_run(struct bpf_program *program);

#endif
