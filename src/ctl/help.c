/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/help.h"

#include <stdio.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ctl/text.h"
#include "version.h"

static const struct {
	int code;
	const char *meaning;
} exit_codes[] = {
	{ CTL_DONE, "done" },
	{ CTL_FAILED, "failed" },
	{ CTL_USAGE, "wrong usage, or a value that the daemon does not accept" },
	{ CTL_UNREACHABLE, "the daemon cannot be reached, or does not answer" },
	{ CTL_REFUSED, "refused by the policy, or by permissions" },
};

static void print_options(const struct args_option *options)
{
	for (size_t i = 0; options && options[i].name; i++) {
		char text[64];

		snprintf(text, sizeof(text), "--%s%s%s", options[i].name,
			 options[i].value ? " " : "", options[i].value ?: "");
		printf("  %-20s %s\n", text, options[i].help);
	}
}

void help_print(void)
{
	printf("usage: pagepact [OPTIONS] [VERB] [ARGUMENTS]\n\n"
	       "Shows what page cache the guests and the host hold twice, and gives it back.\n\n"
	       "verbs:\n");
	for (size_t i = 0; verb_table[i]; i++)
		printf("  %-20s %s\n", verb_table[i]->name, verb_table[i]->summary);
	printf("\nWithout a verb: %s. 'pagepact help VERB' says more, and what it can cost.\n\n"
	       "options:\n",
	       verb_status.name);
	print_options(args_global);
	printf("\nexit codes:\n");
	for (size_t i = 0; i < ARRAY_SIZE(exit_codes); i++)
		printf("  %-20d %s\n", exit_codes[i].code, exit_codes[i].meaning);
	printf("\nThe socket is --socket, else $PAGEPACT_SOCKET, else %s.\n", CTL_SOCKET_DEFAULT);
}

void help_print_verb(const struct verb *verb)
{
	printf("cost: %s\n\nusage: %s\n\n%s.\n", verb->cost, verb->usage, verb->summary);
	if (verb->details)
		printf("%s\n", verb->details);
	if (verb->options) {
		printf("\noptions:\n");
		print_options(verb->options);
	}
	printf("\nThe global options ('pagepact help') may come before or after the verb.\n");
}

void help_print_version(void)
{
	printf("pagepact %s\n", PAGEPACT_VERSION);
}

static json_t *options_json(const struct args_option *options)
{
	json_t *array = json_array();

	for (size_t i = 0; options && options[i].name; i++)
		json_array_append_new(array, json_pack("{s:s, s:s?, s:s}", "name", options[i].name,
						       "value", options[i].value, "help",
						       options[i].help));
	return array;
}

/* The whole table as one document: completions, manual and tests are held against it. */
static int print_json(void)
{
	json_auto_t *root = json_object();
	json_t *verbs = json_array(), *codes = json_object();

	for (size_t i = 0; verb_table[i]; i++) {
		const struct verb *verb = verb_table[i];

		json_array_append_new(verbs, json_pack("{s:s, s:s, s:s, s:s, s:o}", "name",
						       verb->name, "summary", verb->summary, "cost",
						       verb->cost, "usage", verb->usage, "options",
						       options_json(verb->options)));
	}
	for (size_t i = 0; i < ARRAY_SIZE(exit_codes); i++) {
		char key[16];

		snprintf(key, sizeof(key), "%d", exit_codes[i].code);
		json_object_set_new(codes, key, json_string(exit_codes[i].meaning));
	}
	json_object_set_new(root, "verbs", verbs);
	json_object_set_new(root, "options", options_json(args_global));
	json_object_set_new(root, "exit_codes", codes);
	if (json_dumpf(root, stdout, JSON_INDENT(2)) < 0)
		return CTL_FAILED;
	putchar('\n');
	return CTL_DONE;
}

static int help_run(const struct ctl *ctl, const struct args *args)
{
	const struct verb *verb;

	if (ctl->json)
		return print_json();
	if (args->n_args == 0) {
		help_print();
		return CTL_DONE;
	}
	verb = verb_find(args->arg[0]);
	if (!verb) {
		_cleanup_free_ char *name = text_escape(args->arg[0], text_is_utf8());

		log_error("help: there is no verb '%s' (see 'pagepact help')", name ?: "?");
		return CTL_USAGE;
	}
	help_print_verb(verb);
	return CTL_DONE;
}

const struct verb verb_help = {
	.name = "help",
	.run = help_run,
	.summary = "print help, of one verb or of them all",
	.cost = "nothing; the daemon is not asked",
	.usage = "pagepact help [VERB]",
	.details = "With --json: the table of verbs, options and exit codes as one document.",
	.max_args = 1,
};
