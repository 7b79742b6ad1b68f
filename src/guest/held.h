/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blocks of the guest's disks the host says that it holds in its own page cache. A hint as to
 * what goes first, bounded, and forgotten when it is old.
 */
#ifndef PAGEPACT_GUEST_HELD_H
#define PAGEPACT_GUEST_HELD_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/message.h"

#define HELD_USEC_MAX 60000000u
/* Of all disks together: 1 MiB. */
#define HELD_RUNS_MAX 65536

struct held_disk {
	char pci_address[16];
	char serial[32];
	struct wire_held_run *runs;
	uint32_t count;
	uint64_t usec;
};

struct held {
	struct held_disk disks[WIRE_DISKS_MAX];
	unsigned count;
	uint32_t runs;
};

/**
 * held_done() - forget everything
 */
void held_done(struct held *h);

/**
 * held_take() - take in one HELD message
 *
 * Return: 0; -ENOBUFS when there is no room for more: what is there stays; -EBADMSG for runs that
 * do not ascend; -ENOMEM.
 */
int held_take(struct held *h, const struct wire_held *message, uint64_t now_usec);

/** held_any() - whether anything that is said is still true; what is not is forgotten */
bool held_any(struct held *h, uint64_t now_usec);

/**
 * held_of() - what the host holds of a disk; NULL: nothing. Valid until the next held_take() or
 * held_any().
 */
const struct held_disk *held_of(const struct held *h, const struct wire_disk *disk);

/** held_has() - whether the host holds a block of that disk */
bool held_has(const struct held_disk *d, uint64_t block);

#endif
