/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest may send: bytes in pieces of any size to the reader, frames to the decoder.
 *
 * The first byte of an input chooses the pieces: 0 is one of each byte, 1 to 126 pick sizes, 127
 * all at once. With its highest bit set the rest is no stream but the payloads of one: a type, two
 * bytes of length, a payload, and again; checksums are put in front, which no mutation would find.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wire_reader reader;
static _Alignas(8) uint8_t scratch[WIRE_PAYLOAD_MAX];

/* Of all that was heard: enough to tell two runs apart. */
struct heard {
	uint64_t frames;
	uint64_t bytes;
	uint64_t ids;
};

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_text(const char *text, size_t size)
{
	check(memchr(text, '\0', size) != NULL);
	for (; *text; text++)
		check(*text >= 0x20 && *text < 0x7f);
}

static void check_runs(const struct wire_frame *frame, const union wire_message *m)
{
	uint64_t end = 0;

	if (frame->type == WIRE_EXTENTS)
		for (uint32_t i = 0; i < m->extents->count; i++) {
			const struct wire_extent *item = &m->extents->items[i];

			check(item->count > 0);
			check(!__builtin_add_overflow(item->index, item->count, &end));
			check(end <= WIRE_BLOCK_MAX);
			check(item->block + item->count <= WIRE_BLOCK_MAX);
		}
	if (frame->type == WIRE_PAGES)
		for (uint32_t i = 0; i < m->pages->count; i++) {
			const struct wire_run *item = &m->pages->items[i];

			check(item->count > 0 && item->file < WIRE_FILES_MAX);
			check(item->index + item->count <= WIRE_BLOCK_MAX);
			check((item->flags & ~(uint32_t)WIRE_PAGE_FLAGS_ALL) == 0);
		}
	if (frame->type == WIRE_EVICT)
		for (uint32_t i = 0; i < m->evict->count; i++)
			check(m->evict->items[i].index + m->evict->items[i].count <=
			      WIRE_BLOCK_MAX);
}

static void check_number(uint64_t number)
{
	check(number <= INT64_MAX);
}

static void check_report(const struct wire_report *r)
{
	check(r->limit_bytes == UINT64_MAX || r->limit_bytes <= INT64_MAX);
	check_number(r->unmapped_bytes);
	check_number(r->brake_left_usec);
	check_number(r->brakes);
	check_number(r->evicted_bytes);
	check_number(r->refaulted_bytes);
	check_number(r->slab_freed_bytes);
	check_number(r->slab_pressed_bytes);
	check_number(r->cpu_usec);
	check_number(r->events_lost);
	check_number(r->balloon_bytes);
	check(r->inflate_bytes == UINT64_MAX || r->inflate_bytes <= INT64_MAX);
	check_number(r->inflations);
	check_number(r->ahead_bytes);
	check_number(r->free_bytes);
	check_number(r->needed_bytes);
	check_number(r->oom_kills);
	check_number(r->alloc_stalls);
	check(r->pressure <= 10000 || r->pressure == WIRE_BLIND);
	check(strcmp(wire_hint_name(r->hint), "unknown") != 0);
	check(strcmp(wire_origin_name(r->hint_origin), "unknown") != 0);
	check(strcmp(wire_notice_name(r->notice), "unknown") != 0);
	check(strcmp(wire_origin_name(r->limit_origin), "unknown") != 0);
	check(strcmp(wire_state_name(r->limit_state), "unknown") != 0);
	check(strcmp(wire_brake_name(r->brake), "unknown") != 0);
	check(strcmp(wire_heat_name(r->heat), "unknown") != 0);
	for (int i = 0; i < WIRE_AGE_CLASSES; i++) {
		check_number(r->evicted_by_age[i] * WIRE_BLOCK_BYTES);
		check(r->refaulted_by_age[i] <= WIRE_BLOCK_MAX);
	}
}

static void check_freed(const struct wire_freed *f)
{
	uint64_t sum = 0;

	for (int i = 0; i < WIRE_STEPS; i++) {
		check_number(f->step_bytes[i]);
		sum += f->step_bytes[i];
		check_number(sum);
	}
	check_number(f->asked_bytes);
	check_number(f->usec);
	check(strcmp(wire_stopped_name(f->stopped), "unknown") != 0);
	check(strcmp(wire_brake_name(f->brake), "unknown") != 0);
}

static void check_held(const struct wire_held *held)
{
	uint64_t end = 0;

	check_text(held->pci_address, sizeof(held->pci_address));
	check_text(held->serial, sizeof(held->serial));
	for (uint32_t i = 0; i < held->count; i++) {
		check(!i || held->items[i].block > end);
		check(held->items[i].count > 0);
		end = held->items[i].block + held->items[i].count;
		check(end <= WIRE_BLOCK_MAX);
	}
}

static void check_taken(const struct wire_taken *taken)
{
	uint64_t end = 0, sum = 0;

	check_number(taken->superpages * WIRE_SUPERPAGE_BYTES);
	check(strcmp(wire_untaken_name(taken->untaken), "unknown") != 0);
	for (uint32_t i = 0; i < taken->count; i++) {
		check(taken->items[i].start >= end && taken->items[i].count > 0);
		end = taken->items[i].start + taken->items[i].count;
		check_number(end * WIRE_SUPERPAGE_BYTES);
		sum += taken->items[i].count;
	}
	check(sum <= taken->superpages);
}

