/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: one JSON object a line, as varlink does. Who may connect may give orders;
 * the socket's mode says who that is.
 *
 * A client's next request is read when it has taken the answer to the one before: one that asks and
 * does not read holds no more than one answer. Each turn of the loop handles one request of one
 * client.
 */
#ifndef PAGEPACT_HOST_CONTROL_H
#define PAGEPACT_HOST_CONTROL_H

#include <jansson.h>
#include <systemd/sd-event.h>

#define CONTROL_REQUEST_MAX 65536
#define CONTROL_CLIENTS_MAX 32
#define CONTROL_OUTPUT_MAX  (32u << 20)

struct control;

/** struct call - one request that is being answered */
struct call;

/**
 * control_handle_fn - a request came
 * @parameters: an object, borrowed
 *
 * Ends, now or later, with exactly one of call_reply() and call_error(). The client may be gone by
 * then; that is not noticed here.
 */
typedef void control_handle_fn(struct call *call, const char *method, json_t *parameters,
			       void *userdata);

/**
 * control_new() - listen
 * @path: of the socket; one that a dead daemon left is replaced
 *
 * Return: 0; -EADDRINUSE when another daemon answers there; or -errno.
 */
int control_new(sd_event *event, const char *path, control_handle_fn *handle, void *userdata,
		struct control **ret);

/** control_free() - stop listening, hang up. Calls must have ended. Return: NULL. */
struct control *control_free(struct control *c);

/** call_reply() - the answer; @parameters: an object, the reference is taken; NULL is an error */
void call_reply(struct call *call, json_t *parameters);

/** call_error() - the answer is an error; @code: see ARCHITECTURE.md */
void call_error(struct call *call, const char *code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** call_progress() - there is an answer to come; the reference is taken */
void call_progress(struct call *call, json_t *parameters);

#endif
