/* SPDX-License-Identifier: Apache-2.0 */
/* Image files whose place in the page cache a test controls, and functions run as in a child. */
#ifndef PAGEPACT_TESTS_IMAGE_TEST_H
#define PAGEPACT_TESTS_IMAGE_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/residency.h"

#define MIB ((size_t)1 << 20)

/* In /var/tmp: what is in a tmpfs cannot be evicted. */
struct test_image {
	char path[64];
	int fd;
	size_t bytes;
	struct image_ref ref;
};

static inline struct image_ref ref_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (struct image_ref){ path, st.st_dev, st.st_ino };
}

/* On disk, not dirty, not cached. Skips the test where no such thing can be had. */
static inline void image_make(struct test_image *image, size_t bytes)
{
	_cleanup_free_ char *data = malloc(MIB);
	struct statfs fs;

	strcpy(image->path, "/var/tmp/pagepact-test-XXXXXX");
	image->fd = mkostemp(image->path, O_CLOEXEC);
	assert_true(image->fd >= 0);
	image->bytes = bytes;
	image->ref = ref_of(image->path);
	assert_int_equal(fstatfs(image->fd, &fs), 0);
	if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC) {
		unlink(image->path);
		print_message("/var/tmp has no page cache of its own\n");
		skip();
	}
	for (size_t at = 0; at < bytes;) {
		size_t n = bytes - at < MIB ? bytes - at : MIB;

		memset(data, (int)(1 + at / MIB % 255), n);
		assert_int_equal(write(image->fd, data, n), n);
		at += n;
	}
	assert_int_equal(fsync(image->fd), 0);
	assert_int_equal(posix_fadvise(image->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

static inline void image_done(struct test_image *image)
{
	close(image->fd);
	unlink(image->path);
}

/* Reads as a guest would, through a descriptor of its own. */
static inline void image_cache(const struct test_image *image, size_t start, size_t bytes,
			       int advice)
{
	_cleanup_free_ char *data = malloc(128 << 10);
	_cleanup_close_ int fd = open(image->path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, advice), 0);
	for (size_t at = start, n; at < start + bytes; at += n) {
		n = start + bytes - at < 128 << 10 ? start + bytes - at : 128 << 10;
		assert_int_equal(pread(fd, data, n, (off_t)at), n);
	}
}

/* The test's own look; to be freed. */
static inline uint8_t *image_look(const struct test_image *image)
{
	const size_t pages = (image->bytes + 4095) / 4096;
	uint8_t *seen = malloc(pages + 1);
	void *map = mmap(NULL, image->bytes, PROT_READ, MAP_SHARED, image->fd, 0);

	assert_true(map != MAP_FAILED);
	assert_int_equal(mincore(map, image->bytes, seen), 0);
	munmap(map, image->bytes);
	for (size_t i = 0; i < pages; i++)
		seen[i] &= 1;
	return seen;
}

static inline size_t seen_in(const uint8_t *seen, size_t start, size_t count)
{
	size_t n = 0;

	for (size_t i = start; i < start + count; i++)
		n += seen[i];
	return n;
}

struct output {
	char *data;
	size_t size;
};

static inline void output_done(struct output *output)
{
	free(output->data);
}

#define _cleanup_output_ _cleanup_(output_done)

/* Runs fn in a forked process, after as() where given. Returns what fn did. */
static inline int run_child_as(int (*fn)(int, void *), void *arg, void (*as)(void),
			       struct output *ret)
{
	int pipe_fds[2], status, r;
	FILE *stream;
	pid_t pid;
	ssize_t n;
	char buffer[65536];

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(pipe_fds[0]);
		if (as)
			as();
		r = fn(pipe_fds[1], arg);
		_exit(r < 0 ? -r : 0);
	}
	close(pipe_fds[1]);
	*ret = (struct output){ 0 };
	stream = open_memstream(&ret->data, &ret->size);
	while ((n = read(pipe_fds[0], buffer, sizeof(buffer))) > 0)
		fwrite(buffer, 1, (size_t)n, stream);
	fclose(stream);
	close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

static inline int run_child(int (*fn)(int, void *), void *arg, struct output *ret)
{
	return run_child_as(fn, arg, NULL, ret);
}

#endif
