/* SPDX-License-Identifier: Apache-2.0 */
#include "host/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/read.h"
#include "host/journal-parse.h"

#define STAT_MAX 1024

int journal_process(const char *root, pid_t pid, struct journal_entry *ret)
{
	_cleanup_free_ char *stat = NULL, *boot_id = NULL;
	char path[256];
	uint64_t ticks;
	size_t size;
	int r;

	if (pid <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "%s/proc/%d/stat", root, (int)pid);
	r = read_file(AT_FDCWD, path, STAT_MAX, &stat, &size);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	r = journal_parse_stat(stat, &ticks);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/proc/sys/kernel/random/boot_id", root);
	r = read_file(AT_FDCWD, path, sizeof(ret->boot_id), &boot_id, &size);
	if (r < 0)
		return r;
	boot_id[strcspn(boot_id, "\n")] = '\0';
	if (strlen(boot_id) >= sizeof(ret->boot_id))
		return -EBADMSG;
	ret->pid = pid;
	ret->start_ticks = ticks;
	strcpy(ret->boot_id, boot_id);
	return 0;
}

bool journal_is_live(const char *root, const struct journal_entry *entry)
{
	struct journal_entry now = { 0 };
	int r = journal_process(root, entry->pid, &now);

	if (r < 0)
		return r != -ESRCH;
	return now.start_ticks == entry->start_ticks && strcmp(now.boot_id, entry->boot_id) == 0;
}

static int dir_open(const char *runtime_dir)
{
	_cleanup_close_ int dir = open(runtime_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	return RET_ERRNO(openat(dir, "journal.d", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}

/* mkdir -p of two levels: the runtime directory's own parent is there. */
static int dir_make(const char *runtime_dir)
{
	_cleanup_close_ int dir = -1;

	if (mkdir(runtime_dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	dir = open(runtime_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	if (mkdirat(dir, "journal.d", 0700) < 0 && errno != EEXIST)
		return -errno;
	return dir_open(runtime_dir);
}

static int text_write(int dir, const char *name, const char *text)
{
	_cleanup_close_ int fd =
		openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t size = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, size);
	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -ENOSPC;
}

int journal_write(const char *runtime_dir, const struct journal_entry *entry)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int dir = -1;
	char temporary[CONFIG_NAME_MAX + 8];
	int r = journal_format(entry, &text);

	if (r < 0)
		return r;
	dir = dir_make(runtime_dir);
	if (dir < 0)
		return dir;
	/* No guest's name begins with a dot. */
	snprintf(temporary, sizeof(temporary), ".%s.new", entry->vm);
	r = text_write(dir, temporary, text);
	if (r >= 0)
		r = RET_ERRNO(renameat(dir, temporary, dir, entry->vm));
	if (r < 0)
		(void)unlinkat(dir, temporary, 0);
	return r;
}

int journal_read(const char *runtime_dir, const char *vm, struct journal_entry *ret)
{
	_cleanup_close_ int dir = dir_open(runtime_dir);
	_cleanup_close_ int fd = -1;
	char text[JOURNAL_FILE_MAX + 1];
	struct journal_entry entry;
	struct stat st;
	ssize_t n;
	int r;

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	fd = openat(dir, vm, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : errno == ELOOP ? -EBADMSG : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	n = read(fd, text, sizeof(text));
	if (n < 0)
		return -errno;
	r = journal_parse(text, (size_t)n, &entry);
	/* A copy under another name is about no guest of that name. */
	if (r < 0 || strcmp(entry.vm, vm) != 0)
		return -EBADMSG;
	*ret = entry;
	return 1;
}

int journal_remove(const char *runtime_dir, const char *vm)
{
	_cleanup_close_ int dir = dir_open(runtime_dir);

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	if (unlinkat(dir, vm, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void journal_list_free(char **names, int n)
{
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

static int list_add(char ***names, int n, const char *name)
{
	char **longer = reallocarray(*names, (size_t)n + 1, sizeof(*longer));

	if (!longer)
		return -ENOMEM;
	*names = longer;
	longer[n] = strdup(name);
	return longer[n] ? 0 : -ENOMEM;
}

int journal_list(const char *runtime_dir, char ***ret)
{
	_cleanup_close_ int fd = dir_open(runtime_dir);
	_cleanup_closedir_ DIR *dir = NULL;
	char **names = NULL;
	int n = 0, r = 0;

	*ret = NULL;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	fd = -1;
	for (struct dirent *e; r >= 0 && (e = readdir(dir));)
		/* Which leaves out what a write that was cut short has left. */
		if (config_check_name(e->d_name) >= 0) {
			r = list_add(&names, n, e->d_name);
			n += r >= 0;
		}
	if (r < 0) {
		journal_list_free(names, n);
		return r;
	}
	qsort(names, (size_t)n, sizeof(*names), by_name);
	*ret = names;
	return n;
}
