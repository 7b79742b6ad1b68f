/* SPDX-License-Identifier: Apache-2.0 */
/* Where the kernel's symbols lie. */
#ifndef PAGEPACT_GUEST_SYMBOL_H
#define PAGEPACT_GUEST_SYMBOL_H

#include <stdint.h>

/**
 * struct symbol - one of the kernel's own
 * @address: 0: there is none of that name
 */
struct symbol {
	const char *name;
	uint64_t address;
};

/**
 * symbols_find() - the addresses of symbols of the kernel itself, from /proc/kallsyms in one pass
 * @root: in place of "/", for tests; "" else
 *
 * Return: how many there are, -EPERM where addresses are hidden (kptr_restrict), or another -errno;
 * then each address is 0.
 */
int symbols_find(const char *root, struct symbol *symbols, unsigned count);

#endif
