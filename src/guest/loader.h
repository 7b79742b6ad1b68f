/* SPDX-License-Identifier: Apache-2.0 */
/* What loading BPF programs has in common. */
#ifndef PAGEPACT_GUEST_LOADER_H
#define PAGEPACT_GUEST_LOADER_H

#include <stddef.h>
#include <stdint.h>

struct bpf_program;

/** loader_begin() - let libbpf tell the log what it has to say, not standard error */
void loader_begin(void);

/* The kernel's variables that the programs read. */
enum loader_variable {
	LOADER_VMEMMAP_BASE,
	LOADER_INIT_ON_ALLOC, /* a static key */
	LOADER_VARIABLES,
};

/**
 * loader_address() - the address of one of the kernel's variables; 0 where it has none
 *
 * As an extern of the programs libbpf would look it up: with scanf, in all of /proc/kallsyms, for
 * each object. That was a third of the CPU time of starting the agent.
 */
uint64_t loader_address(enum loader_variable variable);

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
