/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a QMP peer: the parser, fed in pieces whose size the first byte says; each message's
 * "return" is the answer to the next question of an inventory, or its "error" the refusal.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/inventory-build.h"
#include "host/qmp-parse.h"
#include "host/qmp-text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct inventory *inventory)
{
	if (inventory->n_disks > INVENTORY_DISKS_MAX ||
	    inventory->n_memdevs > INVENTORY_MEMDEVS_MAX ||
	    inventory->n_notes > INVENTORY_NOTES_MAX ||
	    inventory->balloon_bytes > inventory->memory_bytes)
		abort();
	for (size_t i = 0; i < inventory->n_disks; i++) {
		const struct inventory_disk *disk = &inventory->disks[i];

		if (disk->n_layers > INVENTORY_LAYERS_MAX || (disk->complete && !disk->n_layers) ||
		    !disk->complete != !!disk->reason[0])
			abort();
	}
}

static int take_message(json_t *message, void *userdata)
{
	struct inventory_build *build = userdata;
	json_t *error = json_object_get(message, "error");
	const char *class = json_string_value(json_object_get(error, "class"));
	struct inventory_blockstats stats;
	json_t *arguments = NULL;
	const char *command;
	char text[256], *line;

	build_blockstats(json_object_get(message, "return"), &stats);
	if (stats.n_disks > 0)
		(void)inventory_io_find(&stats, &build->inventory->disks[0]);
	if (inventory_build_next(build, &command, &arguments) <= 0)
		return 0;
	line = qmp_text_command(command, arguments, 1);
	if (!line)
		abort();
	free(line);
	qmp_text_clean(text, sizeof(text), json_string_value(json_object_get(error, "desc")));
	if (error)
		inventory_build_refusal(build, class ? class : "", text);
	else
		inventory_build_answer(build, json_object_get(message, "return"));
	check(build->inventory);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct inventory_build *build = inventory_build_new();
	struct qmp_parser parser = { 0 };
	size_t piece;
	int r = 0;

	if (!build || size == 0)
		goto out;
	piece = data[0] ? data[0] : size;
	for (size_t at = 1; at < size && r == 0; at += piece) {
		size_t n = size - at < piece ? size - at : piece;

		r = qmp_parser_feed(&parser, data + at, n, take_message, build);
	}
	if ((r < 0) != (parser.reason != NULL))
		abort();
out:
	qmp_parser_done(&parser);
	inventory_build_free(build);
	return 0;
}
