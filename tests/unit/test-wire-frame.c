/* SPDX-License-Identifier: Apache-2.0 */
/* The frame's layout, and a reader that finds its feet after any cut and in any garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "wire/frame.h"

/* Everything that a reader says of a stream, in order. */
struct heard {
	size_t n;
	uint64_t ids[64];
	uint32_t lengths[64];
};

static struct wire_reader reader;

static size_t frame_put(uint8_t *at, uint64_t id, uint32_t length, uint8_t fill)
{
	memset(at + WIRE_HEADER_BYTES, fill, length);
	return wire_frame_seal(at, 7, id, length);
}

static void listen(struct heard *heard)
{
	struct wire_frame frame;

	while (wire_reader_next(&reader, &frame)) {
		assert_true(heard->n < 64);
		assert_true(frame.length <= WIRE_PAYLOAD_MAX);
		assert_true(frame.payload >= reader.buffer);
		assert_true(frame.payload + frame.length <= reader.buffer + sizeof(reader.buffer));
		heard->ids[heard->n] = frame.id;
		heard->lengths[heard->n++] = frame.length;
	}
}

/* In pieces of @piece bytes, as reads from a socket come. */
static void feed(const uint8_t *bytes, size_t size, size_t piece, struct heard *heard)
{
	while (size > 0) {
		size_t room, n = size < piece ? size : piece;
		void *space = wire_reader_space(&reader, &room);

		assert_true(room > 0);
		n = n < room ? n : room;
		memcpy(space, bytes, n);
		wire_reader_added(&reader, n);
		bytes += n;
		size -= n;
		listen(heard);
	}
}

static void give_up(struct heard *heard)
{
	while (wire_reader_give_up(&reader))
		listen(heard);
}

/* The checksum by its definition, so that it is not zlib that vouches for zlib. */
static uint32_t crc_slow(const uint8_t *bytes, size_t size, uint32_t crc)
{
	for (size_t i = 0; i < size; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return crc;
}

static void test_layout(void **state)
{
	static const uint8_t expected[20] = { 'P',  'G',  'P',	1,    0x0c, 0x0b, 3, 0, 0x08, 0x07,
					      0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 5, 0, 0,    0 };
	uint8_t frame[WIRE_HEADER_BYTES + 5] = { [WIRE_HEADER_BYTES] = 'h', 'e', 'l', 'l', 'o' };
	uint32_t crc;

	(void)state;
	assert_int_equal(wire_frame_seal(frame, 0x0b0c, 0x0102030405060708, 5), sizeof(frame));
	assert_memory_equal(frame, expected, sizeof(expected));
	assert_memory_equal(frame + WIRE_HEADER_BYTES, "hello", 5);
	crc = ~crc_slow(frame + WIRE_HEADER_BYTES, 5, crc_slow(frame, 20, ~0u));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(frame[20 + i], crc >> (8 * i) & 0xff);
}

static void test_round_trip(void **state)
{
	static const uint32_t lengths[] = { 0, 1, 7, 4096, WIRE_PAYLOAD_MAX - 1, WIRE_PAYLOAD_MAX };
	static const size_t pieces[] = { 1, 3, 23, 24, 25, 4096, WIRE_FRAME_MAX, 1 << 20 };
	static uint8_t stream[4 * WIRE_FRAME_MAX];
	size_t size = 0;

	(void)state;
	for (size_t i = 0; i < 6; i++)
		size += frame_put(stream + size, i, lengths[i], (uint8_t)i);
	for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
		struct heard heard = {};

		wire_reader_reset(&reader);
		feed(stream, size, pieces[p], &heard);
		assert_int_equal(heard.n, 6);
		for (size_t i = 0; i < 6; i++) {
			assert_int_equal(heard.ids[i], i);
			assert_int_equal(heard.lengths[i], lengths[i]);
		}
		assert_int_equal(reader.skipped_bytes, 0);
		assert_int_equal(reader.bad_frames, 0);
		assert_false(wire_reader_give_up(&reader));
	}
}

static void test_contents(void **state)
{
	uint8_t bytes[64];
	struct wire_frame frame;
	size_t room, size = frame_put(bytes, 99, 10, 0xa5);

	(void)state;
	wire_reader_reset(&reader);
	assert_int_equal(wire_reader_next(&reader, &frame), 0);
	memcpy(wire_reader_space(&reader, &room), bytes, size);
	assert_int_equal(room, WIRE_FRAME_MAX);
	wire_reader_added(&reader, size);
	assert_int_equal(wire_reader_next(&reader, &frame), 1);
	assert_int_equal(frame.type, 7);
	assert_int_equal(frame.version, WIRE_VERSION);
	assert_int_equal(frame.id, 99);
	assert_int_equal(frame.length, 10);
	assert_memory_equal(frame.payload, bytes + WIRE_HEADER_BYTES, 10);
	assert_int_equal(wire_reader_next(&reader, &frame), 0);
}

