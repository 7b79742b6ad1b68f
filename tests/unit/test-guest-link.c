/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <termios.h>

#include "base/clock.h"
#include "guest/link.h"
#include "wire/message.h"

static struct agent_link link_;
static int host;

static int setup(void **state)
{
	int ends[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	wire_reader_reset(&link_.reader);
	link_.fd = ends[0];
	link_.signal_fd = -1;
	link_.begun_usec = 0;
	host = ends[1];
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	link_done(&link_);
	link_done(&link_);
	if (host >= 0)
		close(host);
	return 0;
}

static size_t ping(uint8_t *frame, uint64_t id)
{
	return wire_frame_seal(frame, WIRE_PING, id, 0);
}

static void host_says(const void *data, size_t size)
{
	assert_int_equal(write(host, data, size), (ssize_t)size);
}

static void hear(void)
{
	assert_int_equal(link_wait(&link_, -1, USEC_PER_SEC), 1);
	assert_int_equal(link_receive(&link_, -1, USEC_PER_SEC), 0);
}

static void test_pieces(void **state)
{
	uint8_t frames[2 * WIRE_HEADER_BYTES];
	struct wire_frame frame;

	(void)state;
	ping(frames, 1);
	ping(frames + WIRE_HEADER_BYTES, 2);
	assert_int_equal(link_wait(&link_, -1, 1000), 0);
	for (size_t i = 0; i < sizeof(frames) - 1; i++) {
		host_says(frames + i, 1);
		hear();
		assert_int_equal(link_next(&link_, &frame), i == WIRE_HEADER_BYTES - 1);
	}
	assert_int_equal(frame.id, 1);
	host_says(frames + sizeof(frames) - 1, 1);
	hear();
	assert_int_equal(link_next(&link_, &frame), 1);
	assert_int_equal(frame.id, 2);
	assert_int_equal(link_receive(&link_, -1, USEC_PER_SEC),
			 0); /* nothing there is no trouble */
}

static void test_garbage(void **state)
{
	uint8_t bytes[1000 + WIRE_HEADER_BYTES];
	struct wire_frame frame;

	(void)state;
	for (size_t i = 0; i < 1000; i++)
		bytes[i] = (uint8_t)(i * 7);
	ping(bytes + 1000, 3);
	host_says(bytes, sizeof(bytes));
	hear();
	assert_int_equal(link_next(&link_, &frame), 1);
	assert_int_equal(frame.id, 3);
}

/* The rest of a frame never comes, and what comes is its successor's: it has its time, no more. */
static void test_cut_frame(void **state)
{
	uint8_t bytes[WIRE_HEADER_BYTES + 1000] = { 0 };
	struct wire_frame frame;

	(void)state;
	wire_frame_seal(bytes, WIRE_EVICT, 1, 1000);
	host_says(bytes, 100);
	hear();
	ping(bytes, 4);
	host_says(bytes, WIRE_HEADER_BYTES);
	hear();
	assert_int_equal(link_next(&link_, &frame), 0);
	assert_int_equal(link_wait(&link_, -1, 1000), 0);
	assert_int_equal(link_next(&link_, &frame), 0);
	/* As if that had been LINK_STALL_USEC ago, though something came meanwhile. */
	link_.begun_usec -= LINK_STALL_USEC;
	host_says("x", 1);
	assert_int_equal(link_wait(&link_, -1, USEC_PER_SEC), 0);
	assert_int_equal(link_next(&link_, &frame), 1);
	assert_int_equal(frame.id, 4);
}

static void test_wait_ends_with_the_frame(void **state)
{
	uint8_t bytes[WIRE_HEADER_BYTES];
	uint64_t start;

	(void)state;
	ping(bytes, 5);
	host_says(bytes, 10);
	hear();
	link_.begun_usec = now_usec() - LINK_STALL_USEC + 50000;
	start = now_usec();
	assert_int_equal(link_wait(&link_, -1, 60 * USEC_PER_SEC), 0);
	assert_in_range(now_usec() - start, 40000, USEC_PER_SEC);
}

static void test_host_goes(void **state)
{
	uint8_t bytes[WIRE_HEADER_BYTES];
	uint64_t start = now_usec();

	(void)state;
	ping(bytes, 6);
	host_says(bytes, 10);
	hear();
	close(host);
	host = -1;
	assert_int_equal(link_wait(&link_, -1, USEC_PER_SEC), 1);
	assert_int_equal(link_receive(&link_, -1, USEC_PER_SEC), -ENOTCONN);
	/* It took its time, so that a caller who tries again does not spin; nothing is left. */
	assert_in_range(now_usec() - start, USEC_PER_SEC / 2, 2 * USEC_PER_SEC);
	assert_int_equal(link_.reader.start, link_.reader.end);
}

static void test_send(void **state)
{
	static struct wire_reader reader;
	struct wire_frame frame;
	size_t size;

	(void)state;
	strcpy(link_payload(&link_), "text");
	assert_int_equal((uintptr_t)link_payload(&link_) % sizeof(uint64_t), 0);
	assert_int_equal(link_send(&link_, WIRE_PONG, 8, 5), 0);
	wire_reader_reset(&reader);
	void *space = wire_reader_space(&reader, &size);
	wire_reader_added(&reader, (size_t)read(host, space, size));
	assert_int_equal(wire_reader_next(&reader, &frame), 1);
	assert_int_equal(frame.id, 8);
	assert_int_equal(frame.type, WIRE_PONG);
	assert_memory_equal(frame.payload, "text", 5);
}

/* Queues large frames until one did not go out whole; how many. */
static unsigned fill(void)
{
	unsigned n = 0;

	for (; !link_is_behind(&link_); n++) {
		memset(link_payload(&link_), 'x', WIRE_PAYLOAD_MAX);
		assert_int_equal(link_send(&link_, WIRE_PAGES, n, WIRE_PAYLOAD_MAX), 0);
	}
	return n;
}

/* Frames that the host reads, in pieces, while the link waits for input; each is to be the next. */
static void host_reads(struct wire_reader *reader, unsigned *count, uint64_t until)
{
	struct wire_frame frame;
	size_t size;

	while (now_usec() < until && link_is_behind(&link_)) {
		void *space = wire_reader_space(reader, &size);
		ssize_t n = read(host, space, size < 10000 ? size : 10000);

		if (n > 0)
			wire_reader_added(reader, (size_t)n);
		while (wire_reader_next(reader, &frame))
			assert_int_equal(frame.id, (*count)++);
		assert_int_equal(link_wait(&link_, -1, 0), 0);
	}
}

static void test_slow_host(void **state)
{
	static struct wire_reader reader;
	uint64_t start = now_usec();
	unsigned sent, seen = 0;

	(void)state;
	sent = fill();
	for (; sent < 6; sent++)
		assert_int_equal(link_send(&link_, WIRE_PAGES, sent, WIRE_PAYLOAD_MAX), 0);
	/* Nobody waited, and who asks for something meanwhile is heard. */
	assert_in_range(now_usec() - start, 0, USEC_PER_SEC);
	host_says("x", 1);
	assert_int_equal(link_wait(&link_, -1, USEC_PER_SEC), LINK_INPUT);
	hear();
	link_.reader.start = link_.reader.end = 0;
	wire_reader_reset(&reader);
	host_reads(&reader, &seen, start + 20 * USEC_PER_SEC);
	assert_false(link_is_behind(&link_));
	assert_in_range(seen, 1, sent);
}

static void test_host_does_not_read(void **state)
{
	uint64_t start = now_usec();
	int r = 0;

	(void)state;
	fill();
	link_.taken_usec = now_usec() - LINK_SEND_USEC + 50000;
	while (r >= 0)
		r = link_wait(&link_, -1, USEC_PER_SEC);
	assert_int_equal(r, -ETIMEDOUT);
	assert_in_range(now_usec() - start, 40000, USEC_PER_SEC);
	assert_false(link_is_behind(&link_));
	/* A full queue waits for its own time, and no longer. */
	for (r = 0, start = now_usec(); r >= 0;)
		r = link_send(&link_, WIRE_PAGES, 0, WIRE_PAYLOAD_MAX);
	assert_int_equal(r, -ETIMEDOUT);
	assert_in_range(now_usec() - start, LINK_ROOM_USEC, 3 * LINK_ROOM_USEC);
	assert_false(link_is_behind(&link_));
}

/* Who asks and does not read is not asked what else it wants. */
static void test_full_is_not_read(void **state)
{
	(void)state;
	while (!link_is_full(&link_))
		assert_int_equal(link_send(&link_, WIRE_PAGES, 0, WIRE_PAYLOAD_MAX), 0);
	host_says("x", 1);
	assert_int_equal(link_wait(&link_, -1, 1000), 0);
}

static void test_host_goes_with_output(void **state)
{
	static uint8_t bytes[65536];

	(void)state;
	fill();
	/* A socket that is closed with something to be read is an error of its own. */
	while (read(host, bytes, sizeof(bytes)) > 0)
		;
	close(host);
	host = -1;
	assert_int_equal(link_receive(&link_, -1, 1000), -ENOTCONN);
	assert_false(link_is_behind(&link_));
}

static void test_open(void **state)
{
	uint8_t bytes[WIRE_HEADER_BYTES];
	struct agent_link *l = &link_;
	struct wire_frame frame;
	struct termios raw;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	(void)state;
	link_done(l);
	assert_int_equal(link_open(l, "/no/such/port"), -ENOENT);
	assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	assert_int_equal(tcgetattr(master, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(master, TCSANOW, &raw), 0);
	assert_int_equal(link_open(l, ptsname(master)), 0);
	ping(bytes, 9);
	assert_int_equal(write(master, bytes, sizeof(bytes)), sizeof(bytes));
	hear();
	assert_int_equal(link_next(l, &frame), 1);
	assert_int_equal(frame.id, 9);
	close(master);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
#define LINK_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		LINK_TEST(test_pieces),
		LINK_TEST(test_garbage),
		LINK_TEST(test_cut_frame),
		LINK_TEST(test_wait_ends_with_the_frame),
		LINK_TEST(test_host_goes),
		LINK_TEST(test_send),
		LINK_TEST(test_slow_host),
		LINK_TEST(test_host_does_not_read),
		LINK_TEST(test_full_is_not_read),
		LINK_TEST(test_host_goes_with_output),
		LINK_TEST(test_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
