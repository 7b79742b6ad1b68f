/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One guest: its QMP connection, its agent, and what is known of both.
 *
 * A guest may appear, die and come back at any time. Each vm looks after itself by a timer of its
 * own; nothing in here waits for a guest, and no guest's trouble reaches another.
 */
#ifndef PAGEPACT_HOST_VM_H
#define PAGEPACT_HOST_VM_H

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/parse.h"
#include "host/config.h"
#include "host/inventory.h"
#include "host/link.h"
#include "host/port.h"
#include "host/ram-files.h"
#include "host/scan.h"

#define VM_TEXT_MAX 240

enum vm_agent {
	VM_AGENT_NONE,	 /* no address is configured and no port was found */
	VM_AGENT_ABSENT, /* its socket is not there, or was closed */
	VM_AGENT_SILENT, /* connected; nothing answers */
	VM_AGENT_OLD,	 /* speaks another version */
	VM_AGENT_BAD,	 /* broke the protocol */
	VM_AGENT_LIVE,
};

/** vm_agent_name() - the stable, lower-case name of a state */
const char *vm_agent_name(enum vm_agent state);

struct vm;

typedef void vm_done_fn(struct vm *vm, int result, const char *error, void *userdata);
typedef void vm_result_fn(struct vm *vm, int result, const struct wire_result *answer,
			  void *userdata);
typedef void vm_freed_fn(struct vm *vm, int result, const struct wire_freed *answer,
			 void *userdata);
typedef void vm_taken_fn(struct vm *vm, int result, const struct wire_taken *answer,
			 void *userdata);
typedef void vm_event_fn(struct vm *vm, const char *name, json_t *data, void *userdata);
typedef void vm_path_fn(struct vm *vm, int result, const char *path, size_t length, void *userdata);

/**
 * struct vm_io - how far the guest's writes to one disk have been flushed
 * @wr_operations: as last seen
 * @settled: a flush came after the last write
 */
struct vm_io {
	uint64_t wr_operations;
	uint64_t flush_operations;
	bool known;
	bool settled;
};

/* Whose word a wish is: the page cache limit, the hint. */
enum vm_source {
	VM_SOURCE_NONE,	   /* nobody's on the host: the guest decides */
	VM_SOURCE_CONFIG,  /* the guest's file */
	VM_SOURCE_COMMAND, /* a command, and kept since */
};

struct vm {
	sd_event *event;
	struct config_vm config;
	bool port_added; /* by `attach`: `detach` removes it */

	struct qmp *qmp;
	struct inventory *inventory;
	uint64_t inventory_usec;
	char reason[1024]; /* why there is no inventory; with what to do about it */
	bool busy;	   /* the QMP socket serves somebody else */
	bool qmp_failed;   /* the last try to connect did */
	struct ram_files ram;
	struct vm_io io[INVENTORY_DISKS_MAX];

	struct link *link;
	enum vm_agent agent;
	bool greeted; /* the agent has answered since the link was made */
	char agent_reason[VM_TEXT_MAX];
	struct wire_hello hello;

	struct scan *scan; /* the last complete one, or NULL */

	/* What the host wants; an observed guest is told that the host has no say. */
	struct limit_text limit;
	enum vm_source limit_source;
	enum wire_hint hint;
	enum vm_source hint_source;
	enum wire_hint
		hint_meanwhile;	   /* instead, while a resize has its own; WIRE_HINT_GUEST: no */
	bool quiet;		   /* a dry run: agents hold what guests say */
	struct wire_report report; /* the last one, at report_usec, or 0 for none */
	uint64_t report_usec;
	uint64_t held_evicted_bytes;  /* what it had evicted by then */
	uint64_t held_usec;	      /* when it was last told what the host holds */
	uint64_t held_resident_bytes; /* what the host held of its memory then; 0: not known */
	uint64_t inflated_usec;	      /* when its balloon was last seen to inflate; 0: never */
	uint64_t balloon_bytes;	      /* the size that QEMU told last; the guest writes it */
	uint64_t taken_superpages;    /* out of the guest's use, by its agent's word */
	bool taken_told;	      /* since the agent greeted, at hello_usec */
	bool taken_open;	      /* it did since the guest, or the one before, ended */
	uint64_t hello_usec;
	uint64_t heard_usec;	    /* when the agent said anything last */
	struct blockset *taken;	    /* where they lie, as far as was told */
	struct blockset *paged_out; /* of these the ones that the host was made to page out */
	enum wire_untaken untaken;  /* why it gave some back by itself, the last time it did */

