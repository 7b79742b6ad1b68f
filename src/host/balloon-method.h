/* SPDX-License-Identifier: Apache-2.0 */
/* The method "balloon": what is asked for, and whether it may be. */
#ifndef PAGEPACT_HOST_BALLOON_METHOD_H
#define PAGEPACT_HOST_BALLOON_METHOD_H

#include "host/balloons.h"
#include "host/resize.h"

#define BALLOON_REFUSAL_MAX 1280

/**
 * balloon_refusal() - why a guest's balloon may not be used, by whoever wants it
 * @text: what, where, what to do; without the guest's name
 *
 * Return: NULL: it may; else the code of an error.
 */
const char *balloon_refusal(const struct balloon *b, const struct resize_request *request,
			    char text[BALLOON_REFUSAL_MAX]);

/** balloon_handle() - answers @call, now or when the resize has ended */
void balloon_handle(struct manager *m, struct call *call, json_t *parameters);

#endif
