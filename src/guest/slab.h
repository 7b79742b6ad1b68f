/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slab pages: those with no object in use go back unconditionally; above vm.min_slab_ratio the
 * kernel's own shrinkers are pressed, where the kernel lets us (shrinker debugfs).
 */
#ifndef PAGEPACT_GUEST_SLAB_H
#define PAGEPACT_GUEST_SLAB_H

#include <stdint.h>

#define SLAB_NAME_MAX 64
#define SLAB_TOLD_MAX 16

/* One cache from which something went. */
struct slab_cache {
	char name[SLAB_NAME_MAX];
	uint64_t before_bytes;
	uint64_t after_bytes;
};

struct slab_result {
	uint64_t freed_bytes;
	uint64_t usec; /* of CPU */
	uint32_t caches_tried;
	uint32_t caches_told;
	struct slab_cache caches[SLAB_TOLD_MAX]; /* those that gave most */
};

/**
 * slab_shrink() - have the kernel give back slab pages with no object in use
 * @root: "" for this machine, or a fixture's directory
 * @least_bytes: only caches whose free objects would fill at least this much; 0: all
 * @cpu_usec_max: try no further cache when this much of the thread's CPU time was used
 *
 * Writes 1 to /sys/kernel/slab/CACHE/shrink, which frees empty slabs and moves no object and asks
 * no shrinker (SLUB): no dentry and no inode is dropped. A cache that cannot be written to does not
 * stop the others. A cache tried for the first time costs about 2 KB of dentries and inodes of
 * sysfs: @least_bytes should be above that.
 *
 * @ret's bytes are those of /proc/slabinfo before and after, of the caches tried: what the kernel
 * itself freed of them meanwhile is among them, and what they grew by is not subtracted.
 *
 * Return: 0; -EOPNOTSUPP without SLUB's sysfs or /proc/slabinfo; or another -errno, also when no
 * cache at all could be tried.
 */
int slab_shrink(const char *root, uint64_t least_bytes, uint64_t cpu_usec_max,
		struct slab_result *ret);

/**
 * slab_press() - have shrinkers give back objects worth about @bytes, for so much CPU time at most
 *
 * Uses /sys/kernel/debug/shrinker (Linux 6.0 and later, CONFIG_SHRINKER_DEBUG, which Debian's
 * kernels do not set; a debugfs that is not mounted stays so): dentries and inodes that nobody
 * uses, in proportion to what each file system, cgroup and node has.
 *
 * The kernel frees objects after a grace period of RCU, and pages only when all their objects went:
 * @ret_bytes may be less than what comes back.
 *
 * Return: 0 and @ret_bytes filled from the change of SReclaimable; -EOPNOTSUPP where it is not
 * there; or another -errno.
 */
int slab_press(const char *root, uint64_t bytes, uint64_t cpu_usec_max, uint64_t *ret_bytes);

/** slab_bytes() - all slab of this machine and the reclaimable part, from /proc/meminfo; or -errno
 */
int slab_bytes(const char *root, uint64_t *ret_all, uint64_t *ret_reclaimable);

#endif
