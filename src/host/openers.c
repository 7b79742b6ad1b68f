/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files are compared by what stat(2) says through /proc/PID/fd, which names no path. Mappings are
 * read from /proc/PID/maps, whose device is that of the superblock: where it differs (btrfs) and
 * the inode number does not, /proc/PID/map_files decides.
 */
#include "host/openers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"

#define MAGIC 0x316e706fu /* "opn1" */

/* PROC_PID_INIT_INO of the kernel: /proc shows all processes of the machine only from there. */
#define FIRST_PID_NAMESPACE 0xeffffffcu

#define PATH_SIZE 80
#define NAME_SIZE sizeof(((struct opener *)NULL)->name)

struct answer {
	uint32_t magic;
	uint32_t complete;
	uint64_t count;
	uint64_t n_unknown;
	uint32_t n_listed;
	int32_t unknown_pid;
	char reason[80];
	struct opener listed[OPENERS_LISTED_MAX];
};

struct search {
	const struct openers_arg *asked;
	struct answer answer;
};

/* What a look at one place came to. */
enum sight {
	SIGHT_NOTHING,
	SIGHT_FOUND,
	SIGHT_UNKNOWN,
};

static void __attribute__((format(printf, 2, 3)))
incomplete(struct search *search, const char *format, ...)
{
	va_list ap;

	if (!search->answer.complete)
		return;
	search->answer.complete = 0;
	va_start(ap, format);
	vsnprintf(search->answer.reason, sizeof(search->answer.reason), format, ap);
	va_end(ap);
}

static void make_printable(char *text)
{
	text[strcspn(text, "\n")] = '\0';
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

static void found(struct search *search, pid_t pid, enum opener_kind kind, const char *name)
{
	struct opener *opener;

	search->answer.count++;
	if (search->answer.n_listed == OPENERS_LISTED_MAX)
		return;
	opener = &search->answer.listed[search->answer.n_listed++];
	opener->pid = pid;
	opener->kind = kind;
	snprintf(opener->name, sizeof(opener->name), "%s", name);
}

static bool is_image(const struct search *search, const struct stat *st)
{
	return st->st_dev == search->asked->dev && st->st_ino == search->asked->ino;
}

static bool has_vanished(int error)
{
	return error == ENOENT || error == ESRCH;
}

static enum sight sight_of_error(int error)
{
	return has_vanished(error) ? SIGHT_NOTHING : SIGHT_UNKNOWN;
}

/* @ret_n: how many descriptors there are. */
static enum sight look_at_fds(const struct search *search, const char *folder, size_t *ret_n)
{
	enum sight sight = SIGHT_NOTHING;
	_cleanup_closedir_ DIR *dir = NULL;
	char path[PATH_SIZE];
	struct dirent *entry;
	struct stat st;

	*ret_n = 0;
	snprintf(path, sizeof(path), "%s/fd", folder);
	dir = opendir(path);
	if (!dir)
		return sight_of_error(errno);
	while ((errno = 0, entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		++*ret_n;
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) < 0) {
			if (!has_vanished(errno))
				sight = SIGHT_UNKNOWN;
		} else if (is_image(search, &st)) {
			return SIGHT_FOUND;
		}
	}
	return errno && !has_vanished(errno) ? SIGHT_UNKNOWN : sight;
}

/* One line of /proc/PID/maps: "start-end perms offset major:minor inode path" */
struct mapping {
	unsigned long start, end, inode;
	dev_t dev;
};

/* Reads a number that @after follows, and goes behind that. */
static bool next_number(const char **text, int base, char after, unsigned long *ret)
{
	char *end;

	*ret = strtoul(*text, &end, base);
	if (end == *text || *end != after)
		return false;
	*text = end + 1;
	return true;
}

static bool read_mapping(const char *line, struct mapping *ret)
{
	unsigned long offset, major_, minor_;

	if (!next_number(&line, 16, '-', &ret->start) || !next_number(&line, 16, ' ', &ret->end))
		return false;
	line += strcspn(line, " ");
	if (!next_number(&line, 16, ' ', &offset) || !next_number(&line, 16, ':', &major_) ||
	    !next_number(&line, 16, ' ', &minor_))
		return false;
	ret->dev = makedev((unsigned int)major_, (unsigned int)minor_);
	/* The end of the line follows where there is no path. */
	return next_number(&line, 10, ' ', &ret->inode) ||
	       next_number(&line, 10, '\n', &ret->inode);
}

static enum sight look_at_map(const struct search *search, const char *folder, const char *line)
{
	struct mapping map = { 0 };
	char path[PATH_SIZE];
	struct stat st;

