/* SPDX-License-Identifier: Apache-2.0 */
/* What wire_decode() lets through, and each kind of thing that it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "wire/message.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static _Alignas(8) uint8_t scratch[WIRE_PAYLOAD_MAX];
/* One more than fits, and not aligned, as frames come. */
static uint8_t unaligned[WIRE_PAYLOAD_MAX + 2];
static union wire_message message;

static int decode(uint16_t type, const void *payload, size_t length)
{
	struct wire_frame frame = {
		.type = type,
		.version = WIRE_VERSION,
		.length = (uint32_t)length,
		.payload = unaligned + 1,
	};

	memcpy(unaligned + 1, payload, length < WIRE_PAYLOAD_MAX ? length : WIRE_PAYLOAD_MAX);
	/* What lies behind a message could go on a character that was cut off. */
	memset(scratch, 0xac, sizeof(scratch));
	message.raw = NULL;
	return wire_decode(&frame, scratch, &message);
}

/* The layout of each type, as the protocol is documented and not as the decoder has it. */
static const struct shape {
	uint16_t type;
	size_t fixed;
	size_t item;
	uint32_t items_max;
	size_t count_at;
} shapes[] = {
	{ WIRE_WELCOME, 8, 0, 0, 0 },
	{ WIRE_HELLO, 328, 0, 0, 0 },
	{ WIRE_SCAN, 0, 0, 0, 0 },
	{ WIRE_DISK, 64, 0, 0, 0 },
	{ WIRE_FILE, 48, 0, 0, 0 },
	{ WIRE_EXTENTS, 8, 24, WIRE_ITEMS_MAX, 4 },
	{ WIRE_PAGES, 8, 24, WIRE_ITEMS_MAX, 0 },
	{ WIRE_SCAN_END, 224, 0, 0, 0 },
	{ WIRE_EVICT, 32, 24, WIRE_ITEMS_MAX, 24 },
	{ WIRE_RESULT, 88, 0, 0, 0 },
	{ WIRE_NAME, 24, 0, 0, 0 },
	{ WIRE_PATH, 8, 1, WIRE_PATH_MAX, 0 },
	{ WIRE_PING, 0, 0, 0, 0 },
	{ WIRE_PONG, 0, 0, 0, 0 },
	{ WIRE_ERROR, 256, 0, 0, 0 },
	{ WIRE_LIMIT, 24, 0, 0, 0 },
	{ WIRE_ASK, 0, 0, 0, 0 },
	{ WIRE_REPORT, 304, 0, 0, 0 },
	{ WIRE_FREE, 16, 0, 0, 0 },
	{ WIRE_FREED, 64, 0, 0, 0 },
	{ WIRE_HELD, 56, 16, WIRE_ITEMS_MAX, 52 },
	{ WIRE_TAKE, 8, 0, 0, 0 },
	{ WIRE_TAKEN, 16, 16, WIRE_ITEMS_MAX, 12 },
};

/* A valid payload with @count items; returns its length. */
static size_t valid(const struct shape *shape, uint32_t count, uint8_t *payload)
{
	const struct wire_identity identity = { .device = 0xfe01, .inode = 12 };
	static const struct wire_extent extent = { 5, 100, 3 };
	static const struct wire_run run = { .index = 5, .count = 3, .age = UINT16_MAX };
	static const struct wire_evict_run evict = { .index = 5, .block = 100, .count = 3 };
	size_t length = shape->fixed + count * shape->item;

	memset(payload, 0, length);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *item = payload + shape->fixed + i * shape->item;

		if (shape->type == WIRE_EXTENTS)
			memcpy(item, &extent, sizeof(extent));
		else if (shape->type == WIRE_PAGES)
			memcpy(item, &run, sizeof(run));
		else if (shape->type == WIRE_EVICT)
			memcpy(item, &evict, sizeof(evict));
		else if (shape->type == WIRE_HELD)
			memcpy(item, &(struct wire_held_run){ 100 + 4ull * i, 3 },
			       sizeof(struct wire_held_run));
		else if (shape->type == WIRE_TAKEN)
			memcpy(item, &(struct wire_superpages){ 100 + 4ull * i, 3 },
			       sizeof(struct wire_superpages));
		else
			*item = 'p';
	}
	if (shape->type == WIRE_FILE || shape->type == WIRE_EVICT || shape->type == WIRE_NAME)
		memcpy(payload, &identity, sizeof(identity));
	if (shape->type == WIRE_TAKEN)
		memcpy(payload, &(uint64_t){ 3ull * count }, sizeof(uint64_t));
	if (shape->item)
		memcpy(payload + shape->count_at, &count, sizeof(count));
	return length;
}

