/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast guests may be given back what they had, by the room that the host has. Pure.
 *
 * A host that runs more guests than fit would be out of memory if all of them took back at once
 * what a dead daemon had taken from them. So all of it is given at once only where it fits with a
 * reserve to spare; else a step a guest and round, while the host stays above the reserve.
 */
#ifndef PAGEPACT_HOST_ROOM_H
#define PAGEPACT_HOST_ROOM_H

#include <stdint.h>

/* A balloon inflates in steps of this at most, for larger ones stall; the way back is no steeper.
 */
#define ROOM_STEP_BYTES (256ULL << 20)
/* Less than a step, and not all that is left, is worth no command. */
#define ROOM_LEAST_BYTES (16ULL << 20)
#define ROOM_ALL	 UINT64_MAX

/**
 * struct room - the host's, now
 * @total_bytes: its memory; 0 where that is not known
 * @available_bytes: MemAvailable
 * @owed_bytes: what all guests together lack, from before the first was given anything. What was
 *	given is not taken off: it takes a guest a while to use it, and then MemAvailable tells.
 */
struct room {
	uint64_t total_bytes;
	uint64_t available_bytes;
	uint64_t owed_bytes;
};

/** room_reserve_bytes() - what the host keeps: a twentieth, and 256 MiB at least */
uint64_t room_reserve_bytes(uint64_t total_bytes);

/**
 * room_budget() - what may be given in one round
 *
 * Return: bytes; or ROOM_ALL: whatever is owed, at once. That too where nothing is known of the
 * host: whoever is blind gives memory back.
 */
uint64_t room_budget(const struct room *room);

/**
 * room_take() - a guest's next target
 * @budget: as room_budget() gave it, less what this takes of it
 * @now_bytes: its target
 * @original_bytes: what it is to be in the end
 *
 * Return: from @now_bytes to @original_bytes; @now_bytes where that is more.
 */
uint64_t room_take(uint64_t *budget, uint64_t now_bytes, uint64_t original_bytes);

#endif
