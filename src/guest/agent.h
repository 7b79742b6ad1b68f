/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent at work: answers what the host asks over the link, one message at a time, and takes
 * a census in between, chunk by chunk, within its budget.
 */
#ifndef PAGEPACT_GUEST_AGENT_H
#define PAGEPACT_GUEST_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/budget.h"
#include "guest/census.h"
#include "guest/link.h"

struct agent {
	struct agent_link link;
	struct budget budget;
	struct census census;
	bool can_scan;
	char missing[192];

	/* The census under way. */
	bool scanning;
	uint64_t scan_id;
	uint64_t scan_started_usec;
	uint64_t scan_started_cpu_usec; /* of scans_cpu_usec */
	uint64_t scans_cpu_usec;	/* of all scans: what the budget is for */

	_Alignas(uint64_t) uint8_t scratch[WIRE_PAYLOAD_MAX];
};

/**
 * agent_run() - serve the host on a port until a signal ends the process
 * @path: the port
 * @cpu_permille: the CPU budget
 *
 * Return: -errno when the port cannot be opened or fails for good.
 */
int agent_run(struct agent *a, const char *path, uint32_t cpu_permille);

#endif
