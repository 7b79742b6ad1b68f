/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent has to say of itself. */
#ifndef PAGEPACT_GUEST_REPORT_H
#define PAGEPACT_GUEST_REPORT_H

#include "guest/agent.h"

/** report_fill() - what the agent has to say of itself and of the limit */
void report_fill(struct agent *a, struct wire_report *ret);

#endif
