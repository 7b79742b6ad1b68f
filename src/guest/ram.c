/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"

#define PAGE_SHIFT 12

int ram_read(const char *path, struct ram *ret)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	struct ram ram = { 0 };
	char line[256];

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		uint64_t first, last;

		/* Plugged memory is indented below its device, "System RAM (virtio_mem)". */
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " : ", &first, &last) != 2 ||
		    !strstr(line, " : System RAM"))
			continue;
		if (last == 0)
			return -EPERM;
		uint64_t start = (first + (1 << PAGE_SHIFT) - 1) >> PAGE_SHIFT;
		uint64_t end = (last + 1) >> PAGE_SHIFT;

		if (end <= start)
			continue;
		if (ram.count == RAM_RANGES_MAX)
			return -E2BIG;
		ram.ranges[ram.count++] = (struct ram_range){ start, end - start, ram.pages };
		ram.pages += end - start;
	}
	if (!ram.count)
		return -ENODATA;
	*ret = ram;
	return 0;
}
