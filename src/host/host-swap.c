/* SPDX-License-Identifier: Apache-2.0 */
#include "host/host-swap.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"

#define KIB 1024

/* Its first line, or "". */
static void line_read(const char *root, const char *name, char *ret, size_t size)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[PATH_MAX];

	ret[0] = '\0';
	snprintf(path, sizeof(path), "%s%s", root, name);
	f = fopen(path, "re");
	if (f && !fgets(ret, (int)size, f))
		ret[0] = '\0';
}

/* Whether any device does. */
static bool kernel_knows_zeros(const char *root)
{
	char release[128], enabled[8];
	int major = 0, minor = 0;

	line_read(root, "/proc/sys/kernel/osrelease", release, sizeof(release));
	if (sscanf(release, "%d.%d", &major, &minor) == 2 &&
	    (major > 6 || (major == 6 && minor >= 12)))
		return true;
	line_read(root, "/sys/module/zswap/parameters/enabled", enabled, sizeof(enabled));
	return enabled[0] == 'Y';
}

uint64_t host_swap_bytes(const char *root)
{
	bool all = kernel_knows_zeros(root);
	_cleanup_fclose_ FILE *f = NULL;
	char path[PATH_MAX], line[PATH_MAX + 128], name[PATH_MAX];
	uint64_t size, used, bytes = 0;

	snprintf(path, sizeof(path), "%s/proc/swaps", root);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%4095s %*s %" SCNu64 " %" SCNu64, name, &size, &used) == 3 &&
		    size > used && (all || strncmp(name, "/dev/zram", strlen("/dev/zram")) == 0))
			bytes += (size - used) * KIB;
	return bytes;
}
