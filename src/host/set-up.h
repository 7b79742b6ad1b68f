/* SPDX-License-Identifier: Apache-2.0 */
/* How a guest's memory comes back to the host, by what its machine is made of. Pure. */
#ifndef PAGEPACT_HOST_SET_UP_H
#define PAGEPACT_HOST_SET_UP_H

#include <stdbool.h>

struct inventory;

/* The best first. */
enum set_up {
	SET_UP_SUPERPAGES, /* a virtio-mem device: whole blocks, by `balloon` */
	SET_UP_AGENT,	   /* an agent that keeps superpages out of use, by `balloon` */
	SET_UP_REPORTING,  /* free page reporting, and a balloon */
	SET_UP_PAGES,	   /* a balloon alone */
	SET_UP_NONE,
	SET_UPS,
};

/* Of guests whose kernel does so, in any set-up. */
#define SET_UP_CLEARS_TEXT                                                                         \
	"the kernel clears each page that it gives out (init_on_alloc), which slows what gives "   \
	"memory back; init_on_alloc=0 on its command line ends that, and a protection with it"

/**
 * set_up_of() - what a machine has; NULL, what is not known: SET_UPS
 * @can_take: it has an agent that keeps superpages out of use, on a host that pages them out
 */
enum set_up set_up_of(const struct inventory *inventory, bool can_take);

/** set_up_name() - its stable, snake_case name */
const char *set_up_name(enum set_up set_up);

/**
 * set_up_text() - how memory comes back, and what another set-up would bring: a line for people,
 * to be read after a number of guests
 */
const char *set_up_text(enum set_up set_up);

#endif
