/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"

/* O_NONBLOCK: a lease is refused to us at once, never waited for. */
#define READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOATIME | O_NOCTTY)

/* Extents asked for at a time: 64 of 56 bytes fit a stack frame. */
#define FIEMAP_BATCH 64

/* What is not plain data on the device that FIEMAP's physical address counts on. */
#define EXTENT_UNUSABLE                                                                            \
	(FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |                  \
	 FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL |      \
	 FIEMAP_EXTENT_UNWRITTEN)

static void path_unescape(char *path)
{
	char *out = path;

	/* mountinfo writes blanks and backslashes as three octal digits. */
	for (const char *in = path; *in; in++) {
		if (in[0] == '\\' && strspn(in + 1, "01234567") >= 3) {
			*out++ = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 3;
		} else {
			*out++ = *in;
		}
	}
	*out = '\0';
}

int mount_table_read(struct mount_table *t, const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	if (!f)
		return -errno;
	t->count = 0;
	while (t->count < MOUNTS_MAX && getline(&line, &size, f) > 0) {
		unsigned maj, min;
		char point[4096];

		/* Major number 0: no block device of its own (tmpfs, overlay, btrfs, network). */
		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &maj, &min, point) != 3 || maj == 0)
			continue;
		path_unescape(point);
		size_t length = strlen(point);
		if (length >= sizeof(t->mounts[0].path))
			continue;
		t->mounts[t->count].device = (uint32_t)makedev(maj, min);
		memcpy(t->mounts[t->count].path, point, length + 1);
		t->count++;
	}
	return 0;
}

/* A descriptor on the file system itself: something may be mounted over its mount point. */
static int mount_open(const struct mount_table *mounts, uint32_t device)
{
	for (unsigned i = 0; i < mounts->count; i++) {
		struct stat st;

		if (mounts->mounts[i].device != device)
			continue;
		_cleanup_close_ int fd = open(mounts->mounts[i].path,
					      O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == device)
			return TAKE_FD(fd);
	}
	return -ENODEV;
}

static int handle_open(int mount_fd, const struct wire_identity *identity, int flags)
{
	/* fs/exportfs: 1 is FILEID_INO32_GEN, which ext4 and xfs both take. */
	struct {
		struct file_handle handle;
		uint32_t body[2];
	} h = {
		.handle = { .handle_bytes = sizeof(h.body), .handle_type = 1 },
		.body = { (uint32_t)identity->inode, identity->generation },
	};

	if (identity->inode > UINT32_MAX)
		return -EOPNOTSUPP;
	return RET_ERRNO(open_by_handle_at(mount_fd, &h.handle, flags));
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

static int identity_open(const struct mount_table *mounts, const struct wire_identity *identity,
			 int flags)
{
	_cleanup_close_ int mount_fd = mount_open(mounts, identity->device), fd = -1;
	int r;

	if (mount_fd < 0)
		return mount_fd;
	fd = handle_open(mount_fd, identity, flags);
	if (fd < 0)
		return fd;
	r = file_prove(fd, identity);
	return r < 0 ? r : TAKE_FD(fd);
}

int file_open(const struct mount_table *mounts, const struct wire_identity *identity)
{
	_cleanup_close_ int fd = identity_open(mounts, identity, READ_FLAGS | O_NOFOLLOW);
	uint32_t generation = 0;

	if (fd < 0)
		return fd;
	if (ioctl(fd, FS_IOC_GETVERSION, &generation) < 0)
		return -errno;
	return generation == identity->generation ? TAKE_FD(fd) : -ESTALE;
}

int file_find(const struct mount_table *mounts, const struct disk_table *disks,
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
	return RET_ERRNO(open(path, READ_FLAGS));
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
	return fiemap_extents(fd, place, start, end, items, items_max);
}
