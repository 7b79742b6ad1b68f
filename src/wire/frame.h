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
 * Nothing is allocated by a length that a peer names: the reader's buffer is fixed.
 */
#ifndef PAGEPACT_WIRE_FRAME_H
#define PAGEPACT_WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define WIRE_MAGIC	  0x01504750u /* "PGP\x01" */
#define WIRE_VERSION	  1
#define WIRE_HEADER_BYTES 24
#define WIRE_PAYLOAD_MAX  65536
#define WIRE_FRAME_MAX	  (WIRE_HEADER_BYTES + WIRE_PAYLOAD_MAX)

/**
 * struct wire_frame - one whole frame that passed its checks
 * @payload: points into the reader; valid until the next wire_reader_next() on it
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
 */
struct wire_reader {
	uint64_t skipped_bytes;
	uint64_t bad_frames;
	uint32_t start;
	uint32_t end;
	uint8_t buffer[WIRE_FRAME_MAX];
};

/**
 * wire_reader_reset() - forget what was read: the peer is a new one
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
 * wire_frame_seal() - write the header in front of a payload
 * @frame: WIRE_HEADER_BYTES of room, then the payload already in place
 * @length: the payload's, at most WIRE_PAYLOAD_MAX
 *
 * Return: the whole frame's size in bytes.
 */
size_t wire_frame_seal(void *frame, uint16_t type, uint64_t id, uint32_t length);

#endif
