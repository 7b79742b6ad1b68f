/* SPDX-License-Identifier: Apache-2.0 */
/* The survey's part that deals with image files: chains, maps, residency, who has them open. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/survey.h"

#define MAP_USEC	 (60 * (uint64_t)USEC_PER_SEC)
#define RESIDENCY_USEC	 (60 * (uint64_t)USEC_PER_SEC)
#define OPENERS_USEC	 (20 * (uint64_t)USEC_PER_SEC)
#define MAP_MEMORY_BYTES (1ull << 30)
#define TRUSTED_MAX	 64

/* The image with this identity; entered where it is new. SIZE_MAX when there are too many. */
static size_t image_enter(struct survey *s, const char *path, const struct stat *st)
{
	struct survey_image *images, *image;

	for (size_t i = 0; i < s->n_images; i++)
		if (s->images[i].dev == st->st_dev && s->images[i].ino == st->st_ino)
			return i;
	if (s->n_images == SURVEY_IMAGES_MAX)
		return SIZE_MAX;
	images = reallocarray(s->images, s->n_images + 1, sizeof(*images));
	if (!images)
		return SIZE_MAX;
	s->images = images;
	image = &images[s->n_images];
	*image = (struct survey_image){
		.path = strdup(path),
		.dev = st->st_dev,
		.ino = st->st_ino,
		.bytes = (uint64_t)st->st_size,
		.block_device = S_ISBLK(st->st_mode),
	};
	for (size_t i = 0; i < s->spec.config->public_images.n_items; i++) {
		struct stat public;

		if (stat(s->spec.config->public_images.items[i], &public) == 0 &&
		    public.st_dev == st->st_dev && public.st_ino == st->st_ino)
			image->is_public = true;
	}
	return image->path ? s->n_images++ : SIZE_MAX;
}

static void layer_reason(struct survey_disk *d, const char *path, const char *why)
{
	snprintf(d->reason, sizeof(d->reason), "%s: %s", path, why);
}

/* The formats whose maps are believed; constants, which outlive the inventory. */
static const char *format_known(const char *format)
{
	return strcmp(format, "raw") == 0 ? "raw" : strcmp(format, "qcow2") == 0 ? "qcow2" : NULL;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Only what is QEMU itself tells by its descriptors: libvirt may have opened the socket for it. */
static bool is_qemu(pid_t pid)
{
	char path[64], exe[PATH_MAX], *name;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	name = strrchr(exe, '/');
	return name && strncmp(name, "/qemu", 5) == 0;
}

/* Whether another file took the path of the one that QEMU has open. Not known: false. */
static bool is_replaced(const struct vm *vm, const struct stat *st)
{
	char path[64];
	pid_t pid = vm_pid(vm);
	struct stat open_file;

	if (pid <= 0 || !is_qemu(pid))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	_cleanup_closedir_ DIR *dir = opendir(path);
	if (!dir)
		return false;
	for (struct dirent *e; (e = readdir(dir));)
		if (fstatat(dirfd(dir), e->d_name, &open_file, 0) == 0 &&
		    is_same_file(&open_file, st))
			return false;
	return true;
}

static void layer_add(struct survey *s, struct survey_disk *d, const struct inventory_layer *l,
		      bool direct)
{
	const char *format = format_known(l->format);
	struct stat st;
	size_t image;

	if (!format)
		return layer_reason(d, l->filename, "neither raw nor qcow2");

	/* A path that is not absolute is QEMU's own, from a directory that we do not know. */
	if (l->filename[0] != '/')
		return layer_reason(d, l->filename, "not a plain absolute path");
	if (stat(l->filename, &st) < 0)
		return layer_reason(d, l->filename, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return layer_reason(d, l->filename, "neither a file nor a block device");
	if (is_replaced(s->vms[d->vm].vm, &st))
		return layer_reason(d, l->filename, "was replaced, QEMU has another file open");
	image = image_enter(s, l->filename, &st);
	if (image == SIZE_MAX)
		return layer_reason(d, l->filename, "more images than are kept");
	/* QEMU opens the layers below as it opens the top one (cache.direct is inherited). */
	s->images[image].direct |= direct;
	d->images[d->n_layers] = image;
	d->layers[d->n_layers] = (struct image_layer){
		.path = s->images[image].path,
		.format = format,
		.block_device = s->images[image].block_device,
		.file_bytes = s->images[image].bytes,
	};
	d->n_layers++;
}

static void disk_fill(struct survey *s, struct survey_disk *d, const struct inventory_disk *disk)
{
	if (!disk->complete) {
		snprintf(d->reason, sizeof(d->reason), "%s", disk->reason);
		return;
	}
	for (size_t i = 0; i < disk->n_layers && !d->reason[0]; i++)
		layer_add(s, d, &disk->layers[i], disk->layers[0].direct);
	/* A raw image needs no tool, and is never stale. */
	if (!d->reason[0] && d->n_layers == 1 && strcmp(disk->layers[0].format, "raw") == 0 &&
	    imagemap_identity(disk->virtual_bytes, &d->map) < 0)
		layer_reason(d, disk->layers[0].filename, "too large");
}

/* FNV-1a over the names and formats of the layers. */
static uint64_t chain_hash(const struct inventory_disk *disk)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < disk->n_layers; i++) {
		for (const char *c = disk->layers[i].filename; *c; c++)
			hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
		for (const char *c = disk->layers[i].format; *c; c++)
			hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
	}
	return hash;
}

