/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/loader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "guest/symbol.h"

static int loader_log(enum libbpf_print_level level, const char *format, va_list ap)
{
	_cleanup_free_ char *text = NULL;
	char *rest = NULL;

	if (level == LIBBPF_DEBUG)
		return 0;
	if (vasprintf(&text, format, ap) < 0) {
		text = NULL;
		return 0;
	}
	/* The verifier's reasons are many lines in one message. */
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		log_debug("%s", line);
	return 0;
}

void loader_begin(void)
{
	libbpf_set_print(loader_log);
}

uint64_t loader_address(enum loader_variable variable)
{
	static struct symbol symbols[LOADER_VARIABLES] = {
		[LOADER_VMEMMAP_BASE] = { .name = "vmemmap_base" },
		[LOADER_INIT_ON_ALLOC] = { .name = "init_on_alloc" },
	};
	static bool is_known;

	if (!is_known)
		(void)symbols_find("", symbols, LOADER_VARIABLES);
	is_known = true;
	return symbols[variable].address;
}

static bool is_confidential(void)
{
	_cleanup_fclose_ FILE *f = fopen("/sys/kernel/security/lockdown", "re");
	char line[128];

	return f && fgets(line, sizeof(line), f) && strstr(line, "[confidentiality]");
}

void loader_reason(int error, const char *whose, char *ret_reason, size_t reason_size)
{
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		snprintf(ret_reason, reason_size,
			 "the kernel has no BTF (/sys/kernel/btf/vmlinux)");
	else if (is_confidential())
		snprintf(ret_reason, reason_size,
			 "the kernel is locked down (confidentiality): BPF may not read it");
	else if (error == EPERM) /* the verifier says EACCES */
		snprintf(ret_reason, reason_size,
			 "BPF is not permitted: not root, or the kernel is locked down");
	else
		snprintf(ret_reason, reason_size,
			 "the kernel refused the %s's BPF program (--verbose shows its words)",
			 whose);
}

int loader_run(struct bpf_program *program)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	if (bpf_prog_test_run_opts(bpf_program__fd(program), &opts) < 0)
		return -errno;
	return opts.retval == 1 ? 0 : -EOPNOTSUPP;
}
