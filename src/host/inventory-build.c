/* SPDX-License-Identifier: Apache-2.0 */
#include "host/inventory-build.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "host/json-get.h"
#include "host/migrating.h"
#include "host/qmp-text.h"

void build_add(struct inventory_build *build, enum build_job_kind kind, size_t index)
{
	if (build->n_jobs < BUILD_JOBS_MAX)
		build->jobs[build->n_jobs++] = (struct build_job){ kind, index };
	else
		build_note(build, "more devices than can be asked about");
}

void build_note(struct inventory_build *build, const char *format, ...)
{
	struct inventory *inventory = build->inventory;
	char text[INVENTORY_TEXT_MAX];
	va_list ap;

	if (inventory->n_notes == INVENTORY_NOTES_MAX)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	qmp_text_clean(inventory->notes[inventory->n_notes], INVENTORY_TEXT_MAX, text);
	/* One line tells of thirty disks with the same trouble. */
	for (size_t i = 0; i < inventory->n_notes; i++)
		if (strcmp(inventory->notes[i], inventory->notes[inventory->n_notes]) == 0)
			return;
	inventory->n_notes++;
}

static void build_status(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory *inventory = build->inventory;

	(void)index;
	if (!json_get_string(value, "status", inventory->status, sizeof(inventory->status)) ||
	    !json_get_bool(value, "running", &inventory->running))
		build_note(build, "query-status: the answer says no status");
}

static void build_memory(struct inventory_build *build, size_t index, json_t *value)
{
	uint64_t base, plugged = 0, sum;

	(void)index;
	(void)json_get_u64(value, "plugged-memory", &plugged);
	if (json_get_u64(value, "base-memory", &base) &&
	    !__builtin_add_overflow(base, plugged, &sum))
		build->inventory->memory_bytes = sum;
	else
		build_note(build, "query-memory-size-summary: the answer has no size");
}

static void build_balloon(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory *inventory = build->inventory;
	int64_t actual;

	(void)index;
	if (!json_get_i64(value, "actual", &actual)) {
		build_note(build, "query-balloon: the answer has no size");
		return;
	}
	inventory->balloon = true;
	if (actual >= 0 && (uint64_t)actual <= inventory->memory_bytes) {
		inventory->balloon_bytes = (uint64_t)actual;
		return;
	}
	inventory->balloon_bytes = actual < 0 ? 0 : inventory->memory_bytes;
	snprintf(inventory->balloon_reason, sizeof(inventory->balloon_reason),
		 "the guest claims %lld bytes of %llu", (long long)actual,
		 (unsigned long long)inventory->memory_bytes);
}

static void build_no_balloon(struct inventory_build *build, size_t index, const char *error)
{
	(void)index;
	qmp_text_clean(build->inventory->balloon_reason, INVENTORY_TEXT_MAX, error);
}

static void build_balloon_reporting(struct inventory_build *build, size_t index, json_t *value)
{
	(void)index;
	build->inventory->free_page_reporting = json_is_true(value);
}

static void build_balloon_deflate(struct inventory_build *build, size_t index, json_t *value)
{
	(void)index;
	build->inventory->deflate_on_oom = json_is_true(value);
}

static void build_uuid(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory *inventory = build->inventory;

	(void)index;
	if (!json_get_string(value, "UUID", inventory->uuid, sizeof(inventory->uuid)))
		build_note(build, "query-uuid: the answer has no UUID");
	/* Every machine that was given none has this one. */
	if (strcmp(inventory->uuid, "00000000-0000-0000-0000-000000000000") == 0)
		inventory->uuid[0] = '\0';
}

/* A link: "" leads nowhere. */
static void build_confidential(struct inventory_build *build, size_t index, json_t *value)
{
	const char *path = json_string_value(value);

	(void)index;
	build->inventory->confidential = !json_is_null(value) && (!path || path[0]);
	if (!path && !json_is_null(value))
		build_note(build, "qom-get: confidential-guest-support is no path: the guest is "
				  "taken for an encrypted one");
}

static void build_no_confidential(struct inventory_build *build, size_t index, const char *error)
{
	(void)index;
	/* QEMU before 6.0 has no such property; what else it may mean is not known. */
	build->inventory->confidential = strstr(error, "not found") == NULL;
	if (build->inventory->confidential)
		build_note(build,
			   "qom-get: confidential-guest-support: %s: the guest is taken for an "
			   "encrypted one",
			   error);
}

