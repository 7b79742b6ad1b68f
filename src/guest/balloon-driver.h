/* SPDX-License-Identifier: Apache-2.0 */
/* The BPF programs on the balloon's driver, see balloon.bpf.c. */
#ifndef PAGEPACT_GUEST_BALLOON_DRIVER_H
#define PAGEPACT_GUEST_BALLOON_DRIVER_H

#include <stddef.h>

#include "guest/balloon-state.h"

struct balloon_driver;

/**
 * balloon_driver_open() - load and attach them; the driver's module stays while they are
 * @ret_reason: why not, for people
 *
 * Return: 0 or -errno.
 */
int balloon_driver_open(struct balloon_driver **ret, char *ret_reason, size_t reason_size);

/** balloon_driver_close() - NULL is allowed. Return: NULL. */
struct balloon_driver *balloon_driver_close(struct balloon_driver *d);

/** balloon_driver_fd() - readable when an inflation begins that was not heeded */
int balloon_driver_fd(const struct balloon_driver *d);

/** balloon_driver_look() - what the programs saw last; the descriptor is not readable after it */
struct balloon_state balloon_driver_look(struct balloon_driver *d);

/** balloon_driver_heed() - whether we look by ourselves from now on */
void balloon_driver_heed(struct balloon_driver *d, int is_heeded);

#endif
