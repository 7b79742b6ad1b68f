/* SPDX-License-Identifier: Apache-2.0 */
#include "host/page-out.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/host-swap.h"

#define COMMAND_USEC ((uint64_t)5000000)
/* At once, some 20 ms of the loop's time: 32 MiB at 1.7 GiB/s. */
#define PIECE 16
#define TRIES 4
/* Of a superpage, to be worth keeping away. */
#define LEAST_BYTES ((int64_t)WIRE_SUPERPAGE_BYTES * 15 / 16)
#define SLOW_USEC   ((uint64_t)300000)
#define PAGE_BYTES  4096
#define PRESENT	    (1ull << 63) /* of /proc/PID/pagemap */

struct page_out {
	struct vm *vm;
	struct qmp *qmp;
	uint64_t command;
	pid_t pid;
	page_out_done_fn *done;
	void *userdata;
	sd_event_source *timer;
	char error[VM_TEXT_MAX];
	struct blockset *superpages, *gone;
	struct block_run piece; /* that is at work */
	uint64_t first_hva;
	bool is_last; /* asked for where it ends */
};

int page_out_hva(const char *text, uint64_t *ret)
{
	const char *is = text ? strstr(text, ") is 0x") : NULL;

	return is && sscanf(is, ") is %" SCNx64, ret) == 1 && *ret ? 0 : -EBADMSG;
}

int page_out_area(const char *line, struct page_out_area *ret)
{
	unsigned major, minor;
	char mode[5];

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64, &ret->start,
		   &ret->end, mode, &ret->offset, &major, &minor, &ret->inode) != 7)
		return -EBADMSG;
	ret->device = makedev(major, minor);
	ret->is_writable = mode[0] == 'r' && mode[1] == 'w';
	return 0;
}

static int area_find(pid_t pid, uint64_t hva, uint64_t bytes, struct page_out_area *ret)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[4096 + 128];

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		if (page_out_area(line, ret) == 0 && ret->start <= hva && hva < ret->end)
			return ret->is_writable && hva + bytes <= ret->end ? 0 : -EFAULT;
	return -EFAULT;
}

static int advise(pid_t pid, uint64_t hva, uint64_t bytes)
{
	_cleanup_close_ int fd = pidfd_open(pid, 0);
	struct iovec range = { .iov_base = (void *)(uintptr_t)hva, .iov_len = bytes }; /* theirs */
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = process_madvise(fd, &range, 1, MADV_PAGEOUT, 0);
	return n < 0 ? -errno : 0;
}

/* Of memory that is no file's. */
static int absent(pid_t pid, uint64_t hva, uint64_t bytes, uint64_t *ret)
{
	size_t pages = bytes / PAGE_BYTES;
	_cleanup_free_ uint64_t *entries = calloc(pages, sizeof(*entries));
	_cleanup_close_ int fd = -1;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (!entries || fd < 0)
		return entries ? -errno : -ENOMEM;
	n = pread(fd, entries, pages * sizeof(*entries),
		  (off_t)(hva / PAGE_BYTES * sizeof(*entries)));
	if (n != (ssize_t)(pages * sizeof(*entries)))
		return n < 0 ? -errno : -EIO;
	*ret = 0;
	for (size_t i = 0; i < pages; i++)
		*ret += entries[i] & PRESENT ? 0 : PAGE_BYTES;
	return 0;
}

static void fail(struct page_out *p, const char *what, int error)
{
	if (!p->error[0])
		snprintf(p->error, sizeof(p->error), "%s: %s", what, strerror(-error));
}

/* How much of a superpage is not in memory: of one of the guest's own files, or of no file. */
static int gone_bytes(struct page_out *p, const struct page_out_area *area, int file, uint64_t hva,
		      uint64_t *ret)
{
	struct ram_piece piece = { .file = (size_t)file,
				   .offset = hva - area->start + area->offset,
				   .bytes = WIRE_SUPERPAGE_BYTES };
	int r;

	if (!area->inode)
		return absent(p->pid, hva, WIRE_SUPERPAGE_BYTES, ret);
	r = ram_files_absent(&p->vm->ram, &piece, ret);
	if (r >= 0 && *ret && !ram_files_out(&p->vm->ram, &piece))
		r = -ENOSPC;
	return r;
}

/*
 * A page that has just come, and waits in some CPU's batch for its place on the kernel's lists, is
 * not paged out (isolate_lru_folio()): a moment later it is. Return: bytes that are not in memory,
 * or -errno.
 */
static int64_t superpage_out(struct page_out *p, const struct page_out_area *area, int file,
			     uint64_t hva)
{
	uint64_t bytes = 0;
	int r = 0;

	for (int i = 0; i < TRIES && r >= 0 && bytes < WIRE_SUPERPAGE_BYTES; i++) {
		if (i)
			(void)advise(p->pid, hva, WIRE_SUPERPAGE_BYTES);
		r = gone_bytes(p, area, file, hva, &bytes);
	}
	return r < 0 ? r : (int64_t)bytes;
}