static void build_block_jobs(struct inventory_build *build, size_t index, json_t *value)
{
	(void)index;
	if (json_is_array(value))
		build->inventory->block_jobs = json_array_size(value);
	else
		build_note(build, "query-block-jobs: the answer is no list");
}

static void build_migrate(struct inventory_build *build, size_t index, json_t *value)
{
	(void)index;
	if (!json_is_object(value))
		build_note(build, "query-migrate: the answer is no object");
	else
		build->inventory->migrating = is_migrating(value);
}

static void build_named(struct inventory_build *build, size_t index, json_t *value)
{
	(void)index;
	build_peripheral(build, "/machine/peripheral", value);
}

static void build_anonymous(struct inventory_build *build, size_t index, json_t *value)
{
	(void)index;
	build_peripheral(build, "/machine/peripheral-anon", value);
}

/**
 * struct build_step - one kind of question
 * @command: of QMP
 * @property: for qom-get
 * @quiet: a refusal is an answer too, and needs no note
 * @answer: what to do with the answer
 * @refusal: what to do with a refusal; may be NULL
 */
struct build_step {
	const char *command;
	const char *property;
	bool quiet;
	void (*answer)(struct inventory_build *build, size_t index, json_t *value);
	void (*refusal)(struct inventory_build *build, size_t index, const char *error);
};

static const struct build_step steps[JOB_KINDS] = {
	[JOB_STATUS] = { "query-status", .answer = build_status },
	[JOB_MEMORY] = { "query-memory-size-summary", .answer = build_memory },
	[JOB_MEMDEVS] = { "query-memdev", .answer = build_memdevs },
	[JOB_MEMORY_DEVICES] = { "query-memory-devices", .answer = build_memory_devices },
	[JOB_BALLOON] = { "query-balloon", NULL, true, build_balloon, build_no_balloon },
	[JOB_BLOCK] = { "query-block", .answer = build_block },
	[JOB_NODES] = { "query-named-block-nodes", .answer = build_nodes },
	[JOB_PCI] = { "query-pci", .answer = build_pci_list },
	[JOB_BLOCK_JOBS] = { "query-block-jobs", .answer = build_block_jobs },
	[JOB_MIGRATE] = { "query-migrate", .answer = build_migrate },
	[JOB_PERIPHERAL] = { "qom-list", .answer = build_named },
	[JOB_PERIPHERAL_ANON] = { "qom-list", .answer = build_anonymous },
	[JOB_UUID] = { "query-uuid", .answer = build_uuid },
	[JOB_CONFIDENTIAL] = { "qom-get", "confidential-guest-support", true, build_confidential,
			       build_no_confidential },
	[JOB_MEMDEV_TYPE] = { "qom-get", "type", .answer = build_memdev_type },
	[JOB_MEMDEV_HUGETLB] = { "qom-get", "hugetlb", true, build_memdev_hugetlb, NULL },
	[JOB_MEMDEV_PATH] = { "qom-get", "mem-path", .answer = build_memdev_path },
	[JOB_BALLOON_REPORTING] = { "qom-get", "free-page-reporting", true, build_balloon_reporting,
				    NULL },
	[JOB_BALLOON_DEFLATE] = { "qom-get", "deflate-on-oom", true, build_balloon_deflate, NULL },
	[JOB_DISK_TYPE] = { "qom-get", "type", .answer = build_disk_type },
	[JOB_DISK_SERIAL] = { "qom-get", "serial", true, build_disk_serial, NULL },
	[JOB_DISK_ADDRESS] = { "qom-get", "legacy-addr", true, build_disk_address,
			       build_disk_no_address },
	[JOB_DISK_BUS] = { "qom-get", "parent_bus", true, build_disk_bus, build_disk_no_address },
	[JOB_CONTROLLER_BUS] = { "qom-list", .answer = build_controller_bus },
	[JOB_PORT_NAME] = { "qom-get", "name", true, build_port_name, NULL },
	[JOB_PORT_BUS] = { "qom-get", "parent_bus", .answer = build_port_bus },
	[JOB_PORT_CHARDEV] = { "qom-get", "chardev", .answer = build_port_chardev },
	[JOB_CHARDEVS] = { "query-chardev", .answer = build_chardevs },
};

