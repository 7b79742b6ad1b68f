/* SPDX-License-Identifier: Apache-2.0 */
#include "base/psi.h"

#include <inttypes.h>

#include "base/cleanup.h"

int psi_read(const char *root, const char *what, struct psi *ret)
{
	_cleanup_fclose_ FILE *f = NULL;
	unsigned whole, hundredths;
	char path[256], line[256];
	uint64_t usec;

	snprintf(path, sizeof(path), "%s/proc/pressure/%s", root, what);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	errno = 0;
	if (!fgets(line, sizeof(line), f))
		return errno ? -errno : -EBADMSG;
	if (sscanf(line, "some avg10=%3u.%2u avg60=%*u.%*u avg300=%*u.%*u total=%" SCNu64, &whole,
		   &hundredths, &usec) != 3)
		return -EBADMSG;
	*ret = (struct psi){ whole * 100 + hundredths, usec };
	return 0;
}
