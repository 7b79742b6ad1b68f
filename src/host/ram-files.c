/* SPDX-License-Identifier: Apache-2.0 */
#include "host/ram-files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define PAGE_BYTES 4096
/* A look takes 18 ms for each GiB (mincore(2), 68 ns a page): so much each second. */
#define LOOK_USEC  USEC_PER_SEC
#define LOOK_BYTES ((uint64_t)1 << 30)
/* Pieces that touch are one, but for what is looked at at once. */
#define PIECE_BYTES ((uint64_t)64 << 20)

static bool is_open(const struct ram_files *files, const struct stat *st)
{
	struct stat other;

	for (size_t i = 0; i < files->count; i++)
		if (fstat(files->fds[i], &other) == 0 && other.st_ino == st->st_ino &&
		    other.st_dev == st->st_dev)
			return true;
	return false;
}

/* A descriptor of QEMU's that is a backend's: two of one size are two files. */
static int ram_file_find(DIR *dir, const struct ram_files *files, uint64_t bytes)
{
	rewinddir(dir);
	for (struct dirent *e; (e = readdir(dir));) {
		char target[64];
		struct stat st;
		ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);

		if (n <= 0)
			continue;
		target[n] = '\0';
		if (strncmp(target, "/memfd:", strlen("/memfd:")) != 0 ||
		    fstatat(dirfd(dir), e->d_name, &st, 0) < 0 || (uint64_t)st.st_size != bytes ||
		    is_open(files, &st))
			continue;
		int fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC);

		return fd < 0 ? -errno : fd;
	}
	return -EOPNOTSUPP;
}

int ram_files_open(pid_t pid, const struct inventory *inventory, struct ram_files *ret)
{
	char path[64];

	*ret = (struct ram_files){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	_cleanup_closedir_ DIR *dir = opendir(path);
	if (!dir)
		return -errno;
	for (size_t i = 0; i < inventory->n_memdevs; i++) {
		const struct inventory_memdev *memdev = &inventory->memdevs[i];
		int fd = memdev->share ? ram_file_find(dir, ret, memdev->bytes) : -EOPNOTSUPP;

		if (fd < 0) {
			ram_files_close(ret);
			return fd;
		}
		ret->fds[ret->count++] = fd;
	}
	return ret->count ? 0 : -EOPNOTSUPP;
}

void ram_files_close(struct ram_files *files)
{
	while (files->count)
		close(files->fds[--files->count]);
	free(files->out);
	files->out = NULL;
	files->n_out = 0;
	files->looked_usec = files->next_out = 0;
}

int ram_files_find(const struct ram_files *files, uint64_t device, uint64_t inode)
{
	struct stat st;

	for (size_t i = 0; i < files->count; i++)
		if (fstat(files->fds[i], &st) == 0 && st.st_ino == inode && st.st_dev == device)
			return (int)i;
	return -ENOENT;
}

/* A mapping that is never touched, so that nothing is paged in. */
int ram_files_absent(const struct ram_files *files, const struct ram_piece *piece, uint64_t *ret)
{
	size_t pages = piece->bytes / PAGE_BYTES;
	_cleanup_free_ unsigned char *in = malloc(pages);
	uint64_t absent = 0;
	void *at;
	int r;

	if (!in)
		return -ENOMEM;
	at = mmap(NULL, piece->bytes, PROT_READ, MAP_SHARED, files->fds[piece->file],
		  (off_t)piece->offset);
	if (at == MAP_FAILED)
		return -errno;
	r = RET_ERRNO(mincore(at, piece->bytes, in));
	(void)munmap(at, piece->bytes);
	for (size_t i = 0; r >= 0 && i < pages; i++)
		absent += !(in[i] & 1);
	*ret = absent * PAGE_BYTES;
	return r;
}

static bool overlaps(const struct ram_piece *a, const struct ram_piece *b)
{
	return a->file == b->file && a->offset < b->offset + b->bytes &&
	       b->offset < a->offset + a->bytes;
}

bool ram_files_out(struct ram_files *files, const struct ram_piece *piece)
{
	struct ram_piece *last;

	/* Counted once: what overlaps is not told apart. */
	for (size_t i = 0; i < files->n_out; i++)
		if (overlaps(&files->out[i], piece))
			return true;
	last = files->n_out ? &files->out[files->n_out - 1] : NULL;
	if (last && last->file == piece->file && last->offset + last->bytes == piece->offset &&
	    last->bytes + piece->bytes <= PIECE_BYTES) {
		last->bytes += piece->bytes;
		last->swapped_bytes += piece->bytes;
		return true;
	}
	if (!files->out)
		files->out = calloc(RAM_FILES_OUT_MAX, sizeof(*files->out));
	if (!files->out || files->n_out == RAM_FILES_OUT_MAX)
		return false;
	files->out[files->n_out] = *piece;
	files->out[files->n_out++].swapped_bytes = piece->bytes;
	files->looked_usec = 0;
	return true;
}

/* What was punched since (the balloon, free page reporting) takes no blocks either. */
static uint64_t hole_bytes(const struct ram_files *files, const struct ram_piece *piece)
{
	off_t end = (off_t)(piece->offset + piece->bytes), at = (off_t)piece->offset;
	int fd = files->fds[piece->file];
	uint64_t bytes = 0;

	while (at < end) {
		off_t data = lseek(fd, at, SEEK_DATA);

		if (data < 0 || data > end)
			data = end;
		bytes += (uint64_t)(data - at);
		at = data < end ? lseek(fd, data, SEEK_HOLE) : end;
		if (at < 0)
			break;
	}
	return bytes;
}

/* Return: whether some of it is in swap. */
static bool piece_look(const struct ram_files *files, struct ram_piece *piece)
{
	uint64_t absent, holes;

	if (ram_files_absent(files, piece, &absent) < 0)
		return false;
	holes = hole_bytes(files, piece);
	piece->swapped_bytes = absent > holes ? absent - holes : 0;
	return piece->swapped_bytes;
}

/* What is back, or a hole, is forgotten. */
static void out_look(struct ram_files *files)
{
	uint64_t now = now_usec(), looked = 0;
	size_t left = files->n_out;

	if (files->looked_usec && now < files->looked_usec + LOOK_USEC)
		return;
	files->looked_usec = now;
	for (; left && looked < LOOK_BYTES; left--) {
		if (files->next_out >= files->n_out)
			files->next_out = 0;
		looked += files->out[files->next_out].bytes;
		if (piece_look(files, &files->out[files->next_out]))
			files->next_out++;
		else
			files->out[files->next_out] = files->out[--files->n_out];
	}
}

static uint64_t swapped_bytes(const struct ram_files *files)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < files->n_out; i++)
		sum += files->out[i].swapped_bytes;
	return sum;
}

int ram_files_bytes(struct ram_files *files, uint64_t *ret)
{
	uint64_t sum = 0, swapped;

	for (size_t i = 0; i < files->count; i++) {
		struct stat st;

		if (fstat(files->fds[i], &st) < 0)
			return -errno;
		sum += (uint64_t)st.st_blocks * 512;
	}
	out_look(files);
	swapped = swapped_bytes(files);
	*ret = sum > swapped ? sum - swapped : 0;
	return files->count ? 0 : -EOPNOTSUPP;
}
