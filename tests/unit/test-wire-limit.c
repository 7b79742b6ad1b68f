/* SPDX-License-Identifier: Apache-2.0 */
/* What wire_decode() wants of limits and reports beyond single fields: sums, order, kinds; names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "wire/message.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static _Alignas(8) uint8_t scratch[WIRE_PAYLOAD_MAX];
static union wire_message message;

static int decode(uint16_t type, const void *payload, size_t length)
{
	const struct wire_frame frame = { .type = type,
					  .version = WIRE_VERSION,
					  .length = (uint32_t)length,
					  .payload = payload };

	return wire_decode(&frame, scratch, &message);
}

/* A number goes with the kind that wants it, and with no other. */
static void test_limits(void **state)
{
	static const struct {
		struct wire_limit limit;
		int result;
	} cases[] = {
		{ { WIRE_LIMIT_PERMILLE, 1, 0, 0, 0 }, 0 },
		{ { WIRE_LIMIT_PERMILLE, 1000, 0, 0, 0 }, 0 },
		{ { WIRE_LIMIT_PERMILLE, 1001, 0, 0, 0 }, -EBADMSG },
		{ { WIRE_LIMIT_PERMILLE, 500, 1, 0, 0 }, -EBADMSG },
		{ { WIRE_LIMIT_BYTES, 0, 1, 0, 0 }, 0 },
		{ { WIRE_LIMIT_BYTES, 0, INT64_MAX, 0, 0 }, 0 },
		{ { WIRE_LIMIT_BYTES, 0, 1ull << 63, 0, 0 }, -EBADMSG },
		{ { WIRE_LIMIT_BYTES, 1, 1, 0, 0 }, -EBADMSG },
		{ { WIRE_LIMIT_OFF, 0, 1, 0, 0 }, -EBADMSG },
		{ { WIRE_LIMIT_OFF, 1, 0, 0, 0 }, -EBADMSG },
		{ { WIRE_LIMIT_OFF, .hint = WIRE_HINT_CACHE }, 0 },
		{ { WIRE_LIMIT_OFF, .hint = WIRE_HINTS }, -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (decode(WIRE_LIMIT, &cases[i].limit, sizeof(cases[i].limit)) != cases[i].result)
			fail_msg("limit %zu", i);
}

/* What a FREE brought, all steps together, fits a signed number too. */
static void test_freed_sums(void **state)
{
	struct wire_freed f = { .step_bytes = { 1, 2, 3, 4, INT64_MAX - 10 } };

	(void)state;
	assert_int_equal(decode(WIRE_FREED, &f, sizeof(f)), 0);
	f.step_bytes[0]++;
	assert_int_equal(decode(WIRE_FREED, &f, sizeof(f)), -EBADMSG);
	f = (struct wire_freed){ .step_bytes = { 1ull << 63, 1ull << 63 } };
	assert_int_equal(decode(WIRE_FREED, &f, sizeof(f)), -EBADMSG);
}

/* Runs ascend and do not touch. */
static void test_held_order(void **state)
{
	static const struct {
		struct wire_held_run runs[2];
		int result;
	} cases[] = {
		{ { { 0, 1 }, { 2, 1 } }, 0 },	      { { { 0, 1 }, { 1, 1 } }, -EBADMSG },
		{ { { 0, 2 }, { 1, 1 } }, -EBADMSG }, { { { 5, 1 }, { 1, 1 } }, -EBADMSG },
		{ { { 5, 1 }, { 5, 1 } }, -EBADMSG },
	};
	uint8_t payload[sizeof(struct wire_held) + sizeof(cases[0].runs)];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wire_held held = { .serial = "a\033b", .count = 2 };

		memcpy(payload, &held, sizeof(held));
		memcpy(payload + sizeof(held), cases[i].runs, sizeof(cases[i].runs));
		assert_int_equal(decode(WIRE_HELD, payload, sizeof(payload)), cases[i].result);
		if (!cases[i].result)
			assert_string_equal(message.held->serial, "a?b");
	}
}

static void check_names(const char *name_of(unsigned value), unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const char *name = name_of(i);

		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
		assert_true(strlen(name) > 0);
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(name, name_of(k));
	}
	assert_string_equal(name_of(n), "unknown");
	assert_string_equal(name_of(UINT32_MAX), "unknown");
}

static void test_names(void **state)
{
	(void)state;
	check_names(wire_unplaced_name, WIRE_UNPLACED_REASONS);
	check_names(wire_origin_name, WIRE_ORIGINS);
	check_names(wire_state_name, WIRE_STATES);
	check_names(wire_brake_name, WIRE_BRAKES);
	check_names(wire_heat_name, WIRE_HEATS);
	check_names(wire_step_name, WIRE_STEPS);
	check_names(wire_stopped_name, WIRE_STOPPEDS);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_freed_sums),
		cmocka_unit_test(test_held_order),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
