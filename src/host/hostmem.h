/* SPDX-License-Identifier: Apache-2.0 */
/* The host's own memory and how much it is wanted, from /proc. */
#ifndef PAGEPACT_HOST_HOSTMEM_H
#define PAGEPACT_HOST_HOSTMEM_H

#include "policy/snapshot.h"

/**
 * hostmem_read() - read meminfo and pressure/memory
 * @proc: "/proc", or a fixture
 *
 * What cannot be read stays 0, and -1 for the pressure.
 */
void hostmem_read(const char *proc, struct snapshot_host *ret);

#endif
