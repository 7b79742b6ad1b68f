/* SPDX-License-Identifier: Apache-2.0 */
/* What the host wants of the agent, and its reports, which say whether it holds. */
#include "base/clock.h"
#include "host/vm.h"

#define REPORT_LATE_USEC 3000000ULL

/* What the agent is to hold: without the operator's consent, what the guest itself says. An agent
 * that is asked for reports would hold for ever what another daemon told it. */
static struct wire_limit limit_wire(const struct vm *vm)
{
	struct wire_limit limit = { .kind = WIRE_LIMIT_GUEST, .hint = WIRE_HINT_GUEST };

	if (!vm->config.act || vm->quiet)
		return limit;
	if (vm->hello.capabilities & WIRE_CAN_HINT)
		limit.hint = vm->hint_meanwhile != WIRE_HINT_GUEST ? vm->hint_meanwhile : vm->hint;
	if (!(vm->hello.capabilities & WIRE_CAN_LIMIT))
		return limit;
	switch (vm->limit.kind) {
	case LIMIT_TEXT_BYTES:
		limit.kind = WIRE_LIMIT_BYTES;
		limit.bytes = vm->limit.bytes;
		break;
	case LIMIT_TEXT_PERMILLE:
		limit.kind = WIRE_LIMIT_PERMILLE;
		limit.permille = vm->limit.permille;
		break;
	case LIMIT_TEXT_OFF:
		limit.kind = WIRE_LIMIT_OFF;
		break;
	default:
		break;
	}
	return limit;
}

const char *vm_wish_note(const struct vm *vm, uint32_t capability)
{
	if (!vm->config.act)
		return "it is only observed: no effect until its file says act = yes, or it is "
		       "attached with --act";
	if (vm->agent != VM_AGENT_LIVE)
		return "the agent does not answer now: it will hold once it does";
	if ((vm->hello.capabilities & capability) != capability)
		return "no effect: its agent cannot hold it";
	return NULL;
}

static bool wants_limit(uint32_t capabilities)
{
	return capabilities & (WIRE_CAN_LIMIT | WIRE_CAN_HINT);
}

void vm_wish_send(struct vm *vm)
{
	const struct wire_limit limit = limit_wire(vm);

	if (!vm->limit_due || vm->agent != VM_AGENT_LIVE || !vm->link || vm->link_closed ||
	    !wants_limit(vm->hello.capabilities))
		return;
	if (link_send(vm->link, WIRE_LIMIT, vm->next_id, &limit, sizeof(limit)) < 0)
		return;
	vm->report_id = vm->next_id++;
	vm->report_asked = false;
	vm->limit_due = false;
}

void vm_wish_ask(struct vm *vm)
{
	if (link_send(vm->link, WIRE_ASK, vm->next_id, NULL, 0) < 0)
		return;
	vm->report_id = vm->next_id++;
	vm->report_asked = true;
	vm->report_asked_usec = now_usec();
}

void vm_wish_reported(struct vm *vm, uint64_t id, const struct wire_report *report)
{
	const struct wire_limit wanted = limit_wire(vm);

	if (!vm->report_id || id != vm->report_id)
		return;
	vm->report_id = 0;
	vm->report = *report;
	vm->report_usec = now_usec();
	/* Once for each question, so that no lie makes more of them than there are questions. */
	if (vm->report_asked && report->limit_origin != WIRE_ORIGIN_HOST &&
	    report->limit_state != WIRE_STATE_CANNOT && wanted.kind != WIRE_LIMIT_GUEST)
		vm->limit_due = true;
	if (vm->report_asked && report->hint_origin != WIRE_ORIGIN_HOST &&
	    wanted.hint != WIRE_HINT_GUEST)
		vm->limit_due = true;
}

void vm_limit_set(struct vm *vm, const struct limit_text *limit, enum vm_source source)
{
	vm->limit = *limit;
	vm->limit_source = source;
	vm->limit_due = true;
	vm_wish_send(vm);
}

void vm_hint_set(struct vm *vm, enum wire_hint hint, enum vm_source source)
{
	vm->hint = hint;
	vm->hint_source = source;
	vm->limit_due = true;
	vm_wish_send(vm);
}

void vm_hint_meanwhile(struct vm *vm, enum wire_hint hint)
{
	if (vm->hint_meanwhile == hint)
		return;
	vm->hint_meanwhile = hint;
	vm->limit_due = true;
	vm_wish_send(vm);
}

void vm_report_ask(struct vm *vm)
{
	if (vm->agent != VM_AGENT_LIVE || !vm->link || vm->link_closed)
		return;
	if (!vm->report_id || now_usec() >= vm->report_asked_usec + REPORT_LATE_USEC)
		vm_wish_ask(vm);
}
