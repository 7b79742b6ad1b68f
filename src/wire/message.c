/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/message.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

static_assert(sizeof(struct wire_extents) + WIRE_ITEMS_MAX * sizeof(struct wire_extent) <=
		      WIRE_PAYLOAD_MAX,
	      "a full list fits a frame");
static_assert(sizeof(struct wire_pages) + WIRE_ITEMS_MAX * sizeof(struct wire_run) <=
		      WIRE_PAYLOAD_MAX,
	      "a full list fits a frame");
static_assert(sizeof(struct wire_evict) + WIRE_ITEMS_MAX * sizeof(struct wire_evict_run) <=
		      WIRE_PAYLOAD_MAX,
	      "a full list fits a frame");
static_assert(sizeof(struct wire_held) + WIRE_ITEMS_MAX * sizeof(struct wire_held_run) <=
		      WIRE_PAYLOAD_MAX,
	      "a full list fits a frame");
static_assert(sizeof(struct wire_taken) + WIRE_ITEMS_MAX * sizeof(struct wire_superpages) <=
		      WIRE_PAYLOAD_MAX,
	      "a full list fits a frame");
static_assert(sizeof(struct wire_path) + WIRE_PATH_MAX < WIRE_PAYLOAD_MAX,
	      "a full path fits the scratch buffer together with its NUL");

/* A peer's text is shown to people: cut it to its field and take the terminal's controls out. */
static void text_clean(char *text, size_t size)
{
	text[size - 1] = '\0';
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
			*c = '?';
}

