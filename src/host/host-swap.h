/* SPDX-License-Identifier: Apache-2.0 */
/* How much of the host's swap takes pages of zeros without storing them. */
#ifndef PAGEPACT_HOST_HOST_SWAP_H
#define PAGEPACT_HOST_HOST_SWAP_H

#include <stdint.h>

/**
 * host_swap_bytes() - that is free
 * @root: "" for this machine, or a fixture's directory
 *
 * From Linux 6.12 on swap keeps a bit for a page of zeros ("mm: store zero pages to be swapped out
 * in a bitmap"); before that zswap does, where it is on, and zram. Any other device would have them
 * written, and read again one by one.
 *
 * Return: bytes; 0 where it cannot be known.
 */
uint64_t host_swap_bytes(const char *root);

#endif
