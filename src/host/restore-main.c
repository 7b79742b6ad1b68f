/* SPDX-License-Identifier: Apache-2.0 */
/* pagepact-restore: the dead-man. A guest that a dead daemon had squeezed gets its memory back. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"
#include "host/restore-watch.h"
#include "host/restore.h"
#include "host/run-lock.h"
#include "version.h"

#define EXIT_USAGE 2
/* With the 45 s that the work itself may take, a minute in all. */
#define WAIT_SEC   15
#define WAIT_MAX   86400
#define RETRY_USEC 60000000ULL
#define MIB	   (1024 * 1024)

static const char help[] =
	"Usage: pagepact-restore [--runtime-dir DIR] [--now | --watch] [--wait SEC]\n"
	"       pagepact-restore [--runtime-dir DIR] --check [--json]\n"
	"\n"
	"Gives guests back the memory that pagepactd had taken from them, when it is no\n"
	"more there to do so. While one runs, or comes back in time, nothing is done.\n"
	"\n"
	"      --now              do not wait for a daemon to come back\n"
	"      --wait SEC         wait so long for one (default 15)\n"
	"      --watch            stay, and do this whenever a daemon has ended\n"
	"      --check            print which guests are still changed, and change nothing\n"
	"      --json             print that as JSON\n"
	"      --runtime-dir DIR  the daemon's (default /run/pagepact)\n"
	"      --help, --version\n"
	"\n"
	"Exit status: 0 when no guest is changed any more, else 1; 2: wrong usage.\n";

struct options {
	const char *runtime_dir;
	bool now, watch, check, json;
	bool dir_given;
	bool wait_given;
	uint64_t wait_sec;
};

/* struct run - one attempt to restore everything */
struct run {
	const char *runtime_dir;
	sd_event *event;
	unsigned int failed;
};

static int options_check(const struct options *o)
{
	/* Where no daemon has run since the host booted the usual one is missing; a name that was
	 * given and is not there is a slip, and would look like success. */
	if (o->dir_given && access(o->runtime_dir, F_OK) < 0)
		return log_error_errno(errno, "--runtime-dir: %s: %m", o->runtime_dir);
	if (o->now && (o->watch || o->wait_given))
		return log_error_errno(EINVAL, "--now does not wait: leave out --watch and --wait");
	if (o->check && (o->now || o->watch || o->wait_given))
		return log_error_errno(EINVAL, "--check changes nothing: leave out --now, --watch "
					       "and --wait");
	if (o->json && !o->check)
		return log_error_errno(EINVAL, "--json goes with --check");
	return 1;
}

static int wait_parse(const char *text, struct options *ret)
{
	ret->wait_given = true;
	if (parse_u64(text, &ret->wait_sec) < 0 || ret->wait_sec > WAIT_MAX)
		return log_error_errno(EINVAL, "--wait: '%s' is no number of seconds up to %d",
				       text, WAIT_MAX);
	return 0;
}