static const struct shape *shape_of(uint16_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		if (shapes[i].type == type)
			return &shapes[i];
	fail();
	return NULL;
}

static void test_sizes(void **state)
{
	static uint8_t payload[2 * WIRE_PAYLOAD_MAX];

	(void)state;
	assert_int_equal(ARRAY_SIZE(shapes), WIRE_TAKEN);
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		const struct shape *shape = &shapes[i];
		size_t length = valid(shape, 0, payload);

		assert_int_equal(decode(shape->type, payload, length), 0);
		assert_ptr_equal(message.raw, scratch);
		if (length)
			assert_int_equal(decode(shape->type, payload, length - 1), -EBADMSG);
		payload[length] = 0;
		assert_int_equal(decode(shape->type, payload, length + 1), -EBADMSG);
		assert_null(message.raw);
		if (length)
			assert_int_equal(decode(shape->type, payload, 0), -EBADMSG);
		assert_int_equal(decode(shape->type, payload, WIRE_PAYLOAD_MAX + 1), -EBADMSG);
		assert_int_equal(decode(shape->type, payload, UINT32_MAX), -EBADMSG);
	}
}

static void test_counts(void **state)
{
	static uint8_t payload[2 * WIRE_PAYLOAD_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		const struct shape *shape = &shapes[i];
		uint32_t counts[] = { 1, 2, shape->items_max };
		size_t length;

		if (!shape->item)
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(counts); k++) {
			length = valid(shape, counts[k], payload);
			assert_int_equal(decode(shape->type, payload, length), 0);
			assert_int_equal(decode(shape->type, payload, length - 1), -EBADMSG);
			assert_int_equal(decode(shape->type, payload, length + shape->item),
					 -EBADMSG);
		}
		length = valid(shape, shape->items_max + 1, payload);
		assert_int_equal(decode(shape->type, payload, length), -EBADMSG);

		/* Counts that no payload can have; times 24, some come out small in 32 bits. */
		static const uint32_t wild[] = {
			2, 3, UINT32_MAX, 1u << 31, 0xaaaaaaab, 0x0aaaaaab
		};

		for (size_t k = 0; k < ARRAY_SIZE(wild); k++) {
			length = valid(shape, 1, payload);
			memcpy(payload + shape->count_at, &wild[k], sizeof(wild[k]));
			assert_int_equal(decode(shape->type, payload, length), -EBADMSG);
		}
	}
}

