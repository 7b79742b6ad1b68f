/* SPDX-License-Identifier: Apache-2.0 */
#include "host/carry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/trim.h"

/* What is touched on the host at once, and the longest that its copies wait for the guest. */
#define BATCH_BLOCKS	(64u * 1024 * 1024 / BLOCK_BYTES)
#define CHILD_USEC	(60 * (uint64_t)USEC_PER_SEC)
#define BUSY_USEC	(15 * (uint64_t)USEC_PER_SEC) /* a FREE is answered within 12 */
#define BUSY_RETRY_USEC (USEC_PER_SEC / 10)
#define EVICT_USEC	(30 * (uint64_t)USEC_PER_SEC)

/* A piece of a file that the guest is to drop. */
struct target {
	uint32_t file;
	uint32_t count;
	uint64_t index;
	uint64_t disk_block;
	uint32_t image_block;
};

struct carry {
	struct survey *survey;
	const struct plan_order *order;
	struct ledger_entry *entry;
	carry_progress_fn *progress;
	carry_done_fn *done;
	void *userdata;
	uint64_t started_usec;
	struct child *child;
	sd_event_source *kick, *retry;
	uint64_t busy_until_usec; /* the guest has somebody else's question; 0: it has not */
	struct block_run *runs;
	size_t n_runs;
	struct target *targets;
	size_t n_targets, targets_room;
	size_t batch_start, batch_end, next;
	uint64_t sent_pages; /* of the message under way */
	_Alignas(uint64_t) uint8_t message[WIRE_PAYLOAD_MAX];
};

static void batch_next(struct carry *c);

struct carry *carry_free(struct carry *c)
{
	if (!c)
		return NULL;
	child_free(c->child);
	sd_event_source_disable_unref(c->kick);
	sd_event_source_disable_unref(c->retry);
	free(c->runs);
	free(c->targets);
	free(c);
	return NULL;
}

static void carry_end(struct carry *c, int result, const char *what)
{
	if (result < 0)
		snprintf(c->entry->error, sizeof(c->entry->error), "%s: %s", what,
			 strerror(-result));
	c->entry->usec = now_usec() - c->started_usec;
	c->done(c, c->userdata);
}

static const struct survey_image *image_of(const struct carry *c)
{
	return &c->survey->images[c->order->image];
}

static int child_run(struct carry *c, int (*fn)(int, void *), void *arg, size_t output_max,
		     child_done_fn *done)
{
	const struct child_spec spec = {
		.fn = fn,
		.arg = arg,
		.output_max_bytes = output_max,
		.deadline_usec = now_usec() + CHILD_USEC,
		.done = done,
		.userdata = c,
	};

	c->child = child_free(c->child);
	return child_start(c->survey->spec.event, &spec, &c->child);
}

static void on_trimmed(struct child *child, int result, const void *out, size_t size,
		       const char *error, void *userdata)
{
	struct carry *c = userdata;
	struct trim_result t = { 0 };

	(void)child;
	(void)error;
	if (result >= 0)
		result = trim_decode(out, size, &t);
	c->entry->done = t.trimmed_pages;
	c->entry->kept_dirty = t.kept_dirty_pages;
	c->entry->kept_gone = t.kept_gone_pages;
	c->entry->kept_failed = result < 0 ? c->entry->asked : t.kept_failed_pages;
	carry_end(c, result, "the image could not be trimmed");
}

/* Orders before this one may have taken minutes: the holders must still be what they were. */
static bool holders_live(const struct carry *c)
{
	size_t n;
	const struct snapshot_holding *h =
		snapshot_holdings(&c->survey->snapshot, c->order->image, &n);

	for (size_t i = 0; i < n; i++) {
		const struct vm *vm = c->survey->vms[h[i].guest].vm;

		if (!vm->scan || !vm->inventory || vm->agent != VM_AGENT_LIVE)
			return false;
	}
	return true;
}

static int trim_start(struct carry *c)
{
	const struct survey_image *image = image_of(c);
	int r = holders_live(c) ? blockset_runs(c->order->blocks, &c->runs, &c->n_runs) : -ESTALE;
	struct trim_arg arg = {
		.image = { image->path, image->dev, image->ino },
		.runs = c->runs,
		.n_runs = c->n_runs,
	};

	return r < 0 ? r : child_run(c, trim_child, &arg, TRIM_OUTPUT_MAX, on_trimmed);
}

static int target_add(struct carry *c, const struct target *t)
{
	if (c->n_targets == c->targets_room) {
		size_t room = c->targets_room ? c->targets_room * 2 : 256;
		void *targets = reallocarray(c->targets, room, sizeof(*t));

		if (!targets)
			return -ENOMEM;
		c->targets = targets;
		c->targets_room = room;
	}
	c->targets[c->n_targets++] = *t;
	return 0;
}

