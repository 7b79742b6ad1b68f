/* SPDX-License-Identifier: Apache-2.0 */
#include "host/survey.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define SCAN_USEC  (120 * (uint64_t)USEC_PER_SEC)
#define FLUSH_USEC (10 * (uint64_t)USEC_PER_SEC)

static void stage_machines(struct survey *s);
static void stage_scans(struct survey *s);
static void stage_settle(struct survey *s);

static const struct stage {
	const char *name;
	void (*start)(struct survey *s);
} stages[] = {
	{ "machines", stage_machines },
	{ "scan", stage_scans },
	{ "settle", stage_machines },
	{ "settle", stage_settle },
	{ "map", survey_start_maps },
	{ "settle", stage_machines },
	{ "residency", survey_start_residency },
};

static void survey_progress(struct survey *s)
{
	if (s->spec.progress)
		s->spec.progress(s, stages[s->stage].name, s->total - s->pending, s->total,
				 s->spec.userdata);
}

static int stage_finish(struct survey *s)
{
	/* The disks are known as soon as the machines are. */
	return s->stage == 0 ? survey_list_disks(s) : 0;
}

static void survey_finish(struct survey *s, int result)
{
	if (result >= 0)
		result = survey_build_snapshot(s);
	s->spec.done(s, result, s->spec.userdata);
}

static void stage_start(struct survey *s)
{
	s->pending = s->total = 0;
	s->starting = true;
	stages[s->stage].start(s);
	s->starting = false;
	survey_progress(s);
	if (!s->pending)
		(void)sd_event_source_set_enabled(s->kick, SD_EVENT_ONESHOT);
}

/* From the loop, never from within a start: callers see one order of events. */
static int on_kick(sd_event_source *source, void *userdata)
{
	struct survey *s = userdata;
	int r = stage_finish(s);

	(void)source;
	s->stage++;
	if (r < 0 || s->stage == ARRAY_SIZE(stages))
		survey_finish(s, r);
	else
		stage_start(s);
	return 0;
}

void survey_job_end(struct survey *s)
{
	s->pending--;
	survey_progress(s);
	if (!s->pending && !s->starting)
		(void)sd_event_source_set_enabled(s->kick, SD_EVENT_ONESHOT);
}

static void job_begun(struct survey *s)
{
	s->pending++;
	s->total++;
}

struct survey_job *survey_job_new(struct survey *s, size_t number, void *data)
{
	struct survey_job **jobs = reallocarray(s->jobs, s->n_jobs + 1, sizeof(*jobs));
	struct survey_job *job = calloc(1, sizeof(*job));

	if (jobs)
		s->jobs = jobs;
	if (!jobs || !job) {
		free(job);
		free(data);
		return NULL;
	}
	*job = (struct survey_job){ .survey = s, .number = number, .data = data };
	s->jobs[s->n_jobs++] = job;
	job_begun(s);
	return job;
}

static void on_machine(struct vm *vm, int result, const char *error, void *userdata)
{
	struct survey_vm *v = userdata;

	(void)vm;
	if (result < 0) {
		snprintf(v->reason, sizeof(v->reason), "%s", error);
		v->scanned = false;
		v->lost = true;
	}
	survey_job_end(v->survey);
}

static void machine_lost(struct survey_vm *v)
{
	snprintf(v->reason, sizeof(v->reason), "%s",
		 v->vm->reason[0] ? v->vm->reason : "QEMU does not answer");
	v->scanned = false;
	v->lost = true;
}

static void stage_machines(struct survey *s)
{
	for (size_t i = 0; i < s->n_vms; i++) {
		if (s->vms[i].lost || !survey_wants(s, i))
			continue;

		int r = vm_refresh(s->vms[i].vm, on_machine, &s->vms[i]);

		if (r >= 0)
			job_begun(s);
		else
			machine_lost(&s->vms[i]);
	}
}

static void on_scan(struct vm *vm, int result, const char *error, void *userdata)
{
	struct survey_vm *v = userdata;

	(void)vm;
	v->scanned = result >= 0;
	if (result < 0)
		snprintf(v->reason, sizeof(v->reason), "%s", error);
	survey_job_end(v->survey);
}

static void scan_refused(struct survey_vm *v, int error)
{
	const struct vm *vm = v->vm;
	const char *why = *vm->agent_reason	       ? vm->agent_reason
			  : vm->agent == VM_AGENT_LIVE ? strerror(-error)
						       : "";

	snprintf(v->reason, sizeof(v->reason), "agent %s%s%s", vm_agent_name(vm->agent),
		 *why ? ": " : "", why);
}

