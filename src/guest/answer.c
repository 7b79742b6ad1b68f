/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "guest/evict.h"
#include "guest/free.h"
#include "guest/report.h"
#include "guest/taking.h"
#include "guest/tend.h"
#include "version.h"

/* So many files, opened one after another, may leave slabs with nothing in them. */
#define FILES_MANY 256

static uint64_t cpu_usec(void)
{
	return clock_usec(CLOCK_PROCESS_CPUTIME_ID);
}

static int error_send(struct agent *a, uint64_t id, int error, const char *text)
{
	struct wire_error *e = link_payload(&a->link);

	*e = (struct wire_error){ .code = (uint32_t)error };
	snprintf(e->text, sizeof(e->text), "%s", text);
	return link_send(&a->link, WIRE_ERROR, id, sizeof(*e));
}

static void boot_id_read(uint8_t ret[16])
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	int c, digits = 0;

	memset(ret, 0, 16);
	while (f && digits < 32 && (c = fgetc(f)) != EOF) {
		const char *hex = "0123456789abcdef", *at = c ? strchr(hex, c) : NULL;

		if (!at)
			continue;
		ret[digits / 2] |= (uint8_t)((at - hex) << (digits % 2 ? 0 : 4));
		digits++;
	}
}

static uint32_t clears(const struct agent *a)
{
	static const uint32_t bits[] = {
		[MEMMAP_CLEARS_UNKNOWN] = 0,
		[MEMMAP_CLEARS] = WIRE_CLEARS,
		[MEMMAP_CLEARS_NOT] = WIRE_CLEARS_NOT,
	};

	return a->can_scan ? bits[memmap_clears(a->census.memmap)] : 0;
}

static uint32_t capabilities(const struct agent *a)
{
	uint32_t can = WIRE_CAN_FREE;

	if (a->can_scan)
		can |= WIRE_CAN_SCAN | WIRE_CAN_EVICT | WIRE_CAN_NAME;
	if (a->can_watch)
		can |= WIRE_CAN_LIMIT;
	if (a->can_watch || a->rough.reclaim.way != RECLAIM_NONE)
		can |= WIRE_CAN_HINT;
	if (a->can_watch && watch_sensor(a->heat.watch) != WIRE_HEAT_NONE)
		can |= WIRE_CAN_HEAT;
	if (a->pool.fd >= 0)
		can |= WIRE_CAN_TAKE;
	return can | clears(a);
}

int answer_hello(struct agent *a, uint64_t id)
{
	struct wire_hello *h = link_payload(&a->link);
	struct utsname u;

	*h = (struct wire_hello){
		.version = WIRE_VERSION,
		.capabilities = capabilities(a),
		.ram_pages = a->census.ram.pages,
		.page_bytes = (uint32_t)sysconf(_SC_PAGESIZE),
		.cpu_budget_permille = a->budget.permille,
	};
	boot_id_read(h->boot_id);
	snprintf(h->agent_version, sizeof(h->agent_version), "%s", PAGEPACT_VERSION);
	if (uname(&u) == 0)
		snprintf(h->kernel, sizeof(h->kernel), "%.63s", u.release);
	snprintf(h->missing, sizeof(h->missing), "%s", a->missing);
	int r = link_send(&a->link, WIRE_HELLO, id, sizeof(*h));

	return r < 0 ? r : taking_tell(a);
}

static int disk_tell(const struct wire_disk *disk, void *userdata)
{
	struct agent *a = userdata;

	memcpy(link_payload(&a->link), disk, sizeof(*disk));
	return link_send(&a->link, WIRE_DISK, a->scan_id, sizeof(*disk));
}

static int file_tell(const struct wire_file *file, const struct wire_extent *extents,
		     uint32_t count, void *userdata)
{
	struct agent *a = userdata;
	int r;

	memcpy(link_payload(&a->link), file, sizeof(*file));
	r = link_send(&a->link, WIRE_FILE, a->scan_id, sizeof(*file));
	for (uint32_t done = 0, n; done < count && r >= 0; done += n) {
		struct wire_extents *e = link_payload(&a->link);

		n = count - done < WIRE_ITEMS_MAX ? count - done : WIRE_ITEMS_MAX;
		*e = (struct wire_extents){ .file = file->file, .count = n };
		memcpy(e->items, extents + done, n * sizeof(*extents));
		r = link_send(&a->link, WIRE_EXTENTS, a->scan_id,
			      (uint32_t)(sizeof(*e) + n * sizeof(*extents)));
	}
	return r;
}

static int runs_tell(const struct wire_run *runs, uint32_t count, void *userdata)
{
	struct agent *a = userdata;
	struct wire_pages *p = link_payload(&a->link);

	*p = (struct wire_pages){ .count = count };
	memcpy(p->items, runs, count * sizeof(*runs));
	return link_send(&a->link, WIRE_PAGES, a->scan_id,
			 (uint32_t)(sizeof(*p) + count * sizeof(*runs)));
}

static int scan_start(struct agent *a, uint64_t id)
{
	static const struct census_ops ops = {
		.disk = disk_tell,
		.file = file_tell,
		.runs = runs_tell,
	};

	if (!a->can_scan)
		return error_send(a, id, EOPNOTSUPP, a->missing);
	/* A new request ends the old one: its asker has given up on it. */
	a->scanning = false;
	int r = census_begin(&a->census, &a->heat, &ops, a);
	if (r < 0)
		return error_send(a, id, -r, "the memory map could not be read");
	a->scanning = true;
	a->scan_id = id;
	a->scan_started_usec = now_usec();
	a->scan_started_cpu_usec = a->scans_cpu_usec;
	return 0;
}

