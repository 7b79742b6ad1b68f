/* SPDX-License-Identifier: Apache-2.0 */
/* The text of journal entries and of /proc/PID/stat. No I/O, so that fuzzers can write both. */
#ifndef PAGEPACT_HOST_JOURNAL_PARSE_H
#define PAGEPACT_HOST_JOURNAL_PARSE_H

#include <stddef.h>

#include "host/journal.h"

#define JOURNAL_FILE_MAX 8192 /* bytes; the longest entry has half of that */

/**
 * journal_parse() - read the text of an entry
 * @text: @size bytes, not ended by NUL
 * @ret: untouched on failure
 *
 * One JSON object with every member and no other, each in its range: what journal_format() writes.
 *
 * Return: 0, or -EBADMSG.
 */
int journal_parse(const char *text, size_t size, struct journal_entry *ret);

/**
 * journal_format() - write the text of an entry
 * @ret: one line, to be freed
 *
 * Return: 0; -EINVAL: journal_parse() would refuse it; -ENOMEM.
 */
int journal_format(const struct journal_entry *entry, char **ret);

/**
 * journal_parse_stat() - the start time (field 22) of a line of /proc/PID/stat
 * @ret_ticks: since boot
 *
 * The process's name may hold spaces, parentheses and line ends: any program may choose its own.
 *
 * Return: 0; -ESRCH: the process has ended, and waits for its parent alone; -EBADMSG.
 */
int journal_parse_stat(const char *text, uint64_t *ret_ticks);

#endif
