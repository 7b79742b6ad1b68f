/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fresh look at everything: what every guest caches, where that lies in which image, and what
 * the host holds of those. The result is the snapshot that the policy decides on.
 *
 * How it works
 *
 * Stages, each begun when the one before has ended for all guests or images; within a stage all
 * run at the same time, each against its own deadline, so that a guest in trouble delays the
 * others by no more than that deadline, and nothing waits on it but this survey:
 *
 *	machines    what QEMU says of each guest: its disks, their image chains
 *	scans       what each agent says that its guest caches
 *	settle      a qcow2 map is true only for what QEMU has flushed: look at the write counters,
 *		    and flush the disks of guests that may be acted on
 *	maps        qemu-img tells where the blocks of qcow2 chains lie
 *	settled     look at the counters again: a disk that was written to meanwhile is unplaced
 *	residency   which blocks of each image the host caches, and who else has the image open
 */
#ifndef PAGEPACT_HOST_SURVEY_H
#define PAGEPACT_HOST_SURVEY_H

#include "host/child.h"
#include "host/openers.h"
#include "host/residency.h"
#include "host/vm.h"
#include "policy/snapshot.h"

#define SURVEY_IMAGES_MAX 1024

struct survey;

/**
 * struct survey_image - one file that a guest has as a disk or below one
 * @reason: why the host's residency is not known; "" when it is
 */
struct survey_image {
	char *path;
	dev_t dev;
	ino_t ino;
	uint64_t bytes;
	bool block_device;
	bool direct;
	bool is_public;
	uint64_t looked_usec;
	struct residency residency;
	struct openers openers;
	bool openers_known;
	char reason[VM_TEXT_MAX];
	char trim_refusal[VM_TEXT_MAX];
};

/**
 * struct survey_disk - one disk of one guest
 * @images: of its layers, indexes into survey.images
 * @node, @chain: name of its top node and a hash of its layers' names: it is the same disk later
 *	only while both are
 * @map: where its blocks lie; NULL with @reason when not known
 * @scan_disk: the guest's number of it, or WIRE_NO_DISK
 */
struct survey_disk {
	struct survey *survey;
	size_t vm;
	size_t images[INVENTORY_LAYERS_MAX];
	struct image_layer layers[INVENTORY_LAYERS_MAX];
	size_t n_layers;
	char node[INVENTORY_ID_MAX];
	uint64_t chain;
	struct imagemap *map;
	uint64_t flush; /* the QMP command that is under way, or 0 */
	uint32_t scan_disk;
	char reason[VM_TEXT_MAX];
};

/**
 * struct survey_vm
 * @scanned: vm->scan is of this survey
 * @chains_known: all images that its QEMU has open as disks are in the survey
 * @reason: why not
 * @lost: QEMU did not answer: it is not asked again
 * @unplaced: pages, by enum wire_unplaced; [0]: on a disk whose image is not known
 */
struct survey_vm {
	struct survey *survey;
	struct vm *vm;
	bool scanned;
	bool chains_known;
	bool lost;
	char reason[VM_TEXT_MAX];
	uint64_t cached_pages;
	uint64_t placed_pages;
	uint64_t unplaced[WIRE_UNPLACED_REASONS];
};

/** survey_progress_fn - @done of @total pieces of a stage have ended */
typedef void survey_progress_fn(struct survey *s, const char *stage, size_t done, size_t total,
				void *userdata);
/** survey_done_fn - it is complete; survey_free() may be called in here or later */
typedef void survey_done_fn(struct survey *s, int result, void *userdata);

/**
 * struct survey_spec - what to look at
 * @vms: all attached guests; they must outlive the survey
 * @config: lists of it are needed; outlives the survey
 * @only: NULL; or look at the disks of this guest and their images alone: nobody is scanned, and
 *who has the images open is not looked at
 */
struct survey_spec {
	sd_event *event;
	struct vm *const *vms;
	size_t n_vms;
	const struct config *config;
	struct vm *only;
	survey_progress_fn *progress;
	survey_done_fn *done;
	void *userdata;
};

struct survey {
	struct survey_spec spec;
	struct survey_vm *vms;
	size_t n_vms;
	struct survey_disk *disks;
	size_t n_disks;
	struct survey_image *images;
	size_t n_images;
	uint64_t taken_usec;

	/* What the policy sees; it owns the sets of the holdings. */
	struct snapshot snapshot;
	struct snapshot_image *snapshot_images;
	struct snapshot_guest *snapshot_guests;
	struct snapshot_holding *holdings;

	/* Private. */
	unsigned stage;
	size_t pending, total;
	bool starting;
	struct survey_job **jobs;
	size_t n_jobs;
	sd_event_source *kick;
};

/**
 * survey_start() - begin
 *
 * Return: 0 and spec->done is called, or -errno and it is not.
 */
int survey_start(const struct survey_spec *spec, struct survey **ret);

/**
 * survey_free() - stop what runs, forget what was found. NULL is allowed. Return: NULL.
 */
struct survey *survey_free(struct survey *s);

/**
 * survey_disk_find() - the disk that a guest calls number @scan_disk, or NULL
 */
const struct survey_disk *survey_disk_find(const struct survey *s, size_t vm, uint32_t scan_disk);

/** survey_wants() - whether guest number @vm is looked at */
static inline bool survey_wants(const struct survey *s, size_t vm)
{
	return !s->spec.only || s->vms[vm].vm == s->spec.only;
}

/** survey_disk_matches() - whether a guest's disk is one of QEMU's */
bool survey_disk_matches(const struct wire_disk *theirs, const struct inventory_disk *ours);

/* Of survey-images.c and survey-snapshot.c, for survey.c. */
int survey_list_disks(struct survey *s);
int survey_build_snapshot(struct survey *s);
void survey_snapshot_done(struct survey *s);
const struct inventory_disk *survey_disk_now(const struct survey_disk *d, size_t *ret_number);
struct survey_image *survey_image_of(struct survey *s, size_t disk, size_t layer);

/* Work for one disk or image in a child process. */
struct survey_job {
	struct survey *survey;
	size_t number;
	struct child *child;
	void *data; /* freed with the job */
};
struct survey_job *survey_job_new(struct survey *s, size_t number, void *data);
void survey_job_end(struct survey *s);
void survey_start_maps(struct survey *s);
void survey_start_residency(struct survey *s);

#endif
