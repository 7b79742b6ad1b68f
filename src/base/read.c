/* SPDX-License-Identifier: Apache-2.0 */
#include "base/read.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "base/cleanup.h"

int read_file(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size)
{
	_cleanup_free_ char *data = malloc(max + 1);
	_cleanup_close_ int fd = -1;
	struct stat st;
	size_t size = 0;
	ssize_t n;

	if (!data)
		return -ENOMEM;
	fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	do {
		n = read(fd, data + size, max + 1 - size);
		if (n < 0)
			return -errno;
		size += (size_t)n;
	} while (n > 0 && size <= max);
	bool more = size > max;

	size -= more;
	data[size] = '\0';
	*ret = TAKE_PTR(data);
	*ret_size = size;
	return more;
}
