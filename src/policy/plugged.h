/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a guest's size is made of two devices: its balloon, by pages, and its virtio-mem devices, by
 * whole blocks. Pure.
 *
 * A balloon's size, QEMU's account of it and the target that it is set, leave out what virtio-mem
 * devices have plugged in: the guest's size is the sum of both. Blocks are given back after pages,
 * so that what stays away the longest is whole superpages, to the emptiest device first; and a
 * balloon that held something before the guest was first changed holds that in the end.
 */
#ifndef PAGEPACT_POLICY_PLUGGED_H
#define PAGEPACT_POLICY_PLUGGED_H

#include <stddef.h>
#include <stdint.h>

#define PLUGGED_MAX 8

/**
 * struct plugged_device - a virtio-mem device
 * @index: among those that the guest had when it was first changed
 * @block_bytes: all sizes are multiples of it
 * @bytes, @requested_bytes: that are plugged, and that are to be
 * @first_bytes, @first_requested_bytes: the same before the guest was first changed
 */
struct plugged_device {
	unsigned int index;
	uint64_t block_bytes;
	uint64_t bytes, requested_bytes;
	uint64_t first_bytes, first_requested_bytes;
};

struct plugged {
	struct plugged_device devices[PLUGGED_MAX];
	size_t n;
};

/** struct plugged_order - the balloon's target, and what each device is to have, in their order */
struct plugged_order {
	uint64_t balloon_bytes;
	uint64_t requested_bytes[PLUGGED_MAX];
};

/** plugged_bytes() - of all devices, now */
uint64_t plugged_bytes(const struct plugged *plugged);

/** plugged_lacking_bytes() - what was unplugged since the guest was first changed */
uint64_t plugged_lacking_bytes(const struct plugged *plugged);

/**
 * plugged_meant_bytes() - of all devices, what whoever sets them means them to have
 *
 * A guest may unplug by itself: a kernel that was started by kexec unplugs all, and plugs in what
 * is requested. That is nobody else's word.
 */
uint64_t plugged_meant_bytes(const struct plugged *plugged);

/**
 * plugged_fullest() - the device to unplug from next, so that NUMA nodes stay even
 * @without: a bit for each index that is passed over
 *
 * Return: NULL: none has anything.
 */
const struct plugged_device *plugged_fullest(const struct plugged *plugged, uint32_t without);

/**
 * plugged_whole_bytes() - the least size, not below @bytes, that is had without less pages than now
 * @original_bytes: the guest's size before it was first changed
 *
 * For any other size the balloon takes what is too much of a block, before that is plugged in.
 */
uint64_t plugged_whole_bytes(const struct plugged *plugged, uint64_t original_bytes,
			     uint64_t bytes);

/**
 * plugged_size() - how to bring a guest to a size without unplugging anything
 * @original_bytes: as above
 *
 * What is still to be unplugged stays; a device that was made larger by somebody else is left
 * alone, and at its original size the guest has that on top.
 */
void plugged_size(const struct plugged *plugged, uint64_t original_bytes, uint64_t bytes,
		  struct plugged_order *ret);

#endif
