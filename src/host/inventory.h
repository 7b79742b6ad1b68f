/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon needs to know of one guest's machine, asked of QEMU by QMP. */
#ifndef PAGEPACT_HOST_INVENTORY_H
#define PAGEPACT_HOST_INVENTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/qmp.h"
#include "host/virtio-mem.h"

#define INVENTORY_DISKS_MAX   32
#define INVENTORY_LAYERS_MAX  8
#define INVENTORY_MEMDEVS_MAX 16
#define INVENTORY_NOTES_MAX   16
#define INVENTORY_PORT_NAME   "org.pagepact.agent.0"

#define INVENTORY_QOM_MAX  256
#define INVENTORY_TEXT_MAX 200

/**
 * struct inventory_layer - one image of a chain; [0] is the guest's own, the last one the base
 * @filename: as QEMU has it, absolute or relative to QEMU's directory; "json:..." where QEMU has no
 *	plain name; never NULL
 * @format: "raw", "qcow2", ...
 * @protocol: "file", "host_device", "nbd", ...; "" where QEMU did not say
 * @virtual_bytes: size that the guest sees
 * @cache_known: the next three are what QEMU said of every node that opened this file
 * @writeback: a write is complete when the host's page cache has it; false too while the guest's
 *	driver is one that knows no flush, as its firmware's (QEMU then flushes after each write)
 * @direct: O_DIRECT: no host copies (cache=none); false if any node of this file is not direct
 * @no_flush: flushes are ignored (cache=unsafe)
 */
struct inventory_layer {
	char *filename;
	char format[32];
	char protocol[32];
	uint64_t virtual_bytes;
	bool cache_known;
	bool writeback;
	bool direct;
	bool no_flush;
};

/**
 * struct inventory_disk - one disk of the guest
 * @device: name of the block backend (-drive id=...); may be ""
 * @node: name of the top node
 * @qdev: QOM path of the device; "" where no device uses the image
 * @type: QOM type of the device, such as "virtio-blk-device", "scsi-hd", "nvme"; or ""
 * @serial: or ""
 * @pci: "dddd:bb:ss.f" of the PCI function that is the disk, or ""; the bus number is the guest's
 *	own, so "" too until firmware has numbered the bridge above it
 * @pci_reason: why @pci is "", or ""
 * @read_only: for the guest
 * @virtual_bytes: size that the guest sees
 * @layers: the chain
 * @complete: the chain ends with the last of @layers, and each of them has a name
 * @reason: why not @complete; or ""
 */
struct inventory_disk {
	char device[INVENTORY_ID_MAX];
	char node[INVENTORY_ID_MAX];
	char qdev[INVENTORY_QOM_MAX];
	char type[64];
	char serial[64];
	char pci[16];
	char pci_reason[INVENTORY_TEXT_MAX];
	bool read_only;
	uint64_t virtual_bytes;
	struct inventory_layer layers[INVENTORY_LAYERS_MAX];
	size_t n_layers;
	bool complete;
	char reason[INVENTORY_TEXT_MAX];
};

/**
 * struct inventory_memdev - one memory backend
 * @id: such as "ram0", or "pc.ram" for plain -m
 * @type: "memory-backend-memfd", "memory-backend-ram", "memory-backend-file", ...; "" unknown
 * @bytes: size
 * @share: other processes see the guest's writes
 * @hugetlb: known to be of huge pages of hugetlbfs (memfd with hugetlb=on)
 * @prealloc: all of it was touched at the start
 * @path: of memory-backend-file; or ""
 */
struct inventory_memdev {
	char id[INVENTORY_ID_MAX];
	char type[64];
	uint64_t bytes;
	bool share;
	bool hugetlb;
	bool prealloc;
	char path[INVENTORY_QOM_MAX];
};

/**
 * struct inventory_serial - virtio-serial and our port on it
 * @controller: there is one
 * @bus: its bus as device_add wants it; of the port where it exists
 * @port: a port named INVENTORY_PORT_NAME exists
 * @port_id: id of that device; "" when it has none (it cannot be removed then)
 * @chardev: id of its character device
 * @chardev_path: of the Unix socket behind it; "" when it is something else, see @chardev_text
 * @chardev_text: what query-chardev calls it ("unix:/path,server=on", "pty:/dev/pts/1", ...)
 */
struct inventory_serial {
	bool controller;
	char bus[INVENTORY_ID_MAX];
	bool port;
	char port_id[INVENTORY_ID_MAX];
	char chardev[INVENTORY_ID_MAX];
	char chardev_path[108];
	char chardev_text[INVENTORY_QOM_MAX];
};

