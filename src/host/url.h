/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of agents: serial:PATH; the place where vsock: will go. */
#ifndef PAGEPACT_HOST_URL_H
#define PAGEPACT_HOST_URL_H

#include <stddef.h>

#define URL_PATH_SIZE 108 /* of struct sockaddr_un */

enum url_scheme {
	URL_NONE,
	URL_SERIAL,
};

/**
 * struct url - an address
 * @path: of the Unix socket behind the guest's serial port (URL_SERIAL)
 */
struct url {
	enum url_scheme scheme;
	char path[URL_PATH_SIZE];
};

/**
 * url_parse() - read an address
 * @ret_reason: static text for the operator: what is wrong and what is right; may be NULL
 *
 * Return: 0 or -EINVAL.
 */
int url_parse(const char *text, struct url *ret, const char **ret_reason);

/** url_format() - the text that url_parse() reads; "" for URL_NONE; 0 or -ENOBUFS */
int url_format(const struct url *url, char *buffer, size_t size);

/**
 * url_check_path() - whether a Unix socket can have this path: absolute, < 108 bytes, printable
 *
 * Return: 0 or -EINVAL, @ret_reason as in url_parse().
 */
int url_check_path(const char *path, const char **ret_reason);

#endif
