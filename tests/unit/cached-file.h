/* SPDX-License-Identifier: Apache-2.0 */
/* A real file of which all pages are cached, cold and clean, as fake-kernel.h tells of it. */
#ifndef PAGEPACT_TESTS_CACHED_FILE_H
#define PAGEPACT_TESTS_CACHED_FILE_H

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake-kernel.h"
#include "guest/shed.h"

static struct fake_frame frames[FAKE_FRAMES];
static char cached_path[64];

/* Has it open in the batch: shed_end() closes it. */
static void cached_file_open(struct shed *shed)
{
	shed->batch.files[0].key = (struct file_key){
		.mapping = 1, .inode = 2, .magic = FILE_SYSTEM_EXT4, .device = 3
	};
	shed->batch.files[0].fd = open(cached_path, O_RDONLY | O_CLOEXEC);
	assert_true(shed->batch.files[0].fd >= 0);
	shed->batch.files_count = 1;
}

/* Makes the file, and has its pages enter the cache. */
static void cached_file_make(struct shed *shed)
{
	static const struct watch_run run = { .mapping = 1,
					      .inode = 2,
					      .magic = FILE_SYSTEM_EXT4,
					      .device = 3,
					      .count = FAKE_FRAMES };
	char page[4096] = "x";
	int fd = mkstemp(strcpy(cached_path, "/var/tmp/pagepact-test-XXXXXX"));

	assert_true(fd >= 0);
	for (int i = 0; i < FAKE_FRAMES; i++) {
		assert_int_equal(pwrite(fd, page, sizeof(page), i * 4096), sizeof(page));
		frames[i] = (struct fake_frame){ .heat = { .known = true, .age_sec = 5 } };
	}
	assert_int_equal(fsync(fd), 0);
	close(fd);
	fake_frames = frames;
	fake_owners[0] = (struct scan_owner){ .mapping = 1 };
	fake_owners_count = 1;
	told_evicted = 0;
	fake_returned = (struct watch_run){ .index = UINT64_MAX };
	told_runs = &run;
	told_count = 1;
	assert_int_equal(shed_drain(shed, true), 0);
}

static void cached_file_remove(void)
{
	if (cached_path[0])
		unlink(cached_path);
	cached_path[0] = '\0';
	fake_frames = NULL;
}

static bool is_cached(unsigned index)
{
	int fd = open(cached_path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(memmap_peek(NULL, fd, index, 1), 0);
	close(fd);
	return fake_pages[0].kind == SCAN_FILE;
}

static unsigned cached_count(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FAKE_FRAMES; i++)
		count += is_cached(i);
	return count;
}

/* The kernel of the machine that the tests run on takes some of what nobody uses at any time. */
static void assert_cached(uint64_t count, uint64_t expected)
{
	assert_in_range(count, expected - expected / 10, expected);
}

#endif
