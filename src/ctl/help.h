/* SPDX-License-Identifier: Apache-2.0 */
/* Help, made from the verb table. */
#ifndef PAGEPACT_CTL_HELP_H
#define PAGEPACT_CTL_HELP_H

#include "ctl/verb.h"

/** help_print() - the list of verbs, global options and exit codes */
void help_print(void);

/** help_print_verb() - one verb; the first line is its cost */
void help_print_verb(const struct verb *verb);

/** help_print_version() - this program's version */
void help_print_version(void);

#endif