	if (!read_mapping(line, &map))
		return SIGHT_UNKNOWN;
	if (map.inode != search->asked->ino)
		return SIGHT_NOTHING;
	if (map.dev == search->asked->dev)
		return SIGHT_FOUND;
	snprintf(path, sizeof(path), "%s/map_files/%lx-%lx", folder, map.start, map.end);
	if (stat(path, &st) < 0)
		return SIGHT_UNKNOWN;
	return is_image(search, &st) ? SIGHT_FOUND : SIGHT_NOTHING;
}

static enum sight look_at_maps(const struct search *search, const char *folder)
{
	enum sight sight = SIGHT_NOTHING, one;
	_cleanup_fclose_ FILE *maps = NULL;
	_cleanup_free_ char *line = NULL;
	char path[PATH_SIZE];
	size_t size = 0;

	snprintf(path, sizeof(path), "%s/maps", folder);
	maps = fopen(path, "re");
	if (!maps)
		return sight_of_error(errno);
	while ((errno = 0, getline(&line, &size, maps)) > 0) {
		one = look_at_map(search, folder, line);
		if (one == SIGHT_FOUND)
			return one;
		if (one == SIGHT_UNKNOWN)
			sight = one;
	}
	return ferror(maps) && !has_vanished(errno) ? SIGHT_UNKNOWN : sight;
}

static enum sight look_at_folder(const struct search *search, const char *folder,
				 enum opener_kind *ret_kind, size_t *ret_n_fds)
{
	enum sight fds, maps;

	*ret_kind = OPENER_FD;
	fds = look_at_fds(search, folder, ret_n_fds);
	if (fds == SIGHT_FOUND)
		return fds;
	maps = look_at_maps(search, folder);
	if (maps == SIGHT_FOUND)
		*ret_kind = OPENER_MAP;
	return maps == SIGHT_NOTHING ? fds : maps;
}

/* Where the first thread has ended, only the folders of the others show what they share. */
static enum sight look_at_threads(const struct search *search, const char *folder,
				  enum opener_kind *ret_kind)
{
	enum sight sight = SIGHT_NOTHING, one;
	_cleanup_closedir_ DIR *dir = NULL;
	char path[PATH_SIZE];
	struct dirent *entry;
	size_t n_fds;

	snprintf(path, sizeof(path), "%s/task", folder);
	dir = opendir(path);
	if (!dir)
		return sight_of_error(errno);
	while ((errno = 0, entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/task/%.12s", folder, entry->d_name);
		one = look_at_folder(search, path, ret_kind, &n_fds);
		if (one == SIGHT_FOUND)
			return one;
		if (one == SIGHT_UNKNOWN)
			sight = one;
	}
	return errno && !has_vanished(errno) ? SIGHT_UNKNOWN : sight;
}

static bool read_text(const char *path, char *buffer, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buffer, size - 1);

	buffer[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static bool is_child_of(const char *folder, pid_t parent)
{
	char path[PATH_SIZE], text[512], *name_end;

	snprintf(path, sizeof(path), "%s/stat", folder);
	if (parent <= 0 || !read_text(path, text, sizeof(text)))
		return false;
	name_end = strrchr(text, ')'); /* the name itself may hold anything */
	/* ") S 123 ": the state is one letter */
	return name_end && strlen(name_end) > 4 && strtol(name_end + 4, NULL, 10) == parent;
}

static bool is_allowed(const struct openers_arg *asked, pid_t pid)
{
	if (pid == getpid() || pid == asked->daemon)
		return true;
	for (size_t i = 0; i < asked->n_allowed; i++)
		if (asked->allowed[i] == pid)
			return true;
	return false;
}

static void look_at_process(struct search *search, pid_t pid)
{
	char folder[PATH_SIZE / 2], path[PATH_SIZE], name[NAME_SIZE];
	enum opener_kind kind;
	enum sight sight;
	size_t n_fds;

	if (is_allowed(search->asked, pid))
		return;
	snprintf(folder, sizeof(folder), "/proc/%d", pid);
	sight = look_at_folder(search, folder, &kind, &n_fds);
	if (sight == SIGHT_NOTHING && n_fds == 0)
		sight = look_at_threads(search, folder, &kind);
	if (sight == SIGHT_NOTHING || is_child_of(folder, search->asked->daemon))
		return;
	snprintf(path, sizeof(path), "%s/comm", folder);
	(void)read_text(path, name, sizeof(name));
	make_printable(name);
	if (sight == SIGHT_FOUND) {
		found(search, pid, kind, name);
		return;
	}
	incomplete(search, "process %d (%s) may not be looked at", pid, name);
	if (search->answer.n_unknown++ == 0)
		search->answer.unknown_pid = pid;
}

/* "12" → 12, "loop12" → 12; -1 for what is not @prefix and a number. */
static int number_after(const char *text, const char *prefix)
{
	size_t length = strlen(prefix);
	char *end;
	long number;

	if (strncmp(text, prefix, length) != 0 || text[length] < '0' || text[length] > '9')
		return -1;
	number = strtol(text + length, &end, 10);
	return *end || number > INT_MAX ? -1 : (int)number;
}

static int look_at_processes(struct search *search)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc");
	struct dirent *entry;
	struct stat st;

	if (!dir)
		return -errno;
	/* With hidepid, processes of others are not even there. */
	if (stat("/proc/self/ns/pid", &st) < 0 || st.st_ino != FIRST_PID_NAMESPACE ||
	    stat("/proc/1", &st) < 0)
		incomplete(search, "not all processes of the machine are visible");
	while ((errno = 0, entry = readdir(dir))) {
		int pid = number_after(entry->d_name, "");

		if (pid > 0)
			look_at_process(search, pid);
	}
	return -errno;
}

/* As the kernel's new_decode_dev(). */
static dev_t loop_dev(uint64_t dev)
{
	return makedev((unsigned int)((dev & 0xfff00) >> 8),
		       (unsigned int)((dev & 0xff) | ((dev >> 12) & 0xfff00)));
}

static enum sight look_at_loop_device(const struct search *search, int number)
{
	_cleanup_close_ int fd = -1;
	struct loop_info64 info;
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "/dev/loop%d", number);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return SIGHT_UNKNOWN;
	if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return errno == ENXIO ? SIGHT_NOTHING : SIGHT_UNKNOWN;
	return loop_dev(info.lo_device) == search->asked->dev && info.lo_inode == search->asked->ino
		       ? SIGHT_FOUND
		       : SIGHT_NOTHING;
}

