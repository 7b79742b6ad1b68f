/* SPDX-License-Identifier: Apache-2.0 */
#include "host/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "host/attach.h"
#include "host/cache-limit.h"
#include "host/hold.h"
#include "host/methods.h"
#include "host/operation.h"

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
	m->last = survey_free(m->last);
	*ret = vm;
	return 0;
}

int manager_remove(struct manager *m, struct vm *vm)
{
	if (m->operation)
		return -EBUSY;
	holds_cancel(m);
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
	char path[256];
	_cleanup_close_ int fd = -1;

	if (mkdir(m->runtime_dir, 0755) < 0 && errno != EEXIST)
		return log_error_errno(errno, "Cannot create %s: %m", m->runtime_dir);
	snprintf(path, sizeof(path), "%s/lock", m->runtime_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return log_error_errno(errno, "Cannot open %s: %m", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return log_error_errno(errno, "Another pagepactd runs: it holds %s (%m)", path);
	m->lock_fd = TAKE_FD(fd);
	return 0;
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
		r = config_take(m, options->config_dir);
	if (r >= 0)
		r = control_take(m);
	if (r >= 0)
		r = holds_begin(m);
	if (r < 0) {
		manager_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

struct manager *manager_free(struct manager *m)
{
	if (!m)
		return NULL;
	m->operation = operation_free(m->operation);
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
