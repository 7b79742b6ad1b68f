/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/budget.h"

static int64_t budget_full(const struct budget *b)
{
	return (int64_t)(b->window_usec * b->permille / 1000);
}

void budget_init(struct budget *b, uint32_t permille, uint64_t window_usec, uint64_t now_usec,
		 uint64_t cpu_usec)
{
	*b = (struct budget){ .permille = permille,
			      .window_usec = window_usec,
			      .seen_usec = now_usec,
			      .seen_cpu_usec = cpu_usec };
	b->saved_usec = budget_full(b);
}

uint64_t budget_wait_usec(struct budget *b, uint64_t now_usec, uint64_t cpu_usec)
{
	uint64_t elapsed = now_usec - b->seen_usec, gain;
	int64_t wait;

	/* A guest that was paused for long has saved a full window, not more. */
	if (elapsed > b->window_usec) {
		b->seen_usec = now_usec - b->window_usec;
		elapsed = b->window_usec;
	}
	gain = elapsed * b->permille / 1000;
	b->saved_usec += (int64_t)gain;
	b->saved_usec -= (int64_t)(cpu_usec - b->seen_cpu_usec);
	if (b->saved_usec > budget_full(b))
		b->saved_usec = budget_full(b);
	/* Only the time that was paid out: asked every few microseconds, the rest must add up. */
	b->seen_usec += b->permille ? gain * 1000 / b->permille : elapsed;
	b->seen_cpu_usec = cpu_usec;
	if (b->saved_usec >= 0)
		return 0;
	wait = -b->saved_usec * 1000 / (b->permille ? b->permille : 1);
	return wait < 1000000 ? (uint64_t)wait + 1 : 1000000;
}
