/* SPDX-License-Identifier: Apache-2.0 */
/* A client of QEMU's monitor protocol (QMP) over a Unix socket, on sd-event. */
#ifndef PAGEPACT_HOST_QMP_H
#define PAGEPACT_HOST_QMP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#define QMP_GREETING_USEC   2000000ULL
#define QMP_OUTSTANDING_MAX 16
#define QMP_OUTPUT_MAX	    (64 * 1024) /* bytes not yet taken by the peer */

struct qmp;

/**
 * struct qmp_ops - what a connection reports, always from the event loop
 * @ready: greeted and negotiated: commands may be sent
 * @event: an event; @data is borrowed and may be NULL
 * @closed: once, after which the connection only waits for qmp_free(). @reason: -EBUSY: no greeting
 *	within QMP_GREETING_USEC, or no room in the queue of the socket; -EPROTO: not QMP;
 *-EMSGSIZE, -EBADMSG: message too long, no JSON; -ETIMEDOUT: the negotiation was not answered;
 *	-ECONNRESET: closed by the peer; or the errno of connect, send or recv. @message: one line
 *for the operator, which says what to do where something can be done
 *
 * qmp_free() may be called from each of them, and from replies.
 */
struct qmp_ops {
	void (*ready)(struct qmp *qmp, void *userdata);
	void (*event)(struct qmp *qmp, const char *name, json_t *data, void *userdata);
	void (*closed)(struct qmp *qmp, int reason, const char *message, void *userdata);
};

/**
 * struct qmp_reply - the answer to one command
 * @result: 0; -EREMOTEIO: QEMU refused, see @error_class and @error; -ETIMEDOUT; -ECONNRESET
 * @value: what it returned, borrowed; NULL unless @result is 0
 * @error_class: "GenericError", "CommandNotFound", "DeviceNotActive", "DeviceNotFound", ...; or ""
 * @error: one line, never NULL
 */
struct qmp_reply {
	int result;
	json_t *value;
	const char *error_class;
	const char *error;
};

typedef void qmp_reply_fn(struct qmp *qmp, const struct qmp_reply *reply, void *userdata);

/**
 * qmp_new() - start connecting
 * @path: of the socket; absolute, shorter than 108 bytes
 * @ops: kept, not copied
 *
 * A failure to connect is reported by @ops->closed, not here.
 *
 * Return: 0, -EINVAL (@path), -ENOMEM, or the negative errno of socket or sd-event.
 */
int qmp_new(sd_event *event, const char *path, const struct qmp_ops *ops, void *userdata,
	    struct qmp **ret);

/** qmp_free() - disconnect; calls nothing back, outstanding commands are forgotten. Returns NULL.
 */
struct qmp *qmp_free(struct qmp *qmp);

static inline void qmp_freep(struct qmp **qmp)
{
	*qmp = qmp_free(*qmp);
}

/**
 * qmp_command() - send a command
 * @name: such as "query-status"
 * @arguments: an object, or NULL; the reference is taken, even on failure
 * @deadline_usec: CLOCK_MONOTONIC, absolute; a later answer is ignored
 * @fn: called exactly once unless cancelled, never from within this call; before ops->closed
 * @ret_id: for qmp_cancel(); may be NULL
 *
 * Return: 0, -ENOTCONN (not ready, or closed), -ENOBUFS (QMP_OUTSTANDING_MAX or QMP_OUTPUT_MAX
 * reached), -ENOMEM, -EINVAL.
 */
int qmp_command(struct qmp *qmp, const char *name, json_t *arguments, uint64_t deadline_usec,
		qmp_reply_fn *fn, void *userdata, uint64_t *ret_id);

/** qmp_cancel() - forget a command: its callback is not called; unknown ids and 0 are ignored */
void qmp_cancel(struct qmp *qmp, uint64_t id);

/** qmp_send_hmp() - qmp_command() of "human-monitor-command"; the value is a string */
int qmp_send_hmp(struct qmp *qmp, const char *line, uint64_t deadline_usec, qmp_reply_fn *fn,
		 void *userdata, uint64_t *ret_id);

/** qmp_is_ready() - whether qmp_command() may be called */
bool qmp_is_ready(const struct qmp *qmp);

/**
 * qmp_peer_pid() - the process that listens on the socket, or -ENOTCONN, -ENODATA
 *
 * QEMU itself, unless another process opened the socket for it (libvirt does) or QEMU was started
 * with -daemonize: the caller checks /proc/PID/exe or the guest RAM's size.
 */
pid_t qmp_peer_pid(const struct qmp *qmp);

/** qmp_event() - the loop that it runs on; not a new reference */
sd_event *qmp_event(const struct qmp *qmp);

/** qmp_version() - "7.2.22" as in the greeting; "" before */
const char *qmp_version(const struct qmp *qmp);

#endif
