/* SPDX-License-Identifier: Apache-2.0 */
#include "host/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/blockset.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/json-get.h"

#define TICK_USEC	1000000ULL
#define RETRY_USEC	2000000ULL
#define BUSY_RETRY_USEC 30000000ULL
#define INVENTORY_USEC	10000000ULL /* how old it may grow by itself */
#define QUERY_USEC	5000000ULL

static void refresh_finish(struct vm *vm, int result, const char *error)
{
	vm_done_fn *done = vm->inventory_done;

	vm->inventory_done = NULL;
	if (done)
		done(vm, result, error, vm->inventory_userdata);
}

/* With it goes what is known to be in swap. */
static void ram_forget(struct vm *vm)
{
	ram_files_close(&vm->ram);
	blockset_clear(vm->paged_out);
}

static void machine_forget(struct vm *vm)
{
	vm->query = inventory_query_free(vm->query);
	vm->io_query = inventory_query_free(vm->io_query);
	vm->inventory = inventory_free(vm->inventory);
	ram_forget(vm);
	memset(vm->io, 0, sizeof(vm->io));
}

static void on_qmp_ready(struct qmp *qmp, void *userdata)
{
	struct vm *vm = userdata;

	(void)qmp;
	vm->busy = vm->qmp_failed = false;
	vm->reason[0] = '\0';
	log_info("%s: QMP is there, QEMU %s", vm->config.name, qmp_version(vm->qmp));
	(void)vm_refresh(vm, NULL, NULL);
}

/* Our port, by its device's id. */
static bool port_closed(const struct vm *vm, json_t *data)
{
	const char *id = json_string_value(json_object_get(data, "id"));

	return id && vm->inventory && strcmp(id, vm->inventory->serial.port_id) == 0 &&
	       json_is_false(json_object_get(data, "open"));
}

static void balloon_see(struct vm *vm, json_t *data)
{
	uint64_t bytes;

	if (!json_get_u64(data, "actual", &bytes))
		return;
	if (!vm->balloon_bytes && vm->inventory)
		vm->balloon_bytes = vm->inventory->balloon_bytes;
	if (bytes < vm->balloon_bytes)
		vm->inflated_usec = now_usec();
	vm->balloon_bytes = bytes;
}

static void on_qmp_event(struct qmp *qmp, const char *name, json_t *data, void *userdata)
{
	struct vm *vm = userdata;

	(void)qmp;
	/* What the guest cached before a reset, it does not cache any more. */
	if (strcmp(name, "RESET") == 0 || strcmp(name, "SHUTDOWN") == 0) {
		vm_agent_forget(vm);
		vm_taken_forget(vm);
		vm->taken_open = false;
		vm_agent_interrupt(vm, "the guest was restarted or shut down");
	} else if (strcmp(name, "STOP") == 0) {
		vm_agent_interrupt(vm, "the guest was paused");
	} else if (strcmp(name, "VSERPORT_CHANGE") == 0 && port_closed(vm, data)) {
		vm_taken_forget(vm);
		vm->taken_open = false;
		vm_agent_interrupt(vm, "the agent has ended");
	} else if (strcmp(name, "BALLOON_CHANGE") == 0) {
		balloon_see(vm, data);
	}
	vm->inventory_usec = 0;
	if (vm->event_seen)
		vm->event_seen(vm, name, data, vm->event_userdata);
}

static void on_qmp_closed(struct qmp *qmp, int reason, const char *message, void *userdata)
{
	struct vm *vm = userdata;

	(void)qmp;
	if (strcmp(vm->reason, message) != 0)
		log_notice("%s: %s", vm->config.name, message);
	vm->busy = reason == -EBUSY;
	vm->qmp_failed = true;
	vm->qmp_closed = vm->qmp_dead = true;
	snprintf(vm->reason, sizeof(vm->reason), "%s", message);
	vm->qmp_retry_usec = now_usec() + (vm->busy ? BUSY_RETRY_USEC : RETRY_USEC);
}

static const struct qmp_ops qmp_ops = { on_qmp_ready, on_qmp_event, on_qmp_closed };

static void qmp_tick(struct vm *vm, uint64_t now)
{
	int r;

	if (vm->qmp_closed) {
		machine_forget(vm);
		refresh_finish(vm, -ENOTCONN, vm->reason);
		vm->qmp_closed = false;
	}
	/* A closed one is kept until now: a change of the port may be about to try again on it. */
	if ((!vm->qmp || vm->qmp_dead) && !vm->qmp_lent && now >= vm->qmp_retry_usec) {
		vm->qmp = qmp_free(vm->qmp);
		r = qmp_new(vm->event, vm->config.qmp, &qmp_ops, vm, &vm->qmp);
		vm->qmp_retry_usec = now + RETRY_USEC;
		vm->qmp_dead = false;
		if (r < 0)
			log_warning_errno(r, "%s: cannot connect to %s: %m", vm->config.name,
					  vm->config.qmp);
	}
	if (vm->qmp && qmp_is_ready(vm->qmp) && now >= vm->inventory_usec + INVENTORY_USEC)
		(void)vm_refresh(vm, NULL, NULL);
}

static int on_tick(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct vm *vm = userdata;

	(void)usec;
	qmp_tick(vm, now_usec());
	vm_agent_tick(vm, now_usec());
	(void)sd_event_source_set_time_relative(s, TICK_USEC);
	return 0;
}

static void sets_free(struct vm *vm)
{
	vm->taken = blockset_free(vm->taken);
	vm->paged_out = blockset_free(vm->paged_out);
}

