/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's part of a vm: connecting, greeting, scanning, asking, noticing silence. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/vm.h"

#define RETRY_USEC  2000000ULL
#define TOLD_USEC   2000000ULL
#define PING_USEC   10000000ULL
#define GREET_USEC  1000000ULL /* an agent may start long after the guest's port was opened */
#define SILENT_USEC 30000000ULL
/* An agent answers pings while it scans, between two chunks. */
#define SCAN_PING_USEC	 3000000ULL
#define SCAN_SILENT_USEC 15000000ULL
/* Whoever sends noise is not listened to all the time. */
#define BAD_RETRY_USEC 30000000ULL

const char *vm_agent_name(enum vm_agent state)
{
	static const char *const names[] = {
		[VM_AGENT_NONE] = "none",     [VM_AGENT_ABSENT] = "absent",
		[VM_AGENT_SILENT] = "silent", [VM_AGENT_OLD] = "old",
		[VM_AGENT_BAD] = "bad",	      [VM_AGENT_LIVE] = "live",
	};

	return names[state];
}

static void agent_state(struct vm *vm, enum vm_agent state, const char *reason)
{
	if (vm->agent != state || strcmp(vm->agent_reason, reason) != 0)
		log_info("%s: agent %s%s%s", vm->config.name, vm_agent_name(state),
			 *reason ? ": " : "", reason);
	vm->agent = state;
	snprintf(vm->agent_reason, sizeof(vm->agent_reason), "%s", reason);
}

static void scan_finish(struct vm *vm, int result, const char *error)
{
	vm_done_fn *done = vm->scan_done;

	if (result < 0)
		vm->scan_next = scan_free(vm->scan_next);
	vm->scan_done = NULL;
	if (done)
		done(vm, result, error, vm->scan_userdata);
}

/* @m: NULL unless @result is 0; then of the type that was asked for. */
static void ask_finish(struct vm *vm, int result, const union wire_message *m)
{
	vm_result_fn *result_done = vm->result_done;
	vm_freed_fn *freed_done = vm->freed_done;
	vm_taken_fn *taken_done = vm->taken_done;
	vm_path_fn *path_done = vm->path_done;

	vm->result_done = NULL;
	vm->freed_done = NULL;
	vm->taken_done = NULL;
	vm->path_done = NULL;
	vm->ask_id = 0;
	if (result_done)
		result_done(vm, result, m ? m->result : NULL, vm->ask_userdata);
	if (freed_done)
		freed_done(vm, result, m ? m->freed : NULL, vm->ask_userdata);
	if (taken_done)
		taken_done(vm, result, m ? m->taken : NULL, vm->ask_userdata);
	if (path_done)
		path_done(vm, m ? -m->path->status : result, m ? m->path->path : "",
			  m ? m->path->length : 0, vm->ask_userdata);
}

void vm_agent_forget(struct vm *vm)
{
	vm->scan = scan_free(vm->scan);
	vm->report_usec = vm->report_id = 0;
}

static void agent_give_up(struct vm *vm, int result, const char *why)
{
	scan_finish(vm, result, why);
	ask_finish(vm, result, NULL);
}

void vm_agent_interrupt(struct vm *vm, const char *why)
{
	vm->interruption = why;
}

/* QEMU's word goes before the guest's. */
static uint64_t ram_pages(const struct vm *vm)
{
	return vm->inventory && vm->inventory->memory_bytes
		       ? vm->inventory->memory_bytes / WIRE_BLOCK_BYTES
		       : vm->hello.ram_pages;
}

static void on_hello(struct vm *vm, uint64_t id, const struct wire_hello *hello)
{
	/* A new agent knows nothing of what the one before was asked, and has nothing of it. */
	vm_taken_forget(vm);
	if (vm->interruption)
		agent_give_up(vm, -EINTR, vm->interruption);
	vm->interruption = NULL;
	vm->taken_open = true;
	vm->hello_usec = now_usec();
	if (id != LINK_WELCOME_ID)
		agent_give_up(vm, -EINTR, "the agent was started anew");
	if (memcmp(vm->hello.boot_id, hello->boot_id, sizeof(hello->boot_id)) != 0)
		vm_agent_forget(vm);
	/* Its counters begin anew, and it knows no limit but the guest's own. */
	vm->report_usec = vm->report_id = vm->held_usec = 0;
	vm->untaken = WIRE_UNTAKEN_NONE;
	vm->taken_told = !(hello->capabilities & WIRE_CAN_TAKE);
	vm->hello = *hello;
	vm->greeted = true;
	if (hello->version != WIRE_VERSION) {
		char text[VM_TEXT_MAX];

		snprintf(text, sizeof(text), "speaks protocol %u, this daemon %u: update the %s",
			 hello->version, WIRE_VERSION,
			 hello->version < WIRE_VERSION ? "agent" : "daemon");
		agent_state(vm, VM_AGENT_OLD, text);
		return;
	}
	agent_state(vm, VM_AGENT_LIVE, hello->missing);
	vm->limit_due = true;
	vm_wish_send(vm);
	vm_wish_ask(vm);
}

