/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/agent.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define IDLE_USEC (60 * USEC_PER_SEC)
#define PORT_USEC (5 * USEC_PER_SEC)

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int frames_answer(struct agent *a)
{
	struct wire_frame frame;
	int r = 0;

	/* A host that did not take one answer in time may take the next; one that has gone asked
	 * for nothing any more. */
	while (r != -ENOTCONN && link_next(&a->link, &frame)) {
		int answered = answer_frame(a, &frame);

		a->heard_usec = now_usec();
		if (answered < 0)
			r = answered;
	}
	return r;
}

/* The port may be plugged in at any time. Return: how long until it is to be looked for again. */
static uint64_t port_turn(struct agent *a)
{
	uint64_t now = now_usec(), passed = now - a->port_usec;

	if (a->link.fd >= 0)
		return UINT64_MAX;
	if (a->port_usec && passed < PORT_USEC)
		return PORT_USEC - passed;
	a->port_usec = now;
	if (link_open(&a->link, a->port) < 0)
		return PORT_USEC;
	log_info("Serving %s", a->port);
	(void)answer_hello(a, 0);
	return UINT64_MAX;
}

/* One turn: input first, then what is due, then a piece of the census if there is budget for it. */
static int agent_turn(struct agent *a, uint64_t due)
{
	int other = a->can_watch ? watch_fd(a->heat.watch) : -1;
	uint64_t scan = a->scanning ? budget_wait_usec(&a->budget, now_usec(), a->scans_cpu_usec)
				    : IDLE_USEC;
	uint64_t wait = earlier(earlier(due, scan), earlier(port_turn(a), IDLE_USEC));
	int r = link_wait(&a->link, other, wait);

	a->woken = r > 0 && r & LINK_OTHER;
	if (r > 0 && r & LINK_INPUT)
		r = link_receive(&a->link, other, wait);
	if (r >= 0)
		r = frames_answer(a);
	if (r >= 0 && a->scanning && scan == 0)
		r = answer_scan_step(a);
	return r;
}

static int agent_serve(struct agent *a)
{
	uint64_t due = 0;

	for (;;) {
		int r = agent_turn(a, due);

		if (r == -ENOTCONN || r == -ETIMEDOUT) {
			answer_forget(a);
			r = 0;
		}
		/* An unplugged port; it may come back. */
		if (r == -ENODEV || r == -EIO) {
			log_info("%s has gone: %s", a->port, strerror(-r));
			answer_forget(a);
			link_done(&a->link);
			r = 0;
		}
		if (r < 0)
			return log_error_errno(r, "The link failed: %m");
		due = tend_turn(a, a->woken);
	}
}

static void agent_probe(struct agent *a)
{
	const struct ram *ram = &a->census.ram;
	int r = census_open(&a->census, a->missing, sizeof(a->missing));

	a->can_scan = r >= 0;
	if (r < 0) {
		log_warning_errno(r, "Cannot scan: %s (%m)", a->missing);
		return;
	}
	r = watch_open(&a->heat.watch,
		       ram->ranges[ram->count - 1].start + ram->ranges[ram->count - 1].count,
		       a->missing, sizeof(a->missing));
	a->can_watch = r >= 0;
	if (r < 0)
		log_warning_errno(r, "Cannot hold a limit: %s (%m)", a->missing);
	else if (watch_sensor(a->heat.watch) == WIRE_HEAT_NONE)
		snprintf(a->missing, sizeof(a->missing),
			 "the kernel does not tell when pages are used");
}

static int agent_prepare(struct agent *a)
{
	uint64_t now = now_usec();
	int r = nodes_read("", &a->nodes);

	if (r < 0)
		return log_error_errno(r, "Cannot read /proc/zoneinfo: %m");
	a->heat.hot_sec = a->settings.hot_sec;
	a->heat.since_usec = now;
	a->shed = (struct shed){
		.memmap = a->census.memmap,
		.mounts = &a->census.mounts,
		.heat = &a->heat,
		.nodes = &a->nodes,
	};
	shed_init(&a->shed);
	a->heard_usec = a->slab_usec = a->swept_usec = now;
	budget_init(&a->budget, a->settings.cpu_permille, now, 0);
	bound_init(&a->bound, &a->shed, &a->nodes, &a->census.ram, &a->settings, now);
	tend_limit(a, NULL);
	return 0;
}

int agent_run(struct agent *a, const char *path, const struct settings *settings)
{
	a->port = path;
	a->settings = *settings;
	a->link.fd = a->link.signal_fd = -1;
	signal(SIGPIPE, SIG_IGN);
	agent_probe(a);
	int r = agent_prepare(a);
	if (r < 0)
		return r;
	if (port_turn(a) != UINT64_MAX && settings->limit.kind == LIMIT_TEXT_OFF)
		log_warning("There is no %s yet, and no cache_limit is set: nothing to do until "
			    "the host gives the guest a virtio-serial port named " WIRE_AGENT_PORT,
			    path);
	return agent_serve(a);
}
