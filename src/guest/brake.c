/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/brake.h"

#include <string.h>

#define USEC 1000000u
/* 1 %, as Kata's mem-agent; the others are chosen: see brake.h for what they are to tell apart. */
#define PRESSURE_HUNDREDTHS 100
#define REFAULT_PERMILLE    50
#define IO_PERMILLE	    10
#define REFAULTS_LEAST	    256
#define REFAULTS_ANY	    16

void brake_init(struct brake *b, uint64_t now_usec)
{
	*b = (struct brake){ .second = now_usec / USEC,
			     .idle_seconds = BRAKE_SECONDS,
			     .memory_before = BRAKE_BLIND,
			     .io_before = BRAKE_BLIND };
}

void brake_release(struct brake *b)
{
	b->reason = WIRE_BRAKE_NONE;
	b->until_usec = b->rest_usec = 0;
	b->idle_seconds = BRAKE_SECONDS;
	memset(b->seconds, 0, sizeof(b->seconds));
}

bool brake_holds(const struct brake *b, uint64_t now_usec)
{
	return now_usec < b->until_usec;
}

uint64_t brake_idle(const struct brake *b, uint64_t now_usec)
{
	uint64_t second = now_usec / USEC;

	return b->idle_seconds + (second > b->second ? second - b->second : 0);
}

/* Empties the seconds that have passed since the last call. */
static void seconds_turn(struct brake *b, uint64_t second)
{
	uint64_t passed = second > b->second ? second - b->second : 0;

	if (passed > BRAKE_SECONDS)
		passed = BRAKE_SECONDS;
	for (uint64_t i = 0; i < passed; i++)
		memset(&b->seconds[(second - i) % BRAKE_SECONDS], 0, sizeof(b->seconds[0]));
	b->idle_seconds += passed;
	b->second = second > b->second ? second : b->second;
}

static void recent_sums(const struct brake *b, uint64_t *ret_evicted, uint64_t *ret_refaulted)
{
	uint64_t evicted = 0, refaulted = 0;

	for (uint64_t i = 0; i < BRAKE_SECONDS; i++) {
		uint64_t at = (b->second + BRAKE_SECONDS - i) % BRAKE_SECONDS;

		evicted += b->seconds[at].evicted;
		refaulted += i < BRAKE_RECENT ? b->seconds[at].refaulted : 0;
	}
	*ret_evicted = evicted;
	*ret_refaulted = refaulted;
}

static bool has_risen(int now, int before)
{
	return now != BRAKE_BLIND &&
	       now - (before == BRAKE_BLIND ? 0 : before) > PRESSURE_HUNDREDTHS;
}

static enum wire_brake brake_judge(const struct brake *b, const struct brake_sample *s)
{
	uint64_t evicted, refaulted;

	if (b->idle_seconds >= BRAKE_RECENT)
		return WIRE_BRAKE_NONE;
	recent_sums(b, &evicted, &refaulted);
	if (refaulted >= REFAULTS_ANY && has_risen(s->memory_hundredths, b->memory_before))
		return WIRE_BRAKE_MEMORY;
	if (refaulted < REFAULTS_LEAST)
		return WIRE_BRAKE_NONE;
	if (refaulted * 1000 > evicted * REFAULT_PERMILLE)
		return WIRE_BRAKE_REFAULT;
	if (refaulted * 1000 > evicted * IO_PERMILLE && has_risen(s->io_hundredths, b->io_before))
		return WIRE_BRAKE_IO;
	return WIRE_BRAKE_NONE;
}

static void brake_stop(struct brake *b, enum wire_brake reason, uint64_t now_usec)
{
	bool again = b->until_usec && now_usec - b->until_usec < BRAKE_SECONDS * (uint64_t)USEC;

	b->rest_usec = again ? b->rest_usec * 2 : BRAKE_REST_USEC;
	if (b->rest_usec > BRAKE_REST_MAX_USEC)
		b->rest_usec = BRAKE_REST_MAX_USEC;
	b->until_usec = now_usec + b->rest_usec;
	b->reason = reason;
	b->stops++;
	/* What was seen led to this stop; the next takes new evidence. */
	memset(b->seconds, 0, sizeof(b->seconds));
}

void brake_update(struct brake *b, const struct brake_sample *s)
{
	uint64_t second = s->now_usec / USEC, evicted = s->evicted_pages - b->seen_evicted;

	/* Of what happened while nobody looked it is not known when, nor because of whom. */
	if (second > b->second + BRAKE_RECENT) {
		b->seen_followed = s->followed_pages;
		b->seen_refaulted = s->refaulted_pages;
		b->memory_before = s->memory_hundredths;
		b->io_before = s->io_hundredths;
	}
	seconds_turn(b, s->now_usec / USEC);
	b->seconds[b->second % BRAKE_SECONDS].evicted += s->followed_pages - b->seen_followed;
	b->seconds[b->second % BRAKE_SECONDS].refaulted += s->refaulted_pages - b->seen_refaulted;
	b->seen_evicted = s->evicted_pages;
	b->seen_followed = s->followed_pages;
	b->seen_refaulted = s->refaulted_pages;
	/* What is so while nothing is evicted is not because of us. */
	if (!evicted && b->idle_seconds >= BRAKE_RECENT) {
		b->memory_before = s->memory_hundredths;
		b->io_before = s->io_hundredths;
	}
	if (evicted)
		b->idle_seconds = 0;
	if (brake_holds(b, s->now_usec))
		return;
	enum wire_brake reason = brake_judge(b, s);
	if (reason != WIRE_BRAKE_NONE)
		brake_stop(b, reason, s->now_usec);
}
