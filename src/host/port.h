/* SPDX-License-Identifier: Apache-2.0 */
/* Adds the agent's virtio-serial port to a running guest, and takes it away again. */
#ifndef PAGEPACT_HOST_PORT_H
#define PAGEPACT_HOST_PORT_H

#include <stddef.h>
#include <stdint.h>

#include "host/qmp.h"

#define PORT_ID "pagepact-agent" /* of the device and of the character device that we add */

struct port_change;

/**
 * port_done_fn - once, from the event loop
 * @result: 0; -EEXIST: such a port or character device is there already; -EREMOTEIO: QEMU refused;
 *	-ETIMEDOUT, -ECONNRESET
 * @error: QEMU's words; "" when @result is 0. Whatever was added before the refusal was removed
 */
typedef void port_done_fn(int result, const char *error, void *userdata);

/**
 * port_attach() - add a listening Unix socket and a port on it
 * @qmp: ready; free the change before it
 * @bus: inventory->serial.bus
 * @path: of the socket that QEMU is to create: writable by QEMU's user, shorter than 108 bytes
 */
int port_attach(struct qmp *qmp, const char *bus, const char *path, uint64_t deadline_usec,
		port_done_fn *done, void *userdata, struct port_change **ret);

/** port_detach() - remove what port_attach() added; 0 too when nothing was there */
int port_detach(struct qmp *qmp, uint64_t deadline_usec, port_done_fn *done, void *userdata,
		struct port_change **ret);

/** port_change_free() - give up; no callback any more. Returns NULL. */
struct port_change *port_change_free(struct port_change *change);

/**
 * port_advice() - what to add by hand where the guest has no virtio-serial controller
 * @path: of the socket to be
 * @ret: lines, ended by NULL; free() frees all
 */
int port_advice(const char *path, char ***ret);

#endif
