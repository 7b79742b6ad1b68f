/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "guest/handle.h"

/* Extents asked for at a time: 64 of 56 bytes fit a stack frame. */
#define FIEMAP_BATCH 64

/*
 * Of fs/ext4/ext4.h (5.4; since 6.9 in uapi/linux/ext4.h). The first tells what ext4 has in memory
 * of a file's extents, and loads nothing. The second drops that, but what is not yet allocated on
 * disk (ext4_clear_inode_es()), as the shrinker does at any time, and is allowed to CAP_FOWNER.
 */
#define EXT4_GET_ES_CACHE   _IOWR('f', 42, struct fiemap)
#define EXT4_CLEAR_ES_CACHE _IO('f', 40)

/* What is not plain data on the device that FIEMAP's physical address counts on. */
#define EXTENT_UNUSABLE                                                                            \
	(FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |                  \
	 FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL |      \
	 FIEMAP_EXTENT_UNWRITTEN)

static uint32_t device_kernel(dev_t device)
{
	return major(device) << 20 | minor(device);
}

/* All but the generation. */
static int file_prove(int fd, const struct wire_identity *identity)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_ino != identity->inode || st.st_dev != identity->device ||
	    st.st_nlink == 0)
		return -ESTALE;
	return 0;
}

static int identity_open(struct mounts *mounts, const struct wire_identity *identity, int flags)
{
	struct handle_target target = { .inode = identity->inode,
					.generation = identity->generation };
	int mount = mounts_open(mounts, device_kernel(identity->device)), r;
	_cleanup_close_ int fd = -1;
	struct statfs fs;

	if (mount < 0)
		return mount;
	if (fstatfs(mount, &fs) < 0)
		return -errno;
	target.magic = (uint32_t)fs.f_type;
	fd = handle_open(mount, &target, flags);
	if (fd < 0)
		return fd;
	r = file_prove(fd, identity);
	return r < 0 ? r : TAKE_FD(fd);
}

int file_open(struct mounts *mounts, const struct wire_identity *identity)
{
	_cleanup_close_ int fd = identity_open(mounts, identity, FILE_READ_FLAGS | O_NOFOLLOW);
	uint32_t generation = 0;

	if (fd < 0)
		return fd;
	if (ioctl(fd, FS_IOC_GETVERSION, &generation) < 0)
		return -errno;
	return generation == identity->generation ? TAKE_FD(fd) : -ESTALE;
}

int file_find(struct mounts *mounts, const struct disk_table *disks,
	      const struct wire_identity *identity)
{
	if (identity->kind == WIRE_FILE_BLOCK_DEVICE)
		return disk_find_node(disks, identity->device);
	return identity_open(mounts, identity, O_PATH | O_CLOEXEC | O_NOFOLLOW);
}

int file_reopen(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return RET_ERRNO(open(path, FILE_READ_FLAGS));
}

static int extent_take(const struct fiemap_extent *e, const struct disk_place *place,
		       struct wire_extent *ret)
{
	uint64_t mask = WIRE_BLOCK_BYTES - 1;

	if (e->fe_flags & EXTENT_UNUSABLE)
		return 0;
	if (e->fe_physical & mask || e->fe_logical & mask || e->fe_length & mask)
		return -EBADF;
	*ret = (struct wire_extent){
		.index = e->fe_logical / WIRE_BLOCK_BYTES,
		.block = place->first_block + e->fe_physical / WIRE_BLOCK_BYTES,
		.count = e->fe_length / WIRE_BLOCK_BYTES,
	};
	return 1;
}

static int fiemap_extents(int fd, const struct disk_place *place, uint64_t start, uint64_t end,
			  struct wire_extent *items, unsigned items_max)
{
	union {
		struct fiemap map;
		uint8_t room[sizeof(struct fiemap) + FIEMAP_BATCH * sizeof(struct fiemap_extent)];
	} ask;
	unsigned count = 0;

	while (start < end) {
		ask.map = (struct fiemap){ .fm_start = start,
					   .fm_length = end - start,
					   .fm_extent_count = FIEMAP_BATCH };
		if (ioctl(fd, FS_IOC_FIEMAP, &ask.map) < 0)
			return -errno;
		const struct fiemap_extent *e = ask.map.fm_extents;

		for (unsigned i = 0; i < ask.map.fm_mapped_extents; i++, e++) {
			if (count == items_max)
				return -E2BIG;
			int r = extent_take(e, place, &items[count]);
			if (r < 0)
				return r;
			count += (unsigned)r;
			start = e->fe_logical + e->fe_length;
			if (e->fe_flags & FIEMAP_EXTENT_LAST)
				return (int)count;
		}
		if (ask.map.fm_mapped_extents == 0)
			break;
	}
	return (int)count;
}

/* Return: whether ext4 has in memory where the file's data at @start lies; -errno for others. */
static int es_cached(int fd, uint64_t start)
{
	union {
		struct fiemap map;
		uint8_t room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} ask = { .map = { .fm_start = start, .fm_length = 1, .fm_extent_count = 1 } };

	if (ioctl(fd, EXT4_GET_ES_CACHE, &ask.map) < 0)
		return -errno;
	return ask.map.fm_mapped_extents > 0;
}

int file_extents(int fd, const struct wire_identity *identity, const struct disk_place *place,
		 uint64_t index, uint64_t count, struct wire_extent *items, unsigned items_max)
{
	uint64_t start, end;

	if (identity->kind == WIRE_FILE_BLOCK_DEVICE) {
		if (!items_max)
			return -E2BIG;
		items[0] = (struct wire_extent){ 0, place->first_block, place->blocks };
		return 1;
	}
	if (index >= WIRE_BLOCK_MAX)
		return -EINVAL;
	start = index * WIRE_BLOCK_BYTES;
	end = count < WIRE_BLOCK_MAX ? start + count * WIRE_BLOCK_BYTES : INT64_MAX;
	/* What FIEMAP loads stays in slabs, 80 bytes of a small file, with nobody who reads it. */
	bool clear = es_cached(fd, start) == 0 && (start == 0 || es_cached(fd, 0) == 0);
	int r = fiemap_extents(fd, place, start, end, items, items_max);
	if (clear)
		(void)ioctl(fd, EXT4_CLEAR_ES_CACHE);
	return r;
}
