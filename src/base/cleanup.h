/* SPDX-License-Identifier: Apache-2.0 */
/* Scope-bound clean-up: the project's entire macro vocabulary. */
#ifndef PAGEPACT_BASE_CLEANUP_H
#define PAGEPACT_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void free_p(void *p)
{
	free(*(void **)p);
}

static inline void close_p(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void fclose_p(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void closedir_p(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define _cleanup_free_	   _cleanup_(free_p)
#define _cleanup_close_	   _cleanup_(close_p)
#define _cleanup_fclose_   _cleanup_(fclose_p)
#define _cleanup_closedir_ _cleanup_(closedir_p)

/* Hands a pointer or descriptor over to the caller: the variable no longer owns it. */
#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})
#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})

/* The negative errno of a system call that returned -1; its result otherwise. */
#define RET_ERRNO(expr)                                                                            \
	({                                                                                         \
		__typeof__(expr) result_ = (expr);                                                 \
		result_ < 0 ? -errno : result_;                                                    \
	})

/* A large buffer that is filled before it is read, where the time to clear it would be felt: the
 * others are cleared by the compiler (meson.build). */
#define _uninitialized_ __attribute__((uninitialized))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