/* Length of the printable UTF-8 character at @text, of which there are @left bytes; 0: none. */
static size_t character_length(const uint8_t *text, size_t left)
{
	static const uint32_t lowest[] = { 0, 0x20, 0x80, 0x800, 0x10000 };
	/* By the first byte's high bits: 0..., 110..., 1110..., 11110... */
	size_t length = *text < 0x80 ? 1 : (size_t)__builtin_clz(~((unsigned)*text << 24));

	if (length > 4 || length > left || (*text >= 0x80 && length < 2))
		return 0;

	uint32_t code = length > 1 ? *text & (0x7fu >> length) : *text;

	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	if (code < lowest[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ||
	    (code >= 0x7f && code <= 0x9f))
		return 0;
	return length;
}

/*
 * A path is any bytes: what would steer a terminal or is not UTF-8, which JSON has to be, is shown
 * as question marks. It is for people; files are named by their identity.
 */
static void path_clean(char *path, size_t length)
{
	for (size_t i = 0; i < length;) {
		size_t n = character_length((uint8_t *)path + i, length - i);

		if (!n)
			path[i] = '?';
		i += n ? n : 1;
	}
}

static bool status_valid(int64_t status)
{
	return status >= 0 && status <= WIRE_ERRNO_MAX;
}

/* Multiplied by 4 KiB, or as they are, these three fit the signed 64 bits of JSON. */
static bool pages_valid(uint64_t pages)
{
	return pages <= WIRE_BLOCK_MAX;
}

static bool bytes_valid(uint64_t bytes)
{
	return bytes <= INT64_MAX;
}

static bool usec_valid(uint64_t usec)
{
	return usec <= WIRE_USEC_MAX;
}

static bool blocks_valid(uint64_t start, uint64_t count)
{
	return count > 0 && start < WIRE_BLOCK_MAX && count <= WIRE_BLOCK_MAX - start;
}

static bool identity_valid(const struct wire_identity *identity)
{
	return identity->kind < WIRE_FILE_KINDS && identity->inode != 0;
}

static int hello_check(void *p)
{
	struct wire_hello *hello = p;

	text_clean(hello->agent_version, sizeof(hello->agent_version));
	text_clean(hello->kernel, sizeof(hello->kernel));
	text_clean(hello->missing, sizeof(hello->missing));
	return hello->ram_pages < WIRE_BLOCK_MAX ? 0 : -EBADMSG;
}

static int disk_check(void *p)
{
	struct wire_disk *disk = p;

	text_clean(disk->pci_address, sizeof(disk->pci_address));
	text_clean(disk->serial, sizeof(disk->serial));
	return disk->disk < WIRE_DISKS_MAX && bytes_valid(disk->size_bytes) ? 0 : -EBADMSG;
}

static int file_check(void *p)
{
	const struct wire_file *file = p;

	if (!identity_valid(&file->identity) || file->file >= WIRE_FILES_MAX ||
	    file->unplaced >= WIRE_UNPLACED_REASONS || !bytes_valid(file->size_bytes))
		return -EBADMSG;
	/* A file is on a disk exactly when its blocks are known. */
	return (file->disk < WIRE_DISKS_MAX && file->unplaced == WIRE_PLACED) ||
			       (file->disk == WIRE_NO_DISK && file->unplaced != WIRE_PLACED)
		       ? 0
		       : -EBADMSG;
}

static int extents_check(void *p)
{
	const struct wire_extents *extents = p;

	if (extents->file >= WIRE_FILES_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < extents->count; i++)
		if (!blocks_valid(extents->items[i].index, extents->items[i].count) ||
		    !blocks_valid(extents->items[i].block, extents->items[i].count))
			return -EBADMSG;
	return 0;
}

static int pages_check(void *p)
{
	const struct wire_pages *pages = p;

	for (uint32_t i = 0; i < pages->count; i++) {
		const struct wire_run *run = &pages->items[i];

		if (!blocks_valid(run->index, run->count) || run->file >= WIRE_FILES_MAX ||
		    run->flags & ~(uint32_t)WIRE_PAGE_FLAGS_ALL || run->order > 10)
			return -EBADMSG;
	}
	return 0;
}

static int scan_end_check(void *p)
{
	const struct wire_scan_end *end = p;
	const struct wire_census *c = &end->census;
	const uint64_t pages[] = {
		c->total,
		c->free,
		c->anonymous,
		c->shmem,
		c->mapped_file,
		c->unmapped_clean,
		c->unmapped_dirty,
		c->slab,
		c->other,
		c->placed,
		c->superpages,
		c->superpages_free,
		c->files,
		c->superpages_reclaimable,
		end->superpages_spoiled,
	};

	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		if (!pages_valid(pages[i]))
			return -EBADMSG;
	for (size_t i = 0; i < WIRE_UNPLACED_REASONS; i++)
		if (!pages_valid(c->unplaced[i]))
			return -EBADMSG;
	return usec_valid(end->elapsed_usec) && usec_valid(end->cpu_usec) &&
			       usec_valid(end->chunk_max_usec)
		       ? 0
		       : -EBADMSG;
}

static int evict_check(void *p)
{
	const struct wire_evict *evict = p;

	if (!identity_valid(&evict->identity))
		return -EBADMSG;
	for (uint32_t i = 0; i < evict->count; i++)
		if (!blocks_valid(evict->items[i].index, evict->items[i].count) ||
		    !blocks_valid(evict->items[i].block, evict->items[i].count))
			return -EBADMSG;
	return 0;
}

static int result_check(void *p)
{
	const struct wire_result *r = p;
	const uint64_t parts[] = { r->evicted,	 r->kept_mapped,  r->kept_dirty, r->kept_hot,
				   r->kept_gone, r->kept_partial, r->kept_moved, r->kept_failed };
	uint64_t sum = 0;

	/* Every page asked for has one fate. */
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (__builtin_add_overflow(sum, parts[i], &sum))
			return -EBADMSG;
	return sum == r->asked && pages_valid(r->asked) && usec_valid(r->usec) &&
			       status_valid(r->status)
		       ? 0
		       : -EBADMSG;
}

static int name_check(void *p)
{
	const struct wire_name *name = p;

	return identity_valid(&name->identity) ? 0 : -EBADMSG;
}

static int path_check(void *p)
{
	struct wire_path *path = p;

	path_clean(path->path, path->length);
	/* A frame has room for many times WIRE_PATH_MAX. */
	path->path[path->length] = '\0';
	return status_valid(path->status) ? 0 : -EBADMSG;
}

static int error_check(void *p)
{
	struct wire_error *error = p;

	text_clean(error->text, sizeof(error->text));
	return status_valid(error->code) ? 0 : -EBADMSG;
}

static int limit_check(void *p)
{
	const struct wire_limit *limit = p;

	if (limit->kind >= WIRE_LIMIT_KINDS)
		return -EBADMSG;
	/* Each number is there exactly when its kind wants it. */
	if ((limit->kind == WIRE_LIMIT_PERMILLE) != (limit->permille > 0) ||
	    (limit->kind == WIRE_LIMIT_BYTES) != (limit->bytes > 0))
		return -EBADMSG;
	return limit->permille <= 1000 && bytes_valid(limit->bytes) && limit->hint < WIRE_HINTS
		       ? 0
		       : -EBADMSG;
}

static int report_check(void *p)
{
	const struct wire_report *r = p;
	const uint64_t numbers[] = {
		r->limit_bytes == UINT64_MAX ? 0 : r->limit_bytes,
		r->unmapped_bytes,
		r->brakes,
		r->evicted_bytes,
		r->refaulted_bytes,
		r->slab_freed_bytes,
		r->slab_pressed_bytes,
		r->events_lost,
		r->balloon_bytes,
		r->inflate_bytes == UINT64_MAX ? 0 : r->inflate_bytes,
		r->inflations,
		r->ahead_bytes,
		r->free_bytes,
		r->needed_bytes,
		r->oom_kills,
		r->alloc_stalls,
	};

	if (r->limit_origin >= WIRE_ORIGINS || r->limit_state >= WIRE_STATES ||
	    r->brake >= WIRE_BRAKES || r->heat >= WIRE_HEATS || r->hint >= WIRE_HINTS ||
	    r->hint_origin >= WIRE_ORIGINS || r->notice >= WIRE_NOTICES ||
	    (r->pressure > 10000 && r->pressure != WIRE_BLIND))
		return -EBADMSG;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (!bytes_valid(numbers[i]))
			return -EBADMSG;
	for (size_t i = 0; i < WIRE_AGE_CLASSES; i++)
		if (!pages_valid(r->evicted_by_age[i]) || !pages_valid(r->refaulted_by_age[i]))
			return -EBADMSG;
	return usec_valid(r->brake_left_usec) && usec_valid(r->cpu_usec) ? 0 : -EBADMSG;
}

static int free_check(void *p)
{
	const struct wire_free *order = p;

	return bytes_valid(order->bytes) && !(order->flags & ~(uint32_t)WIRE_FREE_FLAGS_ALL)
		       ? 0
		       : -EBADMSG;
}

static int freed_check(void *p)
{
	const struct wire_freed *freed = p;
	uint64_t sum = 0;

	for (size_t i = 0; i < WIRE_STEPS; i++)
		if (__builtin_add_overflow(sum, freed->step_bytes[i], &sum))
			return -EBADMSG;
	return bytes_valid(sum) && bytes_valid(freed->asked_bytes) && usec_valid(freed->usec) &&
			       freed->stopped < WIRE_STOPPEDS && freed->brake < WIRE_BRAKES
		       ? 0
		       : -EBADMSG;
}

static int held_check(void *p)
{
	struct wire_held *held = p;
	uint64_t end = 0;

	text_clean(held->pci_address, sizeof(held->pci_address));
	text_clean(held->serial, sizeof(held->serial));
	if (held->flags & ~(uint32_t)WIRE_HELD_FIRST)
		return -EBADMSG;
	for (uint32_t i = 0; i < held->count; i++) {
		const struct wire_held_run *run = &held->items[i];

		if (!blocks_valid(run->block, run->count) || (i && run->block <= end))
			return -EBADMSG;
		end = run->block + run->count;
	}
	return 0;
}

static bool superpages_valid(uint64_t superpages)
{
	return superpages <= WIRE_BLOCK_MAX / (WIRE_SUPERPAGE_BYTES / WIRE_BLOCK_BYTES);
}

static int take_check(void *p)
{
	const struct wire_take *take = p;

	return superpages_valid(take->superpages) ? 0 : -EBADMSG;
}

/* Runs ascend and do not overlap, so that none is told twice, and are no more than there are. */
static int taken_check(void *p)
{
	const struct wire_taken *taken = p;
	uint64_t end = 0, sum = 0;

	if (!superpages_valid(taken->superpages) || taken->untaken >= WIRE_UNTAKENS)
		return -EBADMSG;
	for (uint32_t i = 0; i < taken->count; i++) {
		const struct wire_superpages *run = &taken->items[i];

		if (!run->count || run->start < end || !superpages_valid(run->start) ||
		    !superpages_valid(run->count) || !superpages_valid(run->start + run->count))
			return -EBADMSG;
		end = run->start + run->count;
		sum += run->count;
	}
	return sum <= taken->superpages ? 0 : -EBADMSG;
}

/*
 * One row a type: the size of its fixed part, of an item of its list, where the list's count
 * stands, and what else must hold.
 */
static const struct layout {
	uint32_t fixed_bytes;
	uint32_t item_bytes;
	uint32_t items_max;
	uint32_t count_offset;
	int (*check)(void *message);
} layouts[] = {
	[WIRE_WELCOME] = { .fixed_bytes = sizeof(struct wire_welcome) },
	[WIRE_HELLO] = { .fixed_bytes = sizeof(struct wire_hello), .check = hello_check },
	[WIRE_SCAN] = { .fixed_bytes = 0 },
	[WIRE_DISK] = { .fixed_bytes = sizeof(struct wire_disk), .check = disk_check },
	[WIRE_FILE] = { .fixed_bytes = sizeof(struct wire_file), .check = file_check },
	[WIRE_EXTENTS] = { sizeof(struct wire_extents), sizeof(struct wire_extent), WIRE_ITEMS_MAX,
			   offsetof(struct wire_extents, count), extents_check },
	[WIRE_PAGES] = { sizeof(struct wire_pages), sizeof(struct wire_run), WIRE_ITEMS_MAX,
			 offsetof(struct wire_pages, count), pages_check },
	[WIRE_SCAN_END] = { .fixed_bytes = sizeof(struct wire_scan_end), .check = scan_end_check },
	[WIRE_EVICT] = { sizeof(struct wire_evict), sizeof(struct wire_evict_run), WIRE_ITEMS_MAX,
			 offsetof(struct wire_evict, count), evict_check },
	[WIRE_RESULT] = { .fixed_bytes = sizeof(struct wire_result), .check = result_check },
	[WIRE_NAME] = { .fixed_bytes = sizeof(struct wire_name), .check = name_check },
	[WIRE_PATH] = { sizeof(struct wire_path), 1, WIRE_PATH_MAX,
			offsetof(struct wire_path, length), path_check },
	[WIRE_PING] = { .fixed_bytes = 0 },
	[WIRE_PONG] = { .fixed_bytes = 0 },
	[WIRE_ERROR] = { .fixed_bytes = sizeof(struct wire_error), .check = error_check },
	[WIRE_LIMIT] = { .fixed_bytes = sizeof(struct wire_limit), .check = limit_check },
	[WIRE_ASK] = { .fixed_bytes = 0 },
	[WIRE_REPORT] = { .fixed_bytes = sizeof(struct wire_report), .check = report_check },
	[WIRE_FREE] = { .fixed_bytes = sizeof(struct wire_free), .check = free_check },
	[WIRE_FREED] = { .fixed_bytes = sizeof(struct wire_freed), .check = freed_check },
	[WIRE_HELD] = { sizeof(struct wire_held), sizeof(struct wire_held_run), WIRE_ITEMS_MAX,
			offsetof(struct wire_held, count), held_check },
	[WIRE_TAKE] = { .fixed_bytes = sizeof(struct wire_take), .check = take_check },
	[WIRE_TAKEN] = { sizeof(struct wire_taken), sizeof(struct wire_superpages), WIRE_ITEMS_MAX,
			 offsetof(struct wire_taken, count), taken_check },
};

int wire_decode(const struct wire_frame *frame, void *scratch, union wire_message *ret)
{
	if (frame->type < WIRE_WELCOME || frame->type >= sizeof(layouts) / sizeof(layouts[0]))
		return -EPROTONOSUPPORT;

	const struct layout *layout = &layouts[frame->type];
	uint32_t count = 0;

	if (frame->length < layout->fixed_bytes || frame->length > WIRE_PAYLOAD_MAX)
		return -EBADMSG;
	/* Frames start at any byte; the structures want alignment. */
	if (frame->length)
		memcpy(scratch, frame->payload, frame->length);
	if (layout->item_bytes) {
		memcpy(&count, (uint8_t *)scratch + layout->count_offset, sizeof(count));
		if (count > layout->items_max)
			return -EBADMSG;
	}
	if (frame->length != layout->fixed_bytes + count * layout->item_bytes)
		return -EBADMSG;
	if (layout->check) {
		int r = layout->check(scratch);

		if (r < 0)
			return r;
	}
	ret->raw = scratch;
	return 0;
}
