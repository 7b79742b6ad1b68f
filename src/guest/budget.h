/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CPU budget: a share of one CPU, averaged over a window. What is not used is saved up for that
 * long, so that a scan that somebody waits for runs at once, while scanning without end costs no
 * more than the share.
 */
#ifndef PAGEPACT_GUEST_BUDGET_H
#define PAGEPACT_GUEST_BUDGET_H

#include <stdint.h>

#define BUDGET_WINDOW_USEC	600000000u /* that the configuration's shares are for */
#define BUDGET_PERMILLE_DEFAULT 10

struct budget {
	uint32_t permille;
	uint64_t window_usec;
	int64_t saved_usec;
	uint64_t seen_usec;	/* when saved_usec was right */
	uint64_t seen_cpu_usec; /* and the CPU time used up to then */
};

/**
 * budget_init() - start with a full window saved up
 * @permille: of one CPU
 * @window_usec: over which
 * @now_usec: CLOCK_MONOTONIC
 * @cpu_usec: used so far, of what the budget is for; may fall later, and wrap
 */
void budget_init(struct budget *b, uint32_t permille, uint64_t window_usec, uint64_t now_usec,
		 uint64_t cpu_usec);

/**
 * budget_wait_usec() - how long to rest before the next piece of work
 *
 * Return: 0 when there is budget; else microseconds until there is, at most a second.
 */
uint64_t budget_wait_usec(struct budget *b, uint64_t now_usec, uint64_t cpu_usec);

#endif
