// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Notices that the balloon inflates, and how much is still to come.
 *
 * How it works
 *
 * virtballoon_changed() is the driver's interrupt: the host has set another target. It queues
 * update_balloon_size_func(), which fetches 256 pages and queues itself until the target is
 * reached. The first wakes the agent before a page is taken; after each run of the other the counts
 * are of now, and where it has taken something, the agent is woken unless it looks by itself. A run
 * that finds no memory comes again every 200 ms, and wakes nobody.
 *
 * The target stands in the device's configuration and nowhere else: the driver reads it anew each
 * time. Of a modern PCI device that is memory which the kernel has mapped; reading it is what the
 * driver does, and has no effect. Of other devices the target is not known.
 */
#include <linux/types.h>
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "balloon-state.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Of struct virtio_balloon_config: num_pages and actual. */
#define CONFIG_BYTES 8

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct device {
	struct device *parent;
};

struct pci_dev {
	struct device dev;
};

struct virtio_device {
	struct device dev;
	void *priv;
};

struct work_struct {
	void *func;
};

struct virtio_balloon {
	struct virtio_device *vdev;
	struct work_struct update_balloon_size_work;
	unsigned int num_pages;
};

/* 5.12: "virtio-pci: introduce modern device module". */
struct virtio_pci_modern_device {
	void *device;
	unsigned long device_len;
};

struct virtio_pci_device {
	struct virtio_device vdev;
	struct pci_dev *pci_dev;
	struct virtio_pci_modern_device mdev;
	bool is_legacy;
};

#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} news SEC(".maps");

struct balloon_state state;

/* Whether this virtio device is within a struct virtio_pci_device, and of the modern kind. */
static __always_inline bool is_modern_pci(const struct virtio_device *vdev,
					  const struct virtio_pci_device *pci)
{
	const struct device *parent = BPF_CORE_READ(vdev, dev.parent);
	unsigned long function = (unsigned long)BPF_CORE_READ(pci, pci_dev);

	if (!function ||
	    (unsigned long)parent != function + bpf_core_field_offset(struct pci_dev, dev))
		return false;
	if (bpf_core_field_exists(pci->is_legacy) && BPF_CORE_READ(pci, is_legacy))
		return false;
	return BPF_CORE_READ(pci, mdev.device_len) >= CONFIG_BYTES;
}

static __always_inline bool target_read(const struct virtio_device *vdev, __u32 *ret)
{
	const struct virtio_pci_device *pci;

	if (!bpf_core_field_exists(struct virtio_pci_device, mdev))
		return false;
	pci = (void *)((unsigned long)vdev - bpf_core_field_offset(struct virtio_pci_device, vdev));
	return is_modern_pci(vdev, pci) &&
	       bpf_probe_read_kernel(ret, sizeof(*ret), BPF_CORE_READ(pci, mdev.device)) == 0;
}

static __always_inline void agent_wake(void)
{
	__u32 nothing = 0;

	(void)bpf_ringbuf_output(&news, &nothing, sizeof(nothing), BPF_RB_FORCE_WAKEUP);
}

static __always_inline void balloon_note(const struct virtio_balloon *balloon, bool is_new)
{
	unsigned int held = BPF_CORE_READ(balloon, num_pages), before = state.held;
	__u32 target = 0;
	bool is_known = target_read(BPF_CORE_READ(balloon, vdev), &target);
	bool inflates = held > before && (!is_known || target > held);

	state.target = target;
	state.held = held;
	state.is_known = is_known;
	state.looks++;
	if (is_new || (inflates && !state.is_heeded))
		agent_wake();
}

/* As a number: the verifier lets nobody compute with the pointer that an argument is. */
static __always_inline unsigned long argument(void *ctx)
{
	__u64 value = 0;

	(void)bpf_get_func_arg(ctx, 0, &value);
	return value;
}

SEC("fentry/virtballoon_changed")
int balloon_changed(void *ctx)
{
	const struct virtio_device *vdev = (void *)argument(ctx);
	const struct virtio_balloon *balloon = BPF_CORE_READ(vdev, priv);

	if (balloon)
		balloon_note(balloon, true);
	return 0;
}

SEC("fexit/update_balloon_size_func")
int balloon_moved(void *ctx)
{
	unsigned long work = argument(ctx);

	if (work)
		balloon_note((void *)(work - bpf_core_field_offset(struct virtio_balloon,
								   update_balloon_size_work)),
			     false);
	return 0;
}
