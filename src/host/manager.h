/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon: all that it holds, in one place. */
#ifndef PAGEPACT_HOST_MANAGER_H
#define PAGEPACT_HOST_MANAGER_H

#include "host/config.h"
#include "host/control.h"
#include "host/ledger.h"
#include "host/survey.h"
#include "policy/policy.h"

#define MANAGER_VMS_MAX CONFIG_VMS_MAX

struct operation;
struct attach;
struct hold;
struct balloon;
struct giveback;
struct orphans;

struct manager {
	sd_event *event;
	struct config config;
	const char *runtime_dir;
	const char *state_dir;
	bool dry_run;
	uint64_t started_usec;
	int lock_fd;
	struct control *control;
	struct vm **vms;
	size_t n_vms;
	struct ledger ledger;
	struct policy_config policy;
	struct policy_state state;
	struct operation *operation; /* dup, reclaim or free: one at a time */
	struct survey *last;	     /* the picture that status shows */
	struct hold *hold;	     /* the one under way, for a limit or a resize, or NULL */
	sd_event_source *hold_timer;
	size_t hold_next;
	struct attach *attaches;  /* what waits for QEMU, a list */
	struct balloon *balloons; /* a list, see balloons.h */
	sd_event_source *balloon_timer;
	struct giveback *givebacks; /* a list, see giveback.h */
	struct orphans *orphans;    /* see orphans.h */
	bool stopping;
};

/**
 * struct manager_options - what the command line says
 */
struct manager_options {
	const char *config_dir;
	const char *runtime_dir;
	const char *state_dir;
	bool dry_run;
};

/**
 * manager_new() - read the configuration, start looking after the guests, listen
 *
 * Logs what goes wrong. Return: 0 or -errno.
 */
int manager_new(sd_event *event, const struct manager_options *options, struct manager **ret);

/** manager_stop() - give every guest back what was its own, within ten seconds; then end the loop
 */
void manager_stop(struct manager *m);

/** manager_free() - let go of every guest as it is. Return: NULL. */
struct manager *manager_free(struct manager *m);

/** manager_vm() - a guest by name, or NULL */
struct vm *manager_vm(const struct manager *m, const char *name);

/** manager_add() - attach a guest. Return: 0, -EEXIST, or -errno. */
int manager_add(struct manager *m, const struct config_vm *config, struct vm **ret);

/** manager_remove() - detach a guest. Return: 0, or -EBUSY while an operation is under way. */
int manager_remove(struct manager *m, struct vm *vm);

/** manager_survey() - start a survey of all guests; see survey.h */
int manager_survey(struct manager *m, survey_progress_fn *progress, survey_done_fn *done,
		   void *userdata, struct survey **ret);

/** manager_survey_one() - of one guest's disks and their images alone, see survey_spec.only */
int manager_survey_one(struct manager *m, struct vm *vm, survey_done_fn *done, void *userdata,
		       struct survey **ret);

#endif