static int scan_finish(struct agent *a)
{
	struct wire_scan_end *end = link_payload(&a->link);

	a->scanning = false;
	*end = (struct wire_scan_end){
		.census = a->census.totals,
		.elapsed_usec = now_usec() - a->scan_started_usec,
		.cpu_usec = a->scans_cpu_usec - a->scan_started_cpu_usec,
		.chunk_max_usec = a->census.walk.chunk_max_usec,
		.superpages_spoiled = a->census.superpages_spoiled,
	};
	bool many = a->census.files.count >= FILES_MANY;

	files_reset(&a->census.files);
	if (many)
		tend_slab(a);
	return link_send(&a->link, WIRE_SCAN_END, a->scan_id, sizeof(*end));
}

int answer_scan_step(struct agent *a)
{
	uint64_t cpu = cpu_usec();
	int r = census_step(&a->census);

	a->scans_cpu_usec += cpu_usec() - cpu;
	if (r == 0)
		return scan_finish(a);
	if (r < 0) {
		a->scanning = false;
		files_reset(&a->census.files);
		/* A host that does not read gets no error message either. */
		if (r != -ETIMEDOUT && r != -ENOTCONN)
			r = error_send(a, a->scan_id, -r, "the scan failed");
	}
	return r;
}

static int evict_answer(struct agent *a, uint64_t id, const struct wire_evict *order)
{
	struct wire_result result;

	if (!a->can_scan)
		return error_send(a, id, EOPNOTSUPP, a->missing);
	int r = mounts_begin(&a->census.mounts);
	if (r < 0)
		return error_send(a, id, -r, "the list of mounts could not be read");

	struct disk_table disks = { .sysfs = "/sys" };
	evict_file(a->census.memmap, &a->heat, &a->census.mounts, &disks, order, &result);
	mounts_end(&a->census.mounts);
	memcpy(link_payload(&a->link), &result, sizeof(result));
	return link_send(&a->link, WIRE_RESULT, id, sizeof(result));
}

static int name_answer(struct agent *a, uint64_t id, const struct wire_identity *identity)
{
	struct disk_table disks = { .sysfs = "/sys" };
	struct wire_path *p = link_payload(&a->link);
	char link[64];
	ssize_t n = 0;

	if (!a->can_scan)
		return error_send(a, id, EOPNOTSUPP, a->missing);
	*p = (struct wire_path){ 0 };
	int r = mounts_begin(&a->census.mounts);
	_cleanup_close_ int fd =
		r < 0 ? r : evict_find(a->census.memmap, &a->census.mounts, &disks, identity);
	mounts_end(&a->census.mounts);
	if (fd < 0) {
		p->status = -fd;
	} else {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, p->path, WIRE_PATH_MAX);
		if (n < 0) {
			p->status = errno;
			n = 0;
		}
	}
	p->length = (uint32_t)n;
	return link_send(&a->link, WIRE_PATH, id, (uint32_t)(sizeof(*p) + (size_t)n));
}

static int report_answer(struct agent *a, uint64_t id)
{
	/* What the limit is, and what is over it, as of now. */
	if (a->can_watch)
		tend_bound(a);
	else
		(void)rough_turn(&a->rough);
	report_fill(a, link_payload(&a->link));
	return link_send(&a->link, WIRE_REPORT, id, sizeof(struct wire_report));
}

static int free_answer(struct agent *a, uint64_t id, const struct wire_free *request)
{
	free_bytes(a, request, link_payload(&a->link));
	return link_send(&a->link, WIRE_FREED, id, sizeof(struct wire_freed));
}

static int held_answer(struct agent *a, uint64_t id, const struct wire_held *message)
{
	int r = held_take(&a->shed.held, message, now_usec());

	/* A hint that does not fit is as good as none. */
	if (r < 0 && r != -ENOBUFS)
		return error_send(a, id, -r, "runs of HELD do not ascend, or no memory");
	return link_send(&a->link, WIRE_PONG, id, 0);
}

static int take_answer(struct agent *a, uint64_t id, const struct wire_take *order)
{
	if (a->pool.fd < 0)
		return error_send(a, id, EOPNOTSUPP, "no superpages can be taken out of use here");
	return taking_answer(a, id, order);
}

int answer_frame(struct agent *a, const struct wire_frame *frame)
{
	union wire_message m;
	int r = wire_decode(frame, a->scratch, &m);

	if (r < 0)
		return error_send(a, frame->id, -r,
				  r == -EPROTONOSUPPORT ? "unknown type of message"
							: "malformed message");
	switch (frame->type) {
	case WIRE_WELCOME:
		return answer_hello(a, frame->id);
	case WIRE_SCAN:
		return scan_start(a, frame->id);
	case WIRE_EVICT:
		return evict_answer(a, frame->id, m.evict);
	case WIRE_NAME:
		return name_answer(a, frame->id, &m.name->identity);
	case WIRE_LIMIT:
		tend_limit(a, m.limit);
		return report_answer(a, frame->id);
	case WIRE_ASK:
		return report_answer(a, frame->id);
	case WIRE_FREE:
		return free_answer(a, frame->id, m.free);
	case WIRE_HELD:
		return held_answer(a, frame->id, m.held);
	case WIRE_TAKE:
		return take_answer(a, frame->id, m.take);
	case WIRE_PING:
		return link_send(&a->link, WIRE_PONG, frame->id, 0);
	default:
		return error_send(a, frame->id, EPROTO, "not a message for an agent");
	}
}

void answer_forget(struct agent *a)
{
	a->scanning = false;
	files_reset(&a->census.files);
}
