/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include "fake-qmp.h"

#include "host/qmp-parse.h"

static void test_handshake(void **state)
{
	struct client client;
	struct fake fake;

	(void)state;
	client_ready(&client, &fake);
	assert_string_equal(qmp_version(client.qmp), "7.2.22");
	assert_int_equal(qmp_peer_pid(client.qmp), getpid());
	end(&client, &fake);
}

static void test_answers(void **state)
{
	struct answer a = { 0 }, b = { 0 };
	struct client client;
	struct fake fake;

	(void)state;
	client_ready(&client, &fake);
	ask(&client, &a, "query-a", 10000);
	ask(&client, &b, "query-b", 10000);
	test_idle(event, 20);
	assert_string_equal(fake.received, "{\"execute\":\"query-a\",\"id\":2}\n"
					   "{\"execute\":\"query-b\",\"id\":3}\n");
	/* In the other order, in two pieces, with an event between, spread over lines. */
	fake_send(&fake,
		  "{\"return\": {\"x\": [1, \"}\\\"\"]}, \"id\": 3}\n{\"event\": \"STOP\", ");
	assert_true(test_run(event, &b.done));
	assert_string_equal(b.value, "{\"x\":[1,\"}\\\"\"]}");
	fake_send(&fake, "\"timestamp\": {}}\n{\n  \"error\": {\"class\": \"DeviceNotActive\",\n"
			 "\"desc\": \"No\\nballoon\\u001b[1m\"},\n\"id\": 2\n}\n");
	assert_true(test_run(event, &a.done));
	assert_string_equal(client.event_name, "STOP");
	assert_int_equal(a.result, -EREMOTEIO);
	assert_string_equal(a.error_class, "DeviceNotActive");
	assert_string_equal(a.error, "No balloon?[1m");
	assert_false(client.closed);
	free(b.value);
	end(&client, &fake);
}

static void test_wrong_answers(void **state)
{
	struct answer a = { 0 };
	struct client client;
	struct fake fake;

	(void)state;
	client_ready(&client, &fake);
	ask(&client, &a, "query-a", 200);
	test_idle(event, 10);
	fake_send(&fake,
		  "{\"return\": {}, \"id\": 99}{\"return\": {}}{\"return\": {}, \"id\": \"2\"}"
		  "{\"return\": {}, \"id\": -2}{\"return\": {}, \"id\": 0}{\"id\": 2}{}"
		  "{\"return\": {}, \"id\": 1}{\"event\": 7}"
		  "{\"return\": 18446744073709551615, \"id\": 77}"
		  "{\"error\": {\"class\": \"GenericError\", \"desc\": \"x\"}}\n");
	assert_true(test_run(event, &a.done));
	assert_int_equal(a.result, -ETIMEDOUT);
	assert_string_equal(a.error, "query-a: QEMU did not answer in time");
	/* The late answer belongs to nobody, and an answer comes once. */
	fake_send(&fake, "{\"return\": {}, \"id\": 2}\n");
	ask(&client, &a, "query-b", 10000);
	test_idle(event, 10);
	fake_send(&fake, "{\"return\": 5, \"id\": 3}{\"return\": 6, \"id\": 3}\n");
	test_idle(event, 20);
	assert_int_equal(a.calls, 1);
	assert_string_equal(a.value, "5");
	free(a.value);
	/* A number beyond 63 bits costs precision, not the answer. */
	ask(&client, &a, "query-c", 10000);
	test_idle(event, 10);
	fake_send(&fake, "{\"return\": {\"n\": 18446744073709551615}, \"id\": 4}\n");
	assert_true(test_run(event, &a.done));
	assert_int_equal(a.result, 0);
	free(a.value);
	end(&client, &fake);
}

static void test_drip_reply(void **state)
{
	struct answer a = { 0 };
	struct client client;
	uint64_t begin;
	struct fake fake;

	(void)state;
	client_ready(&client, &fake);
	begin = test_now();
	ask(&client, &a, "query-a", 250);
	fake_drip_start(&fake, "{\"return\": {}, \"id\": 2}\n", 20000);
	assert_true(test_run(event, &a.done));
	assert_int_equal(a.result, -ETIMEDOUT);
	assert_in_range(test_now() - begin, 249000, TEST_WAIT_MSEC * 1000ULL);
	ask(&client, &a, "query-b", 10000);
	test_idle(event, 400);
	fake_send(&fake, "{\"return\": {}, \"id\": 3}\n");
	assert_true(test_run(event, &a.done));
	assert_int_equal(a.result, 0);
	free(a.value);
	end(&client, &fake);
}

