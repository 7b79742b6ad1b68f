/* SPDX-License-Identifier: Apache-2.0 */
/* Global options, and a verb's own options and arguments, by getopt_long(3). */
#ifndef PAGEPACT_CTL_ARGS_H
#define PAGEPACT_CTL_ARGS_H

#include <stddef.h>
#include <stdint.h>

#include "ctl/ctl.h"

#define ARGS_OPTIONS_MAX 8
#define ARGS_MAX	 2

struct verb;

/**
 * struct args_option - an option of the command line
 * @name: without "--"
 * @value: name of its value in help; NULL if it takes none
 * @help: one line
 */
struct args_option {
	const char *name;
	const char *value;
	const char *help;
};

/* The global options, ended by one without a name. */
extern const struct args_option args_global[];

/**
 * struct args - what follows the verb
 * @option: value of each option, by its place in the verb's table: NULL if not given, "" if it
 *	    takes no value
 */
struct args {
	const char *option[ARGS_OPTIONS_MAX];
	const char *arg[ARGS_MAX];
	size_t n_args;
};

/**
 * args_parse_global() - read the options before the verb
 * @ret_next: index of the first argument that is no option
 *
 * Return: 0, or -EINVAL after one line that says what is wrong.
 */
int args_parse_global(int argc, char **argv, struct ctl *ctl, int *ret_next);

/**
 * args_parse_verb() - read what follows the verb, global options included
 * @argv: argv[0] is the verb
 *
 * What begins with '-' and a digit is an argument or a value, never an option.
 *
 * An option of the verb hides the global one of the same name: "reclaim --bytes N".
 *
 * Return: as args_parse_global().
 */
int args_parse_verb(const struct verb *verb, int argc, char **argv, struct ctl *ctl,
		    struct args *ret);

/**
 * args_number() - an option's or argument's value as a positive number
 * @what: how the message names it
 * @size: read it as parse_size() does, else as parse_u64() does
 *
 * Numbers above INT64_MAX are refused: JSON as the daemon reads it has no larger ones.
 *
 * Return: as args_parse_global().
 */
int args_number(const char *what, const char *text, bool size, int64_t *ret_value);

#endif
