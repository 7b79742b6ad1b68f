/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page cache limits that `pagepact cache-limit` set, kept over restarts: one file a guest in
 * limits.d of the state directory, one line as limit_text_parse() reads it.
 */
#ifndef PAGEPACT_HOST_LIMIT_FILE_H
#define PAGEPACT_HOST_LIMIT_FILE_H

#include "base/parse.h"

/**
 * limit_file_read() - what was kept for a guest
 * @name: config_check_name() has accepted it
 *
 * Return: 1 and @ret; 0 when nothing was; -EBADMSG when the file is damaged, or -errno.
 */
int limit_file_read(const char *state_dir, const char *name, struct limit_text *ret);

/**
 * limit_file_write() - keep it
 *
 * The file is the old one or the new one at any moment, and on disk when this returns.
 *
 * Return: 0 or -errno.
 */
int limit_file_write(const char *state_dir, const char *name, const struct limit_text *limit);

#endif
