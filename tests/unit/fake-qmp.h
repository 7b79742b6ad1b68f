/* SPDX-License-Identifier: Apache-2.0 */
/* Peers of the QMP client that the test plays itself, and what the client told. */
#ifndef PAGEPACT_TESTS_FAKE_QMP_H
#define PAGEPACT_TESTS_FAKE_QMP_H

#include "host-test.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "host/qmp.h"

#define GREETING                                                                                   \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, "         \
	"\"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n"

/* One end of a connection to the code under test. */
struct fake {
	char path[96];
	int listener;
	int fd;
	sd_event_source *accept_source;
	sd_event_source *data_source;
	sd_event_source *drip_source;
	const char *greeting; /* sent on accept */
	bool negotiates;
	char received[128 * 1024];
	size_t size;
	const char *drip;
	uint64_t drip_usec;
	void (*on_data)(struct fake *fake); /* after each piece that came */
};

struct client {
	struct qmp *qmp;
	bool ready;
	bool closed;
	bool got_event;
	int reason;
	char message[1024];
	char event_name[64];
	bool free_when_ready;
	bool free_when_closed;
	unsigned int replies_before_close;
};

struct answer {
	bool done;
	unsigned int calls;
	int result;
	char error_class[64];
	char error[256];
	char *value;
	struct client *client;
	bool free_client;
};

static sd_event *event;
static char folder[64];
static bool have_qemu;

static void fake_send(struct fake *fake, const char *text)
{
	assert_int_equal(send(fake->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static int fake_drip(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct fake *fake = userdata;

	if (*fake->drip == '\0' || send(fake->fd, fake->drip++, 1, MSG_NOSIGNAL) != 1)
		return 0;
	sd_event_source_set_time(source, usec + fake->drip_usec);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void fake_drip_start(struct fake *fake, const char *text, uint64_t usec)
{
	fake->drip = text;
	fake->drip_usec = usec;
	sd_event_source_disable_unref(fake->drip_source);
	assert_true(sd_event_add_time(event, &fake->drip_source, CLOCK_MONOTONIC, test_now(), 1,
				      fake_drip, fake) >= 0);
}

static int fake_data(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct fake *fake = userdata;
	ssize_t n;

	(void)revents;
	n = recv(fd, fake->received + fake->size, sizeof(fake->received) - 1 - fake->size,
		 MSG_DONTWAIT);
	if (n <= 0)
		return sd_event_source_set_enabled(source, SD_EVENT_OFF);
	fake->size += (size_t)n;
	fake->received[fake->size] = '\0';
	if (fake->negotiates && strstr(fake->received, "qmp_capabilities")) {
		fake->negotiates = false;
		fake->size = 0;
		fake->received[0] = '\0';
		fake_send(fake, "{\"return\": {}, \"id\": 1}\n");
	}
	if (fake->on_data)
		fake->on_data(fake);
	return 0;
}

static void fake_hang_up(struct fake *fake)
{
	fake->data_source = sd_event_source_disable_unref(fake->data_source);
	fake->drip_source = sd_event_source_disable_unref(fake->drip_source);
	if (fake->fd >= 0)
		close(fake->fd);
	fake->fd = -1;
}

static int fake_accept(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct fake *fake = userdata;

	(void)source;
	(void)revents;
	/* A client that came back. */
	if (fake->fd >= 0)
		fake_hang_up(fake);
	fake->size = 0;
	fake->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fake->fd >= 0);
	assert_true(sd_event_add_io(event, &fake->data_source, fake->fd, EPOLLIN, fake_data,
				    fake) >= 0);
	if (fake->greeting)
		(void)!send(fake->fd, fake->greeting, strlen(fake->greeting), MSG_NOSIGNAL);
	return 0;
}

static void fake_start(struct fake *fake, const char *greeting)
{
	static unsigned int n;
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memset(fake, 0, sizeof(*fake));
	snprintf(fake->path, sizeof(fake->path), "%s/fake%u", folder, n++);
	strcpy(address.sun_path, fake->path);
	fake->fd = -1;
	fake->greeting = greeting;
	fake->negotiates = true;
	fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fake->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fake->listener, 1), 0);
	assert_true(sd_event_add_io(event, &fake->accept_source, fake->listener, EPOLLIN,
				    fake_accept, fake) >= 0);
}

static void fake_stop(struct fake *fake)
{
	fake_hang_up(fake);
	sd_event_source_disable_unref(fake->accept_source);
	close(fake->listener);
}

static void on_ready(struct qmp *qmp, void *userdata)
{
	struct client *client = userdata;

	assert_ptr_equal(qmp, client->qmp);
	assert_true(qmp_is_ready(qmp));
	client->ready = true;
	if (client->free_when_ready)
		client->qmp = qmp_free(qmp);
}

static void on_event(struct qmp *qmp, const char *name, json_t *data, void *userdata)
{
	struct client *client = userdata;

	(void)qmp;
	(void)data;
	client->got_event = true;
	snprintf(client->event_name, sizeof(client->event_name), "%s", name);
}

static void on_closed(struct qmp *qmp, int reason, const char *message, void *userdata)
{
	struct client *client = userdata;

	assert_false(client->closed);
	assert_false(qmp_is_ready(qmp));
	client->closed = true;
	client->reason = reason;
	snprintf(client->message, sizeof(client->message), "%s", message);
	assert_null(strchr(message, '\n'));
	if (client->free_when_closed)
		client->qmp = qmp_free(qmp);
}

static const struct qmp_ops ops = { on_ready, on_event, on_closed };

static void client_start(struct client *client, const char *path)
{
	memset(client, 0, sizeof(*client));
	assert_int_equal(qmp_new(event, path, &ops, client, &client->qmp), 0);
}

static void client_ready(struct client *client, struct fake *fake)
{
	fake_start(fake, GREETING);
	client_start(client, fake->path);
	assert_true(test_run(event, &client->ready));
}

static void on_reply(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct answer *answer = userdata;

	(void)qmp;
	answer->done = true;
	answer->calls++;
	answer->result = reply->result;
	snprintf(answer->error_class, sizeof(answer->error_class), "%s", reply->error_class);
	snprintf(answer->error, sizeof(answer->error), "%s", reply->error);
	if (reply->value)
		answer->value = json_dumps(reply->value, JSON_COMPACT | JSON_ENCODE_ANY);
	if (answer->client && !answer->client->closed)
		answer->client->replies_before_close++;
	if (answer->free_client)
		answer->client->qmp = qmp_free(answer->client->qmp);
}

static void ask(struct client *client, struct answer *answer, const char *command,
		unsigned int msec)
{
	struct client *keep = answer->client;
	bool free_client = answer->free_client;

	*answer = (struct answer){ .client = keep, .free_client = free_client };
	assert_int_equal(qmp_command(client->qmp, command, NULL, test_now() + msec * 1000ULL,
				     on_reply, answer, NULL),
			 0);
	assert_false(answer->done);
}

static void end(struct client *client, struct fake *fake)
{
	client->qmp = qmp_free(client->qmp);
	fake_stop(fake);
}

#endif
