/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's balloon, as its own kernel sees it: whether it inflates, and how much is to come.
 *
 * How it works
 *
 * Two programs on the driver's functions (balloon.bpf.c) tell, where the kernel has BTF of its
 * modules; they are attached only while somebody wants to know. Elsewhere the counter
 * balloon_inflate of /proc/vmstat is read at intervals: the beginning is then seen late, and the
 * target never.
 */
#ifndef PAGEPACT_GUEST_BALLOON_H
#define PAGEPACT_GUEST_BALLOON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/message.h"

struct balloon;

/**
 * struct balloon_view - as it is now
 * @inflates: it does, or did within BALLOON_CALM_USEC; one that finds no memory does not
 * @left_pages: still to come; UINT64_MAX: not known
 * @taken_pages: by the balloon, up to now; only its growth says anything
 */
struct balloon_view {
	bool inflates;
	uint64_t left_pages;
	uint64_t taken_pages;
};

/* The driver tries again every 200 ms when it finds no memory (fill_balloon()). */
#define BALLOON_CALM_USEC 1000000u
/* Between two looks at the counter. */
#define BALLOON_POLL_USEC 250000u

/**
 * balloon_open() - begin to watch
 * @root: "" for this machine, or a fixture's directory
 * @ret_reason: why it is not the driver that tells, for people; "" where it is
 *
 * Return: 0; -ENODEV: the machine has no balloon; -EOPNOTSUPP: nothing tells; or another -errno.
 */
int balloon_open(const char *root, struct balloon **ret, char *ret_reason, size_t reason_size);

/** balloon_has_btf() - whether the driver is a module that BPF programs can know */
bool balloon_has_btf(const char *root);

/** balloon_close() - stop watching; NULL is allowed. Return: NULL. */
struct balloon *balloon_close(struct balloon *b);

/** balloon_notice() - who tells; WIRE_NOTICE_NONE for NULL */
enum wire_notice balloon_notice(const struct balloon *b);

/** balloon_fd() - readable when an inflation begins, until balloon_look(); -1: look at intervals */
int balloon_fd(const struct balloon *b);

/** balloon_look() - what it does now */
struct balloon_view balloon_look(struct balloon *b, uint64_t now_usec);

#endif
