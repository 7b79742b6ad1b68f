/* SPDX-License-Identifier: Apache-2.0 */
/* Pressure stall information: how long tasks wait for memory or for I/O. */
#ifndef PAGEPACT_BASE_PSI_H
#define PAGEPACT_BASE_PSI_H

#include <stdint.h>

/**
 * struct psi - the line "some": at least one task waited
 * @some_avg10_hundredths: share of the last ten seconds, in hundredths of a per cent: 100 is 1 %
 * @some_total_usec: since the machine was started
 */
struct psi {
	uint32_t some_avg10_hundredths;
	uint64_t some_total_usec;
};

/**
 * psi_read() - read /proc/pressure/@what
 * @root: "" for this machine, or a fixture's directory
 * @what: "memory" or "io"
 *
 * A kernel without PSI is blind to pressure, which is not the same as none: -ENOENT where it was
 * built or started without (psi=0), and -EOPNOTSUPP on older kernels.
 *
 * Return: 0; or -errno, -EBADMSG for a text that is none of the kernel's.
 */
int psi_read(const char *root, const char *what, struct psi *ret);

#endif