const struct inventory_disk *survey_disk_now(const struct survey_disk *d, size_t *ret_number)
{
	const struct inventory *inv = d->survey->vms[d->vm].vm->inventory;

	for (size_t i = 0; inv && i < inv->n_disks; i++)
		if (strcmp(inv->disks[i].node, d->node) == 0 &&
		    chain_hash(&inv->disks[i]) == d->chain) {
			*ret_number = i;
			return &inv->disks[i];
		}
	return NULL;
}

/* Whether no image of the guest's can be one that the survey does not know of. */
static bool chain_is_whole(const struct survey_disk *d, const struct inventory_disk *disk)
{
	return disk->complete && d->n_layers == disk->n_layers;
}

static void disk_new(struct survey *s, struct survey_disk *d, size_t vm,
		     const struct inventory_disk *disk)
{
	*d = (struct survey_disk){
		.survey = s, .vm = vm, .chain = chain_hash(disk), .scan_disk = WIRE_NO_DISK
	};
	snprintf(d->node, sizeof(d->node), "%s", disk->node);
	disk_fill(s, d, disk);
}

int survey_list_disks(struct survey *s)
{
	size_t total = 0;

	for (size_t i = 0; i < s->n_vms; i++)
		total += s->vms[i].vm->inventory ? s->vms[i].vm->inventory->n_disks : 0;
	s->disks = calloc(total + 1, sizeof(*s->disks));
	if (!s->disks)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_vms; i++) {
		const struct inventory *inv = s->vms[i].vm->inventory;

		s->vms[i].chains_known = inv && inv->n_disks < INVENTORY_DISKS_MAX;
		for (size_t n = 0; inv && n < inv->n_disks && s->n_disks < total; n++) {
			struct survey_disk *d = &s->disks[s->n_disks++];

			disk_new(s, d, i, &inv->disks[n]);
			s->vms[i].chains_known &= chain_is_whole(d, &inv->disks[n]);
		}
	}
	return 0;
}

static void on_map(struct child *child, int result, const void *out, size_t size, const char *error,
		   void *userdata)
{
	struct survey_job *job = userdata;
	struct survey_disk *d = &job->survey->disks[job->number];

	(void)child;
	if (result >= 0)
		result = imagemap_parse(out, size, d->layers, d->n_layers, &d->map);
	if (result == -ETIMEDOUT)
		layer_reason(d, d->layers[0].path, "qemu-img map did not end in time");
	else if (result < 0)
		layer_reason(d, d->layers[0].path, *error ? error : "qemu-img map failed");
	/* Its output may be megabytes, and the survey is kept for `status`. */
	job->child = child_free(job->child);
	survey_job_end(job->survey);
}

