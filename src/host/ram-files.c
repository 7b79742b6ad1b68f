/* SPDX-License-Identifier: Apache-2.0 */
#include "host/ram-files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

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
}

int ram_files_bytes(const struct ram_files *files, uint64_t *ret)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < files->count; i++) {
		struct stat st;

		if (fstat(files->fds[i], &st) < 0)
			return -errno;
		sum += (uint64_t)st.st_blocks * 512;
	}
	*ret = sum;
	return files->count ? 0 : -EOPNOTSUPP;
}
