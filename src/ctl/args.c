/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
#include "ctl/text.h"
#include "ctl/verb.h"

enum {
	GLOBAL_SOCKET,
	GLOBAL_JSON,
	GLOBAL_BYTES,
	GLOBAL_NOHEADINGS,
	GLOBAL_TIMEOUT,
	GLOBAL_HELP,
	GLOBAL_VERSION,
	N_GLOBAL,
};

const struct args_option args_global[] = {
	[GLOBAL_SOCKET] = { "socket", "PATH", "the daemon's control socket" },
	[GLOBAL_JSON] = { "json", NULL, "print the daemon's answer as one JSON document" },
	[GLOBAL_BYTES] = { "bytes", NULL, "print sizes as plain numbers of bytes" },
	[GLOBAL_NOHEADINGS] = { "noheadings", NULL, "print tables without their header line" },
	[GLOBAL_TIMEOUT] = { "timeout", "SECONDS",
			     "wait no longer than this for the whole answer" },
	[GLOBAL_HELP] = { "help", NULL, "print help, of the verb if there is one" },
	[GLOBAL_VERSION] = { "version", NULL, "print this program's version" },
	[N_GLOBAL] = { 0 },
};

/* getopt_long() values: global options first, then the verb's; above every short option. */
#define VAL_GLOBAL 0x1000
#define VAL_VERB   0x2000

static size_t add_options(const struct args_option *options, int val, struct option *to, size_t n)
{
	for (size_t i = 0; options && options[i].name; i++) {
		bool hidden = false;

		for (size_t j = 0; j < n; j++)
			hidden = hidden || strcmp(to[j].name, options[i].name) == 0;
		if (hidden)
			continue;
		to[n++] = (struct option){
			.name = options[i].name,
			.has_arg = options[i].value ? required_argument : no_argument,
			.val = val + (int)i,
		};
	}
	return n;
}

static int set_timeout(struct ctl *ctl, const char *text)
{
	int64_t value;
	int r = args_number("--timeout", text, false, &value);

	if (r < 0)
		return r;
	/* A day: far above every verb's own limit, and safe to multiply. */
	ctl->timeout_sec = value > 86400 ? 86400 : (unsigned)value;
	return 0;
}

static int set_global(struct ctl *ctl, int option, const char *value)
{
	switch (option) {
	case GLOBAL_SOCKET:
		ctl->socket_path = value;
		break;
	case GLOBAL_JSON:
		ctl->json = true;
		break;
	case GLOBAL_BYTES:
		ctl->raw_bytes = true;
		break;
	case GLOBAL_NOHEADINGS:
		ctl->noheadings = true;
		break;
	case GLOBAL_TIMEOUT:
		return set_timeout(ctl, value);
	case GLOBAL_HELP:
		ctl->help = true;
		break;
	case GLOBAL_VERSION:
		ctl->version = true;
		break;
	}
	return 0;
}

/* One line for what getopt_long() refused; it leaves the index after the argument at fault. */
static int refuse(const char *verb, int c, char **argv)
{
	const char *help = verb ? verb : "";
	_cleanup_free_ char *text = NULL;

	/* Within a cluster of short options (-xy) optind still points at the argument. */
	if (optopt > 0 && optopt < VAL_GLOBAL) {
		char name[] = { (char)optopt, 0 };

		text = text_escape(name, false);
		log_error("unknown option '-%s' (see 'pagepact help%s%s')", text ?: "?",
			  verb ? " " : "", help);
		return -EINVAL;
	}
	text = text_escape(argv[optind - 1], text_is_utf8());
	log_error("%s '%s' (see 'pagepact help%s%s')",
		  c == ':'	? "a value is missing after"
		  : optopt != 0 ? "no value is allowed in"
				: "unknown or ambiguous option",
		  text ?: "?", verb ? " " : "", help);
	return -EINVAL;
}

