/* SPDX-License-Identifier: Apache-2.0 */
/* What methods about one guest begin with; where one of these says no, the call has been answered. */
#ifndef PAGEPACT_HOST_CALL_VM_H
#define PAGEPACT_HOST_CALL_VM_H

#include "host/control.h"
#include "host/manager.h"

/** call_vm() - the guest that the parameter "vm" names, or NULL */
struct vm *call_vm(struct manager *m, struct call *call, json_t *parameters);

/**
 * call_vm_acts() - whether the guest may be acted on, and is not only observed
 * @instead: the end of the refusal, such as what could be done instead; ""
 */
bool call_vm_acts(const struct vm *vm, struct call *call, const char *instead);

/**
 * call_vm_can() - whether a guest's agent can do something
 * @capability: one of WIRE_CAN_*
 * @what: the same in words, after "cannot"
 */
bool call_vm_can(const struct vm *vm, struct call *call, uint32_t capability, const char *what);

#endif
