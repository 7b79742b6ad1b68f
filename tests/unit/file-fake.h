/* SPDX-License-Identifier: Apache-2.0 */
/* Files by their keys. What a descriptor's address_space is, the kernel's memory map would say;
 * here the test does. */
#ifndef PAGEPACT_TESTS_FILE_FAKE_H
#define PAGEPACT_TESTS_FILE_FAKE_H

#include "guest-test.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "guest/file.h"

static struct mounts mounts;
static struct scan_owner owner;
static int peeks, peek_flags, peek_result;

static void owner_look(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	owner.flags &= SCAN_OWNER_BUSY;
	if (!S_ISREG(st.st_mode))
		owner.flags |= SCAN_OWNER_IRREGULAR;
	if (!st.st_nlink)
		owner.flags |= SCAN_OWNER_UNLINKED;
}

int memmap_peek(struct memmap *m, int fd, uint64_t index, unsigned count)
{
	(void)m;
	(void)index;
	assert_int_equal(count, 0);
	peeks++;
	peek_flags = fcntl(fd, F_GETFL);
	owner_look(fd);
	return peek_result;
}

const struct scan_owner *memmap_owners(const struct memmap *m, unsigned *ret_count)
{
	(void)m;
	*ret_count = 1;
	return &owner;
}

static int key_open(const struct file_key *key)
{
	int fd;

	peeks = 0;
	assert_int_equal(mounts_begin(&mounts), 0);
	fd = file_open_key(NULL, &mounts, key);
	mounts_end(&mounts);
	return fd;
}

static void owner_set(const struct file_key *key)
{
	owner = (struct scan_owner){
		.mapping = key->mapping,
		.inode = key->inode,
		.magic = key->magic,
		.device = key->device,
		.generation = key->generation,
	};
}

/* A file's key, and its owner set to match. Return: false where files cannot be opened by handle.
 */
static bool file_make(char *path, struct file_key *ret)
{
	struct stat st;
	int fd = mkstemp(path), found;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*ret = (struct file_key){
		.mapping = 0xffff888000001234,
		.inode = st.st_ino,
		.magic = EXT4_SUPER_MAGIC,
		.device = major(st.st_dev) << 20 | minor(st.st_dev),
	};
	assert_int_equal(write(fd, "x", 1), 1);
	if (ioctl(fd, FS_IOC_GETVERSION, &ret->generation) < 0)
		ret->generation = 0;
	close(fd);
	owner_set(ret);
	found = key_open(ret);
	if (found < 0) {
		unlink(path);
		return false;
	}
	close(found);
	return true;
}

#endif
