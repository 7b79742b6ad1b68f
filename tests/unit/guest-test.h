/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the agent's parts: where the fixtures are. */
#ifndef PAGEPACT_TESTS_GUEST_TEST_H
#define PAGEPACT_TESTS_GUEST_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The path of tests/fixtures/guest/@name; meson runs tests where the compiler ran. */
static inline const char *fixture(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%.*s../fixtures/guest/%s",
		 (int)(strrchr(__FILE__, '/') + 1 - __FILE__), __FILE__, name);
	return path;
}

#endif
