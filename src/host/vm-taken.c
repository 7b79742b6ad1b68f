/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest's agent keeps out of use, as far as it was told. */
#include "base/blockset.h"
#include "host/take.h"
#include "host/vm.h"

/* What is in use again is not known to be paged out any more. */
void vm_taken_see(struct vm *vm, const struct wire_taken *taken)
{
	struct blockset *set = take_set(taken);

	vm->taken_told = true;
	vm->taken_superpages = taken->superpages;
	if (!set) {
		blockset_clear(vm->taken);
		blockset_clear(vm->paged_out);
		return;
	}
	blockset_free(vm->taken);
	vm->taken = set;
	blockset_and_with(vm->paged_out, set);
}

/* Also where an order is under way that nobody has answered yet. */
void vm_take_back(struct vm *vm)
{
	const struct wire_take order = { .superpages = 0 };

	if (vm->hello.capabilities & WIRE_CAN_TAKE && vm->agent == VM_AGENT_LIVE && vm->link &&
	    !vm->link_closed)
		(void)link_send(vm->link, WIRE_TAKE, vm->next_id++, &order, sizeof(order));
}

void vm_paged_out(struct vm *vm, const struct blockset *set)
{
	blockset_or_with(vm->paged_out, set);
	blockset_and_with(vm->paged_out, vm->taken);
}

void vm_taken_forget(struct vm *vm)
{
	vm->taken_superpages = 0;
	blockset_clear(vm->taken);
	blockset_clear(vm->paged_out);
}

uint64_t vm_taken_bytes(const struct vm *vm)
{
	return vm->taken_superpages * WIRE_SUPERPAGE_BYTES;
}

uint64_t vm_paged_out_bytes(const struct vm *vm)
{
	return blockset_count(vm->paged_out) * WIRE_SUPERPAGE_BYTES;
}
