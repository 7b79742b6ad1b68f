/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange over a socket pair whose other end has said its part already. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ctl/client.h"
#include "ctl/ctl.h"

static const struct client_limits quick = { .total_usec = 300000, .silence_usec = 150000 };

struct exchange {
	int result;
	int n_progress;
	json_t *reply;
	char request[512];
	struct client_error error;
};

static void count_progress(const json_t *parameters, void *userdata)
{
	struct exchange *x = userdata;

	assert_true(json_is_object(parameters));
	x->n_progress++;
}

static void exchange_done(struct exchange *x)
{
	json_decref(x->reply);
	x->reply = NULL;
}

/* @hang_up: the peer closes its side after @answer; else it stays and says no more. */
static void run(const char *answer, bool hang_up, struct exchange *x)
{
	json_auto_t *parameters = json_pack("{s:s}", "vm", "a\nb");
	_cleanup_close_ int ours = -1, theirs = -1;
	size_t length = strlen(answer);
	int pair[2];
	ssize_t n;

	*x = (struct exchange){ 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ours = pair[0];
	theirs = pair[1];
	assert_int_equal(write(theirs, answer, length), (ssize_t)length);
	if (hang_up)
		assert_int_equal(shutdown(theirs, SHUT_WR), 0);
	x->result = client_exchange(ours, "/the/socket", "dup", parameters, &quick, count_progress,
				    x, &x->reply, &x->error);
	n = recv(theirs, x->request, sizeof(x->request) - 1, MSG_DONTWAIT);
	x->request[n > 0 ? n : 0] = 0;
}

static void test_reply(void **state)
{
	_cleanup_(exchange_done) struct exchange x;

	(void)state;
	run("{\"parameters\":{\"n\":5}}\n", false, &x);
	assert_int_equal(x.result, 0);
	assert_int_equal(json_integer_value(json_object_get(x.reply, "n")), 5);
	assert_string_equal(x.request, "{\"method\":\"dup\",\"parameters\":{\"vm\":\"a\\nb\"}}\n");
}

static void test_progress(void **state)
{
	_cleanup_(exchange_done) struct exchange x;

	(void)state;
	run("{\"continues\":true,\"parameters\":{}}\n"
	    "{\"continues\":true,\"parameters\":{\"stage\":\"scan\"}}\n"
	    "{\"continues\":false,\"parameters\":{}}\n"
	    "rubbish after the reply is not our business",
	    true, &x);
	assert_int_equal(x.result, 0);
	assert_int_equal(x.n_progress, 2);
	assert_int_equal(json_object_size(x.reply), 0);
}

static void test_refused(void **state)
{
	static const struct {
		const char *answer;
		bool hang_up;
		int result;
		int exit_code;
		const char *message;
	} cases[] = {
		{ "{\"error\":\"invalid\",\"parameters\":{\"message\":\"bad N\"}}\n", 0, -EREMOTEIO,
		  CTL_USAGE, "bad N" },
		{ "{\"error\":\"refused\",\"parameters\":{\"message\":\"no\"}}\n", 0, -EREMOTEIO,
		  CTL_REFUSED, "no" },
		{ "{\"error\":\"not_found\",\"parameters\":{\"message\":\"no\"}}\n", 0, -EREMOTEIO,
		  CTL_FAILED, "no" },
		{ "{\"error\":\"busy\"}\n", 0, -EREMOTEIO, CTL_FAILED, "busy" },
		{ "{\"error\":\"new\",\"parameters\":7}\n", 0, -EREMOTEIO, CTL_FAILED, "new" },
		{ "{\"error\":7}\n", 0, -EPROTO, CTL_FAILED, "not pagepactd" },
		{ "HTTP/1.1 400 Bad Request\r\n", 0, -EPROTO, CTL_FAILED, "not pagepactd" },
		{ "\n", 0, -EPROTO, CTL_FAILED, "not pagepactd" },
		{ "[]\n", 0, -EPROTO, CTL_FAILED, "not pagepactd" },
		{ "{}\n", 0, -EPROTO, CTL_FAILED, "parameters" },
		{ "{\"parameters\":null}\n", 0, -EPROTO, CTL_FAILED, "parameters" },
		{ "{\"parameters\":{},\"parameters\":{}}\n", 0, -EPROTO, CTL_FAILED, "duplicate" },
		{ "{\"parameters\":{\"n\":1e999}}\n", 0, -EPROTO, CTL_FAILED, "overflow" },
		{ "{\"parameters\":{\"n\":\"\xff\"}}\n", 0, -EPROTO, CTL_FAILED, "0xff" },
		{ "", true, -ECONNRESET, CTL_UNREACHABLE, "closed the connection" },
		{ "{\"parameters\":{}}", true, -ECONNRESET, CTL_UNREACHABLE, "closed" },
		{ "{\"continues\":true,\"parameters\":{}}\n", true, -ECONNRESET, CTL_UNREACHABLE,
		  "closed" },
		{ "", false, -ETIMEDOUT, CTL_UNREACHABLE, "said nothing" },
		{ "{\"parameters\":{}}", false, -ETIMEDOUT, CTL_UNREACHABLE, "said nothing" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(exchange_done) struct exchange x;

		run(cases[i].answer, cases[i].hang_up, &x);
		if (x.result != cases[i].result || x.error.exit_code != cases[i].exit_code ||
		    !strstr(x.error.message, cases[i].message) || x.reply)
			fail_msg("\"%s\": %d, exit code %d, \"%s\"", cases[i].answer, x.result,
				 x.error.exit_code, x.error.message);
	}
}

static void test_request_too_long(void **state)
{
	_cleanup_free_ char *name = malloc(CLIENT_REQUEST_MAX);
	json_auto_t *parameters = NULL;
	struct client_error error;
	json_t *reply = NULL;

	(void)state;
	memset(name, 'x', CLIENT_REQUEST_MAX);
	name[CLIENT_REQUEST_MAX - 1] = 0;
	parameters = json_pack("{s:s}", "vm", name);
	assert_int_equal(client_exchange(-1, "/the/socket", "dup", parameters, &quick, NULL, NULL,
					 &reply, &error),
			 -E2BIG);
	assert_int_equal(error.exit_code, CTL_USAGE);
	assert_null(reply);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reply),
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_request_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
