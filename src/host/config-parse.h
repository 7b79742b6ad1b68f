/* SPDX-License-Identifier: Apache-2.0 */
/* One file's text to configuration; and the messages about it. */
#ifndef PAGEPACT_HOST_CONFIG_PARSE_H
#define PAGEPACT_HOST_CONFIG_PARSE_H

#include "host/config.h"

/**
 * config_error(), config_warning() - add a message
 * @line: 0 where it is about the whole file
 *
 * Return: -EINVAL and 0, so that a caller can say and return in one statement.
 */
__attribute__((format(printf, 4, 5))) int config_error(struct config_messages *messages,
						       const char *file, unsigned int line,
						       const char *format, ...);
__attribute__((format(printf, 4, 5))) int config_warning(struct config_messages *messages,
							 const char *file, unsigned int line,
							 const char *format, ...);

#endif
