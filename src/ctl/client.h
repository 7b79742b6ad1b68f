/* SPDX-License-Identifier: Apache-2.0 */
/* One request to the daemon over its control socket, one JSON object a line. */
#ifndef PAGEPACT_CTL_CLIENT_H
#define PAGEPACT_CTL_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

/* The daemon's own bound of a request line. */
#define CLIENT_REQUEST_MAX (64 * 1024)
/* 65,000 files of `dup --files` with long names are below this; beyond it is not our daemon. */
#define CLIENT_REPLY_MAX (16 * 1024 * 1024)

/**
 * struct client_error - why there is no answer
 * @exit_code: an enum ctl_exit
 * @message: one line; bytes from the daemon in it are not escaped
 */
struct client_error {
	int exit_code;
	char message[1024];
};

/**
 * struct client_wake - something else to listen to while an answer is awaited
 * @fd: looked at until it was readable once
 * @fn: called then; @fd is its to read
 */
struct client_wake {
	int fd;
	void (*fn)(void *userdata);
	void *userdata;
};

/**
 * struct client_limits - how long to wait, in microseconds
 * @total_usec: for connecting, and again from the request to the last line
 * @silence_usec: for each line, progress or reply
 * @wake: or NULL; borrowed
 */
struct client_limits {
	uint64_t total_usec;
	uint64_t silence_usec;
	const struct client_wake *wake;
};

/** client_progress_t - called with the parameters of each progress line */
typedef void (*client_progress_t)(const json_t *parameters, void *userdata);

/**
 * client_connect() - open the control socket
 *
 * Return: a descriptor, or -errno with @ret_error filled.
 */
int client_connect(const char *path, const struct client_limits *limits,
		   struct client_error *ret_error);

/**
 * client_exchange() - send one request and read until its reply
 * @fd: from client_connect(); made non-blocking
 * @path: for messages
 * @parameters: an object; borrowed
 * @progress: may be NULL
 * @ret_parameters: a new reference to the reply's parameters, an object
 *
 * Return: 0, or -errno with @ret_error filled.
 */
int client_exchange(int fd, const char *path, const char *method, json_t *parameters,
		    const struct client_limits *limits, client_progress_t progress, void *userdata,
		    json_t **ret_parameters, struct client_error *ret_error);

#endif