/* The part of a placed stretch that the order wants, run by run. */
static int stretch_want(struct carry *c, uint32_t file, uint64_t index, uint64_t disk_block,
			uint64_t image_block, uint64_t count)
{
	uint64_t end = image_block + count;
	struct block_run run;

	for (uint64_t at = image_block;
	     blockset_next_run(c->order->blocks, at, &run) && run.start < end;
	     at = (uint64_t)run.start + run.count) {
		uint64_t skip = run.start - image_block;
		uint64_t n = end - run.start < run.count ? end - run.start : run.count;
		const struct target t = { file, (uint32_t)n, index + skip, disk_block + skip,
					  run.start };
		int r = target_add(c, &t);

		if (r < 0)
			return r;
	}
	return 0;
}

static int piece_want(const struct scan *scan, const struct scan_file *file,
		      const struct wire_run *run, uint64_t index, uint64_t block, uint64_t count,
		      void *userdata)
{
	struct carry *c = userdata;
	const struct survey_disk *d = survey_disk_find(c->survey, c->order->guest, file->file.disk);

	(void)scan;
	if (!d || !d->map || !scan_run_evictable(run))
		return 0;
	while (count) {
		uint64_t n, image_block;
		size_t layer;
		bool placed = imagemap_lookup(d->map, block, &n, &layer, &image_block);
		int r = 0;

		if (n > count)
			n = count;
		if (placed && d->images[layer] == c->order->image)
			r = stretch_want(c, run->file, index, block, image_block, n);
		if (r < 0)
			return r;
		index += n;
		block += n;
		count -= n;
	}
	return 0;
}

