/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket, with clients that the test plays. */
#include "host-test.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "host/control.h"

static sd_event *event;
static char folder[64], path[96];
static struct control *control;

static struct call *open_call; /* of "later" */
static unsigned handled;

/* "echo" answers its parameters, "big" with a lot, "later" not yet, "bad" what is no text. */
static void on_call(struct call *call, const char *method, json_t *parameters, void *userdata)
{
	assert_ptr_equal(userdata, &handled);
	handled++;
	if (strcmp(method, "echo") == 0) {
		call_reply(call, json_incref(parameters));
	} else if (strcmp(method, "big") == 0) {
		char *text = calloc(1, (4 << 20) + 1);

		memset(text, 'x', 4 << 20);
		call_reply(call, json_pack("{ss}", "text", text));
		free(text);
	} else if (strcmp(method, "later") == 0) {
		assert_null(open_call);
		open_call = call;
		call_progress(call, json_pack("{ss}", "stage", "wait"));
	} else if (strcmp(method, "bad") == 0) {
		call_error(call, "failed", "%s", "caf\xc3");
	} else {
		call_reply(call, NULL);
	}
}

static int setup(void **state)
{
	(void)state;
	handled = 0;
	return control_new(event, path, on_call, &handled, &control);
}

static int teardown(void **state)
{
	(void)state;
	if (open_call)
		call_reply(open_call, json_object());
	open_call = NULL;
	control = control_free(control);
	assert_int_equal(access(path, F_OK), -1);
	return 0;
}

