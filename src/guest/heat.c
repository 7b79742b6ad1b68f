/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/heat.h"

#include "base/clock.h"
#include "guest/stamp.h"

/* Not seen in twenty of the sensor's turns. */
#define UNSEEN_SEC (20 * HEAT_TURN_SEC)
_Static_assert(STAMP_OLD_MAX > UNSEEN_SEC, "a stamp tells so long an age");

/* A window of read-ahead is at most a few MiB (read_ahead_kb): no reader is that slow. The age is
 * cut to whole seconds. */
#define AWAITED_SEC 2

#define USED_MORE_THAN_ONCE (SCAN_ACTIVE | SCAN_WORKINGSET)

static bool has_sensor(const struct heat *h)
{
	return h->watch && watch_sensor(h->watch) != WIRE_HEAT_NONE;
}

static bool is_watched_for(const struct heat *h, uint32_t sec, uint64_t now_usec)
{
	return h->is_on && now_usec - h->since_usec >= (uint64_t)sec * USEC_PER_SEC;
}

struct heat_view heat_look(const struct heat *h, const struct scan_page *page, uint64_t frame,
			   uint64_t mapping, uint64_t now_usec)
{
	struct heat_view view = { .age_sec = UINT16_MAX, .age_class = WIRE_AGE_CLASSES - 1 };
	bool flags_count = true;

	if (has_sensor(h)) {
		struct watch_heat heat =
			watch_heat(h->watch, frame, mapping, page->index - page->offset, now_usec);

		view.hot = heat.known && heat.uses > 1 && heat.age_sec < h->hot_sec;
		view.awaited = heat.known && !heat.uses && heat.age_sec < AWAITED_SEC &&
			       is_watched_for(h, AWAITED_SEC + 1, now_usec);
		view.age_class = (uint8_t)watch_age_class(heat);
		if (heat.known)
			view.age_sec =
				heat.age_sec < UINT16_MAX ? (uint16_t)heat.age_sec : UINT16_MAX - 1;
		flags_count = !heat.known || (!is_watched_for(h, h->hot_sec, now_usec) &&
					      heat.age_sec < UNSEEN_SEC);
	}
	if (!view.hot && flags_count && page->flags & USED_MORE_THAN_ONCE) {
		view.hot = true;
		view.guessed = heat_sure_usec(h, now_usec) > 0;
	}
	return view;
}

uint64_t heat_sure_usec(const struct heat *h, uint64_t now_usec)
{
	uint64_t needed = (uint64_t)h->hot_sec * USEC_PER_SEC, passed = now_usec - h->since_usec;

	if (!has_sensor(h))
		return 0;
	if (needed < STAMP_SENSED_NS / 1000)
		needed = STAMP_SENSED_NS / 1000;
	if (!h->is_on)
		return needed;
	return passed < needed ? needed - passed : 0;
}

static void heat_switch(struct heat *h, bool on, uint64_t now_usec)
{
	if (watch_sense(h->watch, on) < 0 && on)
		return;
	h->turns += on;
	h->is_on = on;
	h->since_usec = now_usec;
}

/* How long what the sensor does now lasts. Multiples of the golden ratio, without their whole
 * parts, spread as evenly as can be (Knuth, TAOCP volume 3, 6.4: Fibonacci hashing). */
static uint64_t turn_usec(const struct heat *h)
{
	uint64_t spread = HEAT_OFF_MOST_USEC - HEAT_OFF_LEAST_USEC;
	uint32_t part = h->turns * 0x9e3779b9u;

	return h->is_on ? HEAT_ON_USEC : HEAT_OFF_LEAST_USEC + (spread * part >> 32);
}

uint64_t heat_turn(struct heat *h, bool needed, uint64_t now_usec)
{
	uint64_t passed = now_usec - h->since_usec;

	if (!has_sensor(h))
		return UINT64_MAX;
	if (needed) {
		if (!h->is_on)
			heat_switch(h, true, now_usec);
		return UINT64_MAX;
	}
	if (passed < turn_usec(h))
		return turn_usec(h) - passed;
	heat_switch(h, !h->is_on, now_usec);
	return turn_usec(h);
}
