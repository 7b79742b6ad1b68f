/* SPDX-License-Identifier: Apache-2.0 */
#include "host/touch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

struct touch {
	struct survey *survey;
	uint64_t deadline_usec;
	uint64_t blocks_left;
	touch_wanted_fn *wanted;
	touch_done_fn *done;
	void *userdata;
	struct child *child;
	sd_event_source *kick;
	size_t next; /* image */
	struct block_run *runs;
	struct residency *found; /* by image */
	bool *passed;		 /* not touched, as there is so much of it */
};

struct touch *touch_free(struct touch *t)
{
	if (!t)
		return NULL;
	child_free(t->child);
	sd_event_source_disable_unref(t->kick);
	for (size_t i = 0; i < t->survey->n_images; i++)
		residency_done(&t->found[i]);
	free(t->found);
	free(t->passed);
	free(t->runs);
	free(t);
	return NULL;
}

const struct blockset *touch_found(const struct touch *t, size_t image)
{
	return t->passed[image] ? t->survey->images[image].residency.blocks
				: t->found[image].blocks;
}

static void image_next(struct touch *t);

static void on_touched(struct child *child, int result, const void *out, size_t size,
		       const char *error, void *userdata)
{
	struct touch *t = userdata;

	(void)child;
	if (result >= 0)
		result = residency_decode(out, size, &t->found[t->next]);
	if (result < 0)
		log_info("%s: the host's copies could not be touched: %s",
			 t->survey->images[t->next].path,
			 error && *error ? error : strerror(-result));
	t->next++;
	image_next(t);
}

static int image_touch(struct touch *t)
{
	const struct survey_image *image = &t->survey->images[t->next];
	struct residency_touch_arg arg = { .image = { image->path, image->dev, image->ino } };
	const struct child_spec spec = {
		.fn = residency_touch_child,
		.arg = &arg,
		.output_max_bytes = RESIDENCY_OUTPUT_MAX,
		.deadline_usec = t->deadline_usec,
		.done = on_touched,
		.userdata = t,
	};
	int r;

	free(t->runs);
	t->runs = NULL;
	r = blockset_runs(image->residency.blocks, &t->runs, &arg.n_runs);
	if (r < 0)
		return r;
	arg.runs = t->runs;
	t->child = child_free(t->child);
	return child_start(t->survey->spec.event, &spec, &t->child);
}

/* Whether there is too much of it. */
static bool is_passed(struct touch *t)
{
	uint64_t blocks = blockset_count(t->survey->images[t->next].residency.blocks);

	t->passed[t->next] = blocks > t->blocks_left;
	if (!t->passed[t->next])
		t->blocks_left -= blocks;
	return t->passed[t->next];
}

static void image_next(struct touch *t)
{
	for (; t->next < t->survey->n_images; t->next++) {
		if (!t->wanted(t->survey, t->next, t->userdata) || is_passed(t))
			continue;
		if (now_usec() < t->deadline_usec && image_touch(t) >= 0)
			return;
	}
	t->done(t, t->userdata);
}

static int on_kick(sd_event_source *s, uint64_t usec, void *userdata)
{
	(void)s;
	(void)usec;
	image_next(userdata);
	return 0;
}

int touch_start(struct survey *s, uint64_t deadline_usec, uint64_t blocks_max,
		touch_wanted_fn *wanted, touch_done_fn *done, void *userdata, struct touch **ret)
{
	struct touch *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	*t = (struct touch){ .survey = s,
			     .deadline_usec = deadline_usec,
			     .blocks_left = blocks_max,
			     .wanted = wanted,
			     .done = done,
			     .userdata = userdata };
	t->found = calloc(s->n_images + 1, sizeof(*t->found));
	t->passed = calloc(s->n_images + 1, sizeof(*t->passed));
	r = t->found && t->passed ? sd_event_add_time_relative(s->spec.event, &t->kick,
							       CLOCK_MONOTONIC, 0, 0, on_kick, t)
				  : -ENOMEM;
	if (r < 0) {
		free(t->found);
		free(t->passed);
		free(t);
		return r;
	}
	*ret = t;
	return 0;
}