static int client(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void ask(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Turns the loop until it has nothing to do. */
static void turn(void)
{
	while (sd_event_run(event, 20000) > 0)
		;
}

/* The next line, without its end; "" at the end of the stream. */
static const char *line(int fd)
{
	static char text[8192];
	uint64_t end = test_now() + 1000000;
	size_t n = 0;

	while (test_now() < end && n < sizeof(text) - 1) {
		ssize_t got = recv(fd, text + n, 1, 0);

		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		if (got < 0)
			assert_true(sd_event_run(event, 1000) >= 0);
		else if (text[n++] == '\n')
			break;
	}
	assert_true(test_now() < end);
	text[n ? n - 1 : 0] = '\0';
	return text;
}

static void test_answers(void **state)
{
	int fd = client();

	(void)state;
	ask(fd, "{\"method\":\"echo\",\"parameters\":{\"a\":1}}\n");
	assert_string_equal(line(fd), "{\"parameters\":{\"a\":1}}");
	ask(fd, "{\"method\":");
	turn();
	ask(fd, "\"echo\"}\n");
	assert_string_equal(line(fd), "{\"parameters\":{}}");
	ask(fd, "{\"method\":\"bad\"}\n");
	assert_string_equal(line(fd),
			    "{\"error\":\"failed\",\"parameters\":{\"message\":\"caf?\"}}");
	ask(fd, "{\"method\":\"none\"}\n");
	assert_non_null(strstr(line(fd), "\"error\":\"failed\""));
	close(fd);
}

static void test_no_requests(void **state)
{
	static const char *const bad[] = {
		"\n",
		"hello\n",
		"[]\n",
		"{\"method\":1}\n",
		"{\"method\":\"echo\",\"parameters\":[]}\n",
		"{\"method\":\"echo\",\"method\":\"big\"}\n",
		"{\"method\":\"echo\",\"parameters\":{\"a\":\"\xff\"}}\n",
	};
	int fd = client();

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ask(fd, bad[i]);
		assert_non_null(strstr(line(fd), "{\"error\":\"invalid\""));
	}
	assert_int_equal(handled, 0);
	ask(fd, "{\"method\":\"echo\"}\n");
	assert_string_equal(line(fd), "{\"parameters\":{}}");
	close(fd);
}

static void test_long_line(void **state)
{
	char *text = malloc(CONTROL_REQUEST_MAX + 2);
	int fd = client();

	(void)state;
	memset(text, 'a', CONTROL_REQUEST_MAX + 1);
	text[CONTROL_REQUEST_MAX + 1] = '\0';
	ask(fd, text);
	assert_string_equal(line(fd), "{\"error\":\"invalid\",\"parameters\":{\"message\":"
				      "\"a request is at most 65536 bytes\"}}");
	assert_string_equal(line(fd), "");
	close(fd);
	free(text);
}

/* Several requests in one piece, and then no more: each is answered. */
static void test_pipeline(void **state)
{
	int fd = client();

	(void)state;
	ask(fd, "{\"method\":\"later\"}\n{\"method\":\"echo\",\"parameters\":{\"n\":2}}\n");
	assert_string_equal(line(fd), "{\"continues\":true,\"parameters\":{\"stage\":\"wait\"}}");
	turn();
	assert_int_equal(handled, 1);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	turn();
	call_reply(open_call, json_pack("{si}", "n", 1));
	open_call = NULL;
	assert_string_equal(line(fd), "{\"parameters\":{\"n\":1}}");
	assert_string_equal(line(fd), "{\"parameters\":{\"n\":2}}");
	assert_string_equal(line(fd), "");
	close(fd);
}

static void test_goes_away(void **state)
{
	int fd = client();

	(void)state;
	ask(fd, "{\"method\":\"later\"}\n");
	turn();
	close(fd);
	turn();
	/* Its call is still ours to end. */
	call_progress(open_call, json_object());
	call_reply(open_call, json_object());
	open_call = NULL;
	fd = client();
	ask(fd, "{\"method\":\"echo\"}\n");
	close(fd);
	turn();
	assert_int_equal(handled, 2);
}

/* It is sent one answer, and no other is made before it has taken that. */
static void test_never_reads(void **state)
{
	int fd = client(), other = client();
	size_t got = 0;
	char buffer[65536];

	(void)state;
	for (int i = 0; i < 10; i++)
		ask(fd, "{\"method\":\"big\"}\n");
	turn();
	assert_int_equal(handled, 1);
	ask(other, "{\"method\":\"echo\"}\n");
	assert_string_equal(line(other), "{\"parameters\":{}}");
	for (ssize_t n; got < 10 * (4 << 20) && (n = recv(fd, buffer, sizeof(buffer), 0)) != 0;
	     got += n > 0 ? (size_t)n : 0)
		if (n < 0)
			assert_true(sd_event_run(event, 1000) >= 0);
	assert_int_equal(handled, 11);
	close(fd);
	close(other);
}

static void test_full(void **state)
{
	int fds[40];

	(void)state;
	for (int i = 0; i < 40; i++) {
		fds[i] = client();
		turn();
	}
	for (int i = 0; i < 40; i++)
		(void)!send(fds[i], "{\"method\":\"echo\"}\n", 18, MSG_NOSIGNAL);
	for (int i = 0; i < 40; i++)
		assert_non_null(strstr(line(fds[i]), i < CONTROL_CLIENTS_MAX
							     ? "{\"parameters\":{}}"
							     : "{\"error\":\"busy\""));
	for (int i = 0; i < 40; i++)
		close(fds[i]);
	turn();
	fds[0] = client();
	ask(fds[0], "{\"method\":\"echo\"}\n");
	assert_string_equal(line(fds[0]), "{\"parameters\":{}}");
	close(fds[0]);
}

static void test_socket(void **state)
{
	struct control *second = NULL;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char stale[sizeof(path) + 8];
	struct stat st;
	int fd;

	(void)state;
	assert_int_equal(control_new(event, path, on_call, NULL, &second), -EADDRINUSE);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	/* What a dead daemon left is replaced. */
	snprintf(stale, sizeof(stale), "%s.old", path);
	strcpy(address.sun_path, stale);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(control_new(event, stale, on_call, NULL, &second), 0);
	control_free(second);
	assert_int_equal(control_new(event, "/nowhere/at/all", on_call, NULL, &second), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipeline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_goes_away, setup, teardown),
		cmocka_unit_test_setup_teardown(test_never_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_socket, setup, teardown),
	};
	int r;

	test_folder(folder);
	snprintf(path, sizeof(path), "%s/control.sock", folder);
	assert_int_equal(sd_event_new(&event), 0);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	sd_event_unref(event);
	test_folder_remove(folder);
	return r;
}
