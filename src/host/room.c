/* SPDX-License-Identifier: Apache-2.0 */
#include "host/room.h"

#define RESERVE_SHARE 20

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t room_reserve_bytes(uint64_t total_bytes)
{
	uint64_t share = total_bytes / RESERVE_SHARE;

	return share > ROOM_STEP_BYTES ? share : ROOM_STEP_BYTES;
}

uint64_t room_budget(const struct room *room)
{
	uint64_t reserve = room_reserve_bytes(room->total_bytes);

	if (room->total_bytes == 0)
		return ROOM_ALL;
	if (room->available_bytes <= reserve)
		return 0;
	return room->available_bytes - reserve > room->owed_bytes ? ROOM_ALL
								  : room->available_bytes - reserve;
}

uint64_t room_take(uint64_t *budget, uint64_t now_bytes, uint64_t original_bytes)
{
	uint64_t missing = original_bytes > now_bytes ? original_bytes - now_bytes : 0;
	uint64_t step = smaller(smaller(missing, ROOM_STEP_BYTES), *budget);

	if (*budget == ROOM_ALL)
		return now_bytes + missing;
	if (step < smaller(missing, ROOM_LEAST_BYTES))
		return now_bytes;
	*budget -= step;
	return now_bytes + step;
}
