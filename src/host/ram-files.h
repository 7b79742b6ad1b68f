/* SPDX-License-Identifier: Apache-2.0 */
/* The memfds that are a guest's RAM, of QEMU's process: what the host holds of it is what they
 * take. */
#ifndef PAGEPACT_HOST_RAM_FILES_H
#define PAGEPACT_HOST_RAM_FILES_H

#include <sys/types.h>

#include "host/inventory.h"

/**
 * struct ram_files - one for each memory backend; all zero: none
 */
struct ram_files {
	int fds[INVENTORY_MEMDEVS_MAX];
	size_t count;
};

/**
 * ram_files_open() - find them
 * @pid: of QEMU
 *
 * Return: 0; -EOPNOTSUPP: a backend is not shared, or no memfd; or another -errno. Then @ret has
 * none.
 */
int ram_files_open(pid_t pid, const struct inventory *inventory, struct ram_files *ret);

/** ram_files_close() - none is fine */
void ram_files_close(struct ram_files *files);

/**
 * ram_files_bytes() - how much of them the host holds
 *
 * Return: 0; -EOPNOTSUPP: there are none; or another -errno.
 */
int ram_files_bytes(const struct ram_files *files, uint64_t *ret);

#endif
