/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/balloon.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "guest/balloon-driver.h"
#include "guest/vmstat.h"

#define DRIVER_PATH "/sys/bus/virtio/drivers/virtio_balloon"

struct balloon {
	const char *root;
	struct balloon_driver *driver; /* NULL: the counter */
	struct balloon_state seen;     /* of the programs, last */
	uint64_t counted_usec;	       /* when the counter was read last */
	uint64_t inflated_pages;       /* by then */
	uint64_t moved_usec;	       /* when it was last seen to inflate; 0: never */
};

/* Its devices are links, named virtioN. */
static bool has_device(const char *root)
{
	_cleanup_closedir_ DIR *dir = NULL;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s" DRIVER_PATH, root);
	dir = opendir(path);
	for (struct dirent *e; dir && (e = readdir(dir));)
		if (strncmp(e->d_name, "virtio", strlen("virtio")) == 0)
			return true;
	return false;
}

bool balloon_has_btf(const char *root)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/sys/kernel/btf/virtio_balloon", root);
	return access(path, F_OK) == 0;
}

int balloon_open(const char *root, struct balloon **ret, char *ret_reason, size_t reason_size)
{
	struct vmstat counts = { 0 };
	struct balloon *b;
	int r = has_device(root) ? vmstat_read(root, &counts) : -ENODEV;

	ret_reason[0] = '\0';
	if (r < 0)
		return r;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->root = root;
	b->inflated_pages = counts.inflated_pages;
	(void)balloon_driver_open(&b->driver, ret_reason, reason_size);
	if (!b->driver && !counts.has_balloon) {
		balloon_close(b);
		return -EOPNOTSUPP;
	}
	*ret = b;
	return 0;
}

struct balloon *balloon_close(struct balloon *b)
{
	if (b)
		balloon_driver_close(b->driver);
	free(b);
	return NULL;
}

enum wire_notice balloon_notice(const struct balloon *b)
{
	return !b ? WIRE_NOTICE_NONE : b->driver ? WIRE_NOTICE_DRIVER : WIRE_NOTICE_COUNTER;
}

int balloon_fd(const struct balloon *b)
{
	return b->driver ? balloon_driver_fd(b->driver) : -1;
}

static bool is_recent(uint64_t when_usec, uint64_t now_usec)
{
	return when_usec && now_usec - when_usec < BALLOON_CALM_USEC;
}

/* A driver that finds no memory, or was unbound, has something left for ever. What it held when it
 * was first looked at it may have held for long. */
static bool has_moved(const struct balloon_state *now, const struct balloon_state *before)
{
	if (now->is_known && now->target != before->target)
		return true;
	return before->looks && now->held > before->held;
}

static struct balloon_view driver_view(struct balloon *b, uint64_t now_usec)
{
	struct balloon_state s = balloon_driver_look(b->driver);
	struct balloon_view view = { .left_pages = UINT64_MAX, .taken_pages = s.held };

	if (s.is_known)
		view.left_pages = s.target > s.held ? s.target - s.held : 0;
	if (has_moved(&s, &b->seen))
		b->moved_usec = now_usec;
	b->seen = s;
	view.inflates = view.left_pages && is_recent(b->moved_usec, now_usec);
	balloon_driver_heed(b->driver, view.inflates);
	return view;
}

static struct balloon_view counter_view(struct balloon *b, uint64_t now_usec)
{
	struct vmstat counts;

	if (now_usec - b->counted_usec >= BALLOON_POLL_USEC && vmstat_read(b->root, &counts) >= 0) {
		if (counts.inflated_pages > b->inflated_pages)
			b->moved_usec = now_usec;
		b->counted_usec = now_usec;
		b->inflated_pages = counts.inflated_pages;
	}
	return (struct balloon_view){ .inflates = is_recent(b->moved_usec, now_usec),
				      .left_pages = UINT64_MAX,
				      .taken_pages = b->inflated_pages };
}

struct balloon_view balloon_look(struct balloon *b, uint64_t now_usec)
{
	return b->driver ? driver_view(b, now_usec) : counter_view(b, now_usec);
}
