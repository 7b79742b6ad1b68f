/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/agent.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "guest/answer.h"
#include "guest/taking.h"
#include "guest/tend.h"

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
	while (r != -ENOTCONN && !link_is_full(&a->link) && link_next(&a->link, &frame)) {
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
	/* Of the census no more than the host takes. */
	bool can_step = a->scanning && !link_is_behind(&a->link);
	uint64_t scan =
		can_step ? budget_wait_usec(&a->budget, now_usec(), a->scans_cpu_usec) : IDLE_USEC;
	uint64_t wait = earlier(earlier(due, scan), earlier(port_turn(a), IDLE_USEC));
	int r = link_wait(&a->link, a->wake_fd, wait);

	a->woken = r > 0 && r & LINK_OTHER;
	if (r > 0 && r & LINK_INPUT)
		r = link_receive(&a->link, a->wake_fd, wait);
	if (r >= 0)
		r = frames_answer(a);
	if (r >= 0 && can_step && a->scanning && scan == 0)
		r = answer_scan_step(a);
	return r;
}

static int wake_add(struct agent *a, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return RET_ERRNO(epoll_ctl(a->wake_fd, EPOLL_CTL_ADD, fd, &event));
}

/* Before anything else: until then a SIGHUP ends us. */
static int hangup_open(struct agent *a)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	a->wake_fd = epoll_create1(EPOLL_CLOEXEC);
	a->hangup_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (a->wake_fd < 0 || a->hangup_fd < 0)
		return -errno;
	return wake_add(a, a->hangup_fd);
}

static void hangup_turn(struct agent *a)
{
	struct signalfd_siginfo info;

	if (read(a->hangup_fd, &info, sizeof(info)) != sizeof(info))
		return;
	a->read(&a->settings, a->read_userdata);
	tend_settings(a);
	log_info("The configuration was read again");
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
		if (a->woken)
			hangup_turn(a);
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
	if (r >= 0)
		r = wake_add(a, watch_fd(a->heat.watch));
	a->can_watch = r >= 0;
	if (r < 0)
		log_warning_errno(r, "Cannot hold a limit: %s (%m)", a->missing);
	else if (watch_sensor(a->heat.watch) == WIRE_HEAT_NONE)
		snprintf(a->missing, sizeof(a->missing),
			 "the kernel does not tell when pages are used");
}

/* What is left where pages cannot be seen. */
static void rough_probe(struct agent *a)
{
	size_t used = strlen(a->missing);
	char why[96] = "";
	int r = rough_init(&a->rough, &a->bound, why, sizeof(why));

	if (r < 0) {
		log_warning_errno(
			r, "Nor can the kernel's own reclaim be used, so no limit is held: %s (%m)",
			why);
		snprintf(a->missing + used, sizeof(a->missing) - used,
			 "; nor can its own reclaim be used: %s", why);
		return;
	}
	log_warning("The kernel's own reclaim is used instead: it is not exact, and takes mapped "
		    "pages too");
	snprintf(
		a->missing + used, sizeof(a->missing) - used,
		"; its own reclaim is used instead, which is not exact and takes mapped pages too");
}

static int agent_prepare(struct agent *a)
{
	uint64_t now = now_usec();
	int r = nodes_read("", &a->nodes);

	if (r < 0)
		return log_error_errno(r, "Cannot read /proc/zoneinfo: %m");
	a->heat.since_usec = now;
	a->shed = (struct shed){
		.batch = { .memmap = a->census.memmap,
			   .mounts = &a->census.mounts,
			   .disks.sysfs = "/sys" },
		.heat = &a->heat,
		.nodes = &a->nodes,
	};
	shed_init(&a->shed);
	a->heard_usec = a->slab_usec = a->swept_usec = now;
	ahead_init(&a->ahead, now);
	bound_init(&a->bound, &a->shed, &a->nodes, &a->census.ram, &a->ahead, &a->settings, now);
	if (!a->can_watch)
		rough_probe(a);
	tend_settings(a);
	tend_slab(a);
	taking_open(a);
	return 0;
}

int agent_run(struct agent *a, const char *path, agent_settings_fn *read, void *userdata)
{
	int r = hangup_open(a);

	if (r < 0)
		return log_error_errno(r, "Cannot wait for signals: %m");
	a->port = path;
	a->read = read;
	a->read_userdata = userdata;
	a->link.fd = a->link.signal_fd = a->hint_fd = -1;
	signal(SIGPIPE, SIG_IGN);
	read(&a->settings, userdata);
	agent_probe(a);
	r = agent_prepare(a);
	if (r < 0)
		return r;
	if (port_turn(a) != UINT64_MAX && a->settings.limit.kind == LIMIT_TEXT_OFF)
		log_warning("There is no %s yet, and no cache_limit is set: nothing to do until "
			    "the host gives the guest a virtio-serial port named " WIRE_AGENT_PORT,
			    path);
	return agent_serve(a);
}