static void on_scan_message(struct vm *vm, uint16_t type, const union wire_message *m)
{
	int r;

	/* What the guest told before it was reset is not true any more. */
	if (vm->interruption)
		return;
	r = scan_add(vm->scan_next, type, m);
	if (link_lost(vm->link) != vm->scan_lost) {
		scan_finish(vm, -EBADMSG, "a part of its scan was lost on the way");
	} else if (r == -EBADMSG) {
		agent_state(vm, VM_AGENT_BAD, "its scan contradicts itself");
		vm->link_closed = true;
		scan_finish(vm, r, vm->agent_reason);
	} else if (r < 0) {
		scan_finish(vm, r, "out of memory");
	} else if (r > 0) {
		scan_free(vm->scan);
		vm->scan = vm->scan_next;
		vm->scan_next = NULL;
		scan_finish(vm, 0, "");
	}
}

/* Of what it gave back by itself nobody waits for an answer. */
static void on_taken(struct vm *vm, uint64_t id, const union wire_message *m)
{
	const struct wire_taken *taken = m->taken;

	/* What the guest told before it was reset, or its agent ended, is not true any more. */
	if (!vm->taken_open)
		return;
	if (taken->superpages * WIRE_SUPERPAGE_BYTES >= ram_pages(vm) * WIRE_BLOCK_BYTES) {
		agent_state(vm, VM_AGENT_BAD, "claims to have more out of use than it has");
		vm->link_closed = true;
		return;
	}
	if (taken->superpages < vm->taken_superpages)
		vm->untaken = taken->untaken;
	vm_taken_see(vm, taken);
	if (vm->taken_done && id == vm->ask_id)
		ask_finish(vm, 0, m);
	else
		log_debug("%s: %llu superpages are out of its use, unasked: %s", vm->config.name,
			  (unsigned long long)taken->superpages, wire_untaken_name(taken->untaken));
}

static void on_error(struct vm *vm, uint64_t id, const struct wire_error *error)
{
	if (vm->scan_next && id == vm->scan_next->id)
		scan_finish(vm, -EREMOTEIO, error->text);
	else if (vm->ask_id && id == vm->ask_id)
		ask_finish(vm, -EREMOTEIO, NULL);
}

static void on_message(uint16_t type, uint64_t id, const union wire_message *m, uint32_t length,
		       void *userdata)
{
	struct vm *vm = userdata;

	(void)length;
	vm->link_heard_usec = vm->heard_usec = now_usec();
	if (vm->agent == VM_AGENT_SILENT && vm->greeted) {
		agent_state(vm, VM_AGENT_LIVE, vm->hello.missing);
		vm->limit_due = true;
		/* It may have given all back meanwhile, or none. */
		vm->taken_told = !(vm->hello.capabilities & WIRE_CAN_TAKE);
		vm->hello_usec = 0;
	}
	switch (type) {
	case WIRE_HELLO:
		on_hello(vm, id, m->hello);
		break;
	case WIRE_DISK:
	case WIRE_FILE:
	case WIRE_EXTENTS:
	case WIRE_PAGES:
	case WIRE_SCAN_END:
		/* Late words of a scan that was given up are nobody's. */
		if (vm->scan_next && id == vm->scan_next->id)
			on_scan_message(vm, type, m);
		break;
	case WIRE_RESULT:
		if (vm->result_done && id == vm->ask_id)
			ask_finish(vm, 0, m);
		break;
	case WIRE_FREED:
		if (vm->freed_done && id == vm->ask_id)
			ask_finish(vm, 0, m);
		break;
	case WIRE_TAKEN:
		on_taken(vm, id, m);
		break;
	case WIRE_PATH:
		if (vm->path_done && id == vm->ask_id)
			ask_finish(vm, 0, m);
		break;
	case WIRE_REPORT:
		vm_wish_reported(vm, id, m->report);
		break;
	case WIRE_ERROR:
		on_error(vm, id, m->error);
		break;
	default:
		break;
	}
}

