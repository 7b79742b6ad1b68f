/* SPDX-License-Identifier: Apache-2.0 */
#include "base/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static int parse_digits(const char **text, uint64_t *ret_value)
{
	const char *p = *text;
	uint64_t value = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10U, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -ERANGE;
	*text = p;
	*ret_value = value;
	return 0;
}

int parse_u64(const char *text, uint64_t *ret_value)
{
	uint64_t value;
	int r = parse_digits(&text, &value);

	if (r < 0)
		return r;
	if (*text)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

static int suffix_shift(char c)
{
	switch (c) {
	case 'K':
	case 'k':
		return 10;
	case 'M':
	case 'm':
		return 20;
	case 'G':
	case 'g':
		return 30;
	case 'T':
	case 't':
		return 40;
	default:
		return -EINVAL;
	}
}

int parse_size(const char *text, uint64_t *ret_bytes)
{
	uint64_t value;
	int shift = 0, r = parse_digits(&text, &value);

	if (r < 0)
		return r;
	if (*text) {
		shift = suffix_shift(*text);
		if (shift < 0 || text[1])
			return -EINVAL;
	}
	if (value > UINT64_MAX >> shift)
		return -ERANGE;
	*ret_bytes = value << shift;
	return 0;
}

int parse_bool(const char *text, bool *ret)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(text, words[i]) == 0) {
			*ret = i % 2;
			return 0;
		}
	return -EINVAL;
}

/* "12%" or "12.5%", in tenths. */
static int parse_percent(const char *text, uint32_t *ret_permille)
{
	uint64_t whole, tenth = 0;
	int r = parse_digits(&text, &whole);

	if (r < 0)
		return r;
	if (*text == '.') {
		if (text[1] < '0' || text[1] > '9')
			return -EINVAL;
		tenth = (uint64_t)(text[1] - '0');
		text += 2;
	}
	if (strcmp(text, "%") != 0 || whole > 100 || whole * 10 + tenth > 1000 ||
	    whole * 10 + tenth == 0)
		return -EINVAL;
	*ret_permille = (uint32_t)(whole * 10 + tenth);
	return 0;
}

int limit_text_parse(const char *text, struct limit_text *ret)
{
	struct limit_text limit = { .kind = LIMIT_TEXT_BYTES };
	int r;

	if (!*text || strcmp(text, "default") == 0) {
		limit.kind = LIMIT_TEXT_DEFAULT;
	} else if (strcmp(text, "off") == 0) {
		limit.kind = LIMIT_TEXT_OFF;
	} else if (strchr(text, '%')) {
		limit.kind = LIMIT_TEXT_PERMILLE;
		r = parse_percent(text, &limit.permille);
		if (r < 0)
			return -EINVAL;
	} else {
		r = parse_size(text, &limit.bytes);
		if (r < 0)
			return r;
		if (limit.bytes > INT64_MAX)
			return -ERANGE;
		if (!limit.bytes)
			limit.kind = LIMIT_TEXT_OFF;
	}
	*ret = limit;
	return 0;
}

const char *limit_text_format(const struct limit_text *limit, char buffer[static LIMIT_TEXT_SIZE])
{
	switch (limit->kind) {
	case LIMIT_TEXT_BYTES:
		snprintf(buffer, LIMIT_TEXT_SIZE, "%" PRIu64, limit->bytes);
		break;
	case LIMIT_TEXT_PERMILLE:
		snprintf(buffer, LIMIT_TEXT_SIZE, "%u.%u%%", limit->permille / 10,
			 limit->permille % 10);
		break;
	default:
		snprintf(buffer, LIMIT_TEXT_SIZE, "%s",
			 limit->kind == LIMIT_TEXT_OFF ? "off" : "default");
	}
	return buffer;
}

int size_text_parse(const char *text, struct size_text *ret)
{
	struct size_text size = { .kind = SIZE_TEXT_BYTES };
	int r;

	if (strcmp(text, "max") == 0) {
		*ret = (struct size_text){ .kind = SIZE_TEXT_MAX };
		return 0;
	}
	if (*text == '-' || *text == '+')
		size.kind = *text++ == '-' ? SIZE_TEXT_LESS : SIZE_TEXT_MORE;
	r = parse_size(text, &size.bytes);
	if (r < 0)
		return r;
	if (!size.bytes || size.bytes > INT64_MAX)
		return size.bytes ? -ERANGE : -EINVAL;
	*ret = size;
	return 0;
}

int size_text_apply(const struct size_text *size, uint64_t now_bytes, uint64_t max_bytes,
		    uint64_t *ret_bytes)
{
	uint64_t bytes = size->bytes;

	if (size->kind == SIZE_TEXT_MAX)
		bytes = max_bytes;
	else if (size->kind == SIZE_TEXT_LESS)
		bytes = now_bytes > bytes ? now_bytes - bytes : 0;
	else if (size->kind == SIZE_TEXT_MORE && __builtin_add_overflow(bytes, now_bytes, &bytes))
		return -ERANGE;
	if (!bytes || bytes > INT64_MAX)
		return -ERANGE;
	*ret_bytes = bytes;
	return 0;
}
