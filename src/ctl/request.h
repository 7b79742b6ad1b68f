/* SPDX-License-Identifier: Apache-2.0 */
/* A verb's request to the daemon, with its messages and its --json. */
#ifndef PAGEPACT_CTL_REQUEST_H
#define PAGEPACT_CTL_REQUEST_H

#include <stdbool.h>

#include <jansson.h>

#include "ctl/client.h"
#include "ctl/ctl.h"
#include "ctl/verb.h"

/**
 * request() - ask the daemon for the method of the verb's name
 * @parameters: taken; NULL is reported as arguments that are not UTF-8 (or out of memory)
 * @verbose: print progress as lines where standard error is no terminal
 * @ret_reply: the reply's parameters, already printed if --json was given
 *
 * Return: CTL_DONE, or another exit code after one line that says why.
 */
int request(const struct ctl *ctl, const struct verb *verb, json_t *parameters, bool verbose,
	    json_t **ret_reply);

/**
 * request_awake() - as request(), listening to something else meanwhile
 * @wake: or NULL
 */
int request_awake(const struct ctl *ctl, const struct verb *verb, json_t *parameters, bool verbose,
		  const struct client_wake *wake, json_t **ret_reply);

/**
 * request_array() - the array of this name in a reply
 *
 * Return: CTL_DONE, or CTL_FAILED after a message if there is none: the daemon is of another
 * version.
 */
int request_array(const json_t *reply, const char *name, const json_t **ret_array);

#endif