static void check_limit(const struct wire_limit *limit)
{
	check(limit->kind < WIRE_LIMIT_KINDS && limit->permille <= 1000);
	check((limit->bytes > 0) == (limit->kind == WIRE_LIMIT_BYTES));
	check(strcmp(wire_hint_name(limit->hint), "unknown") != 0);
	check_number(limit->bytes);
}

static void check_message(const struct wire_frame *frame, const union wire_message *m)
{
	check(m->raw == scratch);
	switch (frame->type) {
	case WIRE_HELLO:
		check_text(m->hello->agent_version, sizeof(m->hello->agent_version));
		check_text(m->hello->kernel, sizeof(m->hello->kernel));
		check_text(m->hello->missing, sizeof(m->hello->missing));
		break;
	case WIRE_DISK:
		check_text(m->disk->pci_address, sizeof(m->disk->pci_address));
		check_text(m->disk->serial, sizeof(m->disk->serial));
		check(m->disk->disk < WIRE_DISKS_MAX);
		break;
	case WIRE_FILE:
		check(m->file->disk < WIRE_DISKS_MAX || m->file->disk == WIRE_NO_DISK);
		check_text(wire_unplaced_name(m->file->unplaced), 32);
		break;
	case WIRE_PATH:
		check(strlen(m->path->path) == m->path->length);
		break;
	case WIRE_ERROR:
		check_text(m->error->text, sizeof(m->error->text));
		break;
	case WIRE_RESULT:
		check(m->result->evicted <= m->result->asked && m->result->status >= 0);
		break;
	case WIRE_LIMIT:
		check_limit(m->limit);
		break;
	case WIRE_REPORT:
		check_report(m->report);
		break;
	case WIRE_FREE:
		check_number(m->free->bytes);
		break;
	case WIRE_FREED:
		check_freed(m->freed);
		break;
	case WIRE_HELD:
		check_held(m->held);
		break;
	case WIRE_TAKE:
		check_number(m->take->superpages * WIRE_SUPERPAGE_BYTES);
		break;
	case WIRE_TAKEN:
		check_taken(m->taken);
		break;
	default:
		check_runs(frame, m);
	}
}

static void listen(struct heard *heard)
{
	struct wire_frame frame;
	size_t room;

	while (wire_reader_next(&reader, &frame)) {
		union wire_message m;

		check(frame.length <= WIRE_PAYLOAD_MAX);
		heard->frames++;
		heard->bytes += WIRE_HEADER_BYTES + frame.length;
		heard->ids = heard->ids * 31 + frame.id + frame.type;
		if (wire_decode(&frame, scratch, &m) == 0)
			check_message(&frame, &m);
	}
	(void)wire_reader_space(&reader, &room);
	check(room > 0);
}

static struct heard feed(const uint8_t *stream, size_t size, unsigned pieces)
{
	struct heard heard = {};
	uint32_t dice = pieces;
	size_t at = 0;

	wire_reader_reset(&reader);
	while (at < size) {
		size_t room, n = pieces ? 1 + dice % 509 : 1;
		void *space = wire_reader_space(&reader, &room);

		dice = dice * 1103515245 + 12345;
		if (pieces == 127 || n > size - at)
			n = size - at;
		n = n < room ? n : room;
		memcpy(space, stream + at, n);
		wire_reader_added(&reader, n);
		at += n;
		listen(&heard);
	}
	while (wire_reader_give_up(&reader))
		listen(&heard);
	/* Each byte was part of a frame, or skipped. */
	check(heard.bytes + reader.skipped_bytes == size);
	return heard;
}

/* Puts headers in front of payloads; the stream is the caller's to free. */
static uint8_t *payloads_seal(const uint8_t *data, size_t size, size_t *ret_size)
{
	size_t frames = size / 3 + 1, used = 0;
	uint8_t *stream = malloc(size + frames * WIRE_HEADER_BYTES);

	check(stream != NULL);
	while (size >= 3) {
		uint16_t type = data[0];
		uint32_t length = data[1] | (uint32_t)data[2] << 8;

		data += 3;
		size -= 3;
		length = length < size ? length : (uint32_t)size;
		memcpy(stream + used + WIRE_HEADER_BYTES, data, length);
		used += wire_frame_seal(stream + used, type, used, length);
		data += length;
		size -= length;
	}
	*ret_size = used;
	return stream;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *sealed = NULL;
	const uint8_t *stream;

	if (size < 1)
		return 0;
	unsigned pieces = data[0] & 0x7f;

	stream = data + 1;
	size--;
	if (data[0] & 0x80)
		stream = sealed = payloads_seal(stream, size, &size);

	struct heard one = feed(stream, size, pieces);
	uint64_t bad = reader.bad_frames;
	struct heard other = feed(stream, size, 127);

	/* Pieces make no difference while there is credit, which four checksums cannot use up. */
	if (bad < 4 && reader.bad_frames < 4)
		check(memcmp(&one, &other, sizeof(one)) == 0);
	free(sealed);
	return 0;
}
