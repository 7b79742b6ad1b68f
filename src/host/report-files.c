/* SPDX-License-Identifier: Apache-2.0 */
/* `dup --files`: which files of the guests hold most. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "host/report.h"

struct counting {
	const struct survey *survey;
	size_t vm;
	struct report_file *files;
};

static int piece_count(const struct scan *scan, const struct scan_file *file,
		       const struct wire_run *run, uint64_t index, uint64_t block, uint64_t count,
		       void *userdata)
{
	struct counting *c = userdata;
	const struct survey_disk *d = survey_disk_find(c->survey, c->vm, file->file.disk);

	(void)scan;
	(void)index;
	while (d && d->map && count) {
		uint64_t n, image_block;
		size_t layer;
		bool placed = imagemap_lookup(d->map, block, &n, &layer, &image_block);

		if (n > count)
			n = count;
		if (placed) {
			const struct blockset *resident =
				c->survey->images[d->images[layer]].residency.blocks;

			if (resident)
				c->files[run->file].duplicate +=
					blockset_count_run(resident, image_block, n);
		}
		block += n;
		count -= n;
	}
	return 0;
}

static int most_duplicate(const void *a, const void *b)
{
	const struct report_file *x = a, *y = b;

	if (x->duplicate != y->duplicate)
		return x->duplicate < y->duplicate ? 1 : -1;
	return (x->cached < y->cached) - (x->cached > y->cached);
}

static int vm_files(const struct survey *s, size_t vm, struct report_file **ret)
{
	const struct scan *scan = s->vms[vm].vm->scan;
	struct report_file *files = calloc((size_t)scan->n_files + 1, sizeof(*files));
	struct counting counting = { .survey = s, .vm = vm, .files = files };

	if (!files)
		return -ENOMEM;
	for (uint32_t i = 0; i < scan->n_files; i++)
		files[i] = (struct report_file){ .vm = vm, .file = i };
	for (uint32_t i = 0; i < scan->n_runs; i++) {
		const struct wire_run *run = &scan->runs[i];

		files[run->file].cached += run->count;
		files[run->file].mapped += run->flags & WIRE_PAGE_MAPPED ? run->count : 0;
	}
	(void)scan_pieces(scan, piece_count, &counting);
	qsort(files, scan->n_files, sizeof(*files), most_duplicate);
	*ret = files;
	return (int)scan->n_files;
}

int report_files(const struct survey *s, const struct vm *vm, unsigned max,
		 struct report_file **ret)
{
	struct report_file *all = calloc((size_t)max * (s->n_vms + 1), sizeof(*all));
	size_t n = 0;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_vms; i++) {
		_cleanup_free_ struct report_file *files = NULL;

		if (!s->vms[i].scanned || !s->vms[i].vm->scan || (vm && s->vms[i].vm != vm))
			continue;
		int count = vm_files(s, i, &files);
		for (int k = 0; k < count && k < (int)max; k++)
			all[n++] = files[k];
	}
	qsort(all, n, sizeof(*all), most_duplicate);
	*ret = all;
	return n < max ? (int)n : (int)max;
}

/* A name is the guest's bytes: JSON takes UTF-8 only. */
static json_t *path_json(const struct wire_identity *identity, const char *path, size_t length)
{
	char text[128];
	json_t *json = path && length ? json_stringn(path, length) : NULL;

	if (json)
		return json;
	snprintf(text, sizeof(text), "%s %" PRIu64 " on %u:%u",
		 identity->kind == WIRE_FILE_BLOCK_DEVICE ? "device" : "inode", identity->inode,
		 major(identity->device), minor(identity->device));
	return json_string(text);
}

json_t *report_file_json(const struct survey *s, const struct report_file *f, const char *path,
			 size_t length)
{
	const struct vm *vm = s->vms[f->vm].vm;
	const struct wire_identity *identity;

	if (!vm->scan || f->file >= vm->scan->n_files)
		return NULL;
	identity = &vm->scan->files[f->file].file.identity;
	return json_pack("{ss so sI sI sI sI sI}", "vm", vm->config.name, "path",
			 path_json(identity, path, length), "device", (json_int_t)identity->device,
			 "inode", (json_int_t)identity->inode, "cached_bytes",
			 (json_int_t)(f->cached * BLOCK_BYTES), "duplicate_bytes",
			 (json_int_t)(f->duplicate * BLOCK_BYTES), "mapped_bytes",
			 (json_int_t)(f->mapped * BLOCK_BYTES));
}
