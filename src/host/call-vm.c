/* SPDX-License-Identifier: Apache-2.0 */
#include "host/call-vm.h"

struct vm *call_vm(struct manager *m, struct call *call, json_t *parameters)
{
	const char *name = json_string_value(json_object_get(parameters, "vm"));
	struct vm *vm = name ? manager_vm(m, name) : NULL;

	if (!vm)
		call_error(call, "not_found",
			   "no guest named '%.64s' is attached; see pagepact status",
			   name ? name : "");
	return vm;
}

bool call_vm_acts(const struct vm *vm, struct call *call, const char *instead)
{
	if (!vm->config.act)
		call_error(call, "refused",
			   "%s is only observed: set act = yes in its file, or attach it with "
			   "--act%s",
			   vm->config.name, instead);
	return vm->config.act;
}

bool call_vm_can(const struct vm *vm, struct call *call, uint32_t capability, const char *what)
{
	if (vm->hello.capabilities & capability)
		return true;
	call_error(call, "refused", "%s: its agent cannot %s: %s", vm->config.name, what,
		   vm->hello.missing[0] ? vm->hello.missing : "it does not say why");
	return false;
}