/* Return: 1 to go on, 0 when done, or -errno. */
static int options_parse(int argc, char **argv, struct options *ret)
{
	static const struct option longs[] = {
		{ "runtime-dir", required_argument, NULL, 'r' },
		{ "now", no_argument, NULL, 'n' },
		{ "wait", required_argument, NULL, 'w' },
		{ "watch", no_argument, NULL, 'W' },
		{ "check", no_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;)
		switch (c) {
		case 'r':
			ret->runtime_dir = optarg;
			ret->dir_given = true;
			break;
		case 'n':
			ret->now = true;
			break;
		case 'w':
			if (wait_parse(optarg, ret) < 0)
				return -EINVAL;
			break;
		case 'W':
			ret->watch = true;
			break;
		case 'c':
			ret->check = true;
			break;
		case 'j':
			ret->json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		case 'V':
			puts("pagepact-restore " PAGEPACT_VERSION);
			return 0;
		default:
			fputs("See pagepact-restore --help.\n", stderr);
			return -EINVAL;
		}
	if (optind < argc)
		return log_error_errno(EINVAL, "'%s' is not an option; see --help", argv[optind]);
	return options_check(ret);
}

static bool daemon_runs(void *userdata)
{
	const struct run *run = userdata;
	pid_t pid;

	return run_lock_holder(run->runtime_dir, &pid) == 1;
}

static void on_ended(const struct journal_entry *entry, enum restore_end end, const char *text,
		     void *userdata)
{
	struct run *run = userdata;

	if (end == RESTORE_DONE)
		log_notice("%s: restored: %s", entry->vm, text);
	else if (end != RESTORE_FAILED)
		log_info("%s: nothing to restore: %s", entry->vm, text);
	else
		log_error("%s: not restored, it may have less than its %" PRIu64
			  " MiB: %s (then run 'pagepact-restore --now')",
			  entry->vm, entry->original_bytes / MIB, text);
	run->failed += end == RESTORE_FAILED;
}

static void on_finished(void *userdata)
{
	struct run *run = userdata;

	(void)sd_event_exit(run->event, 0);
}

/* An entry that can be read, or a line on why it cannot. Return: 1, or 0. */
static int entry_read(const char *runtime_dir, const char *name, struct journal_entry *ret,
		      unsigned int *failed)
{
	int r = journal_read(runtime_dir, name, ret);

	if (r >= 0)
		return r;
	++*failed;
	if (r == -EBADMSG)
		log_error("%s/journal.d/%s is damaged: set the guest's balloon to its full size by "
			  "QMP, then remove the file",
			  runtime_dir, name);
	else
		log_error_errno(r, "Cannot read %s/journal.d/%s: %m", runtime_dir, name);
	return 0;
}

static int entries_add(struct run *run, struct restore *restore)
{
	char **names;
	int n = journal_list(run->runtime_dir, &names), r = 0;

	if (n < 0)
		return log_error_errno(n, "Cannot list %s/journal.d: %m", run->runtime_dir);
	for (int i = 0; i < n && r >= 0; i++) {
		struct journal_entry entry;

		if (entry_read(run->runtime_dir, names[i], &entry, &run->failed) == 1)
			r = restore_add(restore, &entry, NULL);
	}
	journal_list_free(names, n);
	return r < 0 ? log_error_errno(r, "Cannot restore all guests: %m") : 0;
}

/* Return: 0; 1: a guest is still changed; or -errno. */
static int restore_all(const char *runtime_dir)
{
	struct run run = { .runtime_dir = runtime_dir };
	_cleanup_(sd_event_unrefp) sd_event *event = NULL;
	_cleanup_(restore_freep) struct restore *restore = NULL;
	struct restore_options options = {
		.root = "",
		.runtime_dir = runtime_dir,
		.deadline_usec = now_usec() + RESTORE_DEADLINE_USEC,
		.yield = daemon_runs,
		.ended = on_ended,
		.finished = on_finished,
		.userdata = &run,
	};
	int r = sd_event_new(&event);

	options.event = run.event = event;
	if (r >= 0)
		r = restore_new(&options, &restore);
	if (r < 0)
		return log_error_errno(r, "Cannot begin to restore guests: %m");
	r = entries_add(&run, restore);
	/* Those that could be added are not to suffer for the others. */
	if (sd_event_loop(event) < 0 || r < 0)
		return r < 0 ? r : -EIO;
	return run.failed > 0;
}

static json_t *entry_json(const char *name, const struct journal_entry *entry)
{
	if (!entry)
		return json_pack("{ss sb}", "name", name, "damaged", 1);
	return json_pack("{ss sb sI sI sb}", "name", name, "damaged", 0, "original_bytes",
			 (json_int_t)entry->original_bytes, "target_bytes",
			 (json_int_t)entry->target_bytes, "statistics", entry->stats_path[0] != 0);
}

static void print_list(const json_t *list, bool json)
{
	const json_t *guest;
	size_t i;

	if (json) {
		json_dumpf(list, stdout, JSON_INDENT(1));
		putchar('\n');
		return;
	}
	json_array_foreach (list, i, guest)
		if (json_is_false(json_object_get(guest, "damaged")))
			printf("%s: original %lld bytes, target %lld bytes\n",
			       json_string_value(json_object_get(guest, "name")),
			       json_integer_value(json_object_get(guest, "original_bytes")),
			       json_integer_value(json_object_get(guest, "target_bytes")));
}

/* Return: 0: nothing is changed; 1; or -errno. */
static int check(const char *runtime_dir, bool json)
{
	json_auto_t *list = json_array();
	unsigned int failed = 0;
	char **names;
	int n = journal_list(runtime_dir, &names);

	if (n < 0)
		return log_error_errno(n, "Cannot list %s/journal.d: %m", runtime_dir);
	for (int i = 0; i < n; i++) {
		unsigned int before = failed;
		struct journal_entry entry;

		if (entry_read(runtime_dir, names[i], &entry, &failed) == 1 &&
		    journal_is_live("", &entry))
			json_array_append_new(list, entry_json(names[i], &entry));
		else if (failed > before)
			json_array_append_new(list, entry_json(names[i], NULL));
	}
	journal_list_free(names, n);
	print_list(list, json);
	return json_array_size(list) > 0;
}

/* Return: 0: a daemon runs, or nothing is changed any more; 1: something is; or -errno. */
static int wait_and_restore(const struct options *o)
{
	int r = restore_wait(o->runtime_dir, o->now ? 0 : o->wait_sec * USEC_PER_SEC);

	if (r < 0)
		return log_error_errno(r, "Cannot look at %s/lock: %m", o->runtime_dir);
	if (r == 1)
		return restore_all(o->runtime_dir);
	if (o->now)
		return log_error_errno(EBUSY, "pagepactd runs: it looks after the guests, stop it "
					      "first");
	log_info("pagepactd runs: it looks after the guests");
	return 0;
}

/* A host that runs out of memory is what it is there for. Systemd says the same of the unit. */
static void survive(void)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "-500", 4) < 0)
		log_warning_errno(errno, "Cannot set the OOM score, ignoring: %m");
}

static int watch(const struct options *o)
{
	survive();
	for (;;) {
		int r = restore_wait_end(o->runtime_dir);

		if (r < 0)
			return log_error_errno(r, "Cannot look at %s/lock: %m", o->runtime_dir);
		r = wait_and_restore(o);
		/* What could not be restored now is tried again. */
		(void)restore_wait(o->runtime_dir, r == 0 ? UINT64_MAX / 2 : RETRY_USEC);
	}
}

int main(int argc, char **argv)
{
	struct options options = { .runtime_dir = "/run/pagepact", .wait_sec = WAIT_SEC };
	struct rlimit files;
	int r;

	log_open("pagepact-restore", LOG_INFO);
	r = options_parse(argc, argv, &options);
	if (r <= 0)
		return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
	signal(SIGPIPE, SIG_IGN);
	/* A socket and more for each guest. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if (options.check)
		r = check(options.runtime_dir, options.json);
	else
		r = options.watch ? watch(&options) : wait_and_restore(&options);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
