/* SPDX-License-Identifier: Apache-2.0 */
/* Superpages out of use, as the host asks for them, and given back where the guest needs them. */
#ifndef PAGEPACT_GUEST_TAKING_H
#define PAGEPACT_GUEST_TAKING_H

#include "guest/agent.h"

/** taking_open() - see whether that can be done here, and log why not */
void taking_open(struct agent *a);

/** taking_again() - where it could not, see whether it can by now, and greet the host anew then */
void taking_again(struct agent *a);

/** taking_tell() - after a greeting: what is out of use already, where any can be. Return: as
 * link_send(). */
int taking_tell(struct agent *a);

/** taking_answer() - a TAKE. Return: as link_send(). */
int taking_answer(struct agent *a, uint64_t id, const struct wire_take *order);

/**
 * taking_turn() - look whether they have to be given back: somebody else uses huge pages, the guest
 * is short of memory, the host has fallen silent
 *
 * Return: microseconds until the next look; UINT64_MAX: none is needed.
 */
uint64_t taking_turn(struct agent *a, uint64_t now);

#endif