/* Frames of several sizes; @ends gets where each ends. */
static size_t stream_make(uint8_t *stream, size_t *ends, uint64_t first_id)
{
	static const uint32_t lengths[] = { 0, 40, 3, 200, 24 };
	size_t size = 0;

	for (size_t i = 0; i < 5; i++) {
		size += frame_put(stream + size, first_id + i, lengths[i], (uint8_t)(0x50 + i));
		ends[i] = size;
	}
	return size;
}

/* A reader that starts in the middle hears every frame that begins after it. */
static void test_start_anywhere(void **state)
{
	uint8_t stream[1024];
	size_t ends[5], size = stream_make(stream, ends, 0);

	(void)state;
	for (size_t start = 0; start <= size; start++) {
		struct heard heard = {};
		size_t lost = 0;

		while (lost < 5 && start > (lost ? ends[lost - 1] : 0))
			lost++;
		wire_reader_reset(&reader);
		feed(stream + start, size - start, 17, &heard);
		give_up(&heard);
		assert_int_equal(heard.n, 5 - lost);
		for (size_t i = 0; i < heard.n; i++)
			assert_int_equal(heard.ids[i], lost + i);
	}
}

/* The agent dies after any byte and is started again: nothing of the second one is lost. */
static void test_cut_anywhere(void **state)
{
	uint8_t first[1024], second[1024];
	size_t ends[5], size = stream_make(first, ends, 0);

	(void)state;
	(void)stream_make(second, ends, 100);
	for (size_t cut = 0; cut <= size; cut++) {
		struct heard heard = {};
		size_t whole = 0;

		while (whole < 5 && ends[whole] <= cut)
			whole++;
		wire_reader_reset(&reader);
		feed(first, cut, 1024, &heard);
		assert_int_equal(heard.n, whole);
		feed(second, size, 1024, &heard);
		give_up(&heard);
		assert_int_equal(heard.n, whole + 5);
		for (size_t i = 0; i < 5; i++)
			assert_int_equal(heard.ids[whole + i], 100 + i);
	}
}

/* The same without anybody's giving up, by what comes after it. */
static void test_cut_frame_is_outlived(void **state)
{
	static uint8_t stream[3 * WIRE_FRAME_MAX];
	struct heard heard = {};
	size_t size = frame_put(stream, 1, WIRE_PAYLOAD_MAX, 'x');

	(void)state;
	wire_reader_reset(&reader);
	feed(stream, 1000, 1000, &heard);
	for (size = 0; size < WIRE_FRAME_MAX;)
		size += frame_put(stream + size, 2, 2000, 'y');
	feed(stream, size, 512, &heard);
	assert_int_equal(heard.n, size / (2000 + WIRE_HEADER_BYTES));
	assert_int_equal(reader.bad_frames, 1);
	assert_int_equal(reader.skipped_bytes, 1000);
}

static void test_any_wrong_byte(void **state)
{
	uint8_t stream[256];
	size_t size = frame_put(stream, 1, 30, 'a'), end = size;

	(void)state;
	end += frame_put(stream + size, 2, 5, 'b');
	for (size_t i = 0; i < size; i++) {
		struct heard heard = {};

		stream[i] ^= 0x41;
		wire_reader_reset(&reader);
		feed(stream, end, 256, &heard);
		give_up(&heard);
		assert_int_equal(heard.n, 1);
		assert_int_equal(heard.ids[0], 2);
		assert_int_equal(reader.skipped_bytes, size);
		stream[i] ^= 0x41;
	}
}

static void test_length_bounds(void **state)
{
	static const uint32_t lengths[] = { WIRE_PAYLOAD_MAX + 1, 1u << 31, UINT32_MAX };
	uint8_t stream[256];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct heard heard = {};

		(void)frame_put(stream, 1, 0, 0);
		memcpy(stream + 16, &lengths[i], 4);
		(void)frame_put(stream + WIRE_HEADER_BYTES, 2, 0, 0);
		wire_reader_reset(&reader);
		feed(stream, 2 * WIRE_HEADER_BYTES, 256, &heard);
		assert_int_equal(heard.n, 1);
		assert_int_equal(heard.ids[0], 2);
		assert_int_equal(reader.bad_frames, 1);
	}
}

