/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a page is hot: used more than once, and lately. Hot pages are never evicted.
 *
 * How it works
 *
 * The watch knows when a page was last seen used, while its sensor is on. The kernel's own flags
 * (active, workingset) say "used more than once" but never grow cold, so they count
 * only where there is no sensor, where it does not know the page (its frame was plugged in, or the
 * page moved there), and until it has been on for as long as "lately" is, or has not seen the page
 * in twenty turns.
 *
 * The sensor costs every reader a little, so it is on while somebody may evict, and otherwise in
 * turns: for two seconds, because what is used every second must be seen in each; and then off for
 * 6 to 30 s, never as long as before, because what is used every n seconds must not fall between
 * the turns each time. Twenty turns see all that is used every 10 s or more often, and three
 * fifths or more of what is used every 30 s (test-heat.c counts).
 */
#ifndef PAGEPACT_GUEST_HEAT_H
#define PAGEPACT_GUEST_HEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/scan.h"
#include "guest/watch.h"

#define HEAT_ON_USEC	    2000000u
#define HEAT_OFF_LEAST_USEC 6000000u
#define HEAT_OFF_MOST_USEC  30000000u
#define HEAT_TURN_SEC	    20 /* in the mean */

/**
 * struct heat - the sensor and what it is used for
 * @watch: NULL where the kernel cannot be watched
 * @hot_sec: how long a page that was used more than once stays hot after its last use
 */
struct heat {
	struct watch *watch;
	uint32_t hot_sec;
	bool is_on;
	uint64_t since_usec; /* when it was turned on or off */
	uint32_t turns;
};

/**
 * struct heat_view - what one page's use amounts to
 * @guessed: hot by the kernel's flags alone, while the sensor has not been on for long enough
 * @awaited: it was read ahead just now, and whoever reads is about to come to it
 * @age_sec: UINT16_MAX: not known
 */
struct heat_view {
	bool hot;
	bool guessed;
	bool awaited;
	uint16_t age_sec;
	uint8_t age_class; /* of wire_report's counts */
};

/**
 * heat_look() - look at a page-cache page
 * @page: as a scan or a peek describes it
 * @frame: page frame of the head of its folio
 * @mapping: its owner's
 */
struct heat_view heat_look(const struct heat *h, const struct scan_page *page, uint64_t frame,
			   uint64_t mapping, uint64_t now_usec);

/**
 * heat_sure_usec() - microseconds until nothing is guessed any more, if the sensor is on from now on
 */
uint64_t heat_sure_usec(const struct heat *h, uint64_t now_usec);

/**
 * heat_turn() - turn the sensor on or off, as is due
 * @needed: somebody evicts, or may have to soon
 *
 * Return: microseconds until it is to be called again, or UINT64_MAX.
 */
uint64_t heat_turn(struct heat *h, bool needed, uint64_t now_usec);

#endif
