/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupted, a resize is not left to itself: the daemon is asked to end it by a connection of its
 * own, the answer is printed, and only then the signal does what it does by default, as in other
 * tools, so that a shell's loop ends too.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"
#include "ctl/limit.h"
#include "ctl/request.h"
#include "ctl/text.h"
#include "ctl/verb.h"

/* The daemon looks four times a second, and gives the size two seconds to come to rest. */
#define STOP_USEC (15 * (uint64_t)USEC_PER_SEC)
/* More than the daemon takes to end a resize that has timed out. */
#define GRACE_SEC 60
/* The daemon's own bound. */
#define TIMEOUT_SEC_MAX 86400

enum {
	OPTION_BY,
	OPTION_CACHE,
	OPTION_DRY_RUN,
	OPTION_NO_WAIT,
	OPTION_TIMEOUT,
	OPTION_STOP,
	OPTION_VERBOSE,
};

static const struct args_option options[] = {
	[OPTION_BY] = { "by", "HOW", "auto, superpages or pages: which devices give the memory" },
	[OPTION_CACHE] = { "cache", "HOW", "first, only or off: what becomes of page cache" },
	[OPTION_DRY_RUN] = { "dry-run", NULL,
			     "print the floor, the size and the steps, and change nothing" },
	[OPTION_NO_WAIT] = { "no-wait", NULL, "return when it has begun" },
	[OPTION_TIMEOUT] = { "timeout", "SEC", "end it where it is after so many seconds" },
	[OPTION_STOP] = { "stop", NULL, "end the one under way where it is" },
	[OPTION_VERBOSE] = { "verbose", NULL, "print progress where there is no terminal too" },
	{ 0 },
};

struct interruption {
	const struct ctl *ctl;
	const char *vm;
	struct client_wake wake;
	sigset_t signals;
	int signal; /* that came; 0: none */
};

static void on_signal(void *userdata)
{
	const struct client_limits limits = { .total_usec = STOP_USEC, .silence_usec = STOP_USEC };
	struct interruption *i = userdata;
	struct signalfd_siginfo info;
	json_auto_t *parameters = json_pack("{s:s, s:b}", "vm", i->vm, "stop", true);
	json_auto_t *reply = NULL;
	struct client_error error;
	_cleanup_close_ int fd = -1;
	int r;

	if (read(i->wake.fd, &info, sizeof(info)) == sizeof(info))
		i->signal = (int)info.ssi_signo;
	/* Whoever does not want to wait for that interrupts again. */
	sigprocmask(SIG_UNBLOCK, &i->signals, NULL);
	fd = client_connect(i->ctl->socket_path, &limits, &error);
	r = fd < 0 ? fd
		   : client_exchange(fd, i->ctl->socket_path, verb_balloon.name, parameters,
				     &limits, NULL, NULL, &reply, &error);
	if (r < 0) {
		_cleanup_free_ char *safe = text_escape(error.message, text_is_utf8());

		log_error("%s", safe ?: "?");
	}
}

static int interruption_begin(struct interruption *i)
{
	sigemptyset(&i->signals);
	sigaddset(&i->signals, SIGINT);
	sigaddset(&i->signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &i->signals, NULL);
	i->wake = (struct client_wake){ .fd = signalfd(-1, &i->signals, SFD_CLOEXEC),
					.fn = on_signal,
					.userdata = i };
	return i->wake.fd < 0 ? -errno : 0;
}

static void interruption_end(struct interruption *i)
{
	close_p(&i->wake.fd);
	sigprocmask(SIG_UNBLOCK, &i->signals, NULL);
	if (!i->signal)
		return;
	fflush(stdout);
	signal(i->signal, SIG_DFL);
	raise(i->signal);
}

static int check_size(const char *text)
{
	_cleanup_free_ char *safe = NULL;
	struct size_text size;

	if (size_text_parse(text, &size) >= 0)
		return CTL_DONE;
	safe = text_escape(text, text_is_utf8());
	log_error("balloon: '%s' is no size: write a size above 0 (512M), a change of it (-256M, "
		  "+256M), or max",
		  safe ?: "?");
	return CTL_USAGE;
}

static int check_word(const char *option, const char *text, const char *const words[3])
{
	_cleanup_free_ char *safe = NULL;

	for (size_t i = 0; i < 3; i++)
		if (!text || strcmp(text, words[i]) == 0)
			return CTL_DONE;
	safe = text_escape(text, text_is_utf8());
	log_error("balloon: --%s: '%s' is none of %s, %s and %s", option, safe ?: "?", words[0],
		  words[1], words[2]);
	return CTL_USAGE;
}

