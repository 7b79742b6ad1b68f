/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks the host's copies of images as used, and finds which of them are truly there: one image
 * after the other, each in a child. An image of which more is cached than the reader of it can have
 * read is not touched: most of that is others'.
 */
#ifndef PAGEPACT_HOST_TOUCH_H
#define PAGEPACT_HOST_TOUCH_H

#include "host/survey.h"

struct touch;

/** touch_done_fn - all were touched, or not in time; touch_free() may not be called in here */
typedef void touch_done_fn(struct touch *t, void *userdata);

/** touch_wanted_fn - whether an image is to be touched */
typedef bool touch_wanted_fn(const struct survey *s, size_t image, void *userdata);

/**
 * touch_start() - touch what a survey found of images
 * @s: lives longer
 * @deadline_usec: what was not touched by then is as if it were not there
 * @blocks_max: to be touched in all images; of an image with more than what is left of that, what
 *the survey found is passed on as it is
 *
 * Return: 0 and @done is called, maybe before this returns; or -errno and it is not.
 */
int touch_start(struct survey *s, uint64_t deadline_usec, uint64_t blocks_max,
		touch_wanted_fn *wanted, touch_done_fn *done, void *userdata, struct touch **ret);

/** touch_found() - blocks of an image that are there; NULL: none that are known to be */
const struct blockset *touch_found(const struct touch *t, size_t image);

/** touch_free() - stop. Return: NULL. */
struct touch *touch_free(struct touch *t);

#endif
