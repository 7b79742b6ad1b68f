/* SPDX-License-Identifier: Apache-2.0 */
#include "host/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int refuse(const char **ret_reason, const char *reason)
{
	if (ret_reason)
		*ret_reason = reason;
	return -EINVAL;
}

int url_check_path(const char *path, const char **ret_reason)
{
	if (path[0] != '/')
		return refuse(ret_reason, "the path of a socket must begin with /");
	if (strlen(path) >= URL_PATH_SIZE)
		return refuse(ret_reason, "the path of a socket must be shorter than 108 bytes");
	for (const char *p = path; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return refuse(ret_reason, "the path has a control character in it");
	return 0;
}

int url_parse(const char *text, struct url *ret, const char **ret_reason)
{
	static const char serial[] = "serial:";
	int r;

	if (strncmp(text, serial, strlen(serial)) != 0)
		return refuse(ret_reason, "the address of an agent must be serial:/PATH/OF/SOCKET");
	text += strlen(serial);
	r = url_check_path(text, ret_reason);
	if (r < 0)
		return r;
	*ret = (struct url){ .scheme = URL_SERIAL };
	strcpy(ret->path, text);
	return 0;
}

int url_format(const struct url *url, char *buffer, size_t size)
{
	int n;

	n = snprintf(buffer, size, "%s%s", url->scheme == URL_SERIAL ? "serial:" : "",
		     url->scheme == URL_SERIAL ? url->path : "");
	return n < 0 || (size_t)n >= size ? -ENOBUFS : 0;
}
