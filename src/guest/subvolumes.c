/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/subvolumes.h"

#include <errno.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"

/* An answer holds some seven subvolumes' items of 439 bytes and their references. */
#define SEARCHES_MAX 32

struct subvolume_list *subvolumes_find(struct subvolumes *s, uint32_t device)
{
	struct subvolume_list *list;

	for (unsigned i = 0; i < SUBVOLUMES_DEVICES_MAX; i++)
		if (s->lists[i].device == device && s->lists[i].usec)
			return &s->lists[i];
	list = &s->lists[s->next];
	s->next = (s->next + 1) % SUBVOLUMES_DEVICES_MAX;
	*list = (struct subvolume_list){ .device = device };
	return list;
}

void subvolumes_add(struct subvolume_list *list, uint64_t id)
{
	for (unsigned i = 0; i < list->count; i++)
		if (list->ids[i] == id)
			return;
	if (list->count < SUBVOLUMES_MAX)
		list->ids[list->count++] = id;
}

/* One answer's worth of the tree of roots, which has a reference back to its parent for each
 * subvolume but the topmost. Return: how many items it had. */
static int roots_search(struct subvolume_list *list, int fd, struct btrfs_ioctl_search_key *key)
{
	struct btrfs_ioctl_search_args ask = { .key = *key };
	struct btrfs_ioctl_search_header header;
	size_t at = 0;

	if (ioctl(fd, BTRFS_IOC_TREE_SEARCH, &ask) < 0)
		return -errno;
	for (uint32_t i = 0; i < ask.key.nr_items; i++) {
		if (at + sizeof(header) > sizeof(ask.buf))
			return -EBADMSG;
		memcpy(&header, ask.buf + at, sizeof(header));
		at += sizeof(header) + header.len;
		if (header.type == BTRFS_ROOT_BACKREF_KEY)
			subvolumes_add(list, header.objectid);
		/* The kernel sorts by these three, and searches from a point in that order on. */
		key->min_objectid = header.objectid;
		key->min_type = header.type;
		key->min_offset = header.offset + 1;
	}
	return (int)ask.key.nr_items;
}

int subvolumes_read(struct subvolume_list *list, int fd)
{
	struct btrfs_ioctl_search_key key = {
		.tree_id = BTRFS_ROOT_TREE_OBJECTID,
		.min_objectid = BTRFS_FIRST_FREE_OBJECTID,
		.max_objectid = BTRFS_LAST_FREE_OBJECTID,
		.min_type = BTRFS_ROOT_BACKREF_KEY,
		.max_type = BTRFS_ROOT_BACKREF_KEY,
		.max_offset = UINT64_MAX,
		.max_transid = UINT64_MAX,
		.nr_items = SUBVOLUMES_MAX,
	};
	int r = 1;

	subvolumes_add(list, BTRFS_FS_TREE_OBJECTID);
	for (int i = 0; i < SEARCHES_MAX && r > 0 && list->count < SUBVOLUMES_MAX; i++)
		r = roots_search(list, fd, &key);
	return r < 0 ? r : 0;
}

void subvolumes_used(struct subvolume_list *list, unsigned i)
{
	uint64_t id = list->ids[i];

	memmove(&list->ids[1], &list->ids[0], i * sizeof(id));
	list->ids[0] = id;
}