static int check_words(const char *cache, const char *by)
{
	static const char *const caches[] = { "first", "only", "off" };
	static const char *const bys[] = { "auto", "superpages", "pages" };
	int r = check_word("cache", cache, caches);

	return r == CTL_DONE ? check_word("by", by, bys) : r;
}

static const char *size_of(const struct ctl *ctl, const json_t *reply, const char *key,
			   char buffer[static TEXT_SIZE_MAX])
{
	const json_t *value = json_object_get(reply, key);

	return json_is_integer(value) ? text_size(json_integer_value(value), ctl->raw_bytes, buffer)
				      : "?";
}

static void print_text(const char *what, const json_t *text)
{
	_cleanup_free_ char *safe = text_escape(json_string_value(text) ?: "?", text_is_utf8());

	printf("%s%s\n", what, safe ?: "?");
}

static void print_notes(const json_t *reply)
{
	const json_t *note;
	size_t i;

	json_array_foreach (json_object_get(reply, "notes"), i, note)
		print_text("note: ", note);
}

static void print_plan(const struct ctl *ctl, const json_t *reply)
{
	char from[TEXT_SIZE_MAX], asked[TEXT_SIZE_MAX], floor[TEXT_SIZE_MAX];

	printf("dry run: nothing was changed; it has %s, its floor is %s (%s), and it would get %s "
	       "in %lld steps\n",
	       size_of(ctl, reply, "from_bytes", from), size_of(ctl, reply, "floor_bytes", floor),
	       limit_word(reply, "floor_source"), size_of(ctl, reply, "asked_bytes", asked),
	       (long long)json_integer_value(json_object_get(reply, "steps")));
}

static void print_returned(const struct ctl *ctl, const json_t *reply)
{
	char evicted[TEXT_SIZE_MAX], returned[TEXT_SIZE_MAX];
	bool known = json_is_integer(json_object_get(reply, "host_returned_bytes"));

	printf("%s of page cache and slab were given up first; ",
	       size_of(ctl, reply, "evicted_bytes", evicted));
	if (known)
		printf("the host sees %s of guest memory returned\n",
		       size_of(ctl, reply, "host_returned_bytes", returned));
	else
		printf("what the host got back cannot be known\n");
}

static void print_unplugged(const struct ctl *ctl, const json_t *reply)
{
	char unplugged[TEXT_SIZE_MAX];

	if (json_integer_value(json_object_get(reply, "unplugged_bytes")) > 0)
		printf("%s were given as superpages, by virtio-mem\n",
		       size_of(ctl, reply, "unplugged_bytes", unplugged));
}

static void print_taken(const struct ctl *ctl, const json_t *reply)
{
	char taken[TEXT_SIZE_MAX], out[TEXT_SIZE_MAX];

	if (json_integer_value(json_object_get(reply, "taken_bytes")) > 0)
		printf("%s were given as superpages that its agent keeps out of use; the host "
		       "paged %s out\n",
		       size_of(ctl, reply, "taken_bytes", taken),
		       size_of(ctl, reply, "paged_out_bytes", out));
}

static void print_reply(const struct ctl *ctl, const json_t *reply)
{
	char from[TEXT_SIZE_MAX], actual[TEXT_SIZE_MAX], asked[TEXT_SIZE_MAX], took[TEXT_SIZE_MAX];

	if (json_is_true(json_object_get(reply, "dry_run"))) {
		print_plan(ctl, reply);
		print_notes(reply);
		return;
	}
	if (strcmp(limit_word(reply, "state"), "running") == 0) {
		printf("order %lld: under way from %s to %s\n",
		       (long long)json_integer_value(json_object_get(reply, "order")),
		       size_of(ctl, reply, "from_bytes", from),
		       size_of(ctl, reply, "asked_bytes", asked));
		print_notes(reply);
		return;
	}
	printf("order %lld: of %s, to have %s, it has %s after %lld steps and %s; state: %s\n",
	       (long long)json_integer_value(json_object_get(reply, "order")),
	       size_of(ctl, reply, "from_bytes", from), size_of(ctl, reply, "asked_bytes", asked),
	       size_of(ctl, reply, "actual_bytes", actual),
	       (long long)json_integer_value(json_object_get(reply, "steps")),
	       text_duration(json_integer_value(json_object_get(reply, "usec")), took),
	       limit_word(reply, "state"));
	print_text("it ended with: ", json_object_get(reply, "reason"));
	print_unplugged(ctl, reply);
	print_taken(ctl, reply);
	print_returned(ctl, reply);
	print_notes(reply);
}

