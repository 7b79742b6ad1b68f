/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/mounts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/clock.h"

/* A device that was not found in any namespace is not looked for again before: each look reads
 * the mounts of up to MOUNTS_NAMESPACES_MAX namespaces. */
#define ELSEWHERE_USEC (10 * USEC_PER_SEC)

/* Subvolumes come and go, with snapshots: a file that is in none of those known may be in a new
 * one, or gone. */
#define SUBVOLUMES_USEC (10 * USEC_PER_SEC)

/* RESOLVE_CACHED fails also when something was renamed or mounted anywhere at that moment. */
#define WALK_ATTEMPTS 8

/* For one search, which the agent's other work waits for: of a machine with thousands of mounts in
 * each of many namespaces, what is not found by then is not found. */
#define SEARCH_USEC 100000

/* A list is read in two passes, and again when it has changed meanwhile. */
#define READ_ATTEMPTS 4

/* What the walk ends at, whoever may have mounted what meanwhile; nothing is waited for. */
static int path_walk(int root, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_CACHED,
	};
	int fd = -EAGAIN;

	for (int i = 0; i < WALK_ATTEMPTS && fd == -EAGAIN; i++) {
		fd = RET_ERRNO((int)syscall(SYS_openat2, root, path, &how, sizeof(how)));
		/* Linux before 5.12: the bars alone have to do. */
		if (fd == -EINVAL && how.resolve & RESOLVE_CACHED) {
			how.resolve &= ~(uint64_t)RESOLVE_CACHED;
			fd = -EAGAIN;
		}
	}
	return fd;
}

static int mount_open(const struct mount_list *list, unsigned i, int root)
{
	const char *path = list->text + list->mounts[i].path;
	_cleanup_close_ int fd = -1;
	struct statx st;

	/* The other namespace's root directory is where its paths start. */
	if (root != AT_FDCWD)
		path = path[1] ? path + 1 : ".";
	fd = path_walk(root, path);
	if (fd < 0)
		return fd;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) < 0)
		return -errno;
	/* Something may be mounted over it. */
	if (!(st.stx_mask & STATX_MNT_ID) || st.stx_mnt_id != list->mounts[i].id)
		return -ENODEV;
	/* open_by_handle_at() takes no O_PATH descriptor before 6.14. */
	return RET_ERRNO(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK));
}

static int list_open(const struct mount_list *list, int root, uint32_t device)
{
	int result = -ENODEV;

	for (unsigned i = 0; i < list->count; i++) {
		if (list->mounts[i].device != device)
			continue;
		int fd = list->mounts[i].barred ? -EOPNOTSUPP : mount_open(list, i, root);
		if (fd >= 0)
			return fd;
		result = fd;
	}
	return result;
}

