/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was a guest's before it was first changed, kept where a dead daemon's successor, or the
 * dead-man, finds it.
 *
 * How it works
 *
 * One file a guest in journal.d of the runtime directory, which a reboot of the host empties. It is
 * written, by rename, before the first change, and removed after everything was restored. An entry
 * is about one QEMU process: its pid, the time at which that was started (/proc/PID/stat, in clock
 * ticks since boot) and the host's boot id; a UUID may be used again by another machine, and a pid
 * by another process. An entry that is about a process which has ended has nothing to restore.
 */
#ifndef PAGEPACT_HOST_JOURNAL_H
#define PAGEPACT_HOST_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/config.h"
#include "host/inventory.h"

/**
 * struct journal_mem - a virtio-mem device of the guest, before that was first changed
 * @requested_bytes, @bytes: that it was to have plugged, and that it had
 */
struct journal_mem {
	char id[INVENTORY_ID_MAX];
	uint64_t requested_bytes;
	uint64_t bytes;
};

/** struct journal_mems - those that have an id, and so can be asked for another size */
struct journal_mems {
	struct journal_mem devices[VIRTIO_MEMS_MAX];
	size_t n;
};

/**
 * struct journal_entry - one guest
 * @vm: its name
 * @qmp: path of the QMP socket
 * @uuid: of the machine; ""
 * @pid, @start_ticks, @boot_id: QEMU's process
 * @original_bytes: the guest's size before it was first changed
 * @target_bytes: the last target that was set
 * @stats_path: QOM path of the balloon device whose statistics were turned on; "": they were not
 * @stats_seconds: guest-stats-polling-interval before that
 */
struct journal_entry {
	char vm[CONFIG_NAME_MAX + 1];
	char qmp[URL_PATH_SIZE];
	char uuid[40];
	pid_t pid;
	uint64_t start_ticks;
	char boot_id[40];
	uint64_t original_bytes;
	uint64_t target_bytes;
	char stats_path[INVENTORY_QOM_MAX];
	uint64_t stats_seconds;
	struct journal_mems mems;
};

/**
 * journal_process() - fill @pid, @start_ticks and @boot_id of an entry
 * @root: "" for this machine, or a fixture's directory
 *
 * Return: 0; -ESRCH: there is no such process, or it has ended and its parent does not know yet; or
 * another -errno. @ret is untouched then.
 */
int journal_process(const char *root, pid_t pid, struct journal_entry *ret);

/**
 * journal_is_live() - whether the process that an entry is about runs
 * @root: as for journal_process()
 *
 * Return: false where it has ended for certain; what cannot be known, for want of a descriptor or
 * so, counts as alive: its guest may be squeezed.
 */
bool journal_is_live(const char *root, const struct journal_entry *entry);

/**
 * journal_write() - keep an entry, replacing the guest's earlier one
 * @runtime_dir: such as /run/pagepact
 *
 * Return: 0; -EINVAL: journal_read() would refuse it; or another -errno. Then what was there before
 * still is.
 */
int journal_write(const char *runtime_dir, const struct journal_entry *entry);

/**
 * journal_read() - a guest's entry
 *
 * Return: 1; 0: there is none; -EBADMSG: it is damaged; or another -errno.
 */
int journal_read(const char *runtime_dir, const char *vm, struct journal_entry *ret);

/** journal_remove() - a guest's entry; none is no error. Return: 0 or -errno. */
int journal_remove(const char *runtime_dir, const char *vm);

/**
 * journal_list() - names of all guests with an entry, sorted; damaged ones too
 * @ret: for journal_list_free()
 *
 * Return: how many, or -errno; no journal.d is 0.
 */
int journal_list(const char *runtime_dir, char ***ret);

/** journal_list_free() - what journal_list() gave; NULL and 0 are allowed */
void journal_list_free(char **names, int n);

#endif
