/* SPDX-License-Identifier: Apache-2.0 */
/* pagepact: asks pagepactd over its control socket, and prints what it says. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libsmartcols.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ctl/args.h"
#include "ctl/ctl.h"
#include "ctl/help.h"
#include "ctl/text.h"
#include "ctl/verb.h"

static int run_verb(struct ctl *ctl, int argc, char **argv)
{
	char *nothing[] = { (char *)verb_status.name, NULL };
	const struct verb *verb;
	struct args args;

	if (argc == 0) {
		argc = 1;
		argv = nothing;
	}
	verb = verb_find(argv[0]);
	if (!verb) {
		_cleanup_free_ char *name = text_escape(argv[0], text_is_utf8());

		log_error("unknown verb '%s' (see 'pagepact help')", name ?: "?");
		return CTL_USAGE;
	}
	if (args_parse_verb(verb, argc, argv, ctl, &args) < 0)
		return CTL_USAGE;
	if (ctl->help) {
		help_print_verb(verb);
		return CTL_DONE;
	}
	if (ctl->version) {
		help_print_version();
		return CTL_DONE;
	}
	return verb->run(ctl, &args);
}

static int run(int argc, char **argv)
{
	const char *socket_path = getenv("PAGEPACT_SOCKET");
	struct ctl ctl = {
		.socket_path = socket_path && *socket_path ? socket_path : CTL_SOCKET_DEFAULT,
	};
	int next;

	if (args_parse_global(argc, argv, &ctl, &next) < 0)
		return CTL_USAGE;
	if (next == argc && (ctl.help || ctl.version)) {
		if (ctl.help)
			help_print();
		else
			help_print_version();
		return CTL_DONE;
	}
	return run_verb(&ctl, argc - next, argv + next);
}

int main(int argc, char **argv)
{
	int code;

	/* Only what characters are: a decimal point stays a point. */
	setlocale(LC_CTYPE, "");
	log_open("pagepact", LOG_INFO);
	scols_init_debug(0);
	code = run(argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		log_error_errno(errno, "cannot write to standard output: %m");
		return code ?: CTL_FAILED;
	}
	return code;
}
