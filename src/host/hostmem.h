/* SPDX-License-Identifier: Apache-2.0 */
/* The host's own memory and how much it is wanted, from /proc. */
#ifndef PAGEPACT_HOST_HOSTMEM_H
#define PAGEPACT_HOST_HOSTMEM_H

#include "policy/snapshot.h"

/**
 * hostmem_read() - read /proc/meminfo and /proc/pressure/memory
 * @root: "" for this machine, or a fixture's directory
 *
 * What cannot be read stays 0, and -1 for the pressure.
 */
void hostmem_read(const char *root, struct snapshot_host *ret);

#endif
