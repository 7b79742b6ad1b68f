/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/frame.h"

#include <assert.h>
#include <string.h>
#include <zlib.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the protocol's structures are laid out for little-endian machines"
#endif

struct header {
	uint32_t magic;
	uint16_t type;
	uint16_t version;
	uint64_t id;
	uint32_t length;
	uint32_t crc;
};
static_assert(sizeof(struct header) == WIRE_HEADER_BYTES, "the header has no padding");

/*
 * A cut costs one frame's checksum in vain, whatever follows is summed up once: twice as much, for
 * the length of a few frames, leaves room enough.
 */
#define CREDIT_BYTES_MAX  (4 * WIRE_FRAME_MAX)
#define CREDIT_FOR_A_BYTE 4
static_assert(CREDIT_BYTES_MAX >= WIRE_FRAME_MAX, "any one frame can be afforded");

static uint32_t frame_crc(const void *frame, const void *payload, uint32_t length)
{
	uLong crc = crc32(0, frame, offsetof(struct header, crc));

	/* zlib takes a null buffer for a request of the initial value. */
	if (length)
		crc = crc32(crc, payload, length);
	return (uint32_t)crc;
}

void wire_reader_reset(struct wire_reader *r)
{
	r->skipped_bytes = r->bad_frames = 0;
	r->credit_bytes = CREDIT_BYTES_MAX;
	r->start = r->end = 0;
}

void *wire_reader_space(struct wire_reader *r, size_t *ret_size)
{
	if (r->start) {
		memmove(r->buffer, r->buffer + r->start, r->end - r->start);
		r->end -= r->start;
		r->start = 0;
	}
	*ret_size = sizeof(r->buffer) - r->end;
	return r->buffer + r->end;
}

void wire_reader_added(struct wire_reader *r, size_t size)
{
	assert(size <= sizeof(r->buffer) - r->end);
	r->end += (uint32_t)size;
	r->credit_bytes += CREDIT_FOR_A_BYTE * (uint32_t)size;
	if (r->credit_bytes > CREDIT_BYTES_MAX)
		r->credit_bytes = CREDIT_BYTES_MAX;
}

static void reader_skip(struct wire_reader *r, uint32_t bytes)
{
	r->start += bytes;
	r->skipped_bytes += bytes;
}

/* Moves to the next magic, or to what may be the beginning of one at the end of the data. */
static void reader_find_magic(struct wire_reader *r)
{
	static const uint8_t magic[4] = { 'P', 'G', 'P', 1 };

	while (r->start < r->end) {
		const uint8_t *at = r->buffer + r->start;
		uint32_t left = r->end - r->start;

		if (memcmp(at, magic, left < 4 ? left : 4) == 0)
			return;
		const uint8_t *next = memchr(at + 1, magic[0], left - 1);
		reader_skip(r, next ? (uint32_t)(next - at) : left);
	}
}

/* Looks at a header whose payload is all there. Passes over what is no frame. */
static bool reader_check(struct wire_reader *r, const uint8_t *at, const struct header *h)
{
	uint32_t size = (uint32_t)sizeof(*h) + h->length;
	bool afforded = r->credit_bytes >= size;

	if (afforded) {
		r->credit_bytes -= size;
		if (frame_crc(at, at + sizeof(*h), h->length) == h->crc)
			return true;
	}
	r->bad_frames++;
	reader_skip(r, afforded ? 1 : size);
	return false;
}

int wire_reader_next(struct wire_reader *r, struct wire_frame *ret)
{
	for (;;) {
		struct header h;

		reader_find_magic(r);
		const uint8_t *at = r->buffer + r->start;
		uint32_t left = r->end - r->start;

		if (left < sizeof(h))
			return 0;
		memcpy(&h, at, sizeof(h));
		if (h.length > WIRE_PAYLOAD_MAX) {
			r->bad_frames++;
			reader_skip(r, 1);
			continue;
		}
		if (left - sizeof(h) < h.length)
			return 0;
		if (!reader_check(r, at, &h))
			continue;
		r->start += (uint32_t)sizeof(h) + h.length;
		*ret = (struct wire_frame){
			.type = h.type,
			.version = h.version,
			.id = h.id,
			.length = h.length,
			.payload = at + sizeof(h),
		};
		return 1;
	}
}

bool wire_reader_give_up(struct wire_reader *r)
{
	if (r->start == r->end)
		return false;
	r->bad_frames++;
	reader_skip(r, 1);
	return true;
}

size_t wire_frame_seal(void *frame, uint16_t type, uint64_t id, uint32_t length)
{
	struct header h = {
		.magic = WIRE_MAGIC,
		.type = type,
		.version = WIRE_VERSION,
		.id = id,
		.length = length,
	};

	assert(length <= WIRE_PAYLOAD_MAX);
	h.crc = frame_crc(&h, (uint8_t *)frame + sizeof(h), length);
	memcpy(frame, &h, sizeof(h));
	return sizeof(h) + length;
}
