/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/request.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "ctl/client.h"
#include "ctl/progress.h"
#include "ctl/text.h"

/* Work in guests is told of at least this often; a minute's pause of the host fits twice. */
#define SILENCE_SEC 120

static void print_error(const char *message)
{
	_cleanup_free_ char *safe = text_escape(message, text_is_utf8());

	log_error("%s", safe ?: "out of memory");
}

static int print_json(const json_t *reply)
{
	_cleanup_free_ char *text = text_json(reply, JSON_INDENT(2));

	if (!text)
		return log_error_errno(ENOMEM, "cannot print the answer: %m");
	puts(text);
	return 0;
}

int request(const struct ctl *ctl, const struct verb *verb, json_t *parameters, bool verbose,
	    json_t **ret_reply)
{
	return request_awake(ctl, verb, parameters, verbose, NULL, ret_reply);
}

int request_awake(const struct ctl *ctl, const struct verb *verb, json_t *parameters, bool verbose,
		  const struct client_wake *wake, json_t **ret_reply)
{
	json_auto_t *taken = parameters, *reply = NULL;
	const uint64_t total_sec = ctl->timeout_sec ?: verb->deadline_sec;
	const struct client_limits limits = {
		.total_usec = total_sec * USEC_PER_SEC,
		.silence_usec = (uint64_t)SILENCE_SEC * USEC_PER_SEC,
		.wake = wake,
	};
	struct progress progress;
	struct client_error error;
	_cleanup_close_ int fd = -1;
	int r;

	if (!taken) {
		log_error("%s: an argument is not UTF-8", verb->name);
		return CTL_USAGE;
	}
	fd = client_connect(ctl->socket_path, &limits, &error);
	r = fd;
	if (r >= 0) {
		progress_begin(&progress, verbose);
		r = client_exchange(fd, ctl->socket_path, verb->name, taken, &limits, progress_show,
				    &progress, &reply, &error);
		progress_end(&progress);
	}
	if (r < 0) {
		print_error(error.message);
		return error.exit_code;
	}
	if (ctl->json && print_json(reply) < 0)
		return CTL_FAILED;
	*ret_reply = TAKE_PTR(reply);
	return CTL_DONE;
}

int request_array(const json_t *reply, const char *name, const json_t **ret_array)
{
	const json_t *array = json_object_get(reply, name);

	if (!json_is_array(array)) {
		log_error("the daemon's answer has no \"%s\": is it of another version?", name);
		return CTL_FAILED;
	}
	*ret_array = array;
	return CTL_DONE;
}
