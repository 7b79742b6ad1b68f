/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to standard error, with syslog priority prefixes when journald reads them. */
#ifndef PAGEPACT_BASE_LOG_H
#define PAGEPACT_BASE_LOG_H

#include <syslog.h>

/**
 * log_open() - set the name that starts each line, and the lowest priority that is printed
 * @ident: kept, not copied
 * @max_priority: LOG_INFO unless the user asked for LOG_DEBUG
 *
 * Lines carry an "<N>" prefix instead of the name when $JOURNAL_STREAM names stderr
 * (sd-daemon(3)).
 */
void log_open(const char *ident, int max_priority);

/**
 * log_full() - print one line
 * @priority: LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO or LOG_DEBUG
 * @error: an errno, either sign, that %m in @format stands for; 0 for none
 *
 * Return: -abs(@error), so that a caller can log and return in one statement.
 */
int log_full(int priority, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * log_clean() - replace control characters by question marks, for text that others wrote
 *
 * Return: @text.
 */
char *log_clean(char *text);

#define log_error_errno(e, ...)	  log_full(LOG_ERR, e, __VA_ARGS__)
#define log_warning_errno(e, ...) log_full(LOG_WARNING, e, __VA_ARGS__)
#define log_debug_errno(e, ...)	  log_full(LOG_DEBUG, e, __VA_ARGS__)
#define log_error(...)		  log_full(LOG_ERR, 0, __VA_ARGS__)
#define log_warning(...)	  log_full(LOG_WARNING, 0, __VA_ARGS__)
#define log_notice(...)		  log_full(LOG_NOTICE, 0, __VA_ARGS__)
#define log_info(...)		  log_full(LOG_INFO, 0, __VA_ARGS__)
#define log_debug(...)		  log_full(LOG_DEBUG, 0, __VA_ARGS__)

#endif
