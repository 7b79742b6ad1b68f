/* SPDX-License-Identifier: Apache-2.0 */
/* pagepactd: one thread, one event loop, see manager.h. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/manager.h"
#include "version.h"

#define EXIT_USAGE 2

static const char help[] =
	"Usage: pagepactd [--config DIR] [--runtime-dir DIR] [--state-dir DIR] [--dry-run]\n"
	"                 [--verbose]\n"
	"\n"
	"Knows which pages this host and its virtual machines cache twice, and gives the\n"
	"copies back when pagepact(1) asks for it.\n"
	"Only observes, until a guest is opted in.\n"
	"\n"
	"      --config DIR       pagepact.conf and vms.d/*.conf (default /etc/pagepact)\n"
	"      --runtime-dir DIR  control.sock, lock, journal.d (default /run/pagepact)\n"
	"      --state-dir DIR    limits.d, hints.d: what was set for guests (default "
	"/var/lib/pagepact)\n"
	"      --dry-run          decide and report, and do nothing, whatever is asked\n"
	"      --verbose          say more\n"
	"      --help, --version\n";

/* Return: 1 to go on, 0 when done, or -errno. */
static int options_parse(int argc, char **argv, struct manager_options *ret, bool *ret_verbose)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "runtime-dir", required_argument, NULL, 'r' },
		{ "state-dir", required_argument, NULL, 's' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "hv", longs, NULL)) != -1;)
		switch (c) {
		case 'c':
			ret->config_dir = optarg;
			break;
		case 'r':
			ret->runtime_dir = optarg;
			break;
		case 's':
			ret->state_dir = optarg;
			break;
		case 'n':
			ret->dry_run = true;
			break;
		case 'v':
			*ret_verbose = true;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		case 'V':
			puts("pagepactd " PAGEPACT_VERSION);
			return 0;
		default:
			return -EINVAL;
		}
	if (optind < argc)
		return log_error_errno(EINVAL, "'%s' is not an option; see --help", argv[optind]);
	return 1;
}

static int on_stop(sd_event_source *s, const struct signalfd_siginfo *info, void *userdata)
{
	struct manager **manager = userdata;

	(void)info;
	if (*manager)
		manager_stop(*manager);
	else
		(void)sd_event_exit(sd_event_source_get_event(s), 0);
	return 0;
}

/* @manager: not there yet */
static int loop_new(struct manager **manager, sd_event **ret)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_default(ret);
	if (r >= 0)
		r = sd_event_add_signal(*ret, NULL, SIGTERM, on_stop, manager);
	if (r >= 0)
		r = sd_event_add_signal(*ret, NULL, SIGINT, on_stop, manager);
	if (r >= 0)
		r = sd_event_set_watchdog(*ret, true);
	return r;
}

int main(int argc, char **argv)
{
	struct manager_options options = {
		.config_dir = "/etc/pagepact",
		.runtime_dir = "/run/pagepact",
		.state_dir = "/var/lib/pagepact",
	};
	struct manager *manager = NULL;
	sd_event *event = NULL;
	bool verbose = false;
	int r;

	log_open("pagepactd", LOG_INFO);
	r = options_parse(argc, argv, &options, &verbose);
	if (r <= 0)
		return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
	log_open("pagepactd", verbose ? LOG_DEBUG : LOG_INFO);
	r = loop_new(&manager, &event);
	if (r < 0)
		log_error_errno(r, "Cannot set up the event loop: %m");
	if (r >= 0)
		r = manager_new(event, &options, &manager);
	if (r >= 0) {
		(void)sd_notify(false, "READY=1");
		r = sd_event_loop(event);
	}
	manager_free(manager);
	sd_event_unref(event);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