	bool qmp_lent; /* somebody else uses it: a closed one is not replaced */
	/* Called with each event of QEMU's, from the loop; @data is borrowed and may be NULL. */
	vm_event_fn *event_seen;
	void *event_userdata;

	/* Private to vm.c and vm-agent.c. */
	sd_event_source *tick;
	uint64_t qmp_retry_usec;
	uint64_t link_retry_usec;
	uint64_t link_pinged_usec;
	uint64_t link_heard_usec;
	bool qmp_closed, link_closed; /* not seen to yet */
	bool qmp_dead;
	const char *interruption; /* why what was asked of the agent will not be answered */
	uint64_t scan_lost;
	struct inventory_query *query;
	struct inventory_query *io_query;
	vm_done_fn *inventory_done;
	void *inventory_userdata;
	struct scan *scan_next;
	uint64_t scan_deadline_usec;
	vm_done_fn *scan_done;
	void *scan_userdata;
	uint64_t next_id;
	uint64_t ask_id;
	uint64_t ask_deadline_usec;
	vm_result_fn *result_done;
	vm_freed_fn *freed_done;
	vm_taken_fn *taken_done;
	vm_path_fn *path_done;
	void *ask_userdata;
	bool limit_due;	    /* what it was told, if anything, it may have forgotten */
	uint64_t report_id; /* of the last question for one */
	bool report_asked;  /* by ASK, not by LIMIT */
	uint64_t report_asked_usec;
};

/**
 * vm_new() - start looking after a guest
 * @config: copied
 *
 * Return: 0 or -errno.
 */
int vm_new(sd_event *event, const struct config_vm *config, struct vm **ret);

/**
 * vm_free() - let go of the guest: it keeps everything as it is. Pending callbacks are called
 * with -ECANCELED. Return: NULL.
 */
struct vm *vm_free(struct vm *vm);

/**
 * vm_pid() - QEMU's process, or -errno
 */
pid_t vm_pid(const struct vm *vm);

/**
 * vm_resident_bytes() - how much of the guest's RAM the host holds
 *
 * The blocks of QEMU's memfd, less what of it is in swap: neither takes a lock of QEMU's.
 *
 * Return: 0; -EOPNOTSUPP where RAM is not one memfd or file of its own.
 */
int vm_resident_bytes(struct vm *vm, uint64_t *ret);

/**
 * vm_refresh() - learn the machine anew
 *
 * Return: 0 and @done is called, or -errno and it is not; -EBUSY while one is under way.
 */
int vm_refresh(struct vm *vm, vm_done_fn *done, void *userdata);

/** vm_refresh_cancel() - forget who asked for it */
void vm_refresh_cancel(struct vm *vm);

/**
 * vm_scan() - have the guest scanned
 *
 * Return: 0 and @done is called: 0 when vm->scan is new; or -errno and it is not.
 */
int vm_scan(struct vm *vm, uint64_t deadline_usec, vm_done_fn *done, void *userdata);

/**
 * vm_evict() - send one EVICT message
 * @order, @length: the payload
 * @done: with the guest's answer, or -ETIMEDOUT, -ENOTCONN, -EREMOTEIO, -EINTR
 *
 * Return: 0 and @done is called, or -errno and it is not; -EBUSY while a question is open.
 */
int vm_evict(struct vm *vm, const struct wire_evict *order, uint32_t length, uint64_t deadline_usec,
	     vm_result_fn *done, void *userdata);

/**
 * vm_give() - send one FREE message
 * @usec_max: the agent answers by then
 * @done: as for vm_evict()
 *
 * Return: as vm_evict(); -EOPNOTSUPP where the agent cannot.
 */
