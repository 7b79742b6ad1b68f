/* SPDX-License-Identifier: Apache-2.0 */
#include "host/take.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/blockset.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "host/host-swap.h"
#include "host/page-out.h"

#define ANSWER_USEC (12 * (uint64_t)USEC_PER_SEC)
#define PAUSE_USEC  (USEC_PER_SEC / 10)
#define TOTAL_USEC  (120 * (uint64_t)USEC_PER_SEC)
/* A host that swaps for want of memory needs its swap for that. */
#define SWAP_LEAST_BYTES ((uint64_t)256 << 20)

struct take {
	struct vm *vm;
	uint64_t wanted;
	uint64_t before; /* out of use before the order under way */
	uint64_t started_usec;
	enum wire_untaken untaken;
	char error[VM_TEXT_MAX];
	bool is_over; /* what is told now is the last */
	take_done_fn *done;
	void *userdata;
	struct page_out *page_out;
	sd_event_source *timer;
};

static void finish(struct take *t)
{
	t->done(t, t->untaken, t->error, t->userdata);
}

static void turn_after(struct take *t, uint64_t usec);

static void fail(struct take *t, const char *why)
{
	if (!t->error[0])
		snprintf(t->error, sizeof(t->error), "%s", why);
}

/* Whether there is another order to be given: for the rest, or to answer for the last. */
static bool goes_on(const struct take *t)
{
	if (t->is_over || now_usec() > t->started_usec + TOTAL_USEC)
		return false;
	return t->untaken == WIRE_UNTAKEN_TIME && t->vm->taken_superpages > t->before;
}

static void turn_next(struct take *t)
{
	bool more = goes_on(t);

	if (!more && t->vm->taken_superpages <= t->before) {
		finish(t);
		return;
	}
	if (!more) {
		t->is_over = true;
		t->wanted = t->vm->taken_superpages;
	}
	turn_after(t, 0);
}

/* Back to so many, and that is the end. */
static void give_back(struct take *t, uint64_t superpages, const char *why)
{
	fail(t, why);
	t->is_over = true;
	t->wanted = superpages;
	t->untaken = WIRE_UNTAKEN_FAILED;
	turn_after(t, 0);
}

/* What stays in memory does the host no good, and the guest could use it. */
static void on_paged_out(const struct blockset *gone, const char *error, void *userdata)
{
	struct take *t = userdata;
	uint64_t count = blockset_count(gone), more = t->vm->taken_superpages - t->before;
	char why[VM_TEXT_MAX];

	vm_paged_out(t->vm, gone);
	/* It is what is freed now that has the text. */
	snprintf(why, sizeof(why), "%s", error);
	t->page_out = page_out_free(t->page_out);
	if (!why[0])
		turn_next(t);
	else if (t->vm->taken_superpages > t->before)
		give_back(t, t->before + (count < more ? count : more), why);
	else {
		fail(t, why);
		turn_next(t);
	}
}

struct blockset *take_set(const struct wire_taken *taken)
{
	struct blockset *set = blockset_new();

	/* What is beyond lies above 8 PiB of memory. */
	for (uint32_t i = 0; set && i < taken->count; i++)
		(void)blockset_add(set, taken->items[i].start, taken->items[i].count);
	return set;
}

static void on_taken(struct vm *vm, int result, const struct wire_taken *taken, void *userdata)
{
	struct take *t = userdata;
	struct blockset *added;
	int r;

	if (result < 0) {
		fail(t, result == -EREMOTEIO ? "the agent refused the order"
					     : "the agent did not answer the order");
		finish(t);
		return;
	}
	if (taken->superpages > t->wanted && !t->is_over) {
		give_back(t, t->before < t->wanted ? t->before : t->wanted,
			  "the agent claims to have taken more than it was asked for");
		return;
	}
	if (!t->is_over)
		t->untaken = taken->untaken;
	added = t->is_over ? NULL : blockset_andnot(vm->taken, vm->paged_out);
	if (!added || !blockset_count(added)) {
		blockset_free(added);
		turn_next(t);
		return;
	}
	r = page_out_start(vm, added, on_paged_out, t, &t->page_out);
	if (r < 0)
		give_back(t, t->before, strerror(-r));
}

static int on_turn(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct take *t = userdata;
	int r;

	(void)s;
	(void)usec;
	t->before = t->vm->taken_superpages;
	r = vm_take(t->vm, t->wanted, now_usec() + ANSWER_USEC, on_taken, t);
	/* Somebody else's question to this guest is open: after it. */
	if (r == -EBUSY && now_usec() < t->started_usec + TOTAL_USEC) {
		turn_after(t, PAUSE_USEC);
	} else if (r < 0) {
		fail(t, r == -EBUSY ? "the guest had another order all the time" : strerror(-r));
		finish(t);
	}
	return 0;
}

static void turn_after(struct take *t, uint64_t usec)
{
	int r;

	t->timer = sd_event_source_disable_unref(t->timer);
	r = sd_event_add_time_relative(t->vm->event, &t->timer, CLOCK_MONOTONIC, usec, 0, on_turn,
				       t);
	if (r < 0) {
		fail(t, strerror(-r));
		finish(t);
	}
}

int take_start(struct vm *vm, uint64_t superpages, take_done_fn *done, void *userdata,
	       struct take **ret)
{
	struct take *t;

	if (vm->agent != VM_AGENT_LIVE)
		return -ENOTCONN;
	if (!(vm->hello.capabilities & WIRE_CAN_TAKE))
		return -EOPNOTSUPP;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->vm = vm;
	t->wanted = superpages;
	t->done = done;
	t->userdata = userdata;
	t->started_usec = now_usec();
	*ret = t;
	turn_after(t, 0);
	return 0;
}

struct take *take_free(struct take *t)
{
	if (!t)
		return NULL;
	vm_give_cancel(t->vm, t);
	page_out_free(t->page_out);
	sd_event_source_disable_unref(t->timer);
	free(t);
	return NULL;
}

/* It is asked for at each look at each guest. */
static uint64_t swap_bytes(void)
{
	static uint64_t read_usec, bytes;
	uint64_t now = now_usec();

	if (!read_usec || now > read_usec + USEC_PER_SEC) {
		read_usec = now;
		bytes = host_swap_bytes("");
	}
	return bytes;
}

const char *take_obstacle(const struct vm *vm)
{
	if (vm->agent != VM_AGENT_LIVE)
		return "it has no virtio-mem device, and no agent answers that could keep "
		       "superpages out of its use: start it with -device virtio-mem-pci,id=..., "
		       "or use --by=pages";
	if (!(vm->hello.capabilities & WIRE_CAN_TAKE))
		return "it has no virtio-mem device, and its agent cannot keep superpages out of "
		       "its use (its log says why: mostly, the guest uses huge pages itself): "
		       "start it with -device virtio-mem-pci,id=..., or use --by=pages";
	if (swap_bytes() < SWAP_LEAST_BYTES)
		return "it has no virtio-mem device, and the host has no 256 MiB of free swap that "
		       "stores no zeros (zram; any swap with zswap or from Linux 6.12 on), without "
		       "which it does not take back what an agent keeps out of use: give it some, "
		       "or use --by=pages";
	if (vm->inventory && vm->inventory->vfio)
		return "a device of the host's is passed through, which pins its memory; memory "
		       "that is plugged by virtio-mem could be given";
	return NULL;
}
