/* SPDX-License-Identifier: Apache-2.0 */
#include "host/wish-file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

static int dir_open(const char *state_dir, const char *folder)
{
	_cleanup_close_ int state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (state < 0)
		return -errno;
	return RET_ERRNO(openat(state, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

int wish_file_read(const char *state_dir, const char *folder, const char *name,
		   char ret[static WISH_TEXT_SIZE])
{
	_cleanup_close_ int dir = dir_open(state_dir, folder);
	_cleanup_close_ int fd = -1;
	char text[WISH_TEXT_SIZE + 1];
	struct stat st;
	ssize_t n;

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > WISH_TEXT_SIZE)
		return -EBADMSG;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	/* A line that was cut has no end. A file of nothing is no "default". */
	if (n < 2 || text[n - 1] != '\n' || memchr(text, '\n', (size_t)n - 1))
		return -EBADMSG;
	text[n - 1] = '\0';
	if (strlen(text) != (size_t)n - 1)
		return -EBADMSG;
	strcpy(ret, text);
	return 1;
}

/* mkdir -p of two levels: the state directory's own parent is there. */
static int dirs_make(const char *state_dir, const char *folder)
{
	_cleanup_close_ int state = -1;

	if (mkdir(state_dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state < 0)
		return -errno;
	if (mkdirat(state, folder, 0755) < 0 && errno != EEXIST)
		return -errno;
	return RET_ERRNO(fsync(state));
}

static int line_write(int dir, const char *name, const char *text)
{
	_cleanup_close_ int fd =
		openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	int n = fd < 0 ? -1 : dprintf(fd, "%s\n", text);

	if (n < 0)
		return -errno;
	if ((size_t)n != strlen(text) + 1)
		return -ENOSPC;
	return RET_ERRNO(fsync(fd));
}

int wish_file_write(const char *state_dir, const char *folder, const char *name, const char *text)
{
	char temporary[300];
	int r = dirs_make(state_dir, folder);
	_cleanup_close_ int dir = r < 0 ? r : dir_open(state_dir, folder);

	if (dir < 0)
		return dir;
	/* No guest's name begins with a dot. */
	snprintf(temporary, sizeof(temporary), ".%s.new", name);
	r = line_write(dir, temporary, text);
	if (r >= 0)
		r = RET_ERRNO(renameat(dir, temporary, dir, name));
	if (r >= 0)
		r = RET_ERRNO(fsync(dir));
	else
		(void)unlinkat(dir, temporary, 0);
	return r;
}
