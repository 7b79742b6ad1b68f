/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of what reads /proc and /sys below a root: a tree of files of one's own. */
#ifndef PAGEPACT_TESTS_TREE_H
#define PAGEPACT_TESTS_TREE_H

#include "guest-test.h"

#include <sys/stat.h>

static char tree[64];

static inline int tree_make(void **state)
{
	(void)state;
	strcpy(tree, "/tmp/pagepact-test-XXXXXX");
	return mkdtemp(tree) ? 0 : -1;
}

static inline int tree_remove(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", tree);
	return system(command);
}

/* @path begins with a slash; folders on the way are made. */
static inline void tree_put_bytes(const char *path, const void *data, size_t size)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", tree, path);
	for (char *p = full + strlen(tree) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		(void)mkdir(full, 0700);
	}
	f = fopen(full, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

static inline void tree_put(const char *path, const char *text)
{
	tree_put_bytes(path, text, strlen(text));
}

static inline void tree_drop(const char *path)
{
	char full[512];

	snprintf(full, sizeof(full), "%s%s", tree, path);
	assert_int_equal(unlink(full), 0);
}

#endif