/**
 * struct inventory - one guest's machine
 * @status: "running", "paused", "prelaunch", "inmigrate", ...; "" unknown
 * @running: virtual CPUs run
 * @memory_bytes: base and plugged memory; 0 unknown
 * @balloon: there is one
 * @balloon_bytes: the guest's size now by QEMU's account, without what virtio-mem devices have,
 *clamped to [0, @memory_bytes]; the guest writes the number that it comes from
 * @balloon_reason: why there is none, or that the number had to be clamped; or ""
 * @balloon_path: the balloon device's place in QOM, for its statistics; "" unknown
 * @deflate_on_oom: the device offers the guest to take pages back when it runs out of memory
 * @free_page_reporting: the balloon device gives the guest's free pages back by itself
 * @uuid: of the machine, as query-uuid has it; "" unknown, or all zero, which is none
 * @vfio: a device of the host's is passed through, or may be: RAM is pinned, and QEMU inhibits the
 *	balloon
 * @confidential: SEV, TDX or another kind of encrypted guest, or may be
 * @block_jobs: number of block jobs (mirror, commit, backup, ...); 1 where it cannot be known
 * @migrating: migration or snapshot in progress, or not known to be absent
 * @notes: what could not be learned and why, for the operator
 */
struct inventory {
	char status[32];
	bool running;
	uint64_t memory_bytes;
	struct inventory_memdev memdevs[INVENTORY_MEMDEVS_MAX];
	size_t n_memdevs;
	struct virtio_mems virtio_mems;
	bool balloon;
	uint64_t balloon_bytes;
	char balloon_reason[INVENTORY_TEXT_MAX];
	char balloon_path[INVENTORY_QOM_MAX];
	bool deflate_on_oom;
	bool free_page_reporting;
	char uuid[40];
	bool vfio;
	bool confidential;
	struct inventory_disk *disks;
	size_t n_disks;
	size_t block_jobs;
	bool migrating;
	struct inventory_serial serial;
	char notes[INVENTORY_NOTES_MAX][INVENTORY_TEXT_MAX];
	size_t n_notes;
};

/** inventory_most_bytes() - what it can have with all plugged in that its devices have room for */
uint64_t inventory_most_bytes(const struct inventory *inventory);

/** inventory_free() - returns NULL; NULL is allowed */
struct inventory *inventory_free(struct inventory *inventory);

static inline void inventory_freep(struct inventory **inventory)
{
	*inventory = inventory_free(*inventory);
}

struct inventory_query;

/**
 * inventory_done_fn - the answer, once, from the event loop
 * @result: 0: complete as far as QEMU answers (see inventory->notes); -ETIMEDOUT, -ECONNRESET or
 *	another negative errno: nothing to be had
 * @inventory: the callee's to keep and inventory_free(); NULL unless @result is 0
 *
 * The query is over: inventory_query_free() may be called in here or later.
 */
typedef void inventory_done_fn(int result, struct inventory *inventory, void *userdata);

/**
 * inventory_query() - ask for everything, one command after the other
 * @qmp: ready; free the query before it
 * @deadline_usec: CLOCK_MONOTONIC, absolute, for all of it
 *
 * Return: 0, or a negative errno of qmp_command().
 */
int inventory_query(struct qmp *qmp, uint64_t deadline_usec, inventory_done_fn *done,
		    void *userdata, struct inventory_query **ret);

/** inventory_query_free() - give up; no callback any more. Returns NULL. */
struct inventory_query *inventory_query_free(struct inventory_query *query);

/**
 * struct inventory_io - what one disk has done since QEMU was started
 *
 * A map of a qcow2 image is true only for what was flushed: flush_operations must have grown, and
 * wr_operations must not, since the last look.
 */
struct inventory_io {
	char device[INVENTORY_ID_MAX];
	char node[INVENTORY_ID_MAX];
	char qdev[INVENTORY_QOM_MAX];
	uint64_t rd_bytes;
	uint64_t rd_operations;
	uint64_t wr_bytes;
	uint64_t wr_operations;
	uint64_t flush_operations;
	uint64_t wr_highest_offset; /* of the image's file, never shrinks; 0 unknown */
	uint64_t idle_nsec;	    /* since the last access; 0 unknown */
};

struct inventory_blockstats {
	struct inventory_io disks[INVENTORY_DISKS_MAX];
	size_t n_disks;
};

/** inventory_blockstats_fn - once; @stats is borrowed, NULL unless @result is 0 */
typedef void inventory_blockstats_fn(int result, const struct inventory_blockstats *stats,
				     void *userdata);

/** inventory_blockstats() - read the counters; cancel with inventory_query_free() */
int inventory_blockstats(struct qmp *qmp, uint64_t deadline_usec, inventory_blockstats_fn *done,
			 void *userdata, struct inventory_query **ret);

/** inventory_io_find() - the counters of a disk, or NULL */
const struct inventory_io *inventory_io_find(const struct inventory_blockstats *stats,
					     const struct inventory_disk *disk);

#endif
