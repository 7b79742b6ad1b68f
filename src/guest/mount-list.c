/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/mount-list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum kind {
	KIND_WANTED,   /* has files that we open */
	KIND_HARMLESS, /* may be passed on the way down */
	KIND_BAR,      /* could make us wait, or is not known */
};

static enum kind type_kind(const char *type)
{
	/* The kernel's own names; each one's export operations open by handle. */
	static const char *const wanted[] = { "ext4",  "xfs",  "btrfs", "ext2", "ext3",
					      "erofs", "f2fs", "vfat",	"msdos" };
	/* On local devices, in memory, or views of the kernel. overlay may lie on a network file
	 * system and asks it then: RESOLVE_CACHED ends that walk. */
	static const char *const harmless[] = { "tmpfs",      "overlay",    "proc",	"sysfs",
						"devtmpfs",   "devpts",	    "cgroup",	"cgroup2",
						"nsfs",	      "mqueue",	    "bpf",	"tracefs",
						"debugfs",    "securityfs", "configfs", "pstore",
						"efivarfs",   "hugetlbfs",  "ramfs",	"rootfs",
						"squashfs",   "iso9660",    "fusectl",	"selinuxfs",
						"binfmt_misc" };

	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++)
		if (strcmp(type, wanted[i]) == 0)
			return KIND_WANTED;
	for (unsigned i = 0; i < ARRAY_SIZE(harmless); i++)
		if (strcmp(type, harmless[i]) == 0)
			return KIND_HARMLESS;
	return KIND_BAR;
}

struct line {
	unsigned id;
	uint32_t device;
	char *path;
	enum kind kind;
	uint64_t subvolume;
};

static void path_unescape(char *path)
{
	char *out = path;

	/* mountinfo writes blanks and backslashes as three octal digits. */
	for (const char *in = path; *in; in++) {
		if (in[0] == '\\' && strspn(in + 1, "01234567") >= 3) {
			*out++ = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 3;
		} else {
			*out++ = *in;
		}
	}
	*out = '\0';
}

static uint64_t subvolume_of(const char *type, const char *options)
{
	/* Before subvol=, which is a path and could have anything in it. */
	const char *at = strcmp(type, "btrfs") == 0 ? strstr(options, "subvolid=") : NULL;

	return at ? strtoull(at + strlen("subvolid="), NULL, 10) : 0;
}

/* proc(5): id, parent, major:minor, root, mount point, options, any number of optional fields,
 * a hyphen, type, source, options of the super block. */
static int line_parse(char *text, struct line *ret)
{
	char *fields[6], *type, *field, *rest = text;
	unsigned maj, min;

	text[strcspn(text, "\n")] = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		fields[i] = strsep(&rest, " ");
	do
		field = strsep(&rest, " ");
	while (field && strcmp(field, "-") != 0);
	type = strsep(&rest, " ");
	(void)strsep(&rest, " ");
	if (!rest || fields[4][0] != '/' || sscanf(fields[0], "%u", &ret->id) != 1 ||
	    sscanf(fields[2], "%u:%u", &maj, &min) != 2 || maj > 0xfff || min > 0xfffff)
		return -EBADMSG;
	ret->device = maj << 20 | min;
	ret->path = fields[4];
	path_unescape(ret->path);
	ret->kind = type_kind(type);
	ret->subvolume = subvolume_of(type, rest);
	return 0;
}

static void list_add(struct mount_list *list, const struct line *line)
{
	size_t bytes = strlen(line->path) + 1;
	unsigned same = 0;
	bool new_subvolume = line->subvolume != 0;

	for (unsigned i = 0; i < list->count; i++) {
		if (list->mounts[i].device != line->device)
			continue;
		same++;
		new_subvolume &= list->mounts[i].subvolume != line->subvolume;
	}
	if (list->count == MOUNTS_MAX || bytes > sizeof(list->text) - list->text_bytes ||
	    (same >= MOUNTS_PER_DEVICE && !new_subvolume))
		return;
	list->mounts[list->count].device = line->device;
	list->mounts[list->count].id = line->id;
	list->mounts[list->count].path = list->text_bytes;
	list->mounts[list->count].barred = false;
	list->mounts[list->count].subvolume = line->subvolume;
	list->count++;
	memcpy(list->text + list->text_bytes, line->path, bytes);
	list->text_bytes += (uint32_t)bytes;
}

/* Whether a walk to @path comes by @point. */
static bool path_passes(const char *path, const char *point)
{
	size_t length = strlen(point);

	if (length == 1)
		return true;
	return strncmp(path, point, length) == 0 && (path[length] == '/' || !path[length]);
}

/* It does not matter which of two is mounted over the other: the walk may meet either. */
static void list_bar(struct mount_list *list, const char *point)
{
	for (unsigned i = 0; i < list->count; i++)
		if (path_passes(list->text + list->mounts[i].path, point))
			list->mounts[i].barred = true;
}

static void line_take(struct mount_list *list, const struct line *line, uint32_t device, bool bars)
{
	list->rooted |= strcmp(line->path, "/") == 0;
	if (bars && line->kind == KIND_BAR)
		list_bar(list, line->path);
	else if (!bars && line->kind == KIND_WANTED && (!device || line->device == device))
		list_add(list, line);
}

static int lines_read(struct mount_list *list, int fd, uint32_t device, bool bars)
{
	_cleanup_close_ int again = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	struct line line;

	/* A stream of its own: rewind(3) keeps what is in the buffer, and the file changes. */
	if (again < 0 || lseek(again, 0, SEEK_SET) < 0)
		return -errno;
	f = fdopen(again, "r");
	if (!f)
		return -errno;
	TAKE_FD(again);
	while (getline(&text, &size, f) > 0) {
		int r = line_parse(text, &line);

		if (r < 0)
			return r;
		line_take(list, &line, device, bars);
	}
	return ferror(f) ? -EIO : 0;
}

int mount_list_read(struct mount_list *list, int fd, uint32_t device)
{
	int r;

	list->count = 0;
	list->text_bytes = 0;
	list->rooted = false;
	/* Bars may be told after what they bar: in a pass of their own, none need be kept. */
	r = lines_read(list, fd, device, false);
	return r < 0 ? r : lines_read(list, fd, device, true);
}

bool mount_list_has_way(const struct mount_list *list)
{
	for (unsigned i = 0; i < list->count; i++)
		if (!list->mounts[i].barred)
			return true;
	return false;
}