/* Those that take the whole two seconds, side by side. */
static void test_no_greeting(void **state)
{
	struct client silent, drip, mute, busy, full;
	struct fake silent_fake, drip_fake, mute_fake, full_fake;
	uint64_t begin = test_now();
	pid_t qemu = 0;
	struct client first;
	int fds[8];

	(void)state;
	fake_start(&silent_fake, NULL);
	client_start(&silent, silent_fake.path);
	fake_start(&drip_fake, NULL);
	client_start(&drip, drip_fake.path);
	fake_start(&mute_fake, GREETING);
	mute_fake.negotiates = false;
	client_start(&mute, mute_fake.path);
	if (have_qemu) {
		char path[96];

		qemu = test_qemu(folder, (const char *const[]){ "-S", "-m", "32", NULL });
		snprintf(path, sizeof(path), "%s/qmp", folder);
		client_start(&first, path);
		assert_true(test_run(event, &first.ready));
		assert_int_equal(qmp_peer_pid(first.qmp), qemu);
		begin = test_now();
		client_start(&busy, path);
	}
	fake_start(&full_fake, NULL);
	sd_event_source_set_enabled(full_fake.accept_source, SD_EVENT_OFF);
	for (size_t i = 0; i < 8; i++) {
		struct sockaddr_un address = { .sun_family = AF_UNIX };

		strcpy(address.sun_path, full_fake.path);
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fds[i], (struct sockaddr *)&address, sizeof(address));
	}
	client_start(&full, full_fake.path);
	assert_true(test_run(event, &full.closed));
	assert_int_equal(full.reason, -EBUSY);

	while (drip_fake.fd < 0)
		sd_event_run(event, 1000);
	fake_drip_start(&drip_fake, GREETING, 50000);
	assert_true(test_run(event, &silent.closed));
	assert_true(test_run(event, &drip.closed));
	assert_true(test_run(event, &mute.closed));
	assert_int_equal(silent.reason, -EBUSY);
	assert_int_equal(drip.reason, -EBUSY);
	assert_int_equal(mute.reason, -ETIMEDOUT);
	assert_false(mute.ready);
	assert_non_null(strstr(silent.message, "-qmp unix:"));
	assert_non_null(strstr(silent.message, "<qemu:commandline>"));
	assert_non_null(strstr(silent.message, silent_fake.path));
	assert_null(strstr(silent.message, "%"));
	if (have_qemu) {
		assert_true(test_run(event, &busy.closed));
		assert_int_equal(busy.reason, -EBUSY);
		assert_false(first.closed);
		test_qemu_stop(qemu);
		assert_true(test_run(event, &first.closed));
		assert_int_equal(first.reason, -ECONNRESET);
		qmp_free(busy.qmp);
		qmp_free(first.qmp);
	}
	assert_true(test_now() - begin < TEST_WAIT_MSEC * 1000ULL);
	for (size_t i = 0; i < 8; i++)
		close(fds[i]);
	end(&silent, &silent_fake);
	end(&drip, &drip_fake);
	end(&mute, &mute_fake);
	end(&full, &full_fake);
}

static void refused(const char *bytes, int reason, const char *text)
{
	struct client client;
	struct fake fake;

	fake_start(&fake, bytes);
	client_start(&client, fake.path);
	assert_true(test_run(event, &client.closed));
	assert_int_equal(client.reason, reason);
	if (!strstr(client.message, text))
		fail_msg("\"%s\" is not in \"%s\"", text, client.message);
	end(&client, &fake);
}

static void test_not_qmp(void **state)
{
	(void)state;
	refused("QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ", -EPROTO,
		"not a QMP socket");
	refused("\377\377\001\002", -EPROTO, "not a QMP socket");
	refused("[]", -EPROTO, "not a QMP socket");
	refused("{\"hello\": 1}\n", -EPROTO, "sent no QMP greeting");
	refused("{\"QMP\": 1}\n", -EPROTO, "sent no QMP greeting");
	refused("{\"QMP\": {}, \"QMP\": {}}\n", -EBADMSG, "key twice");
	refused("{\"QMP\": }\n", -EBADMSG, "not valid JSON");
}

static void test_no_socket(void **state)
{
	struct client client;
	char path[96], longest[120];
	struct fake fake;

	(void)state;
	snprintf(path, sizeof(path), "%s/none", folder);
	client_start(&client, path);
	assert_false(client.closed);
	assert_true(test_run(event, &client.closed));
	assert_int_equal(client.reason, -ENOENT);
	assert_non_null(strstr(client.message, "no such socket"));
	qmp_free(client.qmp);

	fake_start(&fake, NULL);
	fake_stop(&fake);
	client_start(&client, fake.path);
	assert_true(test_run(event, &client.closed));
	assert_int_equal(client.reason, -ECONNREFUSED);
	qmp_free(client.qmp);

	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[108] = '\0';
	assert_int_equal(qmp_new(event, longest, &ops, NULL, &client.qmp), -EINVAL);
	assert_int_equal(qmp_new(event, "relative", &ops, NULL, &client.qmp), -EINVAL);
	/* Freed before the failure was told: it is not told. */
	client_start(&client, path);
	client.qmp = qmp_free(client.qmp);
	test_idle(event, 10);
	assert_false(client.closed);
}

