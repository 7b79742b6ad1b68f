/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator set for a guest by command, kept over restarts: one file a guest in a folder of
 * the state directory (limits.d, hints.d), one line each.
 */
#ifndef PAGEPACT_HOST_WISH_FILE_H
#define PAGEPACT_HOST_WISH_FILE_H

#define WISH_TEXT_SIZE 40

/**
 * wish_file_read() - what was kept for a guest
 * @folder: such as "limits.d"
 * @name: config_check_name() has accepted it
 * @ret: the line without its end
 *
 * Return: 1 and @ret, which may be any text that is not empty; 0 when nothing was; -EBADMSG when
 * the file is damaged, or -errno.
 */
int wish_file_read(const char *state_dir, const char *folder, const char *name,
		   char ret[static WISH_TEXT_SIZE]);

/**
 * wish_file_write() - keep it
 * @text: shorter than WISH_TEXT_SIZE
 *
 * The file is the old one or the new one at any moment, and on disk when this returns.
 *
 * Return: 0 or -errno.
 */
int wish_file_write(const char *state_dir, const char *folder, const char *name, const char *text);

#endif