int vm_new(sd_event *event, const struct config_vm *config, struct vm **ret)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return -ENOMEM;
	vm->taken = blockset_new();
	vm->paged_out = blockset_new();
	if (!vm->taken || !vm->paged_out) {
		sets_free(vm);
		free(vm);
		return -ENOMEM;
	}
	vm->event = event;
	vm->config = *config;
	vm->next_id = 1;
	vm->agent = config->agent.scheme == URL_NONE ? VM_AGENT_NONE : VM_AGENT_ABSENT;
	snprintf(vm->reason, sizeof(vm->reason), "not connected yet");
	r = sd_event_add_time_relative(event, &vm->tick, CLOCK_MONOTONIC, 0, 0, on_tick, vm);
	if (r >= 0)
		r = sd_event_source_set_enabled(vm->tick, SD_EVENT_ON);
	if (r < 0) {
		vm_free(vm);
		return r;
	}
	*ret = vm;
	return 0;
}

struct vm *vm_free(struct vm *vm)
{
	if (!vm)
		return NULL;
	sd_event_source_disable_unref(vm->tick);
	vm_agent_done(vm);
	machine_forget(vm);
	refresh_finish(vm, -ECANCELED, "the guest was detached");
	vm->qmp = qmp_free(vm->qmp);
	sets_free(vm);
	free(vm);
	return NULL;
}

void vm_cancel(struct vm *vm)
{
	vm->inventory_done = NULL;
	vm->scan_done = NULL;
	vm->result_done = NULL;
	vm->path_done = NULL;
	/* Late words will be nobody's. */
	vm->scan_next = scan_free(vm->scan_next);
	if (!vm->freed_done && !vm->taken_done)
		vm->ask_id = 0;
}

void vm_refresh_cancel(struct vm *vm)
{
	vm->inventory_done = NULL;
}

pid_t vm_pid(const struct vm *vm)
{
	return vm->qmp ? qmp_peer_pid(vm->qmp) : -ENOTCONN;
}

int vm_resident_bytes(struct vm *vm, uint64_t *ret)
{
	const struct inventory *inv = vm->inventory;
	pid_t pid = vm_pid(vm);

	/* Memory may have been plugged in. */
	if (inv && vm->ram.count && vm->ram.count != inv->n_memdevs)
		ram_forget(vm);
	if (!vm->ram.count && inv && pid > 0)
		(void)ram_files_open(pid, inv, &vm->ram);
	return ram_files_bytes(&vm->ram, ret);
}

static void io_see(struct vm_io *io, const struct inventory_io *now)
{
	if (!io->known || io->wr_operations != now->wr_operations) {
		/* Which of the flushes came after the last write is not known. */
		io->settled = now->wr_operations == 0;
		io->flush_operations = now->flush_operations;
	} else if (now->flush_operations > io->flush_operations) {
		io->settled = true;
	}
	io->known = true;
	io->wr_operations = now->wr_operations;
}

static const char *refresh_text(int result)
{
	return result >= 0	      ? ""
	       : result == -ETIMEDOUT ? "QEMU did not answer in time"
				      : "QEMU hung up";
}

static void on_io_stats(int result, const struct inventory_blockstats *stats, void *userdata)
{
	struct vm *vm = userdata;

	for (size_t i = 0; result == 0 && vm->inventory && i < vm->inventory->n_disks; i++) {
		const struct inventory_io *io = inventory_io_find(stats, &vm->inventory->disks[i]);

		if (io)
			io_see(&vm->io[i], io);
		else
			vm->io[i] = (struct vm_io){ 0 };
	}
	refresh_finish(vm, result, refresh_text(result));
}

static bool disks_same(const struct inventory *a, const struct inventory *b)
{
	if (!a || a->n_disks != b->n_disks)
		return false;
	for (size_t i = 0; i < a->n_disks; i++)
		if (strcmp(a->disks[i].node, b->disks[i].node) != 0 ||
		    a->disks[i].n_layers != b->disks[i].n_layers)
			return false;
	return true;
}

static void on_inventory(int result, struct inventory *inventory, void *userdata)
{
	struct vm *vm = userdata;

	if (result == 0) {
		if (!disks_same(vm->inventory, inventory))
			memset(vm->io, 0, sizeof(vm->io));
		inventory_free(vm->inventory);
		vm->inventory = inventory;
		/* What QEMU told of meanwhile may be newer than its answers. */
		if (vm->inventory_usec)
			vm->inventory_usec = now_usec();
		vm->io_query = inventory_query_free(vm->io_query);
		result = inventory_blockstats(vm->qmp, now_usec() + QUERY_USEC, on_io_stats, vm,
					      &vm->io_query);
	}
	if (result < 0)
		refresh_finish(vm, result, refresh_text(result));
}

int vm_refresh(struct vm *vm, vm_done_fn *done, void *userdata)
{
	int r;

	if (vm->inventory_done)
		return -EBUSY;
	if (!vm->qmp || !qmp_is_ready(vm->qmp))
		return -ENOTCONN;
	vm->query = inventory_query_free(vm->query);
	vm->io_query = inventory_query_free(vm->io_query);
	/* However it ends, the next one by itself is not before its time. */
	vm->inventory_usec = now_usec();
	r = inventory_query(vm->qmp, now_usec() + QUERY_USEC, on_inventory, vm, &vm->query);
	if (r < 0)
		return r;
	vm->inventory_done = done;
	vm->inventory_userdata = userdata;
	return 0;
}
