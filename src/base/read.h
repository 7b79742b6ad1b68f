/* SPDX-License-Identifier: Apache-2.0 */
/* Small files, read whole. */
#ifndef PAGEPACT_BASE_READ_H
#define PAGEPACT_BASE_READ_H

#include <stddef.h>

/**
 * read_file() - read the first @max bytes of a regular file
 * @dir_fd: as for openat(2)
 * @ret: to be freed; a NUL byte follows the @ret_size bytes
 *
 * A FIFO or a device neither blocks nor acts: nothing is read from it.
 *
 * Return: 0; 1 when the file is longer than @max; -EINVAL when it is no regular file; or another
 * -errno.
 */
int read_file(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size);

#endif
