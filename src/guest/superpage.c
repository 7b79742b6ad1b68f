/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/superpage.h"

#include "guest/page.h"

enum superpage superpage_judge(const struct scan_page *pages)
{
	unsigned nothing = 0, reclaimable = 0, movable = 0;

	for (unsigned i = 0; i < SUPERPAGE_PAGES; i++) {
		nothing += pages[i].kind == SCAN_FREE;
		if (page_reclaimable(&pages[i]))
			reclaimable++;
		else
			movable += page_movable(&pages[i]);
	}
	if (nothing == SUPERPAGE_PAGES)
		return SUPERPAGE_FREE;
	if (nothing + reclaimable == SUPERPAGE_PAGES)
		return SUPERPAGE_RECLAIMABLE;
	if (nothing + reclaimable + movable == SUPERPAGE_PAGES && movable <= SUPERPAGE_SPOILERS_MAX)
		return SUPERPAGE_SPOILED;
	return SUPERPAGE_USED;
}
