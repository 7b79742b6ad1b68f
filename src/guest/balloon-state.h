/* SPDX-License-Identifier: Apache-2.0 OR (BSD-2-Clause OR GPL-2.0-only) */
/* What the BPF programs of balloon.bpf.c and the agent share. */
#ifndef PAGEPACT_GUEST_BALLOON_STATE_H
#define PAGEPACT_GUEST_BALLOON_STATE_H

/* All in pages of 4 KiB. Written by the programs alone, but for is_heeded. */
struct balloon_state {
	unsigned int looks;	/* how often the programs ran */
	unsigned int target;	/* what the host wants the balloon to hold */
	unsigned int held;	/* what it holds */
	unsigned int is_known;	/* whether the target is */
	unsigned int is_heeded; /* the agent looks by itself: it need not be woken */
};

#endif
