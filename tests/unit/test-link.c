/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's end of a guest's port, with the guest's end played by the test. */
#include "host-test.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <zlib.h>

#include "host/link.h"

/* Seconds in the daemon; nobody waits for them here. */
#undef LINK_HELLO_USEC
#undef LINK_FRAME_USEC
#define LINK_HELLO_USEC 300000
#define LINK_FRAME_USEC 300000
#include "host/link.c"

static sd_event *event;
static char folder[64];

/* What a link told. */
static struct told {
	unsigned hellos, messages;
	uint16_t type;
	uint64_t id;
	struct wire_hello hello;
	bool any, silent, heard, closed;
	int reason;
	char text[128];
} told;

static int listener, guest = -1;
static struct link *agent;
static uint8_t frame[WIRE_FRAME_MAX];

static void on_message(uint16_t type, uint64_t id, const union wire_message *m, uint32_t length,
		       void *userdata)
{
	(void)length;
	assert_ptr_equal(userdata, &told);
	assert_false(told.closed);
	told.any = true;
	told.messages++;
	told.type = type;
	told.id = id;
	if (type == WIRE_HELLO) {
		told.hellos++;
		told.hello = *m->hello;
	}
}

static void on_silent(bool heard, void *userdata)
{
	(void)userdata;
	told.silent = true;
	told.heard = heard;
}

static void on_closed(int reason, const char *message, void *userdata)
{
	(void)userdata;
	assert_false(told.closed);
	assert_null(strchr(message, '\n'));
	told.closed = true;
	told.reason = reason;
	snprintf(told.text, sizeof(told.text), "%s", message);
}

static const struct link_ops ops = { on_message, on_silent, on_closed };

static int setup(void **state)
{
	struct url url = { .scheme = URL_SERIAL };
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)state;
	told = (struct told){ 0 };
	snprintf(url.path, sizeof(url.path), "%s/agent", folder);
	assert_int_equal(link_new(event, &url, &ops, &told, &agent), -ENOENT);
	strcpy(address.sun_path, url.path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(link_new(event, &url, &ops, &told, &agent), -ECONNREFUSED);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(link_new(event, &url, &ops, &told, &agent), 0);
	guest = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(guest >= 0);
	return 0;
}

static int teardown(void **state)
{
	char path[96];

	(void)state;
	agent = link_free(agent);
	if (guest >= 0)
		close(guest);
	guest = -1;
	close(listener);
	snprintf(path, sizeof(path), "%s/agent", folder);
	return unlink(path);
}