static int map_start(struct survey *s, size_t number)
{
	struct survey_disk *d = &s->disks[number];
	_cleanup_(imagemap_argv_done) struct imagemap_argv argv = { 0 };
	int r = imagemap_argv(d->layers, d->n_layers, &argv);

	if (r < 0)
		return r;
	struct survey_job *job = survey_job_new(s, number, NULL);
	if (!job)
		return -ENOMEM;
	const struct child_spec spec = {
		.argv = argv.argv,
		.reads_only = true,
		.memory_max_bytes = MAP_MEMORY_BYTES,
		.output_max_bytes = IMAGEMAP_JSON_MAX,
		.deadline_usec = now_usec() + MAP_USEC,
		.done = on_map,
		.userdata = job,
	};
	r = child_start(s->spec.event, &spec, &job->child);
	if (r < 0)
		survey_job_end(s);
	return r;
}

static void map_consider(struct survey *s, size_t number)
{
	struct survey_disk *d = &s->disks[number];
	const struct vm *vm = s->vms[d->vm].vm;
	size_t now;
	int r;

	if (d->reason[0] || d->map || !survey_wants(s, d->vm))
		return;
	if (!vm->inventory || vm->inventory->block_jobs || vm->inventory->migrating) {
		layer_reason(d, d->layers[0].path, "a block job or a migration is under way");
		return;
	}
	if (!survey_disk_now(d, &now) || !vm->io[now].settled) {
		layer_reason(d, d->layers[0].path,
			     vm->config.act
				     ? "could not be flushed, so its map may be stale"
				     : "not flushed since its last write, so its map may be stale");
		return;
	}
	r = map_start(s, number);
	if (r < 0)
		layer_reason(d, d->layers[0].path, strerror(-r));
}

void survey_start_maps(struct survey *s)
{
	for (size_t i = 0; i < s->n_disks; i++)
		map_consider(s, i);
}

/* A map is believed only where nothing was written since the flush before it. */
static void maps_confirm(struct survey *s)
{
	for (size_t i = 0; i < s->n_disks; i++) {
		struct survey_disk *d = &s->disks[i];
		const struct vm *vm = s->vms[d->vm].vm;
		size_t number;

		if (!d->map || d->reason[0])
			continue;
		if (!survey_disk_now(d, &number) || vm->inventory->block_jobs)
			layer_reason(d, d->layers[0].path, "changed during the survey; try again");
		else if (d->n_layers > 1 && !vm->io[number].settled)
			layer_reason(d, d->layers[0].path,
				     "was written to while its map was taken; try again");
		else
			continue;
		d->map = imagemap_free(d->map);
	}
}

static void on_residency(struct child *child, int result, const void *out, size_t size,
			 const char *error, void *userdata)
{
	struct survey_job *job = userdata;
	struct survey_image *image = &job->survey->images[job->number];

	(void)child;
	(void)error;
	if (result >= 0)
		result = residency_decode(out, size, &image->residency);
	/* What was not looked at is unknown, not uncached. */
	if (result >= 0 && image->residency.covered_blocks < image->residency.bytes / BLOCK_BYTES) {
		residency_done(&image->residency);
		image->residency = (struct residency){ 0 };
		result = -E2BIG;
	}
	if (result == -EPERM)
		snprintf(image->reason, sizeof(image->reason),
			 "no right to ask what is cached of it: own it, or have CAP_FOWNER");
	else if (result == -ESTALE)
		snprintf(image->reason, sizeof(image->reason),
			 "was replaced by another file while QEMU has it open");
	else if (result < 0)
		snprintf(image->reason, sizeof(image->reason), "%s", strerror(-result));
	/* Its output may be megabytes, and the survey is kept for `status`. */
	job->child = child_free(job->child);
	survey_job_end(job->survey);
}

static void on_openers(struct child *child, int result, const void *out, size_t size,
		       const char *error, void *userdata)
{
	struct survey_job *job = userdata;
	struct survey_image *image = &job->survey->images[job->number];

	(void)child;
	(void)error;
	if (result >= 0)
		result = openers_decode(out, size, &image->openers);
	image->openers_known = result >= 0;
	/* Its output may be megabytes, and the survey is kept for `status`. */
	job->child = child_free(job->child);
	survey_job_end(job->survey);
}

