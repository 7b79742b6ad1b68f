/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's end of the virtio-serial port: frames in, frames out, both bounded.
 *
 * The host may come, go and come back at any time, and may stop reading. Frames for it are queued
 * and written while the caller waits for input, so that a host that reads slowly holds nobody up;
 * link_send() waits only where the queue is full. When the host takes nothing for LINK_SEND_USEC,
 * the queue is thrown away with the exchange that it belonged to: a frame that is cut by that is
 * passed over by the host's reader (wire/frame.h).
 */
#ifndef PAGEPACT_GUEST_LINK_H
#define PAGEPACT_GUEST_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/frame.h"

#define LINK_SEND_USEC 10000000
/* For how long one message may wait for room, with all else that the caller has to do. */
#define LINK_ROOM_USEC 2000000
/* A frame that takes longer to come was cut: the host's daemon died in the middle of it, and what
 * comes now is its successor's. */
#define LINK_STALL_USEC 5000000

/* What one chunk of a census has to say has room: 2,048 pages, of as many files of one extent. */
#define LINK_QUEUE_BYTES (8 * WIRE_FRAME_MAX)

struct agent_link {
	int fd; /* -1: there is no port */
	int signal_fd;
	struct wire_reader reader;
	uint64_t begun_usec; /* when the frame that is not whole yet began to come */
	uint64_t taken_usec; /* when the host took some of the queue last, or the queue began */
	size_t out_start, out_end;
	uint8_t out[LINK_QUEUE_BYTES];
	_Alignas(uint64_t) uint8_t frame[WIRE_FRAME_MAX];
};

/**
 * link_open() - open the port
 * @path: /dev/virtio-ports/NAME, or a terminal in tests
 *
 * Return: 0 or -errno.
 */
int link_open(struct agent_link *l, const char *path);

/**
 * link_done() - close the port
 */
void link_done(struct agent_link *l);

#define LINK_INPUT 1
#define LINK_OTHER 2

/**
 * link_wait() - wait until there is input, @other can be read, or @timeout_usec has passed
 * @other: a descriptor of the caller's, or -1
 *
 * A frame that takes too long is given up here; link_next() may find others behind it.
 *
 * A port that no host has open reports a hang-up for as long as that lasts; the host is then
 * waited for without burning time, a second at most: the kernel raises SIGIO, which link_open()
 * blocked, when a host opens the port.
 *
 * What is queued is written meanwhile. Of a host that does not read what it asked for, nothing is
 * read either while half of the queue is full.
 *
 * Return: LINK_INPUT when link_receive() has something to read, LINK_OTHER when @other has, both or
 * 0; -ENOTCONN when no host has the port open, -ETIMEDOUT when it took nothing for LINK_SEND_USEC
 * (the queue is empty then); or another -errno.
 */
int link_wait(struct agent_link *l, int other, uint64_t timeout_usec);

/**
 * link_receive() - read what has come
 * @other, @timeout_usec: as for link_wait(): a port without a host is always readable, and always
 * at its end
 *
 * Return: 0; -ENOTCONN when no host has the port open; or another -errno.
 */
int link_receive(struct agent_link *l, int other, uint64_t timeout_usec);

/**
 * link_next() - take the next frame that has come whole
 *
 * Return: 1 and @ret filled, valid until the next call on the link; or 0.
 */
int link_next(struct agent_link *l, struct wire_frame *ret);

/**
 * link_payload() - where the next frame's payload is to be built, WIRE_PAYLOAD_MAX bytes,
 * aligned for the structures of wire/message.h
 */
void *link_payload(struct agent_link *l);

/**
 * link_send() - queue the frame whose payload was built
 * @length: of the payload
 *
 * Return: 0; -ETIMEDOUT when the queue is full and the host does not take enough
 * of it within LINK_ROOM_USEC (it is empty then); -ENOTCONN when it has
 * gone.
 */
int link_send(struct agent_link *l, uint16_t type, uint64_t id, uint32_t length);

/** link_is_behind() - whether the host has not taken all that was sent */
bool link_is_behind(const struct agent_link *l);

/** link_is_full() - whether the host has not taken so much that it should not be given more */
bool link_is_full(const struct agent_link *l);

#endif
