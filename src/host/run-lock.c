/* SPDX-License-Identifier: Apache-2.0 */
#include "host/run-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "base/cleanup.h"

static int lock_open(const char *runtime_dir, int flags)
{
	char path[256];
	int n = snprintf(path, sizeof(path), "%s/lock", runtime_dir);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	return RET_ERRNO(open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600));
}

int run_lock_take(const char *runtime_dir)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	_cleanup_close_ int fd = lock_open(runtime_dir, O_RDWR | O_CREAT);

	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fcntl(fd, F_SETLK, &whole) < 0)
		return errno == EACCES || errno == EAGAIN ? -EWOULDBLOCK : -errno;
	return TAKE_FD(fd);
}

int run_lock_holder(const char *runtime_dir, pid_t *ret_pid)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	_cleanup_close_ int fd = lock_open(runtime_dir, O_RDWR | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (fcntl(fd, F_GETLK, &whole) < 0)
		return -errno;
	if (whole.l_type == F_UNLCK)
		return 0;
	*ret_pid = whole.l_pid > 0 ? whole.l_pid : 0;
	return 1;
}