static int process_open(const struct mounts *m, int process)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%d", m->proc, process);
	return RET_ERRNO(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* Opens the device in the mount namespace of a process, by way of that process's root directory. */
static int namespace_open(struct mounts *m, int process, uint32_t device)
{
	/* One descriptor for both, so that they are of one process. */
	_cleanup_close_ int directory = process_open(m, process), list = -1, root = -1;
	int r;

	if (directory < 0)
		return directory;
	list = openat(directory, "mountinfo", O_RDONLY | O_CLOEXEC);
	if (list < 0)
		return -errno;
	r = mount_list_read(&m->other, list, device);
	if (r < 0)
		return r;
	/* Else its root lies in a mount that mountinfo does not tell, of any kind. */
	if (!m->other.rooted)
		return -ENODEV;
	/* What bars the root directory bars all. */
	if (!mount_list_has_way(&m->other))
		return m->other.count ? -EOPNOTSUPP : -ENODEV;
	root = openat(directory, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? -errno : list_open(&m->other, root, device);
}

/* Which mount namespace a process is in; 0 when that may not be known. */
static uint64_t namespace_of(const struct mounts *m, const char *process)
{
	char path[64], text[32] = "";
	uint64_t number;

	snprintf(path, sizeof(path), "%s/%.16s/ns/mnt", m->proc, process);
	if (readlink(path, text, sizeof(text) - 1) < 0 ||
	    sscanf(text, "mnt:[%" SCNu64 "]", &number) != 1)
		return 0;
	return number;
}

static bool number_is_new(const uint64_t *numbers, unsigned count, uint64_t number)
{
	for (unsigned i = 0; i < count; i++)
		if (numbers[i] == number)
			return false;
	return number != 0;
}

/* Asks one process of each mount namespace, until one has the device. */
static int namespaces_search(struct mounts *m, uint32_t device, int *ret_process)
{
	uint64_t seen[MOUNTS_NAMESPACES_MAX] = { namespace_of(m, "self") };
	_cleanup_closedir_ DIR *directory = opendir(m->proc);
	uint64_t end = now_usec() + SEARCH_USEC;
	unsigned count = 1, looked = 0;
	struct dirent *entry;
	int result = -ENODEV;

	if (!directory)
		return -errno;
	while (count < ARRAY_SIZE(seen) && looked < MOUNTS_PROCESSES_MAX && now_usec() < end &&
	       (entry = readdir(directory))) {
		int process = atoi(entry->d_name);
		uint64_t number = process > 0 ? namespace_of(m, entry->d_name) : 0;

		looked += process > 0;
		if (!number_is_new(seen, count, number))
			continue;
		int fd = namespace_open(m, process, device);
		if (fd >= 0) {
			*ret_process = process;
			return fd;
		}
		/* Another process of that namespace may have a root of its own to go by. */
		if (m->other.rooted)
			seen[count++] = number;
		if (fd == -EOPNOTSUPP)
			result = fd;
	}
	return result;
}

static int elsewhere_open(struct mounts *m, uint32_t device)
{
	unsigned at = 0;
	int fd, process = 0;

	while (at < MOUNTS_ELSEWHERE_MAX && m->elsewhere[at].device != device)
		at++;
	if (at < MOUNTS_ELSEWHERE_MAX && m->elsewhere[at].process) {
		fd = namespace_open(m, m->elsewhere[at].process, device);
		if (fd >= 0)
			return fd;
	} else if (at < MOUNTS_ELSEWHERE_MAX &&
		   now_usec() < m->elsewhere[at].usec + ELSEWHERE_USEC) {
		return -ENODEV;
	}
	if (m->searches == MOUNTS_SEARCHES_MAX)
		return -EAGAIN;
	m->searches++;
	fd = namespaces_search(m, device, &process);
	if (at == MOUNTS_ELSEWHERE_MAX) {
		at = m->elsewhere_next;
		m->elsewhere_next = (at + 1) % MOUNTS_ELSEWHERE_MAX;
	}
	m->elsewhere[at].device = device;
	m->elsewhere[at].process = process;
	m->elsewhere[at].usec = now_usec();
	return fd;
}

void mounts_init(struct mounts *m, const char *proc)
{
	memset(m, 0, sizeof(*m));
	m->proc = proc;
	m->mountinfo = -1;
	m->stale = true;
}

static bool list_changed(const struct mounts *m)
{
	struct pollfd p = { .fd = m->mountinfo, .events = POLLPRI };

	return poll(&p, 1, 0) > 0 && p.revents & (POLLPRI | POLLERR);
}

/* A list that keeps changing is good enough for one batch: RESOLVE_CACHED has the last word. */
static int list_refresh(struct mounts *m)
{
	m->stale = true;
	for (int i = 0; i < READ_ATTEMPTS && m->stale; i++) {
		int r = mount_list_read(&m->list, m->mountinfo, 0);

		if (r < 0)
			return r;
		m->stale = list_changed(m);
	}
	return 0;
}

int mounts_begin(struct mounts *m)
{
	char path[64];

	m->searches = 0;
	if (m->mountinfo < 0) {
		snprintf(path, sizeof(path), "%s/self/mountinfo", m->proc);
		m->mountinfo = open(path, O_RDONLY | O_CLOEXEC);
		if (m->mountinfo < 0)
			return -errno;
	}
	return m->stale || list_changed(m) ? list_refresh(m) : 0;
}

void mounts_end(struct mounts *m)
{
	for (unsigned i = 0; i < m->open_count; i++)
		close_p(&m->open[i].fd);
	m->open_count = 0;
	m->open_next = 0;
}

void mounts_done(struct mounts *m)
{
	mounts_end(m);
	close_p(&m->mountinfo);
	m->mountinfo = -1;
	m->stale = true;
}

int mounts_open(struct mounts *m, uint32_t device)
{
	unsigned at;
	int fd;

	for (at = 0; at < m->open_count; at++)
		if (m->open[at].device == device)
			return m->open[at].fd;
	fd = list_open(&m->list, AT_FDCWD, device);
	if (fd < 0) {
		int elsewhere = elsewhere_open(m, device);

		if (elsewhere != -ENODEV)
			fd = elsewhere;
	}
	if (at < MOUNTS_OPEN_MAX) {
		m->open_count++;
	} else {
		at = m->open_next;
		m->open_next = (at + 1) % MOUNTS_OPEN_MAX;
		close_p(&m->open[at].fd);
	}
	m->open[at].device = device;
	m->open[at].fd = fd;
	return fd;
}

static void mounted_subvolumes(const struct mount_list *list, uint32_t device,
			       struct subvolume_list *ret)
{
	for (unsigned i = 0; i < list->count; i++)
		if (list->mounts[i].device == device && list->mounts[i].subvolume)
			subvolumes_add(ret, list->mounts[i].subvolume);
}

struct subvolume_list *mounts_subvolumes(struct mounts *m, uint32_t device, bool again)
{
	struct subvolume_list *list = subvolumes_find(&m->subvolumes, device);
	uint64_t now = now_usec();

	if (list->usec && !(again && now > list->usec + SUBVOLUMES_USEC))
		return list;
	list->count = 0;
	list->usec = now;
	mounted_subvolumes(&m->list, device, list);
	mounted_subvolumes(&m->other, device, list);
	/* What cannot be listed is not tried. */
	(void)subvolumes_read(list, mounts_open(m, device));
	return list;
}