static void say_bytes(const void *bytes, size_t size)
{
	assert_int_equal(send(guest, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Seals @payload into `frame`. */
static size_t make(uint16_t type, uint64_t id, const void *payload, uint32_t length)
{
	if (length)
		memcpy(frame + WIRE_HEADER_BYTES, payload, length);
	return wire_frame_seal(frame, type, id, length);
}

static void say(uint16_t type, uint64_t id, const void *payload, uint32_t length)
{
	say_bytes(frame, make(type, id, payload, length));
}

static void hear(bool *flag)
{
	*flag = false;
	assert_true(test_run(event, flag));
}

static void test_greeting(void **state)
{
	struct wire_hello hello = { .version = WIRE_VERSION, .kernel = "6.1" };
	uint8_t bytes[64];
	uint32_t crc;

	(void)state;
	/* We speak first. */
	assert_int_equal(recv(guest, bytes, sizeof(bytes), 0),
			 WIRE_HEADER_BYTES + sizeof(struct wire_welcome));
	say(WIRE_HELLO, LINK_WELCOME_ID, &hello, sizeof(hello));
	hear(&told.any);
	assert_int_equal(told.id, LINK_WELCOME_ID);
	assert_string_equal(told.hello.kernel, "6.1");
	/* Of a later version only that is taken: its layout may be any. */
	make(WIRE_HELLO, 0, "something else", 14);
	frame[6] = WIRE_VERSION + 1;
	/* The checksum covers the version: sealed as that version would. */
	crc = (uint32_t)crc32(crc32(0, frame, 20), frame + WIRE_HEADER_BYTES, 14);
	memcpy(frame + 20, &crc, sizeof(crc));
	say_bytes(frame, WIRE_HEADER_BYTES + 14);
	hear(&told.any);
	assert_int_equal(told.hellos, 2);
	assert_int_equal(told.hello.version, WIRE_VERSION + 1);
	assert_false(told.closed);
}

static void test_drip(void **state)
{
	struct wire_hello hello = { .version = WIRE_VERSION };
	size_t size = make(WIRE_HELLO, 3, &hello, sizeof(hello));

	(void)state;
	for (size_t i = 0; i < size; i++) {
		assert_false(told.any);
		say_bytes(frame + i, 1);
		assert_true(sd_event_run(event, 0) >= 0);
	}
	assert_true(test_run(event, &told.any));
	assert_int_equal(told.hellos, 1);
	assert_int_equal(link_lost(agent), 0);
}

static void test_noise(void **state)
{
	static uint8_t noise[64 * 1024];

	(void)state;
	memset(noise, 0x5a, sizeof(noise));
	for (int i = 0; i < 8 && !told.closed; i++) {
		(void)!send(guest, noise, sizeof(noise), MSG_NOSIGNAL | MSG_DONTWAIT);
		(void)test_run_for(event, &told.closed, 20);
	}
	assert_true(told.closed);
	assert_int_equal(told.reason, -EBADMSG);
	assert_string_equal(told.text, "the agent's bytes are not the protocol's");
	assert_int_equal(link_send(agent, WIRE_PING, 0, NULL, 0), -ENOTCONN);
}

static void test_bad_frames(void **state)
{
	struct wire_hello hello = { .version = WIRE_VERSION };
	struct wire_disk disk = { .disk = WIRE_DISKS_MAX };

	(void)state;
	/* A greeting forgives: an agent that is killed now and then is not noise. */
	for (int i = 0; i < LINK_BAD_FRAMES_MAX; i++)
		say(WIRE_DISK, 1, &disk, sizeof(disk));
	say(WIRE_HELLO, 0, &hello, sizeof(hello));
	hear(&told.any);
	assert_int_equal(link_lost(agent), LINK_BAD_FRAMES_MAX);
	for (int i = 0; i <= LINK_BAD_FRAMES_MAX; i++)
		say(WIRE_DISK, 1, &disk, sizeof(disk));
	hear(&told.closed);
	assert_int_equal(told.messages, 1);
	assert_int_equal(told.reason, -EBADMSG);
}

static void test_hang_up(void **state)
{
	(void)state;
	say(WIRE_PONG, 0, NULL, 0);
	close(guest);
	guest = -1;
	hear(&told.closed);
	/* What was said before is heard first. */
	assert_int_equal(told.type, WIRE_PONG);
	assert_int_equal(told.reason, -ECONNRESET);
}

/* A guest that takes nothing costs a queue, and no waiting. */
static void test_never_reads(void **state)
{
	struct wire_evict *order = calloc(1, WIRE_PAYLOAD_MAX);
	uint64_t start = test_now();
	int r = 0;

	(void)state;
	for (int i = 0; i < 100 && r == 0; i++)
		r = link_send(agent, WIRE_EVICT, 1, order, WIRE_PAYLOAD_MAX);
	assert_int_equal(r, -ENOBUFS);
	assert_true(test_now() - start < TEST_WAIT_MSEC * 1000ULL);
	assert_false(told.closed);
	free(order);
}

/* Killed in the middle of a frame, and started again. */
static void test_cut(void **state)
{
	struct wire_hello hello = { .version = WIRE_VERSION };
	static const uint8_t path[4096] = { 1 };
	size_t size = make(WIRE_PATH, 1, path, sizeof(path));

	(void)state;
	say_bytes(frame, size / 2);
	test_idle(event, 100);
	say(WIRE_HELLO, 0, &hello, sizeof(hello));
	test_idle(event, 100);
	assert_int_equal(told.hellos, 0);
	assert_true(test_run(event, &told.silent));
	assert_true(told.heard);
	assert_true(told.any || test_run(event, &told.any));
	assert_int_equal(told.hellos, 1);
	assert_int_equal(link_lost(agent), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_greeting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_noise, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hang_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_never_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
	};
	int r;

	test_folder(folder);
	assert_int_equal(sd_event_new(&event), 0);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	sd_event_unref(event);
	test_folder_remove(folder);
	return r;
}
