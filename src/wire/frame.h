/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of the host<->guest protocol.
 *
 * How it works
 *
 * A frame is a 24-byte header and at most 64 KiB of payload, little-endian throughout:
 *
 *	offset size
 *	0      4    magic "PGP\x01"
 *	4      2    type (enum wire_type)
 *	6      2    version of the protocol that the sender speaks
 *	8      8    id: chosen by whoever asks, repeated in every answer
 *	16     4    length of the payload in bytes, 0 ... 65,536
 *	20     4    CRC-32 (zlib's) of the 20 bytes before it and of the payload
 *
 * A virtio-serial port is a byte pipe that either end may drop in mid-frame and take up again,
 * so a reader may start anywhere. It looks for the magic, and believes a header only when its
 * length is in bounds and the checksum holds; otherwise it looks on from the byte after the
 * magic. A false magic inside a payload therefore costs at most one payload, and a real frame
 * that follows a cut is never lost to it: everything from the byte after the false magic is
 * read again.
 *
 * Nothing is allocated by a length that a peer names: the reader's buffer is fixed. Nor is time
 * spent as a peer likes: a stream of headers that overlap would make a reader sum up the same
 * bytes over and over, so checksums are paid for with a credit that grows with the bytes received,
 * and when it is used up a frame is passed over whole. Agents, cut off or not, never come near it.
 *
 * A frame that was cut looks like one whose rest has not come yet. A reader cannot tell; whoever
 * has a clock can: see wire_reader_give_up().
 */
#ifndef PAGEPACT_WIRE_FRAME_H
#define PAGEPACT_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_MAGIC	  0x01504750u /* "PGP\x01" */
#define WIRE_VERSION	  3
#define WIRE_HEADER_BYTES 24
#define WIRE_PAYLOAD_MAX  65536
#define WIRE_FRAME_MAX	  (WIRE_HEADER_BYTES + WIRE_PAYLOAD_MAX)

/**
 * struct wire_frame - one whole frame that passed its checks
 * @payload: points into the reader, not aligned; valid until the next call on the reader
 */
struct wire_frame {
	uint16_t type;
	uint16_t version;
	uint64_t id;
	uint32_t length;
	const uint8_t *payload;
};

/**
 * struct wire_reader - reassembles frames from a byte stream
 * @skipped_bytes: bytes that belonged to no frame, since wire_reader_reset()
 * @bad_frames: headers whose length or checksum did not hold
 * @credit_bytes: that may be summed up before more have been received
 */
struct wire_reader {
	uint64_t skipped_bytes;
	uint64_t bad_frames;
	uint32_t credit_bytes;
	uint32_t start;
	uint32_t end;
	uint8_t buffer[WIRE_FRAME_MAX];
};

/**
 * wire_reader_reset() - before first use; and later to forget what was read: the peer is a new one
 */
void wire_reader_reset(struct wire_reader *r);

/**
 * wire_reader_space() - where the next bytes go
 * @ret_size: room there, in bytes; more than 0 once wire_reader_next() has returned 0
 *
 * Return: the place to read into. Tell how much came with wire_reader_added().
 */
void *wire_reader_space(struct wire_reader *r, size_t *ret_size);

/**
 * wire_reader_added() - @size bytes were written to wire_reader_space()
 */
void wire_reader_added(struct wire_reader *r, size_t size);

/**
 * wire_reader_next() - take the next frame
 *
 * Return: 1 and @ret filled, or 0 when more bytes are needed.
 */
int wire_reader_next(struct wire_reader *r, struct wire_frame *ret);

/**
 * wire_reader_give_up() - the rest of the frame that has begun will not come
 *
 * For when nothing has come for a while and something should have: an agent that was killed in the
 * middle of a frame and started again is then heard at once, and not after another 64 KiB. Call
 * wire_reader_next() next.
 *
 * Return: whether there was one.
 */
bool wire_reader_give_up(struct wire_reader *r);

/**
 * wire_frame_seal() - write the header in front of a payload
 * @frame: WIRE_HEADER_BYTES of room, then the payload already in place
 * @length: the payload's, at most WIRE_PAYLOAD_MAX
 *
 * Return: the whole frame's size in bytes.
 */
size_t wire_frame_seal(void *frame, uint16_t type, uint64_t id, uint32_t length);

#endif