static void test_long_message(void **state)
{
	struct client client;
	char *text = malloc(QMP_MESSAGE_MAX);
	struct fake fake;

	(void)state;
	client_ready(&client, &fake);
	memset(text, 'x', QMP_MESSAGE_MAX);
	memcpy(text, "{\"a\": \"", 7);
	fcntl(fake.fd, F_SETFL, O_NONBLOCK);
	for (size_t sent = 0; !client.closed;) {
		ssize_t n = send(fake.fd, text + (sent ? 100 : 0), 64 * 1024, MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		assert_true(sent < QMP_MESSAGE_MAX + 1024 * 1024);
		sd_event_run(event, 10000);
	}
	assert_int_equal(client.reason, -EMSGSIZE);
	assert_non_null(strstr(client.message, "longer than 1 MiB"));
	free(text);
	end(&client, &fake);
}

static void test_disconnect(void **state)
{
	struct client client;
	struct answer a = { .client = &client }, b = { .client = &client };
	struct fake fake;

	(void)state;
	client_ready(&client, &fake);
	ask(&client, &a, "query-a", 5000);
	ask(&client, &b, "query-b", 5000);
	test_idle(event, 10);
	/* One answer whole and one half, then the end: the whole one counts. */
	fake_send(&fake, "{\"return\": {}, \"id\": 2}\n{\"return\": {\"x");
	fake_hang_up(&fake);
	assert_true(test_run(event, &client.closed));
	assert_int_equal(client.reason, -ECONNRESET);
	assert_int_equal(a.result, 0);
	assert_int_equal(b.result, -ECONNRESET);
	assert_int_equal(client.replies_before_close, 2);
	assert_int_equal(
		qmp_command(client.qmp, "x", json_object(), test_now(), on_reply, &a, NULL),
		-ENOTCONN);
	assert_int_equal(qmp_peer_pid(client.qmp), -ENOTCONN);
	free(a.value);
	end(&client, &fake);
}

static void test_limits(void **state)
{
	struct answer answers[QMP_OUTSTANDING_MAX + 1];
	struct client client;
	uint64_t id = 0;
	struct fake fake;
	char *large;

	(void)state;
	memset(answers, 0, sizeof(answers));
	client_ready(&client, &fake);
	for (size_t i = 0; i < QMP_OUTSTANDING_MAX; i++)
		ask(&client, &answers[i], "query-a", 100);
	assert_int_equal(qmp_command(client.qmp, "x", json_object(), test_now() + 1000000, on_reply,
				     &answers[QMP_OUTSTANDING_MAX], NULL),
			 -ENOBUFS);
	for (size_t i = 0; i < QMP_OUTSTANDING_MAX; i++)
		assert_true(test_run(event, &answers[i].done));
	assert_int_equal(answers[3].result, -ETIMEDOUT);
	/* Too much to send at once. */
	large = calloc(1, QMP_OUTPUT_MAX);
	memset(large, 'y', QMP_OUTPUT_MAX - 1);
	assert_int_equal(
		qmp_send_hmp(client.qmp, large, test_now() + 1000000, on_reply, &answers[0], NULL),
		-ENOBUFS);
	free(large);
	/* Cancelled: not a word. */
	answers[0] = (struct answer){ 0 };
	assert_int_equal(
		qmp_send_hmp(client.qmp, "info", test_now() + 20000, on_reply, &answers[0], &id),
		0);
	qmp_cancel(client.qmp, id);
	qmp_cancel(client.qmp, 0);
	test_idle(event, 50);
	assert_false(answers[0].done);
	assert_non_null(strstr(fake.received, "{\"command-line\":\"info\"}"));
	end(&client, &fake);
}

/* A peer that does not read: what does not fit its socket waits here, up to a limit. */
static void test_full_output(void **state)
{
	struct answer answers[64];
	char *large = calloc(1, 16 * 1024);
	struct client client;
	struct fake fake;
	size_t n = 0;
	int r = 0;

	(void)state;
	memset(answers, 0, sizeof(answers));
	memset(large, 'y', 16 * 1024 - 1);
	client_ready(&client, &fake);
	sd_event_source_set_enabled(fake.data_source, SD_EVENT_OFF);
	for (n = 0; n < 64 && r == 0; n++) {
		r = qmp_send_hmp(client.qmp, large, test_now() + 1000000, on_reply, &answers[n],
				 NULL);
		test_idle(event, 2);
	}
	assert_int_equal(r, -ENOBUFS);
	assert_false(client.closed);
	sd_event_source_set_enabled(fake.data_source, SD_EVENT_ON);
	fake.size = 0;
	test_idle(event, 100);
	end(&client, &fake);
	free(large);
}

static void test_free_in_callbacks(void **state)
{
	struct client client;
	struct answer a = { .client = &client, .free_client = true }, b = { .client = &client };
	struct fake fake;

	(void)state;
	fake_start(&fake, GREETING);
	client_start(&client, fake.path);
	client.free_when_ready = true;
	assert_true(test_run(event, &client.ready));
	assert_null(client.qmp);
	fake_stop(&fake);

	fake_start(&fake, "nonsense");
	client_start(&client, fake.path);
	client.free_when_closed = true;
	assert_true(test_run(event, &client.closed));
	fake_stop(&fake);

	/* In a reply, with more of them in the buffer and one outstanding. */
	client_ready(&client, &fake);
	ask(&client, &a, "query-a", 10000);
	ask(&client, &b, "query-b", 10000);
	test_idle(event, 10);
	fake_send(&fake, "{\"return\": {}, \"id\": 2}\n{\"return\": {}, \"id\": 3}\n");
	assert_true(test_run(event, &a.done));
	test_idle(event, 20);
	assert_false(b.done);
	assert_false(client.closed);
	free(a.value);
	fake_stop(&fake);

	/* In a reply that the end of the connection brings. */
	client_ready(&client, &fake);
	ask(&client, &a, "query-a", 10000);
	ask(&client, &b, "query-b", 10000);
	test_idle(event, 10);
	fake_hang_up(&fake);
	assert_true(test_run(event, &a.done));
	test_idle(event, 20);
	assert_false(b.done);
	assert_false(client.closed);
	fake_stop(&fake);

	/* In a timeout. */
	client_ready(&client, &fake);
	ask(&client, &a, "query-a", 10);
	ask(&client, &b, "query-b", 10);
	assert_true(test_run(event, &a.done));
	test_idle(event, 20);
	assert_false(b.done);
	fake_stop(&fake);
}

static void test_qemu_commands(void **state)
{
	struct answer a = { 0 };
	struct client client;
	char path[96];
	pid_t qemu;

	(void)state;
	if (!have_qemu)
		skip();
	qemu = test_qemu(folder, (const char *const[]){ "-S", "-m", "32", NULL });
	snprintf(path, sizeof(path), "%s/qmp", folder);
	client_start(&client, path);
	assert_true(test_run(event, &client.ready));
	assert_true(strlen(qmp_version(client.qmp)) >= 5);
	ask(&client, &a, "query-status", 10000);
	assert_true(test_run(event, &a.done));
	assert_non_null(strstr(a.value, "\"prelaunch\""));
	free(a.value);
	ask(&client, &a, "no-such-command", 10000);
	assert_true(test_run(event, &a.done));
	assert_int_equal(a.result, -EREMOTEIO);
	assert_string_equal(a.error_class, "CommandNotFound");
	ask(&client, &a, "cont", 10000);
	assert_true(test_run(event, &client.got_event));
	assert_string_equal(client.event_name, "RESUME");
	assert_true(test_run(event, &a.done));
	free(a.value);
	a = (struct answer){ 0 };
	assert_int_equal(
		qmp_send_hmp(client.qmp, "info version", test_now() + 10000000, on_reply, &a, NULL),
		0);
	assert_true(test_run(event, &a.done));
	assert_non_null(strstr(a.value, qmp_version(client.qmp)));
	free(a.value);
	/* Stopped: it owes an answer for as long as it likes, and we wait for as long as we like.
	 */
	kill(qemu, SIGSTOP);
	ask(&client, &a, "query-status", 100);
	assert_true(test_run(event, &a.done));
	assert_int_equal(a.result, -ETIMEDOUT);
	assert_false(client.closed);
	kill(qemu, SIGCONT);
	ask(&client, &a, "query-status", 10000);
	assert_true(test_run(event, &a.done));
	assert_int_equal(a.result, 0);
	free(a.value);
	test_qemu_stop(qemu);
	assert_true(test_run(event, &client.closed));
	qmp_free(client.qmp);
}

static int setup(void **state)
{
	(void)state;
	test_folder(folder);
	return sd_event_new(&event);
}

static int teardown(void **state)
{
	(void)state;
	event = sd_event_unref(event);
	test_folder_remove(folder);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_handshake),	  TEST(test_answers),	   TEST(test_wrong_answers),
		TEST(test_drip_reply),	  TEST(test_no_greeting),  TEST(test_not_qmp),
		TEST(test_no_socket),	  TEST(test_long_message), TEST(test_disconnect),
		TEST(test_limits),	  TEST(test_full_output),  TEST(test_free_in_callbacks),
		TEST(test_qemu_commands),
	};

	have_qemu = test_have(QEMU);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
