/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has the host's kernel page out superpages of a guest's memory that the guest does not use.
 *
 * How it works
 *
 * QEMU is asked where in its own memory they lie (gpa2hva), piece by piece and each time anew, so
 * that no layout is assumed; and its kernel is asked to page that out:
 * process_madvise(MADV_PAGEOUT). That changes no byte, whoever the page belongs to by then: a guest
 * that has it in use again, or lied about it, finds what it wrote, and has it read from swap. Pages
 * that are all zero take no storage: zram and newer kernels' swap keep a note, and a host without
 * swap keeps the page. What QEMU's kernel will not page out (locked memory, huge pages of a pool,
 * what a device has pinned) stays as it is.
 *
 * It is believed by looking: a page that is not in memory any more. A piece that takes much longer
 * than zeros do, for a guest that lies, or for a slow swap, is the last.
 */
#ifndef PAGEPACT_HOST_PAGE_OUT_H
#define PAGEPACT_HOST_PAGE_OUT_H

#include "base/blockset.h"
#include "host/vm.h"

struct page_out;

/**
 * page_out_done_fn - once
 * @gone: the superpages of which no page is in memory now, or few; borrowed
 * @error: why not all are, for people; ""
 */
typedef void page_out_done_fn(const struct blockset *gone, const char *error, void *userdata);

/**
 * page_out_start() - begin
 * @superpages: their numbers; from now on ours, in any case
 *
 * Return: 0 and @done is called, from the loop; or -errno and it is not.
 */
int page_out_start(struct vm *vm, struct blockset *superpages, page_out_done_fn *done,
		   void *userdata, struct page_out **ret);

/** page_out_free() - stop. Return: NULL. */
struct page_out *page_out_free(struct page_out *p);

/**
 * page_out_hva() - what QEMU answers to gpa2hva
 *
 * Return: 0; -EBADMSG: there is no memory of the guest's.
 */
int page_out_hva(const char *text, uint64_t *ret);

/**
 * struct page_out_area - a mapping of a process, as in /proc/PID/maps
 * @inode: 0: no file's
 */
struct page_out_area {
	uint64_t start, end, offset, device, inode;
	bool is_writable;
};

/** page_out_area() - of a line. Return: 0 or -EBADMSG. */
int page_out_area(const char *line, struct page_out_area *ret);

#endif
