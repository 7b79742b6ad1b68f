/* SPDX-License-Identifier: Apache-2.0 */
/* Where the kernel's symbols lie. */
#ifndef PAGEPACT_GUEST_SYMBOL_H
#define PAGEPACT_GUEST_SYMBOL_H

#include <stdint.h>

/**
 * symbol_address() - the address of a symbol of the kernel itself, from /proc/kallsyms
 * @root: in place of "/", for tests; "" else
 * @ret: never 0
 *
 * Return: 0; -ENOENT where there is none of that name, -EPERM where addresses are hidden
 * (kptr_restrict), or another -errno.
 */
int symbol_address(const char *root, const char *name, uint64_t *ret);

#endif
