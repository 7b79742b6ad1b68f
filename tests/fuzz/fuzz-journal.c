/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a journal entry; and the same as a line of /proc/PID/stat. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/journal-parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read is written as it was understood. */
static void check_entry(const uint8_t *data, size_t size)
{
	struct journal_entry entry, again;
	char *text, *second;

	if (journal_parse((const char *)data, size, &entry) < 0)
		return;
	if (journal_format(&entry, &text) < 0 || strlen(text) > JOURNAL_FILE_MAX ||
	    journal_parse(text, strlen(text), &again) < 0 || journal_format(&again, &second) < 0 ||
	    strcmp(text, second) != 0)
		abort();
	free(text);
	free(second);
}

static void check_stat(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	uint64_t ticks;

	if (!text)
		return;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	(void)journal_parse_stat(text, &ticks);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 2 * JOURNAL_FILE_MAX)
		return 0;
	check_entry(data, size);
	check_stat(data, size);
	return 0;
}
