/* SPDX-License-Identifier: Apache-2.0 */
/* What in a machine's set-up stands against ballooning it, in lines for the operator. Pure. */
#ifndef PAGEPACT_HOST_BALLOON_NOTES_H
#define PAGEPACT_HOST_BALLOON_NOTES_H

#include <stddef.h>

struct inventory;

#define BALLOON_NOTES_MAX 5

/**
 * balloon_notes() - what is missing or in the way, and what to change; each a static line
 *
 * Return: how many; 0: nothing.
 */
size_t balloon_notes(const struct inventory *inventory, const char *ret[BALLOON_NOTES_MAX]);

#endif