struct inventory *inventory_free(struct inventory *inventory)
{
	if (!inventory)
		return NULL;
	for (size_t i = 0; i < inventory->n_disks; i++)
		for (size_t k = 0; k < inventory->disks[i].n_layers; k++)
			free(inventory->disks[i].layers[k].filename);
	free(inventory->disks);
	free(inventory);
	return NULL;
}

struct inventory_build *inventory_build_free(struct inventory_build *build)
{
	if (build)
		inventory_free(build->inventory);
	free(build);
	return NULL;
}

struct inventory_build *inventory_build_new(void)
{
	struct inventory_build *build = calloc(1, sizeof(*build));
	struct inventory *inventory = calloc(1, sizeof(*inventory));

	if (!build || !inventory)
		goto fail;
	build->inventory = inventory;
	inventory->disks = calloc(INVENTORY_DISKS_MAX, sizeof(*inventory->disks));
	if (!inventory->disks)
		return inventory_build_free(build);
	/* Until the contrary is known. */
	inventory->migrating = true;
	inventory->vfio = inventory->confidential = true;
	inventory->block_jobs = 1;
	for (int kind = 0; kind < JOB_FIRST_FOLLOWING; kind++)
		build_add(build, (enum build_job_kind)kind, 0);
	return build;
fail:
	free(build);
	free(inventory);
	return NULL;
}

/* The QOM path that a question is about, or NULL. */
static const char *job_path(const struct inventory_build *build, const struct build_job *job,
			    char buffer[INVENTORY_QOM_MAX])
{
	const struct inventory *inventory = build->inventory;

	switch (job->kind) {
	case JOB_PERIPHERAL:
		return "/machine/peripheral";
	case JOB_PERIPHERAL_ANON:
		return "/machine/peripheral-anon";
	case JOB_CONFIDENTIAL:
		return "/machine";
	case JOB_MEMDEV_TYPE:
	case JOB_MEMDEV_HUGETLB:
	case JOB_MEMDEV_PATH:
		snprintf(buffer, INVENTORY_QOM_MAX, "/objects/%s",
			 inventory->memdevs[job->index].id);
		return buffer;
	case JOB_BALLOON_REPORTING:
	case JOB_BALLOON_DEFLATE:
		return inventory->balloon_path;
	case JOB_DISK_TYPE:
	case JOB_DISK_SERIAL:
		return inventory->disks[job->index].qdev;
	case JOB_DISK_ADDRESS:
	case JOB_DISK_BUS:
		build_function_path(&inventory->disks[job->index], buffer);
		return buffer;
	case JOB_CONTROLLER_BUS:
		return build->controllers[job->index];
	case JOB_PORT_NAME:
	case JOB_PORT_BUS:
	case JOB_PORT_CHARDEV:
		return build->ports[job->index];
	default:
		return NULL;
	}
}

int inventory_build_next(struct inventory_build *build, const char **ret_command,
			 json_t **ret_arguments)
{
	const struct build_job *job = &build->jobs[build->next_job];
	char buffer[INVENTORY_QOM_MAX];
	const char *path;

	if (build->next_job == build->n_jobs)
		return 0;
	*ret_command = steps[job->kind].command;
	*ret_arguments = NULL;
	path = job_path(build, job, buffer);
	if (job->kind == JOB_NODES)
		*ret_arguments = json_pack("{s:b}", "flat", 1);
	else if (path)
		*ret_arguments = json_pack("{s:s,s:s*}", "path", path, "property",
					   steps[job->kind].property);
	else
		return 1;
	return *ret_arguments ? 1 : -ENOMEM;
}

void inventory_build_answer(struct inventory_build *build, json_t *value)
{
	const struct build_job *job = &build->jobs[build->next_job++];

	steps[job->kind].answer(build, job->index, value);
}

void inventory_build_refusal(struct inventory_build *build, const char *error_class,
			     const char *error)
{
	const struct build_job *job = &build->jobs[build->next_job++];
	const struct build_step *step = &steps[job->kind];

	if (!step->quiet)
		build_note(build, "%s: %s: %s", step->command, error_class, error);
	if (step->refusal)
		step->refusal(build, job->index, error);
}
