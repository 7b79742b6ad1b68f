/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives src/guest/slab.c in a guest: `slab-tool shrink LEAST_BYTES CPU_USEC`, `slab-tool press
 * BYTES`. One JSON object on stdout; exit status 1 when the call failed, 2 for bad usage.
 */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "guest/slab.h"

#include <stdio.h>

static int shrink(uint64_t least_bytes, uint64_t cpu_usec)
{
	uint64_t start = now_usec(), wall_usec;
	struct slab_result result = { 0 };
	int r = slab_shrink("", least_bytes, cpu_usec, &result);

	wall_usec = now_usec() - start;
	printf("{\"status\": %d, \"freed_bytes\": %" PRIu64 ", \"cpu_usec\": %" PRIu64
	       ", \"wall_usec\": %" PRIu64 ", \"caches_tried\": %u, \"caches\": {",
	       r, result.freed_bytes, result.usec, wall_usec, result.caches_tried);
	for (uint32_t i = 0; i < result.caches_told; i++) {
		const struct slab_cache *c = &result.caches[i];

		printf("%s\"%s\": [%" PRIu64 ", %" PRIu64 "]", i ? ", " : "", c->name,
		       c->before_bytes, c->after_bytes);
	}
	printf("}}\n");
	return r < 0;
}

static int press(uint64_t bytes)
{
	uint64_t freed = 0;
	int r = slab_press("", bytes, UINT64_MAX, &freed);

	printf("{\"status\": %d, \"freed_bytes\": %" PRIu64 "}\n", r, freed);
	return r < 0;
}

int main(int argc, char **argv)
{
	uint64_t a, b;

	if (argc == 4 && strcmp(argv[1], "shrink") == 0 && parse_u64(argv[2], &a) == 0 &&
	    parse_u64(argv[3], &b) == 0)
		return shrink(a, b);
	if (argc == 3 && strcmp(argv[1], "press") == 0 && parse_u64(argv[2], &a) == 0)
		return press(a);
	fprintf(stderr, "usage: slab-tool shrink LEAST_BYTES CPU_USEC | press BYTES\n");
	return 2;
}