static void residency_start(struct survey *s, size_t number)
{
	struct survey_image *image = &s->images[number];
	struct residency_arg arg = { .image = { image->path, image->dev, image->ino } };
	struct survey_job *job;

	if (image->direct) {
		snprintf(image->reason, sizeof(image->reason),
			 "a guest has it open with O_DIRECT (cache=none), which the host's cache "
			 "does "
			 "not serve");
		return;
	}
	job = survey_job_new(s, number, NULL);
	image->looked_usec = now_usec();
	const struct child_spec spec = {
		.fn = residency_census_child,
		.arg = &arg,
		.output_max_bytes = RESIDENCY_OUTPUT_MAX,
		.deadline_usec = now_usec() + RESIDENCY_USEC,
		.done = on_residency,
		.userdata = job,
	};
	if (!job || child_start(s->spec.event, &spec, &job->child) < 0) {
		snprintf(image->reason, sizeof(image->reason), "no process could be started");
		if (job)
			survey_job_end(s);
	}
}

static bool process_trusted(const struct config_list *names, const char *pid)
{
	char path[64], comm[32] = "";
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(comm, sizeof(comm), f))
		return false;
	comm[strcspn(comm, "\n")] = '\0';
	for (size_t i = 0; i < names->n_items; i++)
		if (strcmp(names->items[i], comm) == 0)
			return true;
	return false;
}

/* Processes that need not be looked at: at most @max, the QEMUs first. */
static size_t known_pids(const struct survey *s, pid_t *ret, size_t max)
{
	_cleanup_closedir_ DIR *proc = NULL;
	size_t n = 0;

	/* The QEMUs whose guests have told what they cache are no strangers to their images, if
	 * it is known which images those are. */
	for (size_t i = 0; i < s->n_vms; i++) {
		pid_t pid = vm_pid(s->vms[i].vm);

		if (s->vms[i].scanned && s->vms[i].chains_known && pid > 0)
			ret[n++] = pid;
	}
	if (s->spec.config->trusted_processes.n_items)
		proc = opendir("/proc");
	for (struct dirent *e; proc && n < max && (e = readdir(proc));)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
		    process_trusted(&s->spec.config->trusted_processes, e->d_name))
			ret[n++] = atoi(e->d_name);
	return n;
}

static void openers_start(struct survey *s, size_t number)
{
	const size_t max = s->n_vms + TRUSTED_MAX;
	_cleanup_free_ pid_t *pids = calloc(max, sizeof(*pids));
	struct survey_image *image = &s->images[number];

	if (!pids)
		return;
	struct openers_arg arg = {
		.dev = image->dev,
		.ino = image->ino,
		.daemon = getpid(),
		.allowed = pids,
		.n_allowed = known_pids(s, pids, max),
	};
	struct survey_job *job = survey_job_new(s, number, NULL);
	const struct child_spec spec = {
		.fn = openers_child,
		.arg = &arg,
		.output_max_bytes = OPENERS_OUTPUT_MAX,
		.deadline_usec = now_usec() + OPENERS_USEC,
		.done = on_openers,
		.userdata = job,
	};
	if (job && child_start(s->spec.event, &spec, &job->child) < 0)
		survey_job_end(s);
}

/* Of the one guest that is looked at. */
static bool image_wanted(const struct survey *s, size_t image)
{
	for (size_t i = 0; i < s->n_disks; i++)
		for (size_t n = 0; n < s->disks[i].n_layers; n++)
			if (survey_wants(s, s->disks[i].vm) && s->disks[i].images[n] == image)
				return true;
	return false;
}

void survey_start_residency(struct survey *s)
{
	maps_confirm(s);
	for (size_t i = 0; i < s->n_images; i++) {
		if (image_wanted(s, i))
			residency_start(s, i);
		if (!s->spec.only)
			openers_start(s, i);
	}
}
