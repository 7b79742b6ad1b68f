/* SPDX-License-Identifier: Apache-2.0 */
#include "host/manager.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/attach.h"
#include "host/balloons.h"
#include "host/cache-limit.h"
#include "host/giveback.h"
#include "host/hint.h"
#include "host/hold.h"
#include "host/methods.h"
#include "host/operation.h"
#include "host/orphans.h"
#include "host/run-lock.h"

struct vm *manager_vm(const struct manager *m, const char *name)
{
	for (size_t i = 0; i < m->n_vms; i++)
		if (strcmp(m->vms[i]->config.name, name) == 0)
			return m->vms[i];
	return NULL;
}

int manager_add(struct manager *m, const struct config_vm *config, struct vm **ret)
{
	struct vm **vms, *vm;
	int r;

	/* The survey holds the guests by their places in the list. */
	if (m->operation)
		return -EBUSY;
	if (manager_vm(m, config->name))
		return -EEXIST;
	if (m->n_vms == MANAGER_VMS_MAX)
		return -E2BIG;
	holds_cancel(m);
	vms = reallocarray(m->vms, m->n_vms + 1, sizeof(*vms));
	if (!vms)
		return -ENOMEM;
	m->vms = vms;
	r = vm_new(m->event, config, &vm);
	if (r < 0)
		return r;
	m->vms[m->n_vms++] = vm;
	cache_limit_load(m, vm);
	balloons_attend(m, vm);
	hint_load(m, vm);
	m->last = survey_free(m->last);
	*ret = vm;
	return 0;
}

int manager_remove(struct manager *m, struct vm *vm)
{
	if (m->operation)
		return -EBUSY;
	holds_cancel(m);
	balloons_forget(m, vm);
	m->last = survey_free(m->last);
	for (size_t i = 0; i < m->n_vms; i++)
		if (m->vms[i] == vm) {
			memmove(&m->vms[i], &m->vms[i + 1], (m->n_vms - i - 1) * sizeof(*m->vms));
			m->n_vms--;
			break;
		}
	vm_free(vm);
	return 0;
}

int manager_survey(struct manager *m, survey_progress_fn *progress, survey_done_fn *done,
		   void *userdata, struct survey **ret)
{
	const struct survey_spec spec = {
		.event = m->event,
		.vms = m->vms,
		.n_vms = m->n_vms,
		.config = &m->config,
		.progress = progress,
		.done = done,
		.userdata = userdata,
	};

	return survey_start(&spec, ret);
}

int manager_survey_one(struct manager *m, struct vm *vm, survey_done_fn *done, void *userdata,
		       struct survey **ret)
{
	const struct survey_spec spec = {
		.event = m->event,
		.vms = m->vms,
		.n_vms = m->n_vms,
		.config = &m->config,
		.only = vm,
		.done = done,
		.userdata = userdata,
	};

	return survey_start(&spec, ret);
}

/* Two daemons would trim what the other counts on. */
static int lock_take(struct manager *m)
{
	if (mkdir(m->runtime_dir, 0755) < 0 && errno != EEXIST)
		return log_error_errno(errno, "Cannot create %s: %m", m->runtime_dir);
	m->lock_fd = run_lock_take(m->runtime_dir);
	if (m->lock_fd == -EWOULDBLOCK)
		return log_error_errno(m->lock_fd, "Another pagepactd runs: it holds %s/lock (%m)",
				       m->runtime_dir);
	if (m->lock_fd < 0)
		return log_error_errno(m->lock_fd, "Cannot lock %s/lock: %m", m->runtime_dir);
	return 0;
}

/* It would look after nothing, and keep the dead-man away: that goes by the lock. */
static int dry_check(const struct manager *m)
{
	if (!m->dry_run || !balloon_journal_live(m))
		return 0;
	return log_error_errno(
		EBUSY,
		"Guests are still smaller than they were, by %s/journal.d: run "
		"'pagepact-restore --now' before a dry run, or start without --dry-run",
		m->runtime_dir);
}

static int config_take(struct manager *m, const char *dir)
{
	struct config_messages messages = { 0 };
	int r = config_load(dir, &m->config, &messages);

	for (size_t i = 0; i < messages.n_items; i++)
		log_full(messages.items[i].error ? LOG_ERR : LOG_WARNING, 0, "%s",
			 messages.items[i].text);
	config_messages_done(&messages);
	if (r == -ENOENT)
		return log_error_errno(
			r,
			"There is no directory %s: create it, empty if nothing is to be "
			"configured, or name another with --config",
			dir);
	if (r < 0)
		return log_error_errno(r, "Cannot read the configuration in %s: %m", dir);
	for (size_t i = 0; i < m->config.n_vms; i++) {
		struct vm *vm;

		r = manager_add(m, &m->config.vms[i], &vm);
		if (r < 0)
			return log_error_errno(r, "Cannot look after %s: %m",
					       m->config.vms[i].name);
	}
	return 0;
}

static int control_take(struct manager *m)
{
	char path[256];
	int r;

	snprintf(path, sizeof(path), "%s/control.sock", m->runtime_dir);
	r = control_new(m->event, path, methods_handle, m, &m->control);
	if (r < 0)
		return log_error_errno(r, "Cannot listen on %s: %m", path);
	return 0;
}

int manager_new(sd_event *event, const struct manager_options *options, struct manager **ret)
{
	struct manager *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return log_error_errno(ENOMEM, "%m");
	m->event = event;
	m->runtime_dir = options->runtime_dir;
	m->state_dir = options->state_dir;
	m->dry_run = options->dry_run;
	m->started_usec = now_usec();
	m->lock_fd = -1;
	m->policy = policy_config_default;
	r = lock_take(m);
	if (r >= 0)
		r = dry_check(m);
	if (r >= 0)
		r = config_take(m, options->config_dir);
	if (r >= 0)
		r = control_take(m);
	if (r >= 0)
		r = holds_begin(m);
	if (r >= 0)
		r = balloons_begin(m);
	if (r >= 0 && !m->dry_run)
		r = orphans_begin(m);
	if (r < 0) {
		manager_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

static void on_given_back(unsigned failed, const char *error, void *userdata)
{
	struct manager *m = userdata;

	(void)error;
	if (failed)
		log_warning("%u guests are left smaller than they were", failed);
	sd_event_exit(m->event, 0);
}

void manager_stop(struct manager *m)
{
	int r;

	if (m->stopping) {
		sd_event_exit(m->event, 0);
		return;
	}
	m->stopping = true;
	orphans_end(m);
	(void)sd_notify(false, "STOPPING=1");
	r = giveback_start(m, NULL, on_given_back, m);
	if (r < 0)
		log_error_errno(r, "Guests are left as they are: %m");
	if (r <= 0)
		sd_event_exit(m->event, 0);
}

struct manager *manager_free(struct manager *m)
{
	if (!m)
		return NULL;
	giveback_free_all(m);
	orphans_end(m);
	m->operation = operation_free(m->operation);
	balloons_end(m);
	holds_end(m);
	attach_free_all(m);
	m->control = control_free(m->control);
	survey_free(m->last);
	for (size_t i = 0; i < m->n_vms; i++)
		vm_free(m->vms[i]);
	free(m->vms);
	policy_state_done(&m->state);
	ledger_done(&m->ledger);
	config_done(&m->config);
	close_p(&m->lock_fd);
	free(m);
	return NULL;
}
