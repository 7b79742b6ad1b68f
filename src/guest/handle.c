/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <string.h>

#include "base/cleanup.h"

/* Types of handles: include/linux/exportfs.h. */
#define FILEID_INO32_GEN	    0x01
#define FILEID_BTRFS_WITHOUT_PARENT 0x4d
#define FILEID_INO64_GEN	    0x81

union body {
	uint32_t words[5];
	struct {
		uint32_t inode, generation;
	} ino32;
	struct {
		uint64_t inode;
		uint32_t generation;
	} __attribute__((packed)) xfs; /* fs/xfs/xfs_export.h */
	struct {
		uint64_t inode, subvolume;
		uint32_t generation;
	} __attribute__((packed)) btrfs; /* fs/btrfs/export.h */
};

static int body_open(int mount, int type, unsigned bytes, const union body *body, int flags)
{
	struct {
		struct file_handle handle;
		union body body;
	} h = { .handle = { .handle_bytes = bytes, .handle_type = type }, .body = *body };

	return RET_ERRNO(open_by_handle_at(mount, &h.handle, flags));
}

static int ino32_open(int mount, const struct handle_target *t, int flags)
{
	union body body = { .ino32 = { (uint32_t)t->inode, t->generation } };

	if (t->inode > UINT32_MAX)
		return -ESTALE;
	return body_open(mount, FILEID_INO32_GEN, sizeof(body.ino32), &body, flags);
}

static int xfs_open(int mount, const struct handle_target *t, int flags)
{
	union body body = { .xfs = { t->inode, t->generation } };

	return body_open(mount, FILEID_INO64_GEN, sizeof(body.xfs), &body, flags);
}

static int btrfs_open(int mount, const struct handle_target *t, int flags)
{
	union body body = { .btrfs = { t->inode, t->subvolume, t->generation } };

	/* The kernel's own inodes, one of which has all metadata for its pages. */
	if (t->inode < BTRFS_FIRST_FREE_OBJECTID)
		return -EOPNOTSUPP;
	return body_open(mount, FILEID_BTRFS_WITHOUT_PARENT, sizeof(body.btrfs), &body, flags);
}

/* "erofs: fix file handle encoding for 64-bit NIDs" changed both type and order, in 6.15 and
 * stable releases before; either kernel takes one alone. */
static int erofs_open(int mount, const struct handle_target *t, int flags)
{
	union body body = { .words = { (uint32_t)(t->inode >> 32), (uint32_t)t->inode,
				       t->generation } };
	int fd = body_open(mount, FILEID_INO64_GEN, 3 * sizeof(body.words[0]), &body, flags);

	return fd == -ESTALE ? ino32_open(mount, t, flags) : fd;
}

static int (*opener_of(uint64_t magic))(int, const struct handle_target *, int)
{
	switch (magic) {
	case EXT4_SUPER_MAGIC: /* ext2's and ext3's, too */
	case F2FS_SUPER_MAGIC:
	case MSDOS_SUPER_MAGIC: /* finds what is in memory, which is all that we want */
		return ino32_open;
	case XFS_SUPER_MAGIC:
		return xfs_open;
	case BTRFS_SUPER_MAGIC:
		return btrfs_open;
	case EROFS_SUPER_MAGIC_V1:
		return erofs_open;
	default:
		return NULL;
	}
}

bool handle_knows(uint64_t magic)
{
	return opener_of(magic) != NULL;
}

int handle_open(int mount, const struct handle_target *target, int flags)
{
	int (*opener)(int, const struct handle_target *, int) = opener_of(target->magic);

	return opener ? opener(mount, target, flags) : -EOPNOTSUPP;
}
