/* SPDX-License-Identifier: Apache-2.0 */
/* What agents keep out of use beside any resize: found, lost, given back. */
#include "base/blockset.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/balloons.h"

/* An agent that runs greets within a second or two of the daemon's start. */
#define UNHEARD_USEC (30 * (uint64_t)USEC_PER_SEC)
/* A guest that goes on claiming what it was told to give back is told so again after that. */
#define AGAIN_USEC (30 * (uint64_t)USEC_PER_SEC)
/* An agent that did not hear from us for a minute has given all back (guest/agent.h). */
#define SILENT_USEC (70 * (uint64_t)USEC_PER_SEC)

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

const char *balloon_taken_busy(const struct balloon *b)
{
	bool is_awaited =
		b->vm->agent == VM_AGENT_LIVE || (b->vm->agent != VM_AGENT_NONE && b->kept &&
						  now_usec() < b->adopted_usec + UNHEARD_USEC);

	if (b->take)
		return "its agent is giving superpages back, or they are being paged out";
	if (!b->vm->taken_told && is_awaited)
		return "its agent has not told yet what it keeps out of use";
	if (b->vm->taken_superpages != b->taken_superpages)
		return "what its agent keeps out of use has just changed";
	return NULL;
}

uint64_t balloon_taken(const struct balloon *b)
{
	uint64_t is = b->vm->taken_superpages;

	return b->is_taking ? is : smaller(is, b->taken_superpages);
}

uint64_t balloon_size(const struct balloon *b, uint64_t all)
{
	uint64_t taken = balloon_taken(b) * WIRE_SUPERPAGE_BYTES;

	return all > taken ? all - taken : 0;
}

static uint64_t allowed(const struct balloon *b, uint64_t bytes)
{
	uint64_t original = b->kept ? b->entry.original_bytes : 0;

	return original > bytes ? (original - bytes) / WIRE_SUPERPAGE_BYTES : 0;
}

uint64_t balloon_taken_keep(const struct balloon *b, uint64_t bytes)
{
	return smaller(allowed(b, bytes), balloon_taken(b));
}

static void on_taken(struct take *t, enum wire_untaken untaken, const char *error, void *userdata)
{
	struct balloon *b = userdata;

	(void)untaken;
	if (error[0])
		log_warning("%s: superpages: %s", b->vm->config.name, error);
	b->take = take_free(t);
	b->taken_superpages = smaller(b->vm->taken_superpages, allowed(b, balloon_target(b)));
}

/* All at once, and in the end no more than the target allows. */
static void take(struct balloon *b, uint64_t superpages, uint64_t now)
{
	b->take_again_usec = now + AGAIN_USEC;
	(void)take_start(b->vm, superpages, on_taken, b, &b->take);
}

/*
 * More than the target allows are of a daemon before this one, whose journal tells nothing of them,
 * or of an order that came too late: nobody else would give them back. Others may be out of use and
 * not paged out: of a daemon before this one, of an order that was cut short.
 */
static void surplus_see(struct balloon *b, uint64_t now)
{
	uint64_t is = b->vm->taken_superpages, most = b->kept ? allowed(b, balloon_target(b)) : 0;

	if (!is || !b->settled || now < b->take_again_usec)
		return;
	if (is > most) {
		log_notice("%s: its agent keeps %llu superpages out of use, and %llu are known to "
			   "be asked for: the others are given back",
			   b->vm->config.name, (unsigned long long)is, (unsigned long long)most);
		take(b, most, now);
	} else if (is > b->taken_superpages || blockset_count(b->vm->paged_out) < is) {
		b->taken_superpages = is;
		take(b, is, now);
	}
}

/*
 * An agent that gives superpages back does it for a guest that is short of memory, or that uses
 * huge pages itself: what it has now is its size. One that was started anew has none: its kernel
 * gave them back when the one before ended, and what was asked for is asked for again after a
 * while.
 */
static void lost_see(struct balloon *b, uint64_t now)
{
	uint64_t lost = b->taken_superpages - b->vm->taken_superpages, bytes;
	enum wire_untaken why = b->vm->untaken;
	struct balloon_next end = { .state = BALLOON_PRESSURE,
				    .quarantine = true,
				    .reason = "its agent gave superpages back: the guest is short "
					      "of memory, or uses huge pages itself" };

	b->taken_superpages = b->vm->taken_superpages;
	if (!b->kept)
		return;
	bytes = smaller(balloon_target(b) + lost * WIRE_SUPERPAGE_BYTES, b->entry.original_bytes);
	log_notice("%s: %llu of its superpages are in use again (%s): its size is %.1f MiB now",
		   b->vm->config.name, (unsigned long long)lost, wire_untaken_name(why),
		   (double)bytes / (1 << 20));
	if (why == WIRE_UNTAKEN_PRESSURE || why == WIRE_UNTAKEN_HUGETLB) {
		balloon_guard_end(&b->guard, &balloon_rules_default, &end, now);
		b->wanted_bytes = 0;
	} else {
		balloon_guard_restart(&b->guard, now, b->wanted_bytes);
	}
	(void)balloon_keep(b, b->entry.original_bytes, bytes);
}

/* One that is silent for long enough has none any more, if it lives. */
static void silence_see(struct balloon *b, uint64_t now)
{
	if (b->vm->agent == VM_AGENT_LIVE || !b->vm->taken_superpages ||
	    now < b->vm->heard_usec + SILENT_USEC)
		return;
	vm_taken_forget(b->vm);
	b->vm->untaken = WIRE_UNTAKEN_SILENCE;
	b->vm->taken_told = true;
}

void balloon_taken_tick(struct balloon *b, uint64_t now)
{
	if (b->resize || b->take || b->vm->qmp_lent)
		return;
	silence_see(b, now);
	if (!b->vm->taken_told)
		return;
	if (b->vm->taken_superpages < b->taken_superpages)
		lost_see(b, now);
	else
		surplus_see(b, now);
}