static void stage_scans(struct survey *s)
{
	for (size_t i = 0; !s->spec.only && i < s->n_vms; i++) {
		struct survey_vm *v = &s->vms[i];
		int r;

		if (!v->vm->inventory || v->lost)
			continue;
		if (!v->vm->inventory->running) {
			snprintf(v->reason, sizeof(v->reason), "the guest is %s",
				 v->vm->inventory->status);
			continue;
		}
		r = vm_scan(v->vm, now_usec() + SCAN_USEC, on_scan, v);
		if (r >= 0)
			job_begun(s);
		else
			scan_refused(v, r);
	}
}

static void flushed_note(const struct survey_disk *d)
{
	size_t number;

	if (survey_disk_now(d, &number))
		d->survey->vms[d->vm].vm->io[number].settled = true;
}

static void on_flush(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct survey_disk *d = userdata;

	(void)qmp;
	d->flush = 0;
	/* qemu-io is silent when it succeeds. Whether a write came later, the next look at the
	 * counters tells. */
	if (reply->result == 0 && json_string_length(reply->value) == 0)
		flushed_note(d);
	survey_job_end(d->survey);
}

static bool disk_needs_map(const struct survey_disk *d)
{
	return !d->reason[0] && !d->map;
}

static void stage_settle(struct survey *s)
{
	for (size_t i = 0; i < s->n_disks; i++) {
		struct survey_disk *d = &s->disks[i];
		struct vm *vm = s->vms[d->vm].vm;
		size_t number;
		const struct inventory_disk *disk = survey_disk_now(d, &number);
		char line[INVENTORY_QOM_MAX + 32];

		if (!survey_wants(s, d->vm) || !disk_needs_map(d) || !disk ||
		    vm->io[number].settled || !vm->config.act || s->vms[d->vm].lost || !vm->qmp)
			continue;
		snprintf(line, sizeof(line), "qemu-io -d %s flush", disk->qdev);
		if (qmp_send_hmp(vm->qmp, line, now_usec() + FLUSH_USEC, on_flush, d, &d->flush) >=
		    0)
			job_begun(s);
	}
}

int survey_start(const struct survey_spec *spec, struct survey **ret)
{
	struct survey *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->spec = *spec;
	s->n_vms = spec->n_vms;
	s->taken_usec = now_usec();
	s->vms = calloc(spec->n_vms + 1, sizeof(*s->vms));
	r = s->vms ? sd_event_add_defer(spec->event, &s->kick, on_kick, s) : -ENOMEM;
	if (r < 0) {
		survey_free(s);
		return r;
	}
	(void)sd_event_source_set_enabled(s->kick, SD_EVENT_OFF);
	for (size_t i = 0; i < spec->n_vms; i++)
		s->vms[i] = (struct survey_vm){ .survey = s, .vm = spec->vms[i] };
	*ret = s;
	stage_start(s);
	return 0;
}

struct survey *survey_free(struct survey *s)
{
	if (!s)
		return NULL;
	sd_event_source_disable_unref(s->kick);
	bool unfinished = s->vms && s->stage < ARRAY_SIZE(stages);

	/* What else was asked of the guest is not this survey's. */
	if (unfinished && s->spec.only)
		vm_refresh_cancel(s->spec.only);
	for (size_t i = 0; unfinished && !s->spec.only && i < s->n_vms; i++)
		if (s->vms[i].vm)
			vm_cancel(s->vms[i].vm);
	for (size_t i = 0; i < s->n_jobs; i++) {
		child_free(s->jobs[i]->child);
		free(s->jobs[i]->data);
		free(s->jobs[i]);
	}
	survey_snapshot_done(s);
	for (size_t i = 0; i < s->n_disks; i++) {
		struct vm *vm = s->vms[s->disks[i].vm].vm;

		/* A connection that has gone has called back before. */
		if (s->disks[i].flush)
			qmp_cancel(vm->qmp, s->disks[i].flush);
		imagemap_free(s->disks[i].map);
	}
	for (size_t i = 0; i < s->n_images; i++) {
		residency_done(&s->images[i].residency);
		free(s->images[i].path);
	}
	free(s->jobs);
	free(s->images);
	free(s->disks);
	free(s->vms);
	free(s);
	return NULL;
}

const struct survey_disk *survey_disk_find(const struct survey *s, size_t vm, uint32_t scan_disk)
{
	for (size_t i = 0; i < s->n_disks; i++)
		if (s->disks[i].vm == vm && s->disks[i].scan_disk == scan_disk &&
		    scan_disk != WIRE_NO_DISK)
			return &s->disks[i];
	return NULL;
}

struct survey_image *survey_image_of(struct survey *s, size_t disk, size_t layer)
{
	return &s->images[s->disks[disk].images[layer]];
}