/* Begun is done for who does not wait; any other end than the size asked for is not. */
static int exit_code(const json_t *reply)
{
	const char *state = json_string_value(json_object_get(reply, "state"));

	if (json_is_true(json_object_get(reply, "dry_run")))
		return CTL_DONE;
	return state && (strcmp(state, "reached") == 0 || strcmp(state, "running") == 0)
		       ? CTL_DONE
		       : CTL_FAILED;
}

static int exchange(struct ctl *ctl, const struct args *args, json_t *parameters, bool waits)
{
	struct interruption i = { .ctl = ctl, .vm = args->arg[0] };
	json_auto_t *taken = parameters, *reply = NULL;
	int r;

	if (waits && interruption_begin(&i) < 0)
		return log_error_errno(errno, "balloon: %m"), CTL_FAILED;
	r = request_awake(ctl, &verb_balloon, json_incref(taken),
			  args->option[OPTION_VERBOSE] != NULL, waits ? &i.wake : NULL, &reply);
	if (r == CTL_DONE && !ctl->json)
		print_reply(ctl, reply);
	if (r == CTL_DONE)
		r = exit_code(reply);
	if (waits)
		interruption_end(&i);
	return r;
}

static int stop(const struct ctl *ctl, const struct args *args)
{
	json_auto_t *reply = NULL;
	int r = request(ctl, &verb_balloon,
			json_pack("{s:s, s:b}", "vm", args->arg[0], "stop", true), false, &reply);

	if (r == CTL_DONE && !ctl->json)
		print_reply(ctl, reply);
	return r;
}

static int balloon_run(const struct ctl *ctl, const struct args *args)
{
	const char *cache = args->option[OPTION_CACHE], *timeout = args->option[OPTION_TIMEOUT];
	const char *by = args->option[OPTION_BY];
	bool dry_run = args->option[OPTION_DRY_RUN], no_wait = args->option[OPTION_NO_WAIT];
	struct ctl mine = *ctl;
	json_t *parameters;
	int64_t seconds = 0;

	if (args->option[OPTION_STOP] && args->n_args == 1 && !cache && !by && !timeout &&
	    !dry_run && !no_wait)
		return stop(ctl, args);
	if (args->option[OPTION_STOP] || args->n_args < 2) {
		log_error("balloon: either a size or --stop alone is needed (usage: %s)",
			  verb_balloon.usage);
		return CTL_USAGE;
	}
	if (check_size(args->arg[1]) != CTL_DONE || check_words(cache, by) != CTL_DONE ||
	    (timeout && args_number("--timeout", timeout, false, &seconds) < 0))
		return CTL_USAGE;
	if (seconds > TIMEOUT_SEC_MAX) {
		log_error("balloon: --timeout: at most %d seconds, a day", TIMEOUT_SEC_MAX);
		return CTL_USAGE;
	}
	mine.timeout_sec = seconds ? (unsigned)seconds + GRACE_SEC : ctl->timeout_sec;
	parameters = json_pack("{s:s, s:s, s:s*, s:s*, s:b, s:b}", "vm", args->arg[0], "size",
			       args->arg[1], "cache", cache, "by", by, "dry_run", dry_run,
			       "no_wait", no_wait);
	if (parameters && seconds)
		json_object_set_new(parameters, "timeout_sec", json_integer(seconds));
	return exchange(&mine, args, parameters, !dry_run && !no_wait);
}

const struct verb verb_balloon = {
	.name = "balloon",
	.run = balloon_run,
	.summary =
		"bring a guest to another size: superpages first, then page cache by its balloon",
	.cost = "as for free while there is clean page cache to give up; below that, the guest's "
		"kernel decides what goes",
	.usage = "pagepact balloon VM SIZE|--stop [--cache HOW] [--by HOW] [--dry-run] [--no-wait] "
		 "[--timeout SEC] [--verbose]",
	.details =
		"SIZE is a size (512M), a change of it (-256M, +256M), or max: what the guest had "
		"before it was first changed.\nA guest is not made smaller than its floor. "
		"Interrupted, the resize ends where it is.",
	.options = options,
	.min_args = 1,
	.max_args = 2,
	.deadline_sec = 3700,
};