int vm_give(struct vm *vm, uint64_t bytes, uint32_t flags, uint32_t usec_max,
	    uint64_t deadline_usec, vm_freed_fn *done, void *userdata);

/**
 * vm_take() - send one TAKE message
 * @superpages: that are to be out of the guest's use, in all
 * @done: as for vm_evict(); the answer is no more than the guest could have. vm_give_cancel() is
 *for it too
 *
 * Return: as vm_give().
 */
int vm_take(struct vm *vm, uint64_t superpages, uint64_t deadline_usec, vm_taken_fn *done,
	    void *userdata);

/** vm_paged_out() - such superpages were paged out; those that are in use again by now are not
 * meant */
void vm_paged_out(struct vm *vm, const struct blockset *set);

/** vm_take_back() - have all superpages used again; not waited for */
void vm_take_back(struct vm *vm);

/** vm_paged_out_bytes() - of what is out of use, that the host was made to page out */
uint64_t vm_paged_out_bytes(const struct vm *vm);

/** vm_taken_bytes() - that its agent keeps out of use */
uint64_t vm_taken_bytes(const struct vm *vm);

/**
 * vm_wish_note() - what keeps the agent from holding what the host wants of it
 * @capability: of enum wire_capability, that it takes; 0: nothing is wanted any more
 *
 * Return: for people; NULL: nothing that is known here.
 */
const char *vm_wish_note(const struct vm *vm, uint32_t capability);

/**
 * vm_limit_set() - the page cache limit that the host wants from now on
 *
 * It is sent at once if the agent is live, and again whenever the agent may not know it any more.
 */
void vm_limit_set(struct vm *vm, const struct limit_text *limit, enum vm_source source);

/** vm_hint_set() - the hint that the host wants from now on; it is sent as the limit is */
void vm_hint_set(struct vm *vm, enum wire_hint hint, enum vm_source source);

/**
 * vm_hint_meanwhile() - another hint for the time being; WIRE_HINT_GUEST: the wanted one again
 */
void vm_hint_meanwhile(struct vm *vm, enum wire_hint hint);

/** vm_give_cancel() - nobody waits for the answer to a vm_give() or vm_take() of @userdata any more
 */
void vm_give_cancel(struct vm *vm, const void *userdata);

/**
 * vm_report_ask() - have the agent report now, without waiting for it
 *
 * Nothing is sent where the last question is not answered yet, for three seconds at most.
 */
void vm_report_ask(struct vm *vm);

/**
 * vm_held() - tell the agent which blocks of a disk the host holds
 *
 * Not waited for. Return: 0; -ENOBUFS: later; -ENOTCONN.
 */
int vm_held(struct vm *vm, const struct wire_held *held, uint32_t length);

/**
 * vm_name() - ask for a path of a file
 */
int vm_name(struct vm *vm, const struct wire_identity *identity, uint64_t deadline_usec,
	    vm_path_fn *done, void *userdata);

/**
 * vm_cancel() - forget what was asked for until now: nothing of it is called back, but of a
 * vm_give() or vm_take(), whose asker is another
 */
void vm_cancel(struct vm *vm);

/* Of vm-agent.c, for vm.c: what the timer does for the agent, and its end. */
void vm_agent_tick(struct vm *vm, uint64_t now);
void vm_agent_done(struct vm *vm);
void vm_agent_forget(struct vm *vm);

/* Of vm-taken.c, for vm.c and vm-agent.c: it was told, and of another boot or agent nothing is. */
void vm_taken_see(struct vm *vm, const struct wire_taken *taken);
void vm_taken_forget(struct vm *vm);
/* @why: static; what the agent was asked is given up at the next tick. */
void vm_agent_interrupt(struct vm *vm, const char *why);

/* Of vm-wish.c, for vm-agent.c: sends what is due (a full queue is tried again at the next tick),
 * asks for a report, and takes one in. */
void vm_wish_send(struct vm *vm);
void vm_wish_ask(struct vm *vm);
void vm_wish_reported(struct vm *vm, uint64_t id, const struct wire_report *report);

#endif