/* Opened only where it has a file, and only that answers for certain: a path may be another's now.
 */
static void look_at_loop(struct search *search, int number)
{
	char path[PATH_SIZE], backing[PATH_MAX + 16], name[NAME_SIZE];
	enum sight sight;
	struct stat st;

	snprintf(path, sizeof(path), "/sys/block/loop%d/loop/backing_file", number);
	if (!read_text(path, backing, sizeof(backing)))
		return;
	snprintf(name, sizeof(name), "loop%d", number);
	sight = look_at_loop_device(search, number);
	backing[strcspn(backing, "\n")] = '\0';
	if (sight == SIGHT_UNKNOWN && stat(backing, &st) == 0 && is_image(search, &st))
		sight = SIGHT_FOUND;
	if (sight == SIGHT_FOUND)
		found(search, number, OPENER_LOOP, name);
	else if (sight == SIGHT_UNKNOWN)
		incomplete(search, "%s cannot be looked at", name);
}

static void look_at_loops(struct search *search)
{
	_cleanup_closedir_ DIR *dir = opendir("/sys/block");
	struct dirent *entry;

	if (!dir) {
		incomplete(search, "/sys/block cannot be read");
		return;
	}
	while ((entry = readdir(dir))) {
		int number = number_after(entry->d_name, "loop");

		if (number >= 0)
			look_at_loop(search, number);
	}
}

int openers_child(int out_fd, void *arg)
{
	struct search search = { .asked = arg, .answer = { .magic = MAGIC, .complete = 1 } };
	int r;

	r = look_at_processes(&search);
	if (r < 0)
		return r;
	look_at_loops(&search);
	/* Less than PIPE_BUF: a pipe takes it whole. */
	return write(out_fd, &search.answer, sizeof(search.answer)) ==
			       (ssize_t)sizeof(search.answer)
		       ? 0
		       : -EIO;
}

static bool is_printable(const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return length < size;
}

int openers_decode(const void *data, size_t size, struct openers *ret)
{
	struct answer answer;

	if (size != sizeof(answer))
		return -EBADMSG;
	memcpy(&answer, data, sizeof(answer));
	if (answer.magic != MAGIC || answer.complete > 1 || answer.n_listed > OPENERS_LISTED_MAX ||
	    answer.count < answer.n_listed || (answer.count > 0 && answer.n_listed == 0) ||
	    (answer.n_unknown > 0) != (answer.unknown_pid != 0) ||
	    (answer.complete && (answer.n_unknown || answer.reason[0])) ||
	    !is_printable(answer.reason, sizeof(answer.reason)))
		return -EBADMSG;
	for (size_t i = 0; i < answer.n_listed; i++)
		if (answer.listed[i].kind > OPENER_LOOP ||
		    !is_printable(answer.listed[i].name, sizeof(answer.listed[i].name)))
			return -EBADMSG;
	*ret = (struct openers){
		.count = answer.count,
		.complete = answer.complete,
		.n_unknown = answer.n_unknown,
		.unknown_pid = answer.unknown_pid,
		.n_listed = answer.n_listed,
	};
	memcpy(ret->reason, answer.reason, sizeof(ret->reason));
	memcpy(ret->listed, answer.listed, sizeof(ret->listed));
	return 0;
}
