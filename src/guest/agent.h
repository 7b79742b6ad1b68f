/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent at work: holds the guest's page cache limit, answers what the host asks over the link,
 * one message at a time, and takes a census in between, chunk by chunk, within its budget.
 *
 * It works without a host, and without a port for one: then it holds the limit that the guest's own
 * configuration sets. A host's limit wins while the host is heard.
 */
#ifndef PAGEPACT_GUEST_AGENT_H
#define PAGEPACT_GUEST_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/ahead.h"
#include "guest/bound.h"
#include "guest/budget.h"
#include "guest/census.h"
#include "guest/heat.h"
#include "guest/link.h"
#include "guest/nodes.h"
#include "guest/pool.h"
#include "guest/rough.h"
#include "guest/settings.h"
#include "guest/shed.h"

/* Without a word from the host for this long, what it asked for is dropped. */
#define AGENT_HOST_USEC 60000000u

/**
 * agent_settings_fn - read the guest's own settings
 * @ret: always filled
 */
typedef void agent_settings_fn(struct settings *ret, void *userdata);

struct agent {
	const char *port;
	agent_settings_fn *read;
	void *read_userdata;
	int hangup_fd; /* SIGHUP */
	int wake_fd;   /* readable when the watch or a SIGHUP wakes us */
	struct agent_link link;
	uint64_t port_usec;  /* when it was tried to be opened last */
	uint64_t heard_usec; /* when the host said something last */
	struct settings settings;
	struct budget budget;
	struct census census;
	struct heat heat;
	struct nodes nodes;
	struct shed shed;
	struct bound bound;
	struct rough rough; /* without the watch */
	struct ahead ahead;
	bool can_scan;
	bool can_watch;
	bool woken;
	bool host_limits; /* the host has set a limit, or none */
	bool host_hints;  /* the host has set the hint, or none */
	int hint_fd;	  /* of the balloon's, in wake_fd; or -1 */
	char missing[192];
	uint64_t freed_usec; /* when a part of a request was done whose rest is to come; 0: none */
	uint64_t swept_usec; /* when old stamps were marked as such last */
	uint64_t bound_due_usec;
	uint64_t slab_usec; /* when empty slabs were given back last */
	uint64_t slab_freed_bytes;
	uint64_t slab_pressed_bytes;
	struct pool pool;
	uint64_t pool_usec;	    /* when it was looked whether it can stay, last; 0: not yet */
	uint64_t pool_waited_usec;  /* tasks had waited for memory by then */
	uint64_t pool_offered_usec; /* when the host was told of some last */

	/* The census under way. */
	bool scanning;
	uint64_t scan_id;
	uint64_t scan_started_usec;
	uint64_t scan_started_cpu_usec; /* of scans_cpu_usec */
	uint64_t scans_cpu_usec;	/* of all scans: what the budget is for */

	_Alignas(uint64_t) uint8_t scratch[WIRE_PAYLOAD_MAX];
};

/**
 * agent_run() - serve the host on a port, and hold the limit, until a signal ends the process
 * @path: the port; it may appear later
 * @read: called at the start, and again at each SIGHUP
 *
 * Return: -errno when there is nothing that it could do here, or the port fails for good.
 */
int agent_run(struct agent *a, const char *path, agent_settings_fn *read, void *userdata);

#endif