static int by_file(const void *a, const void *b)
{
	const struct target *x = a, *y = b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

/* Neighbours of one file that also lie side by side on the disk and in the image become one. */
static void targets_merge(struct carry *c)
{
	size_t n = 0;

	qsort(c->targets, c->n_targets, sizeof(*c->targets), by_file);
	for (size_t i = 1; i < c->n_targets; i++) {
		struct target *last = &c->targets[n];
		const struct target *t = &c->targets[i];

		if (t->file == last->file && t->index == last->index + last->count &&
		    t->disk_block == last->disk_block + last->count &&
		    t->image_block == last->image_block + last->count &&
		    last->count < BATCH_BLOCKS / 2)
			last->count += t->count;
		else
			c->targets[++n] = *t;
	}
	c->n_targets = c->n_targets ? n + 1 : 0;
}

static struct vm *vm_of(const struct carry *c)
{
	return c->survey->vms[c->order->guest].vm;
}

static void evict_next(struct carry *c);

static const char *evict_failure(int error)
{
	switch (error) {
	case -EBADMSG:
		return "the agent answered for other pages than it was asked for";
	case -EREMOTEIO:
		return "the agent refused the order";
	case -EINTR:
		return "the guest was paused or restarted, or its agent, before it answered";
	case -ENOTCONN:
		return "the guest has gone before it answered";
	default:
		return "the guest did not answer the order";
	}
}

static void on_evicted(struct vm *vm, int result, const struct wire_result *answer, void *userdata)
{
	struct carry *c = userdata;
	struct ledger_entry *e = c->entry;

	(void)vm;
	if (result >= 0 && answer->asked != c->sent_pages)
		result = -EBADMSG;
	if (result < 0) {
		carry_end(c, result, evict_failure(result));
		return;
	}
	if (answer->status && !e->error[0])
		snprintf(e->error, sizeof(e->error), "a file: %s", strerror(answer->status));
	e->done += answer->evicted;
	e->kept_mapped += answer->kept_mapped;
	e->kept_dirty += answer->kept_dirty;
	e->kept_hot += answer->kept_hot;
	e->kept_gone += answer->kept_gone;
	e->kept_partial += answer->kept_partial;
	e->kept_failed += answer->kept_failed + answer->kept_moved;
	evict_next(c);
}

/* One message: targets of one file. */
static int evict_send(struct carry *c)
{
	struct wire_evict *m = (struct wire_evict *)c->message;
	const struct scan *scan = vm_of(c)->scan;
	uint32_t file = c->targets[c->next].file;
	size_t first = c->next;
	int r;

	if (!scan || file >= scan->n_files)
		return -ESTALE;
	c->sent_pages = 0;
	*m = (struct wire_evict){ .identity = scan->files[file].file.identity };
	for (; c->next < c->batch_end && c->targets[c->next].file == file &&
	       m->count < WIRE_ITEMS_MAX;
	     c->next++) {
		const struct target *t = &c->targets[c->next];

		c->sent_pages += t->count;
		if (t->count)
			m->items[m->count++] = (struct wire_evict_run){ .index = t->index,
									.block = t->disk_block,
									.count = t->count };
	}
	if (!m->count)
		return 0;
	r = vm_evict(vm_of(c), m, (uint32_t)(sizeof(*m) + m->count * sizeof(m->items[0])),
		     now_usec() + EVICT_USEC, on_evicted, c);
	if (r == -EBUSY)
		c->next = first;
	return r == -EBUSY ? r : r < 0 ? -ENOTCONN : 1;
}

static int on_retry(sd_event_source *s, uint64_t usec, void *userdata)
{
	(void)s;
	(void)usec;
	evict_next(userdata);
	return 0;
}

/* A resize has the guest's agent free memory: after it. Return: whether there will be a next try.
 */
static bool evict_later(struct carry *c)
{
	uint64_t now = now_usec();

	if (!c->busy_until_usec)
		c->busy_until_usec = now + BUSY_USEC;
	c->retry = sd_event_source_disable_unref(c->retry);
	return now < c->busy_until_usec &&
	       sd_event_add_time_relative(vm_of(c)->event, &c->retry, CLOCK_MONOTONIC,
					  BUSY_RETRY_USEC, 0, on_retry, c) >= 0;
}

static void evict_next(struct carry *c)
{
	while (c->next < c->batch_end) {
		int r = evict_send(c);

		if (r == -EBUSY && evict_later(c))
			return;
		c->busy_until_usec = 0;
		if (r > 0)
			return;
		if (r < 0) {
			carry_end(c, r, "the order could not be sent");
			return;
		}
	}
	c->progress(c, c->entry->done, c->entry->asked, c->userdata);
	batch_next(c);
}

/* Targets are cut to what the host holds at this moment. */
static void batch_cut(struct carry *c, const struct blockset *resident)
{
	for (size_t i = c->batch_start; i < c->batch_end; i++) {
		struct target *t = &c->targets[i];
		uint64_t have = blockset_count_run(resident, t->image_block, t->count);

		/* A target with a gap is left for the next round, which sees the gap. */
		if (have != t->count) {
			c->entry->kept_failed += t->count;
			t->count = 0;
		}
	}
}

static void on_touched(struct child *child, int result, const void *out, size_t size,
		       const char *error, void *userdata)
{
	struct carry *c = userdata;
	struct residency touched = { 0 };

	(void)child;
	(void)error;
	if (result >= 0)
		result = residency_decode(out, size, &touched);
	if (result < 0) {
		carry_end(c, result, "the host's copies could not be touched");
		return;
	}
	batch_cut(c, touched.blocks);
	residency_done(&touched);
	c->next = c->batch_start;
	evict_next(c);
}

static int touch_start(struct carry *c)
{
	const struct survey_image *image = image_of(c);
	_cleanup_(blockset_freep) struct blockset *blocks = blockset_new();
	int r = blocks ? 0 : -ENOMEM;

	for (size_t i = c->batch_start; r >= 0 && i < c->batch_end; i++)
		r = blockset_add(blocks, c->targets[i].image_block, c->targets[i].count);
	free(c->runs);
	c->runs = NULL;
	if (r >= 0)
		r = blockset_runs(blocks, &c->runs, &c->n_runs);
	struct residency_touch_arg arg = {
		.image = { image->path, image->dev, image->ino },
		.runs = c->runs,
		.n_runs = c->n_runs,
	};
	return r < 0 ? r
		     : child_run(c, residency_touch_child, &arg, RESIDENCY_OUTPUT_MAX, on_touched);
}

static void batch_next(struct carry *c)
{
	uint64_t blocks = 0;
	int r;

	c->batch_start = c->batch_end;
	while (c->batch_end < c->n_targets && blocks < BATCH_BLOCKS)
		blocks += c->targets[c->batch_end++].count;
	if (c->batch_start == c->batch_end) {
		carry_end(c, 0, "");
		return;
	}
	r = touch_start(c);
	if (r < 0)
		carry_end(c, r, "the host's copies could not be touched");
}

static int on_kick(sd_event_source *source, void *userdata)
{
	(void)source;
	batch_next(userdata);
	return 0;
}

/* Several pages of the guest may hold one block: as many are asked for. */
static int evict_start(struct carry *c)
{
	const struct scan *scan = vm_of(c)->scan;
	int r = scan ? scan_pieces(scan, piece_want, c) : -ESTALE;

	if (r < 0)
		return r;
	targets_merge(c);
	c->entry->asked = 0;
	for (size_t i = 0; i < c->n_targets; i++)
		c->entry->asked += c->targets[i].count;
	return sd_event_add_defer(c->survey->spec.event, &c->kick, on_kick, c);
}

int carry_start(struct survey *survey, const struct plan_order *order, struct ledger_entry *entry,
		carry_progress_fn *progress, carry_done_fn *done, void *userdata,
		struct carry **ret)
{
	struct carry *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	*c = (struct carry){
		.survey = survey,
		.order = order,
		.entry = entry,
		.progress = progress,
		.done = done,
		.userdata = userdata,
		.started_usec = now_usec(),
	};
	r = order->action == PLAN_TRIM ? trim_start(c) : evict_start(c);
	if (r < 0) {
		carry_free(c);
		return r;
	}
	*ret = c;
	return 0;
}
