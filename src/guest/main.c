/* SPDX-License-Identifier: Apache-2.0 */
/* pagepact-agent: tells the host which disk blocks this guest caches, and evicts them on order. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "guest/agent.h"
#include "guest/once.h"
#include "version.h"

#define EXIT_USAGE  2
#define CONFIG_PATH "/etc/pagepact/agent.conf"

/* From here on memory is mapped for itself: glibc's own number, which else grows. */
#define MMAP_LEAST_BYTES (128 << 10)

static const char help[] =
	"Usage: pagepact-agent [--config FILE] [--device PATH] [--cpu-budget PERMILLE] "
	"[--verbose]\n"
	"       pagepact-agent --once|--shrink-slab [--json]\n"
	"\n"
	"Tells the host which blocks of its disks this guest caches, and drops clean unmapped\n"
	"page cache, nothing else, when the host asks for it or the page cache limit demands it.\n"
	"\n"
	"      --once                 print a census of this machine and end; changes nothing\n"
	"      --shrink-slab          give back slab pages that hold nothing, print by cache what "
	"went,\n"
	"                             and end\n"
	"      --json                 with these two: as one JSON document\n"
	"      --config FILE          read this (default " CONFIG_PATH ")\n"
	"      --device PATH          the port to serve (default /dev/virtio-ports/" WIRE_AGENT_PORT
	")\n"
	"      --cpu-budget PERMILLE  of one CPU, for scans, averaged over ten minutes (default "
	"10)\n"
	"      --verbose              say more\n"
	"      --help, --version\n";

struct options {
	const char *device;
	const char *config;
	unsigned cpu_permille; /* 0: as the configuration says */
	bool once, shrink_slab, json, verbose;
};

static int budget_parse(const char *text, unsigned *ret)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || end == text || value < 1 || value > 1000)
		return log_error_errno(EINVAL,
				       "--cpu-budget takes 1 to 1000 thousandths of a CPU, "
				       "not '%s'",
				       text);
	*ret = (unsigned)value;
	return 0;
}

/* Return: 1 to go on, 0 when done, or -errno. */
static int options_parse(int argc, char **argv, struct options *ret)
{
	static const struct option longs[] = {
		{ "once", no_argument, NULL, 'o' },
		{ "shrink-slab", no_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "config", required_argument, NULL, 'c' },
		{ "device", required_argument, NULL, 'd' },
		{ "cpu-budget", required_argument, NULL, 'b' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "hv", longs, NULL)) != -1;)
		switch (c) {
		case 'o':
			ret->once = true;
			break;
		case 's':
			ret->shrink_slab = true;
			break;
		case 'j':
			ret->json = true;
			break;
		case 'c':
			ret->config = optarg;
			break;
		case 'd':
			ret->device = optarg;
			break;
		case 'b':
			if (budget_parse(optarg, &ret->cpu_permille) < 0)
				return -EINVAL;
			break;
		case 'v':
			ret->verbose = true;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		case 'V':
			puts("pagepact-agent " PAGEPACT_VERSION);
			return 0;
		default:
			return -EINVAL;
		}
	if (optind < argc)
		return log_error_errno(EINVAL, "'%s' is not an option; see --help", argv[optind]);
	if (ret->once && ret->shrink_slab)
		return log_error_errno(EINVAL, "--once changes nothing: without --shrink-slab");
	if (ret->json && !ret->once && !ret->shrink_slab)
		return log_error_errno(EINVAL, "--json goes with --once or --shrink-slab");
	return 1;
}

static void settings_complain(const char *where, const char *what, void *userdata)
{
	(void)userdata;
	log_warning("%s: %s", where, what);
}

static void settings_load(struct settings *ret, void *userdata)
{
	const struct options *options = userdata;

	settings_read("", options->config, ret, settings_complain, NULL);
	if (options->cpu_permille)
		ret->cpu_permille = options->cpu_permille;
}

int main(int argc, char **argv)
{
	struct options options = { .device = "/dev/virtio-ports/" WIRE_AGENT_PORT,
				   .config = CONFIG_PATH };
	static struct agent agent;

	log_open("pagepact-agent", LOG_INFO);
	int r = options_parse(argc, argv, &options);
	if (r <= 0)
		return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
	log_open("pagepact-agent", options.verbose ? LOG_DEBUG : LOG_INFO);
	if (!options.once && geteuid() != 0) {
		log_error("Has to be run by root");
		return EXIT_FAILURE;
	}
	/* What a queue took goes back when it is freed. */
	mallopt(M_MMAP_THRESHOLD, MMAP_LEAST_BYTES);
	if (options.once)
		r = once_print(options.json);
	else if (options.shrink_slab)
		r = once_shrink_slab(options.json);
	else
		r = agent_run(&agent, options.device, settings_load, &options);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
