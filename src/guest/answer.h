/* SPDX-License-Identifier: Apache-2.0 */
/* What the host asks, done and answered. */
#ifndef PAGEPACT_GUEST_ANSWER_H
#define PAGEPACT_GUEST_ANSWER_H

#include "guest/agent.h"

/** answer_hello() - tell the host who we are */
int answer_hello(struct agent *a, uint64_t id);

/** answer_frame() - do what one frame asks, and answer it. Return: 0 or -errno of the link. */
int answer_frame(struct agent *a, const struct wire_frame *frame);

/** answer_scan_step() - one more chunk of the census that the host asked for */
int answer_scan_step(struct agent *a);

/** answer_forget() - the host has gone: nobody waits for an answer */
void answer_forget(struct agent *a);

#endif
