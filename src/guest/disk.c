/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/disk.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"

#define SECTOR_BYTES	  512
#define SECTORS_PER_BLOCK (WIRE_BLOCK_BYTES / SECTOR_BYTES)

/* One line of a sysfs attribute, without the white space around it. */
static int attribute_read(const char *directory, const char *name, char *ret, size_t size)
{
	char path[PATH_MAX];
	_cleanup_fclose_ FILE *f = NULL;

	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	f = fopen(path, "re");
	if (!f)
		return -errno;
	ret[0] = '\0';
	if (!fgets(ret, (int)size, f))
		return -ENODATA;
	size_t length = strlen(ret);
	while (length && isspace((unsigned char)ret[length - 1]))
		ret[--length] = '\0';
	return 0;
}

static int attribute_number(const char *directory, const char *name, uint64_t *ret)
{
	char text[32];
	int r = attribute_read(directory, name, text, sizeof(text));

	if (r < 0)
		return r;
	return sscanf(text, "%" SCNu64, ret) == 1 ? 0 : -ENODATA;
}

static bool component_is_pci(const char *c)
{
	/* dddd:bb:ss.f */
	return strlen(c) == 12 && c[4] == ':' && c[7] == ':' && c[10] == '.';
}

/* The last PCI function on the way to the disk is the disk's own. */
static void pci_address_of(const char *path, char *ret, size_t size)
{
	_cleanup_free_ char *copy = strdup(path);
	char *rest = NULL;

	if (!copy)
		return;
	for (char *c = strtok_r(copy, "/", &rest); c; c = strtok_r(NULL, "/", &rest))
		if (component_is_pci(c))
			snprintf(ret, size, "%s", c);
}

static int disk_enter(struct disk_table *t, const char *directory, uint32_t *ret)
{
	const char *name = strrchr(directory, '/') + 1;
	struct wire_disk *disk;
	uint64_t sectors;
	int r;

	for (unsigned i = 0; i < t->count; i++)
		if (strcmp(t->names[i], name) == 0) {
			*ret = i;
			return 0;
		}
	if (t->count == WIRE_DISKS_MAX || strlen(name) >= sizeof(t->names[0]))
		return -E2BIG;
	r = attribute_number(directory, "size", &sectors);
	if (r < 0)
		return r;
	disk = &t->disks[t->count];
	*disk = (struct wire_disk){ .disk = t->count, .size_bytes = sectors * SECTOR_BYTES };
	pci_address_of(directory, disk->pci_address, sizeof(disk->pci_address));
	(void)attribute_read(directory, "serial", disk->serial, sizeof(disk->serial));
	snprintf(t->names[t->count], sizeof(t->names[0]), "%s", name);
	*ret = t->count++;
	return 0;
}

static int device_directory(const struct disk_table *t, dev_t device, char *ret)
{
	char link[PATH_MAX];

	snprintf(link, sizeof(link), "%s/dev/block/%u:%u", t->sysfs, major(device), minor(device));
	return realpath(link, ret) ? 0 : -errno;
}

int disk_find(struct disk_table *t, dev_t device, struct disk_place *ret)
{
	char directory[PATH_MAX];
	struct disk_place place = { 0 };
	uint64_t start = 0, sectors, partition;
	int r = device_directory(t, device, directory);

	if (r < 0)
		return r;
	/* Device mapper, md, loop, zram and their like have no device below them. */
	if (strstr(directory, "/devices/virtual/"))
		return -EOPNOTSUPP;
	r = attribute_number(directory, "size", &sectors);
	if (r < 0)
		return r;
	if (attribute_number(directory, "partition", &partition) == 0) {
		r = attribute_number(directory, "start", &start);
		if (r < 0)
			return r;
		*strrchr(directory, '/') = '\0';
	}
	if (start % SECTORS_PER_BLOCK)
		return -EBADF;
	r = disk_enter(t, directory, &place.disk);
	if (r < 0)
		return r;
	place.first_block = start / SECTORS_PER_BLOCK;
	place.blocks = sectors / SECTORS_PER_BLOCK;
	*ret = place;
	return 0;
}

int disk_find_node(const struct disk_table *t, dev_t device)
{
	char directory[PATH_MAX], path[PATH_MAX];
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r = device_directory(t, device, directory);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/dev/%s", strrchr(directory, '/') + 1);
	fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISBLK(st.st_mode) || st.st_rdev != device)
		return -ESTALE;
	return TAKE_FD(fd);
}