static void gone_see(struct page_out *p, const struct page_out_area *area, int file)
{
	int64_t bytes = 0;

	for (uint32_t i = 0; i < p->piece.count && bytes >= 0; i++) {
		bytes = superpage_out(p, area, file, p->first_hva + i * WIRE_SUPERPAGE_BYTES);
		if (bytes >= LEAST_BYTES)
			(void)blockset_add(p->gone, p->piece.start + i, 1);
		else if (bytes >= 0 && !p->error[0])
			snprintf(p->error, sizeof(p->error),
				 "the host keeps a part of it in memory: has its swap room?");
	}
	if (bytes < 0)
		fail(p, "whether it is paged out cannot be seen", (int)bytes);
}

/* What QEMU answered is of a moment ago, and QEMU may be another one: the worst is that something
 * else of it is read from swap. Return: whether it was as quick as it should be. */
static bool act(struct page_out *p)
{
	uint64_t bytes = p->piece.count * WIRE_SUPERPAGE_BYTES, start = now_usec();
	struct page_out_area area;
	int r = area_find(p->pid, p->first_hva, bytes, &area), file = -ENOENT;

	if (r >= 0 && area.inode)
		r = file = ram_files_find(&p->vm->ram, area.device, area.inode);
	if (r < 0) {
		fail(p, "it is in no memory of QEMU's that can be looked at", r);
		return true;
	}
	r = advise(p->pid, p->first_hva, bytes);
	if (r < 0)
		fail(p, "the host's kernel does not page it out", r);
	else
		gone_see(p, &area, file);
	return now_usec() < start + SLOW_USEC;
}

static void piece_next(struct page_out *p);

static int on_end(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct page_out *p = userdata;

	(void)s;
	(void)usec;
	p->done(p->gone, p->error, p->userdata);
	return 0;
}

static int end_later(struct page_out *p)
{
	p->timer = sd_event_source_disable_unref(p->timer);
	return sd_event_add_time_relative(p->vm->event, &p->timer, CLOCK_MONOTONIC, 0, 0, on_end,
					  p);
}

static void end(struct page_out *p, const char *error)
{
	if (error[0] && !p->error[0])
		snprintf(p->error, sizeof(p->error), "%s", error);
	if (end_later(p) < 0)
		p->done(p->gone, p->error, p->userdata);
}

static void piece_ask(struct page_out *p);

static void on_hva(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct page_out *p = userdata;
	uint64_t hva;

	(void)qmp;
	p->command = 0;
	if (reply->result < 0) {
		end(p, reply->error);
		return;
	}
	if (page_out_hva(json_string_value(reply->value), &hva) < 0) {
		end(p, "the agent names memory that the guest does not have");
		return;
	}
	if (!p->is_last) {
		p->first_hva = hva;
		p->is_last = true;
		piece_ask(p);
		return;
	}
	/* Not all of one block of memory: one by one. */
	if (hva - p->first_hva != (p->piece.count - 1) * WIRE_SUPERPAGE_BYTES)
		p->piece.count = 1;
	if (act(p))
		piece_next(p);
	else
		end(p, "it takes too long: what is there is not zero, or the host's swap is slow");
}

static void piece_ask(struct page_out *p)
{
	uint64_t last = p->is_last ? p->piece.count - 1 : 0;
	char line[64];
	int r;

	snprintf(line, sizeof(line), "gpa2hva 0x%" PRIx64,
		 (p->piece.start + last) * WIRE_SUPERPAGE_BYTES);
	r = qmp_send_hmp(p->qmp, line, now_usec() + COMMAND_USEC, on_hva, p, &p->command);
	if (r < 0)
		end(p, strerror(-r));
}

static void piece_next(struct page_out *p)
{
	uint64_t at = p->piece.start + p->piece.count;

	if (!blockset_next_run(p->superpages, at, &p->piece)) {
		end(p, "");
		return;
	}
	if (p->qmp != p->vm->qmp || vm_pid(p->vm) != p->pid) {
		end(p, "QEMU has gone");
		return;
	}
	if (p->piece.count > PIECE)
		p->piece.count = PIECE;
	if (host_swap_bytes("") < p->piece.count * WIRE_SUPERPAGE_BYTES) {
		end(p, "the host's swap is full");
		return;
	}
	p->is_last = false;
	piece_ask(p);
}

int page_out_start(struct vm *vm, struct blockset *superpages, page_out_done_fn *done,
		   void *userdata, struct page_out **ret)
{
	bool is_ready = vm->qmp && qmp_is_ready(vm->qmp) && vm_pid(vm) > 0;
	struct page_out *p = is_ready ? calloc(1, sizeof(*p)) : NULL;
	uint64_t held;

	if (!p) {
		blockset_free(superpages);
		return is_ready ? -ENOMEM : -ENOTCONN;
	}
	*p = (struct page_out){ .vm = vm,
				.qmp = vm->qmp,
				.pid = vm_pid(vm),
				.done = done,
				.userdata = userdata,
				.superpages = superpages,
				.gone = blockset_new() };
	if (!p->gone) {
		page_out_free(p);
		return -ENOMEM;
	}
	/* Its files are opened by that. */
	(void)vm_resident_bytes(vm, &held);
	*ret = p;
	piece_next(p);
	return 0;
}

struct page_out *page_out_free(struct page_out *p)
{
	if (!p)
		return NULL;
	if (p->command && p->qmp == p->vm->qmp)
		qmp_cancel(p->qmp, p->command);
	sd_event_source_disable_unref(p->timer);
	blockset_free(p->superpages);
	blockset_free(p->gone);
	free(p);
	return NULL;
}
