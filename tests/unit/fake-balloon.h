/* SPDX-License-Identifier: Apache-2.0 */
/* In place of the BPF programs on the balloon's driver: what a test says they saw. */
#ifndef PAGEPACT_TESTS_FAKE_BALLOON_H
#define PAGEPACT_TESTS_FAKE_BALLOON_H

#include <errno.h>
#include <stdio.h>

#include "guest/balloon-driver.h"

static struct balloon_state driver_state;
static int driver_error; /* of balloon_driver_open() */

int balloon_driver_open(struct balloon_driver **ret, char *ret_reason, size_t reason_size)
{
	*ret = driver_error < 0 ? NULL : (struct balloon_driver *)&driver_state;
	if (driver_error < 0)
		snprintf(ret_reason, reason_size, "no BTF");
	return driver_error;
}

struct balloon_driver *balloon_driver_close(struct balloon_driver *d)
{
	(void)d;
	return NULL;
}

int balloon_driver_fd(const struct balloon_driver *d)
{
	(void)d;
	return 77;
}

struct balloon_state balloon_driver_look(struct balloon_driver *d)
{
	(void)d;
	return driver_state;
}

void balloon_driver_heed(struct balloon_driver *d, int is_heeded)
{
	(void)d;
	driver_state.is_heeded = (unsigned)is_heeded;
}

#endif