static void on_silent(bool heard, void *userdata)
{
	agent_state(userdata, VM_AGENT_SILENT,
		    heard ? "what comes from its port is no greeting, or too slow"
			  : "nothing answers on its port: is pagepact-agent running in the guest?");
}

static void on_closed(int reason, const char *message, void *userdata)
{
	struct vm *vm = userdata;

	agent_state(vm, reason == -EBADMSG ? VM_AGENT_BAD : VM_AGENT_ABSENT, message);
	vm->link_closed = true;
}

static const struct link_ops ops = { on_message, on_silent, on_closed };

static void link_drop(struct vm *vm, int result)
{
	vm->link = link_free(vm->link);
	vm->link_closed = vm->greeted = false;
	agent_give_up(vm, result, vm->agent_reason);
}

static const char *connect_text(int error)
{
	switch (error) {
	case -ENOENT:
		return "its socket is not there";
	case -ECONNREFUSED:
		return "nobody listens on its socket";
	case -EAGAIN:
		return "its socket serves somebody else";
	case -EACCES:
	case -EPERM:
		return "no permission to connect to its socket";
	default:
		return strerror(-error);
	}
}

static void link_connect(struct vm *vm, uint64_t now)
{
	int r;

	/* A port that `attach` added, or that the guest came with, is found by QMP. */
	if (vm->config.agent.scheme == URL_NONE && vm->inventory &&
	    vm->inventory->serial.chardev_path[0]) {
		vm->config.agent.scheme = URL_SERIAL;
		snprintf(vm->config.agent.path, sizeof(vm->config.agent.path), "%s",
			 vm->inventory->serial.chardev_path);
	}
	if (vm->config.agent.scheme == URL_NONE || now < vm->link_retry_usec)
		return;
	vm->link_retry_usec = now + RETRY_USEC;
	r = link_new(vm->event, &vm->config.agent, &ops, vm, &vm->link);
	if (r < 0)
		agent_state(vm, VM_AGENT_ABSENT, connect_text(r));
	vm->link_heard_usec = vm->link_pinged_usec = now;
}

/* Greets until the agent has answered once; then looks whether it still does. */
static void link_keep(struct vm *vm, uint64_t now)
{
	const struct wire_welcome welcome = { .version = WIRE_VERSION };
	uint64_t interval = !vm->greeted ? GREET_USEC : vm->scan_next ? SCAN_PING_USEC : PING_USEC;

	if (!vm->link || vm->link_closed || now < vm->link_pinged_usec + interval)
		return;
	vm->link_pinged_usec = now;
	if (!vm->greeted) {
		(void)link_send(vm->link, WIRE_WELCOME, LINK_WELCOME_ID, &welcome, sizeof(welcome));
		return;
	}
	(void)link_send(vm->link, WIRE_PING, 0, NULL, 0);
	/* A scan is looked after more often than a report is worth. */
	if (!vm->scan_next && vm->agent == VM_AGENT_LIVE)
		vm_wish_ask(vm);
}

/* What it keeps out of use it tells after its greeting: one that did not is greeted again. */
static void taken_ask(struct vm *vm, uint64_t now)
{
	const struct wire_welcome welcome = { .version = WIRE_VERSION };

	if (vm->agent != VM_AGENT_LIVE || vm->taken_told || !vm->link || vm->link_closed ||
	    now < vm->hello_usec + TOLD_USEC)
		return;
	vm->hello_usec = now;
	(void)link_send(vm->link, WIRE_WELCOME, LINK_WELCOME_ID, &welcome, sizeof(welcome));
}

static void agent_deadlines(struct vm *vm, uint64_t now)
{
	if (vm->interruption)
		agent_give_up(vm, -EINTR, vm->interruption);
	vm->interruption = NULL;
	if (vm->scan_next && now > vm->scan_deadline_usec)
		scan_finish(vm, -ETIMEDOUT, "the scan did not end in time");
	if (vm->scan_next && now > vm->link_heard_usec + SCAN_SILENT_USEC &&
	    now > vm->scan_next->begun_usec + SCAN_SILENT_USEC)
		scan_finish(vm, -ETIMEDOUT, "the agent fell silent in the middle of its scan");
	if (vm->ask_id && now > vm->ask_deadline_usec)
		ask_finish(vm, -ETIMEDOUT, NULL);
}

void vm_agent_tick(struct vm *vm, uint64_t now)
{
	if (vm->link_closed) {
		link_drop(vm, -ENOTCONN);
		vm->link_retry_usec =
			now + (vm->agent == VM_AGENT_BAD ? BAD_RETRY_USEC : RETRY_USEC);
	}
	if (!vm->link)
		link_connect(vm, now);
	agent_deadlines(vm, now);
	link_keep(vm, now);
	taken_ask(vm, now);
	vm_wish_send(vm);
	if (vm->agent == VM_AGENT_LIVE && now > vm->link_heard_usec + SILENT_USEC)
		agent_state(vm, VM_AGENT_SILENT, "has not answered for 30 seconds");
}