int args_parse_global(int argc, char **argv, struct ctl *ctl, int *ret_next)
{
	struct option options[N_GLOBAL + 1] = { 0 };
	int c, r;

	add_options(args_global, VAL_GLOBAL, options, 0);
	opterr = 0;
	optind = 0;
	while ((c = getopt_long(argc, argv, "+:h", options, NULL)) >= 0) {
		if (c == 'h')
			c = VAL_GLOBAL + GLOBAL_HELP;
		if (c < VAL_GLOBAL)
			return refuse(NULL, c, argv);
		r = set_global(ctl, c - VAL_GLOBAL, optarg);
		if (r < 0)
			return r;
	}
	*ret_next = optind;
	return 0;
}

/*
 * "-256M" is an argument, and no option begins with a digit: getopt_long(3) is shown "256M", at the
 * same place in memory, and what it gives back is looked up here.
 */
static const char *signed_text(int argc, char **argv, const char *text)
{
	for (int i = 1; i < argc; i++)
		if (argv[i] + 1 == text)
			return argv[i];
	return text;
}

static char **signs_hide(int argc, char **argv)
{
	char **shown = calloc((size_t)argc + 1, sizeof(*shown));

	for (int i = 0; shown && i < argc; i++) {
		bool number = i > 0 && argv[i][0] == '-' && argv[i][1] >= '0' && argv[i][1] <= '9';

		shown[i] = argv[i] + number;
	}
	return shown;
}

static int take_arguments(const struct verb *verb, int argc, char **argv, struct args *args)
{
	for (int i = optind; i < argc; i++) {
		if (args->n_args >= verb->max_args) {
			_cleanup_free_ char *text = text_escape(argv[i], text_is_utf8());

			log_error("%s: stray argument '%s' (usage: %s)", verb->name, text ?: "?",
				  verb->usage);
			return -EINVAL;
		}
		args->arg[args->n_args++] = argv[i];
	}
	if (args->n_args < verb->min_args) {
		log_error("%s: an argument is missing (usage: %s)", verb->name, verb->usage);
		return -EINVAL;
	}
	return 0;
}

int args_parse_verb(const struct verb *verb, int argc, char **original, struct ctl *ctl,
		    struct args *ret)
{
	_cleanup_free_ char **argv = signs_hide(argc, original);
	struct option options[N_GLOBAL + ARGS_OPTIONS_MAX + 1] = { 0 };
	struct args args = { 0 };
	int c, r;

	if (!argv)
		return log_error_errno(ENOMEM, "%m");
	add_options(args_global, VAL_GLOBAL, options,
		    add_options(verb->options, VAL_VERB, options, 0));
	opterr = 0;
	optind = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) >= 0) {
		if (c == 'h')
			c = VAL_GLOBAL + GLOBAL_HELP;
		if (c < VAL_GLOBAL)
			return refuse(verb->name, c, argv);
		if (c >= VAL_VERB) {
			args.option[c - VAL_VERB] =
				optarg ? signed_text(argc, original, optarg) : "";
			continue;
		}
		r = set_global(ctl, c - VAL_GLOBAL,
			       optarg ? signed_text(argc, original, optarg) : NULL);
		if (r < 0)
			return r;
	}
	if (!ctl->help && !ctl->version) {
		r = take_arguments(verb, argc, argv, &args);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < args.n_args; i++)
		args.arg[i] = signed_text(argc, original, args.arg[i]);
	*ret = args;
	return 0;
}

int args_number(const char *what, const char *text, bool size, int64_t *ret_value)
{
	_cleanup_free_ char *safe = text_escape(text, text_is_utf8());
	uint64_t value;
	int r = size ? parse_size(text, &value) : parse_u64(text, &value);

	if (r == 0 && value > INT64_MAX)
		r = -ERANGE;
	if (r == 0 && value > 0) {
		*ret_value = (int64_t)value;
		return 0;
	}
	if (r == -ERANGE)
		log_error("%s: '%s' is too large", what, safe ?: "?");
	else if (r == 0)
		log_error("%s: it must be more than 0", what);
	else
		log_error("%s: '%s' is not a %s", what, safe ?: "?",
			  size ? "size: write a number, and K, M, G or T for powers of 1024"
			       : "number");
	return -EINVAL;
}
