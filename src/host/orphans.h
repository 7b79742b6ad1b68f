/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that a daemon before this one squeezed, and that nobody looks after now: their QEMU runs,
 * and no attached guest is it. The dead-man keeps away while a daemon runs, so the daemon gives
 * them back what was theirs, by restore.h: a few seconds after its start, and each minute.
 */
#ifndef PAGEPACT_HOST_ORPHANS_H
#define PAGEPACT_HOST_ORPHANS_H

#include "host/manager.h"

struct orphans;

/** orphans_begin() - Return: 0 or -errno */
int orphans_begin(struct manager *m);

/** orphans_end() - give up; what was not given back stays in the journal */
void orphans_end(struct manager *m);

#endif
