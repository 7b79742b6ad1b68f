/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that the host does with a guest's scan: the frames' reader, wire_decode(), scan_add(), and
 * the pieces in the end. Input is a list of messages (type, length of 16 bits, payload), which are
 * sealed here: no fuzzer guesses checksums. The first byte says in what pieces the bytes come.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/scan.h"
#include "wire/message.h"

#define RAM_PAGES 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wire_reader reader;
static uint8_t frame[WIRE_FRAME_MAX];
static _Alignas(uint64_t) uint8_t scratch[WIRE_PAYLOAD_MAX];

struct sum {
	uint64_t pages, pieces;
};

static int piece_check(const struct scan *s, const struct scan_file *file,
		       const struct wire_run *run, uint64_t index, uint64_t block, uint64_t count,
		       void *userdata)
{
	struct sum *sum = userdata;

	if (count == 0 || index < run->index || index + count > run->index + run->count ||
	    block + count > WIRE_BLOCK_MAX || file->file.file >= s->n_files)
		abort();
	sum->pages += count;
	sum->pieces++;
	return 0;
}

static void scan_check(const struct scan *s)
{
	struct sum sum = { 0 };

	if (s->n_disks > WIRE_DISKS_MAX || s->n_extents > SCAN_EXTENTS_MAX ||
	    s->n_runs > SCAN_RUNS_MAX)
		abort();
	if (scan_pieces(s, piece_check, &sum) != 0)
		abort();
	/* What a guest says bounds neither; what it has does. */
	if (sum.pages > 2 * RAM_PAGES || sum.pieces > sum.pages)
		abort();
}

/* Return: what scan_add() said last, 0 to go on. */
static int frames_take(struct scan *s)
{
	struct wire_frame f;
	int r = 0;

	while (r == 0 && wire_reader_next(&reader, &f)) {
		union wire_message m;

		if (wire_decode(&f, scratch, &m) >= 0)
			r = scan_add(s, f.type, &m);
	}
	return r;
}

static int feed(struct scan *s, const uint8_t *bytes, size_t size, size_t piece)
{
	int r = 0;

	while (size && r == 0) {
		size_t room, n = size < piece ? size : piece;
		void *space = wire_reader_space(&reader, &room);

		if (n > room)
			n = room;
		memcpy(space, bytes, n);
		wire_reader_added(&reader, n);
		bytes += n;
		size -= n;
		r = frames_take(s);
	}
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scan *s = scan_new(1, 0, RAM_PAGES);
	size_t piece = size && data[0] ? data[0] : sizeof(frame);
	int r = 0;

	if (!s)
		return 0;
	wire_reader_reset(&reader);
	for (size_t at = 1; at + 3 <= size && r == 0;) {
		size_t length = data[at + 1] | (size_t)data[at + 2] << 8;
		uint16_t type = data[at];

		at += 3;
		if (length > size - at)
			length = size - at;
		memcpy(frame + WIRE_HEADER_BYTES, data + at, length);
		at += length;
		r = feed(s, frame, wire_frame_seal(frame, type, 1, (uint32_t)length), piece);
	}
	scan_check(s);
	scan_free(s);
	return 0;
}