void vm_agent_done(struct vm *vm)
{
	link_drop(vm, -ECANCELED);
	vm->scan = scan_free(vm->scan);
}

int vm_scan(struct vm *vm, uint64_t deadline_usec, vm_done_fn *done, void *userdata)
{
	int r;

	if (vm->agent != VM_AGENT_LIVE || !vm->link)
		return -ENOTCONN;
	if (!(vm->hello.capabilities & WIRE_CAN_SCAN))
		return -EOPNOTSUPP;
	if (vm->scan_next)
		return -EBUSY;
	if (vm->interruption)
		return -EAGAIN;
	vm->scan_next = scan_new(vm->next_id++, now_usec(), ram_pages(vm));
	if (!vm->scan_next)
		return -ENOMEM;
	r = link_send(vm->link, WIRE_SCAN, vm->scan_next->id, NULL, 0);
	if (r < 0) {
		vm->scan_next = scan_free(vm->scan_next);
		return r;
	}
	vm->scan_lost = link_lost(vm->link);
	vm->scan_deadline_usec = deadline_usec;
	vm->scan_done = done;
	vm->scan_userdata = userdata;
	return 0;
}

static int ask(struct vm *vm, uint16_t type, const void *payload, uint32_t length,
	       uint64_t deadline_usec, void *userdata)
{
	int r;

	if (vm->agent != VM_AGENT_LIVE || !vm->link)
		return -ENOTCONN;
	if (vm->ask_id)
		return -EBUSY;
	vm->ask_id = vm->next_id++;
	r = link_send(vm->link, type, vm->ask_id, payload, length);
	if (r < 0)
		vm->ask_id = 0;
	vm->ask_deadline_usec = deadline_usec;
	vm->ask_userdata = userdata;
	return r;
}

int vm_evict(struct vm *vm, const struct wire_evict *order, uint32_t length, uint64_t deadline_usec,
	     vm_result_fn *done, void *userdata)
{
	int r = ask(vm, WIRE_EVICT, order, length, deadline_usec, userdata);

	if (r >= 0)
		vm->result_done = done;
	return r;
}

int vm_name(struct vm *vm, const struct wire_identity *identity, uint64_t deadline_usec,
	    vm_path_fn *done, void *userdata)
{
	int r = vm->hello.capabilities & WIRE_CAN_NAME ? 0 : -EOPNOTSUPP;

	if (r >= 0)
		r = ask(vm, WIRE_NAME, identity, sizeof(*identity), deadline_usec, userdata);

	if (r >= 0)
		vm->path_done = done;
	return r;
}

int vm_give(struct vm *vm, uint64_t bytes, uint32_t flags, uint32_t usec_max,
	    uint64_t deadline_usec, vm_freed_fn *done, void *userdata)
{
	const struct wire_free order = { .bytes = bytes, .usec_max = usec_max, .flags = flags };
	int r = vm->hello.capabilities & WIRE_CAN_FREE ? 0 : -EOPNOTSUPP;

	if (r >= 0)
		r = ask(vm, WIRE_FREE, &order, sizeof(order), deadline_usec, userdata);
	if (r >= 0)
		vm->freed_done = done;
	return r;
}

int vm_take(struct vm *vm, uint64_t superpages, uint64_t deadline_usec, vm_taken_fn *done,
	    void *userdata)
{
	const struct wire_take order = { .superpages = superpages };
	int r = vm->hello.capabilities & WIRE_CAN_TAKE ? 0 : -EOPNOTSUPP;

	if (r >= 0)
		r = ask(vm, WIRE_TAKE, &order, sizeof(order), deadline_usec, userdata);
	if (r >= 0)
		vm->taken_done = done;
	return r;
}

void vm_give_cancel(struct vm *vm, const void *userdata)
{
	if ((!vm->freed_done && !vm->taken_done) || vm->ask_userdata != userdata)
		return;
	vm->freed_done = NULL;
	vm->taken_done = NULL;
	vm->ask_id = 0;
}

int vm_held(struct vm *vm, const struct wire_held *held, uint32_t length)
{
	if (vm->agent != VM_AGENT_LIVE || !vm->link || vm->link_closed)
		return -ENOTCONN;
	return link_send(vm->link, WIRE_HELD, 0, held, length);
}
