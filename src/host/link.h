/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's end of one guest's virtio-serial port.
 *
 * A guest is bad input: what comes from it goes through wire_decode() and nowhere else, into
 * buffers of fixed size, a bounded amount at each turn of the event loop. Output that the guest
 * does not take is bounded too: a full queue takes no more.
 *
 * An agent may be killed in the middle of a frame and started again; a frame whose rest does not
 * come within LINK_FRAME_USEC is given up, so that what follows it is heard.
 */
#ifndef PAGEPACT_HOST_LINK_H
#define PAGEPACT_HOST_LINK_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "host/url.h"
#include "wire/message.h"

#define LINK_HELLO_USEC 5000000ULL
#define LINK_OUTPUT_MAX ((size_t)512 * 1024)
#define LINK_FRAME_USEC 5000000ULL
/* Since the last HELLO: a cut costs one frame, noise costs them all. */
#define LINK_BAD_FRAMES_MAX    16
#define LINK_SKIPPED_BYTES_MAX ((uint64_t)2 * WIRE_FRAME_MAX)
#define LINK_WELCOME_ID	       UINT64_MAX /* a HELLO with another one was not asked for */

struct link;

/**
 * struct link_ops - what a link reports, from the event loop
 * @message: a valid message from the guest. HELLO among them: of another version, it has that and
 *	nothing else
 * @silent: no HELLO within LINK_HELLO_USEC: nothing listens at the guest's end, yet; or @heard:
 *	something talks there, too slowly or not the protocol
 * @closed: once; the link only waits for link_free(). @message: one line for the operator
 *
 * link_free() must not be called from within them.
 */
struct link_ops {
	void (*message)(uint16_t type, uint64_t id, const union wire_message *m, uint32_t length,
			void *userdata);
	void (*silent)(bool heard, void *userdata);
	void (*closed)(int reason, const char *message, void *userdata);
};

/**
 * link_new() - connect to an agent and greet it
 * @ops: kept, not copied
 *
 * Return: 0 or -errno; a socket that is not there is reported here: -ENOENT, -ECONNREFUSED.
 */
int link_new(sd_event *event, const struct url *url, const struct link_ops *ops, void *userdata,
	     struct link **ret);

/**
 * link_free() - disconnect; calls nothing back. NULL is allowed.
 *
 * Return: NULL.
 */
struct link *link_free(struct link *l);

/**
 * link_send() - queue one message
 * @payload: @length bytes, at most WIRE_PAYLOAD_MAX
 *
 * Return: 0; -ENOBUFS when the guest does not take what was sent before; -ENOTCONN.
 */
int link_send(struct link *l, uint16_t type, uint64_t id, const void *payload, uint32_t length);

/**
 * link_lost() - how many frames came damaged or not whole, ever
 */
uint64_t link_lost(const struct link *l);

#endif
