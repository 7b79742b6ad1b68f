/* SPDX-License-Identifier: Apache-2.0 */
/* Whether 2 MiB could be given back whole. */
#ifndef PAGEPACT_GUEST_SUPERPAGE_H
#define PAGEPACT_GUEST_SUPERPAGE_H

#include "guest/scan.h"

#define SUPERPAGE_PAGES 512
/* So many pages are few: a sixteenth. Chosen, not measured. */
#define SUPERPAGE_SPOILERS_MAX 32

enum superpage {
	SUPERPAGE_USED,
	SUPERPAGE_SPOILED,     /* reclaimable but for a few pages, of a kind that can be moved */
	SUPERPAGE_RECLAIMABLE, /* nothing but free pages and ones that the kernel would drop */
	SUPERPAGE_FREE,
};

/**
 * superpage_judge() - what a superpage is
 * @pages: SUPERPAGE_PAGES of them, from its first on
 */
enum superpage superpage_judge(const struct scan_page *pages);

#endif
