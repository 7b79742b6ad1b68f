/* SPDX-License-Identifier: Apache-2.0 */
/* The methods attach and detach: a guest by hand, until the daemon ends. */
#ifndef PAGEPACT_HOST_ATTACH_H
#define PAGEPACT_HOST_ATTACH_H

#include "host/manager.h"

/** struct attach - an attach or a detach that waits for QEMU */
struct attach;

/** attach_handle() - look after one more guest; adds the agent's port where none is configured */
void attach_handle(struct manager *m, struct call *call, json_t *parameters);

/** detach_handle() - let go of a guest, and remove the port that attach added */
void detach_handle(struct manager *m, struct call *call, json_t *parameters);

/** attach_free_all() - give up all that wait; their calls are answered */
void attach_free_all(struct manager *m);

#endif
