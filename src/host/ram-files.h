/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memfds that are a guest's RAM, of QEMU's process: what the host holds of it is what they
 * take.
 *
 * A file's blocks are counted whether they are in memory or in swap. What we had paged out is
 * looked at anew each time (mincore(2), 68 ns a page), until it is all back: pieces of it, at most
 * OUT_MAX.
 */
#ifndef PAGEPACT_HOST_RAM_FILES_H
#define PAGEPACT_HOST_RAM_FILES_H

#include <stdbool.h>
#include <sys/types.h>

#include "host/inventory.h"

#define RAM_FILES_OUT_MAX 16384

/** struct ram_piece - a piece of one of them; whole pages; @swapped_bytes: of it, at the last look
 */
struct ram_piece {
	size_t file;
	uint64_t offset, bytes;
	uint64_t swapped_bytes;
};

/**
 * struct ram_files - one for each memory backend; all zero: none
 * @out: what was paged out, and may be back
 * @next_out, @looked_usec: where the next look goes on, and when the last one was
 */
struct ram_files {
	int fds[INVENTORY_MEMDEVS_MAX];
	size_t count;
	struct ram_piece *out;
	size_t n_out, next_out;
	uint64_t looked_usec;
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
 * ram_files_find() - which of them is mapped there
 * @device, @inode: as in /proc/PID/maps
 *
 * Return: its place; or -ENOENT.
 */
int ram_files_find(const struct ram_files *files, uint64_t device, uint64_t inode);

/**
 * ram_files_absent() - how much of a piece is not in memory
 *
 * Return: 0 or -errno.
 */
int ram_files_absent(const struct ram_files *files, const struct ram_piece *piece, uint64_t *ret);

/** ram_files_out() - a piece was paged out. Return: false: there is no room for it, so that it
 * counts as held. */
bool ram_files_out(struct ram_files *files, const struct ram_piece *piece);

/**
 * ram_files_bytes() - how much of them the host holds in memory
 *
 * Return: 0; -EOPNOTSUPP: there are none; or another -errno.
 */
int ram_files_bytes(struct ram_files *files, uint64_t *ret);

#endif