/* A payload may hold anything: magics, headers, a whole frame. None of it is heard. */
static void test_frames_in_payload(void **state)
{
	uint8_t stream[512], inner[64];
	struct heard heard = {};
	size_t inner_size = frame_put(inner, 666, 4, 'i'), size;

	(void)state;
	memset(stream, 0, sizeof(stream));
	memcpy(stream + WIRE_HEADER_BYTES, inner, inner_size);
	memcpy(stream + WIRE_HEADER_BYTES + 40, "PGP\1PGP\1PPGP\1", 13);
	size = wire_frame_seal(stream, 7, 1, 200);
	size += frame_put(stream + size, 2, 0, 0);
	wire_reader_reset(&reader);
	feed(stream, size, 1, &heard);
	assert_int_equal(heard.n, 2);
	assert_int_equal(heard.ids[0], 1);
	assert_int_equal(heard.ids[1], 2);
	assert_int_equal(reader.skipped_bytes, 0);
	/* Without its beginning the rest is all there is to go by. */
	wire_reader_reset(&reader);
	heard.n = 0;
	feed(stream + 1, size - 1, 512, &heard);
	assert_int_equal(heard.n, 2);
	assert_int_equal(heard.ids[0], 666);
	assert_int_equal(heard.ids[1], 2);
}

static uint32_t roll(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33);
}

/* Garbage of bytes that a header has, so that it comes close to being one. */
static void test_garbage(void **state)
{
	static const uint8_t likely[] = { 'P', 'G', 'P', 1, 0, 0, 0, 0, 'P', 0xff, 24, 7 };
	uint64_t dice = 1;

	(void)state;
	for (size_t n = 0; n < 100000; n++) {
		uint8_t stream[256];
		size_t garbage = roll(&dice) % 100;
		struct heard heard = {};

		for (size_t i = 0; i < garbage; i++)
			stream[i] = roll(&dice) % 2 ? likely[roll(&dice) % sizeof(likely)]
						    : (uint8_t)roll(&dice);
		for (size_t i = roll(&dice) % 4; i > 0 && garbage >= 4; i--)
			memcpy(stream + roll(&dice) % (garbage - 3), "PGP\1", 4);
		(void)frame_put(stream + garbage, n, 8, (uint8_t)n);
		wire_reader_reset(&reader);
		feed(stream, garbage + WIRE_HEADER_BYTES + 8, 1 + roll(&dice) % 64, &heard);
		give_up(&heard);
		assert_int_equal(heard.n, 1);
		assert_int_equal(heard.ids[0], n);
		assert_int_equal(reader.skipped_bytes, garbage);
	}
}

/*
 * Headers that overlap, each with a long payload and a false checksum: every byte received would
 * cost thousands to be summed up. What is summed up stays a few times what was received.
 */
static void test_overlapping_headers(void **state)
{
	enum { STEP = 20, LENGTH = 60000, SIZE = 2 << 20 };
	static uint8_t stream[SIZE];
	uint32_t length = LENGTH;
	struct heard heard = {};

	(void)state;
	/* Good behaviour before it is not saved up. */
	wire_reader_reset(&reader);
	for (size_t i = 0; i < 60; i++)
		feed(stream, frame_put(stream, i, WIRE_PAYLOAD_MAX, 0), WIRE_FRAME_MAX, &heard);
	assert_int_equal(heard.n, 60);
	heard.n = 0;
	for (size_t i = 0; i + STEP <= SIZE; i += STEP) {
		memcpy(stream + i, "PGP\1", 4);
		memcpy(stream + i + 16, &length, 4);
	}
	feed(stream, SIZE, 4096, &heard);
	assert_int_equal(heard.n, 0);
	/* Summed up: 4 times what came, and 4 frames' worth to begin with; the rest passed over. */
	assert_in_range(reader.bad_frames, 5, 5 * (SIZE / LENGTH + 2));
	/* An honest frame is heard again as soon as the last of it has gone by. */
	for (size_t i = 0; i < 40; i++)
		feed(stream + SIZE / 2, frame_put(stream + SIZE / 2, 5, 4000, 0), 4096, &heard);
	assert_true(heard.n > 10);
}

/* Whether bytes come one by one or all at once makes no difference to an honest, broken stream. */
static void test_pieces_do_not_matter(void **state)
{
	static uint8_t stream[16384];
	uint64_t dice = 3;

	(void)state;
	for (size_t n = 0; n < 200; n++) {
		struct heard one = {}, other = {};
		size_t size = 0;

		while (size < 8000)
			if (roll(&dice) % 3)
				size += frame_put(stream + size, roll(&dice), roll(&dice) % 900,
						  'P');
			else
				stream[size++] = (uint8_t)roll(&dice);
		wire_reader_reset(&reader);
		feed(stream, size, 1, &one);
		give_up(&one);
		wire_reader_reset(&reader);
		feed(stream, size, sizeof(stream), &other);
		give_up(&other);
		assert_memory_equal(&one, &other, sizeof(one));
		assert_true(one.n > 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_contents),
		cmocka_unit_test(test_start_anywhere),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_cut_frame_is_outlived),
		cmocka_unit_test(test_any_wrong_byte),
		cmocka_unit_test(test_length_bounds),
		cmocka_unit_test(test_frames_in_payload),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_overlapping_headers),
		cmocka_unit_test(test_pieces_do_not_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