static void test_unknown_types(void **state)
{
	static const uint16_t types[] = { 0, WIRE_TAKEN + 1, 255, 256 + WIRE_SCAN, UINT16_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(decode(types[i], "", 0), -EPROTONOSUPPORT);
}

#define AT(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)
#define ITEM(fixed, type, field)                                                                   \
	sizeof(struct fixed) + offsetof(struct type, field), sizeof(((struct type *)0)->field)
#define PAGES_END      WIRE_BLOCK_MAX
#define SUPERPAGES_END (WIRE_BLOCK_MAX / 512)

/* One field of a valid message is set to a value: the last one allowed, the first one not. */
static const struct value_case {
	uint16_t type;
	size_t at;
	size_t size;
	uint64_t good;
	uint64_t bad;
} values[] = {
	{ WIRE_HELLO, AT(wire_hello, ram_pages), PAGES_END - 1, PAGES_END },
	{ WIRE_DISK, AT(wire_disk, disk), WIRE_DISKS_MAX - 1, WIRE_DISKS_MAX },
	{ WIRE_DISK, AT(wire_disk, size_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_FILE, AT(wire_file, identity.inode), UINT64_MAX, 0 },
	{ WIRE_FILE, AT(wire_file, identity.kind), WIRE_FILE_BLOCK_DEVICE, WIRE_FILE_KINDS },
	{ WIRE_FILE, AT(wire_file, size_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_FILE, AT(wire_file, file), WIRE_FILES_MAX - 1, WIRE_FILES_MAX },
	{ WIRE_FILE, AT(wire_file, disk), WIRE_DISKS_MAX - 1, WIRE_DISKS_MAX },
	{ WIRE_FILE, AT(wire_file, disk), 0, WIRE_NO_DISK },
	{ WIRE_FILE, AT(wire_file, unplaced), WIRE_PLACED, WIRE_UNPLACED_FAILED },
	{ WIRE_FILE, AT(wire_file, unplaced), WIRE_PLACED, WIRE_UNPLACED_REASONS },
	{ WIRE_EXTENTS, AT(wire_extents, file), WIRE_FILES_MAX - 1, WIRE_FILES_MAX },
	{ WIRE_EXTENTS, ITEM(wire_extents, wire_extent, index), PAGES_END - 3, PAGES_END - 2 },
	{ WIRE_EXTENTS, ITEM(wire_extents, wire_extent, block), PAGES_END - 3, UINT64_MAX - 2 },
	{ WIRE_EXTENTS, ITEM(wire_extents, wire_extent, count), PAGES_END - 100, PAGES_END - 99 },
	{ WIRE_EXTENTS, ITEM(wire_extents, wire_extent, count), 1, 0 },
	{ WIRE_EXTENTS, ITEM(wire_extents, wire_extent, count), 1, UINT64_MAX },
	{ WIRE_PAGES, ITEM(wire_pages, wire_run, index), PAGES_END - 3, PAGES_END - 2 },
	{ WIRE_PAGES, ITEM(wire_pages, wire_run, index), 0, UINT64_MAX },
	{ WIRE_PAGES, ITEM(wire_pages, wire_run, count), UINT32_MAX, 0 },
	{ WIRE_PAGES, ITEM(wire_pages, wire_run, file), WIRE_FILES_MAX - 1, WIRE_FILES_MAX },
	{ WIRE_PAGES, ITEM(wire_pages, wire_run, flags), WIRE_PAGE_FLAGS_ALL, 1 << 5 },
	{ WIRE_PAGES, ITEM(wire_pages, wire_run, flags), WIRE_PAGE_HELD, UINT32_MAX },
	{ WIRE_PAGES, ITEM(wire_pages, wire_run, order), 10, 11 },
	{ WIRE_SCAN_END, AT(wire_scan_end, census.total), PAGES_END, PAGES_END + 1 },
	{ WIRE_SCAN_END, AT(wire_scan_end, census.free), PAGES_END, PAGES_END + 1 },
	{ WIRE_SCAN_END, AT(wire_scan_end, census.unmapped_clean), PAGES_END, UINT64_MAX },
	{ WIRE_SCAN_END, AT(wire_scan_end, census.superpages_reclaimable), 1, UINT64_MAX },
	{ WIRE_SCAN_END, AT(wire_scan_end, census.unplaced[9]), PAGES_END, PAGES_END + 1 },
	{ WIRE_SCAN_END, AT(wire_scan_end, elapsed_usec), WIRE_USEC_MAX, WIRE_USEC_MAX + 1 },
	{ WIRE_SCAN_END, AT(wire_scan_end, cpu_usec), WIRE_USEC_MAX, UINT64_MAX },
	{ WIRE_SCAN_END, AT(wire_scan_end, chunk_max_usec), WIRE_USEC_MAX, UINT64_MAX },
	{ WIRE_SCAN_END, AT(wire_scan_end, superpages_spoiled), PAGES_END, UINT64_MAX },
	{ WIRE_EVICT, AT(wire_evict, identity.inode), 1, 0 },
	{ WIRE_EVICT, AT(wire_evict, identity.kind), 0, UINT32_MAX },
	{ WIRE_EVICT, ITEM(wire_evict, wire_evict_run, index), PAGES_END - 3, PAGES_END - 2 },
	{ WIRE_EVICT, ITEM(wire_evict, wire_evict_run, block), PAGES_END - 3, PAGES_END },
	{ WIRE_EVICT, ITEM(wire_evict, wire_evict_run, count), UINT32_MAX, 0 },
	{ WIRE_RESULT, AT(wire_result, asked), 0, 1 },
	{ WIRE_RESULT, AT(wire_result, evicted), 0, 1 },
	{ WIRE_RESULT, AT(wire_result, kept_failed), 0, UINT64_MAX },
	{ WIRE_RESULT, AT(wire_result, usec), WIRE_USEC_MAX, UINT64_MAX },
	{ WIRE_RESULT, AT(wire_result, status), WIRE_ERRNO_MAX, WIRE_ERRNO_MAX + 1 },
	{ WIRE_RESULT, AT(wire_result, status), EIO, (uint32_t)-EIO },
	{ WIRE_NAME, AT(wire_name, identity.inode), 1, 0 },
	{ WIRE_NAME, AT(wire_name, identity.kind), 1, 2 },
	{ WIRE_PATH, AT(wire_path, status), WIRE_ERRNO_MAX, (uint32_t)INT32_MIN },
	{ WIRE_ERROR, AT(wire_error, code), WIRE_ERRNO_MAX, UINT32_MAX },
	{ WIRE_LIMIT, AT(wire_limit, kind), WIRE_LIMIT_OFF, WIRE_LIMIT_KINDS },
	{ WIRE_LIMIT, AT(wire_limit, kind), WIRE_LIMIT_GUEST, UINT32_MAX },
	{ WIRE_LIMIT, AT(wire_limit, kind), 0, WIRE_LIMIT_BYTES },
	{ WIRE_LIMIT, AT(wire_limit, kind), 0, WIRE_LIMIT_PERMILLE },
	{ WIRE_LIMIT, AT(wire_limit, permille), 0, 1 },
	{ WIRE_LIMIT, AT(wire_limit, bytes), 0, 1 },
	{ WIRE_LIMIT, AT(wire_limit, hint), WIRE_HINT_CACHE, WIRE_HINTS },
	{ WIRE_REPORT, AT(wire_report, limit_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, limit_bytes), UINT64_MAX, UINT64_MAX - 1 },
	{ WIRE_REPORT, AT(wire_report, unmapped_bytes), INT64_MAX, UINT64_MAX },
	{ WIRE_REPORT, AT(wire_report, limit_origin), WIRE_ORIGIN_HOST, WIRE_ORIGINS },
	{ WIRE_REPORT, AT(wire_report, limit_state), WIRE_STATE_CANNOT, WIRE_STATES },
	{ WIRE_REPORT, AT(wire_report, brake), WIRE_BRAKE_QUOTA, WIRE_BRAKES },
	{ WIRE_REPORT, AT(wire_report, heat), WIRE_HEAT_GET_PAGES, WIRE_HEATS },
	{ WIRE_REPORT, AT(wire_report, brake_left_usec), WIRE_USEC_MAX, WIRE_USEC_MAX + 1 },
	{ WIRE_REPORT, AT(wire_report, brakes), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, evicted_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, refaulted_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, slab_freed_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, slab_pressed_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, cpu_usec), WIRE_USEC_MAX, UINT64_MAX },
	{ WIRE_REPORT, AT(wire_report, events_lost), INT64_MAX, UINT64_MAX },
	{ WIRE_REPORT, AT(wire_report, evicted_by_age[0]), PAGES_END, PAGES_END + 1 },
	{ WIRE_REPORT, AT(wire_report, evicted_by_age[7]), PAGES_END, UINT64_MAX },
	{ WIRE_REPORT, AT(wire_report, refaulted_by_age[7]), PAGES_END, PAGES_END + 1 },
	{ WIRE_REPORT, AT(wire_report, hint), WIRE_HINT_CACHE, WIRE_HINTS },
	{ WIRE_REPORT, AT(wire_report, hint_origin), WIRE_ORIGIN_HOST, WIRE_ORIGINS },
	{ WIRE_REPORT, AT(wire_report, notice), WIRE_NOTICE_COUNTER, WIRE_NOTICES },
	{ WIRE_REPORT, AT(wire_report, pressure), 10000, 10001 },
	{ WIRE_REPORT, AT(wire_report, pressure), WIRE_BLIND, WIRE_BLIND - 1 },
	{ WIRE_REPORT, AT(wire_report, balloon_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, inflate_bytes), UINT64_MAX, UINT64_MAX - 1 },
	{ WIRE_REPORT, AT(wire_report, inflate_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, inflations), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, ahead_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, free_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, needed_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, oom_kills), INT64_MAX, 1ull << 63 },
	{ WIRE_REPORT, AT(wire_report, alloc_stalls), INT64_MAX, 1ull << 63 },
	{ WIRE_FREE, AT(wire_free, bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_FREE, AT(wire_free, flags), WIRE_FREE_FLAGS_ALL, WIRE_FREE_FLAGS_ALL + 1 },
	{ WIRE_FREED, AT(wire_freed, asked_bytes), INT64_MAX, 1ull << 63 },
	{ WIRE_FREED, AT(wire_freed, step_bytes[0]), INT64_MAX, 1ull << 63 },
	{ WIRE_FREED, AT(wire_freed, step_bytes[4]), INT64_MAX, UINT64_MAX },
	{ WIRE_FREED, AT(wire_freed, usec), WIRE_USEC_MAX, UINT64_MAX },
	{ WIRE_FREED, AT(wire_freed, stopped), WIRE_STOPPED_BRAKED, WIRE_STOPPEDS },
	{ WIRE_FREED, AT(wire_freed, brake), WIRE_BRAKE_QUOTA, UINT32_MAX },
	{ WIRE_HELD, AT(wire_held, flags), WIRE_HELD_FIRST, 2 },
	{ WIRE_HELD, ITEM(wire_held, wire_held_run, block), PAGES_END - 3, PAGES_END - 2 },
	{ WIRE_HELD, ITEM(wire_held, wire_held_run, block), 0, UINT64_MAX },
	{ WIRE_HELD, ITEM(wire_held, wire_held_run, count), PAGES_END - 100, 0 },
	{ WIRE_HELD, ITEM(wire_held, wire_held_run, count), 1, UINT64_MAX },
	{ WIRE_TAKE, AT(wire_take, superpages), SUPERPAGES_END, SUPERPAGES_END + 1 },
	{ WIRE_TAKE, AT(wire_take, superpages), 0, UINT64_MAX },
	{ WIRE_TAKEN, AT(wire_taken, superpages), SUPERPAGES_END, SUPERPAGES_END + 1 },
	{ WIRE_TAKEN, AT(wire_taken, superpages), 3, 2 },
	{ WIRE_TAKEN, AT(wire_taken, untaken), WIRE_UNTAKENS - 1, WIRE_UNTAKENS },
	{ WIRE_TAKEN, ITEM(wire_taken, wire_superpages, start), SUPERPAGES_END - 3,
	  SUPERPAGES_END - 2 },
	{ WIRE_TAKEN, ITEM(wire_taken, wire_superpages, start), 0, UINT64_MAX },
	{ WIRE_TAKEN, ITEM(wire_taken, wire_superpages, count), 1, 0 },
	{ WIRE_TAKEN, ITEM(wire_taken, wire_superpages, count), 3, 4 },
	{ WIRE_TAKEN, ITEM(wire_taken, wire_superpages, count), 3, UINT64_MAX },
};

static void test_values(void **state)
{
	uint8_t payload[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		const struct value_case *v = &values[i];
		const struct shape *shape = shape_of(v->type);
		size_t length = valid(shape, shape->item ? 1 : 0, payload);

		memcpy(payload + v->at, &v->good, v->size);
		if (decode(v->type, payload, length) != 0)
			fail_msg("value %zu: a good one of type %u is refused", i, v->type);
		memcpy(payload + v->at, &v->bad, v->size);
		if (decode(v->type, payload, length) != -EBADMSG)
			fail_msg("value %zu: a bad one of type %u is let through", i, v->type);
	}
}

/* Bad values in the last item of a full list, where a check that stops early does not look. */
static void test_last_item(void **state)
{
	static const uint16_t types[] = { WIRE_EXTENTS, WIRE_PAGES, WIRE_EVICT, WIRE_HELD,
					  WIRE_TAKEN };
	static uint8_t payload[WIRE_PAYLOAD_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		size_t length = valid(shape_of(types[i]), WIRE_ITEMS_MAX, payload);

		memset(payload + length - shape_of(types[i])->item, 0, shape_of(types[i])->item);
		assert_int_equal(decode(types[i], payload, length), -EBADMSG);
	}
}

/* A file without a disk says why, and one with a disk has no reason to. */
static void test_unplaced_files(void **state)
{
	struct wire_file file = { .identity = { .inode = 1 }, .disk = WIRE_NO_DISK };

	(void)state;
	for (uint32_t reason = 1; reason < WIRE_UNPLACED_REASONS; reason++) {
		file.unplaced = reason;
		assert_int_equal(decode(WIRE_FILE, &file, sizeof(file)), 0);
	}
	file.unplaced = WIRE_PLACED;
	assert_int_equal(decode(WIRE_FILE, &file, sizeof(file)), -EBADMSG);
	file.disk = WIRE_DISKS_MAX;
	assert_int_equal(decode(WIRE_FILE, &file, sizeof(file)), -EBADMSG);
}

/* Every page has one fate: eight of them, and all are counted. */
static void test_result_sums(void **state)
{
	struct wire_result r = { .asked = 36,
				 .evicted = 1,
				 .kept_mapped = 2,
				 .kept_dirty = 3,
				 .kept_hot = 4,
				 .kept_gone = 5,
				 .kept_partial = 6,
				 .kept_moved = 7,
				 .kept_failed = 8 };

	(void)state;
	assert_int_equal(decode(WIRE_RESULT, &r, sizeof(r)), 0);
	assert_int_equal(message.result->kept_moved, 7);
	r.asked++;
	assert_int_equal(decode(WIRE_RESULT, &r, sizeof(r)), -EBADMSG);
	/* Sums that come round to what was asked. */
	r = (struct wire_result){
		.asked = 2, .evicted = 1ull << 63, .kept_hot = 1ull << 63, .kept_gone = 2
	};
	assert_int_equal(decode(WIRE_RESULT, &r, sizeof(r)), -EBADMSG);
	r = (struct wire_result){ .asked = UINT64_MAX, .evicted = UINT64_MAX };
	assert_int_equal(decode(WIRE_RESULT, &r, sizeof(r)), -EBADMSG);
	r = (struct wire_result){ .asked = WIRE_BLOCK_MAX, .evicted = WIRE_BLOCK_MAX };
	assert_int_equal(decode(WIRE_RESULT, &r, sizeof(r)), 0);
	r = (struct wire_result){ .asked = UINT64_MAX, .evicted = UINT64_MAX - 1, .kept_hot = 1 };
	assert_int_equal(decode(WIRE_RESULT, &r, sizeof(r)), -EBADMSG);
}

static void test_texts(void **state)
{
	struct wire_hello hello;
	struct wire_error error = { .text = "one\ntwo\033[2J\x7f\x80\xff" };
	struct wire_disk disk;

	(void)state;
	memset(&hello, 'A', sizeof(hello));
	hello.ram_pages = 1;
	assert_int_equal(decode(WIRE_HELLO, &hello, sizeof(hello)), 0);
	assert_int_equal(strlen(message.hello->agent_version), 31);
	assert_int_equal(strlen(message.hello->kernel), 63);
	assert_int_equal(strlen(message.hello->missing), 191);
	assert_int_equal(decode(WIRE_ERROR, &error, sizeof(error)), 0);
	assert_string_equal(message.error->text, "one?two?[2J???");
	memset(error.text, '\r', sizeof(error.text));
	assert_int_equal(decode(WIRE_ERROR, &error, sizeof(error)), 0);
	assert_int_equal(strspn(message.error->text, "?"), sizeof(error.text) - 1);
	memset(&disk, 0, sizeof(disk));
	memset(disk.pci_address, 0xff, sizeof(disk.pci_address));
	assert_int_equal(decode(WIRE_DISK, &disk, sizeof(disk)), 0);
	assert_string_equal(message.disk->pci_address, "???????????????");
	assert_string_equal(message.disk->serial, "");
}

static int decode_path(const char *path, size_t length)
{
	uint8_t payload[sizeof(struct wire_path) + WIRE_PATH_MAX] = {};
	struct wire_path head = { .length = (uint32_t)length };

	memcpy(payload, &head, sizeof(head));
	memcpy(payload + sizeof(head), path, length);
	return decode(WIRE_PATH, payload, sizeof(head) + length);
}

/* Paths are UTF-8 and do not steer terminals: json_string() and people both want that. */
static void test_paths(void **state)
{
	static const struct {
		const char *path;
		const char *shown;
	} paths[] = {
		{ "", "" },
		{ "/usr/lib/libc.so.6", "/usr/lib/libc.so.6" },
		{ "/a b~\"\\", "/a b~\"\\" },
		{ "/\033]0;title\007\n\t\x7f", "/?]0;title????" },
		{ "/\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		  "/\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "/latin\xe9", "/latin?" },
		{ "/\xe9t\xe9", "/?t?" },
		{ "\x80\xbf", "??" },			    /* continuations of nothing */
		{ "\xc0\xaf", "??" },			    /* '/', longer than it has to be */
		{ "\xe0\x80\xaf", "???" },		    /* the same, longer */
		{ "\xf0\x80\x80\xaf", "????" },		    /* and longer */
		{ "\xed\xa0\x80", "???" },		    /* half of a surrogate pair */
		{ "\xed\x9f\xbf", "\xed\x9f\xbf" },	    /* the last before them */
		{ "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" }, /* the last character */
		{ "\xf4\x90\x80\x80", "????" },		    /* one more */
		{ "\xf8\x88\x80\x80\x80", "?????" },
		{ "\xfe\xff", "??" },
		{ "\xc2\x9b", "??" }, /* control sequence introducer */
		{ "\xc2\xa0", "\xc2\xa0" },
		{ "x\xe2\x82", "x??" }, /* cut off */
		{ "\xe2\x82z", "??z" },
	};
	static char longest[WIRE_PATH_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_int_equal(decode_path(paths[i].path, strlen(paths[i].path)), 0);
		assert_int_equal(message.path->length, strlen(paths[i].path));
		assert_string_equal(message.path->path, paths[i].shown);
	}
	assert_int_equal(decode_path("/a\0b", 4), 0);
	assert_string_equal(message.path->path, "/a?b");
	memset(longest, 'x', sizeof(longest));
	longest[WIRE_PATH_MAX - 1] = '\xe2';
	assert_int_equal(decode_path(longest, WIRE_PATH_MAX), 0);
	assert_int_equal(strlen(message.path->path), WIRE_PATH_MAX);
	assert_int_equal(message.path->path[WIRE_PATH_MAX - 1], '?');
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),	      cmocka_unit_test(test_counts),
		cmocka_unit_test(test_unknown_types), cmocka_unit_test(test_values),
		cmocka_unit_test(test_last_item),     cmocka_unit_test(test_unplaced_files),
		cmocka_unit_test(test_result_sums),   cmocka_unit_test(test_texts),
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
