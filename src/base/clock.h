/* SPDX-License-Identifier: Apache-2.0 */
/* Time in microseconds. Deadlines and intervals are CLOCK_MONOTONIC: it does not jump. */
#ifndef PAGEPACT_BASE_CLOCK_H
#define PAGEPACT_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define USEC_PER_SEC 1000000u

static inline uint64_t clock_usec(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

static inline uint64_t now_usec(void)
{
	return clock_usec(CLOCK_MONOTONIC);
}

#endif
