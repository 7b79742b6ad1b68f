/* SPDX-License-Identifier: Apache-2.0 */
/* What every verb of pagepact knows: where the daemon is, and how to print. */
#ifndef PAGEPACT_CTL_CTL_H
#define PAGEPACT_CTL_CTL_H

#include <stdbool.h>

#define CTL_SOCKET_DEFAULT "/run/pagepact/control.sock"

/** enum ctl_exit - exit codes, as pagepact(1) documents them */
enum ctl_exit {
	CTL_DONE = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_UNREACHABLE = 3,
	CTL_REFUSED = 4,
};

/**
 * struct ctl - the global options
 * @socket_path: of the daemon's control socket
 * @timeout_sec: to wait for the whole answer; 0 for the verb's own
 */
struct ctl {
	const char *socket_path;
	unsigned timeout_sec;
	bool json;
	bool raw_bytes;
	bool noheadings;
	bool help;
	bool version;
};

#endif
