/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include "host/room.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static void test_reserve(void **state)
{
	(void)state;
	assert_int_equal(room_reserve_bytes(0), 256 * MIB);
	assert_int_equal(room_reserve_bytes(4 * GIB), 256 * MIB);
	assert_int_equal(room_reserve_bytes(100 * GIB), 5 * GIB);
}

static void test_budget(void **state)
{
	static const struct {
		struct room room;
		uint64_t budget;
	} cases[] = {
		{ { 4 * GIB, 2 * GIB, GIB }, ROOM_ALL },
		{ { 4 * GIB, GIB + 256 * MIB + 1, GIB }, ROOM_ALL },
		{ { 4 * GIB, GIB + 256 * MIB, GIB }, GIB },
		{ { 4 * GIB, 300 * MIB, GIB }, 44 * MIB },
		{ { 4 * GIB, 256 * MIB, GIB }, 0 },
		{ { 4 * GIB, 0, GIB }, 0 },
		{ { 4 * GIB, 4 * GIB, UINT64_MAX }, 4 * GIB - 256 * MIB },
		{ { 100 * GIB, 6 * GIB, 2 * GIB }, GIB },
		/* Nothing is known of the host. */
		{ { 0, 0, GIB }, ROOM_ALL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(room_budget(&cases[i].room), cases[i].budget);
}

static void test_take(void **state)
{
	static const struct {
		uint64_t budget, now, original, target, left;
	} cases[] = {
		{ ROOM_ALL, GIB, 9 * GIB, 9 * GIB, ROOM_ALL },
		{ ROOM_ALL, 2 * GIB, GIB, 2 * GIB, ROOM_ALL },
		{ GIB, GIB, 9 * GIB, GIB + 256 * MIB, GIB - 256 * MIB },
		{ GIB, GIB, GIB + MIB, GIB + MIB, GIB - MIB },
		{ 100 * MIB, GIB, 9 * GIB, GIB + 100 * MIB, 0 },
		{ 15 * MIB, GIB, 9 * GIB, GIB, 15 * MIB },
		{ 15 * MIB, GIB, GIB + 15 * MIB, GIB + 15 * MIB, 0 },
		{ 0, GIB, 9 * GIB, GIB, 0 },
		{ GIB, 2 * GIB, GIB, 2 * GIB, GIB },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t budget = cases[i].budget;

		assert_int_equal(room_take(&budget, cases[i].now, cases[i].original),
				 cases[i].target);
		assert_int_equal(budget, cases[i].left);
	}
}

/* Guests that share a round do not get more of it than there is. */
static void test_round(void **state)
{
	const struct room room = { 4 * GIB, 256 * MIB + 600 * MIB, 8 * GIB };
	uint64_t budget = room_budget(&room), given = 0;

	(void)state;
	for (int i = 0; i < 8; i++)
		given += room_take(&budget, GIB, 2 * GIB) - GIB;
	assert_int_equal(given, 600 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
