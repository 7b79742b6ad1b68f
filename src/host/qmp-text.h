/* SPDX-License-Identifier: Apache-2.0 */
/* What the QMP client says: to QEMU, and to the operator when it cannot. */
#ifndef PAGEPACT_HOST_QMP_TEXT_H
#define PAGEPACT_HOST_QMP_TEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* QMP has no command that adds a monitor to a running QEMU 7.2: it takes a start of the guest. */
#define QMP_TEXT_BUSY                                                                              \
	"another client (libvirt, Proxmox) holds it, for a QMP socket serves one at a time, or "   \
	"QEMU hangs, or it is no QMP socket. Start the guest with a second one and name that: "    \
	"-qmp unix:/run/NAME-pagepact.sock,server=on,wait=off; with libvirt: <qemu:commandline>"   \
	"<qemu:arg value='-qmp'/><qemu:arg value='unix:/run/NAME-pagepact.sock,server=on,"         \
	"wait=off'/></qemu:commandline> (virsh qemu-monitor-command shows whether QEMU answers)"

/** qmp_text_connect() - why connect() failed, and what to check; valid until the next call */
const char *qmp_text_connect(int error);

/** qmp_text_command() - one command as JSON, to be freed; takes @arguments (may be NULL) */
char *qmp_text_command(const char *name, json_t *arguments, uint64_t id);

/** qmp_text_clean() - copy as much as fits, without line ends and escapes; @from may be NULL */
void qmp_text_clean(char *to, size_t size, const char *from);

#endif
