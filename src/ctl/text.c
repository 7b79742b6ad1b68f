/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/text.h"

#include <langinfo.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/*
 * Characters beyond ASCII that are not shown as themselves: format and bidirectional controls
 * (Unicode 15, category Cf), line and paragraph separators, surrogates, non-characters, private
 * use. C1 controls too: xterm obeys them in UTF-8.
 */
static const struct {
	uint32_t first, last;
} hidden[] = {
	{ 0x80, 0xa0 },		 { 0xad, 0xad },       { 0x600, 0x605 },     { 0x61c, 0x61c },
	{ 0x6dd, 0x6dd },	 { 0x70f, 0x70f },     { 0x890, 0x891 },     { 0x8e2, 0x8e2 },
	{ 0x115f, 0x1160 },	 { 0x180b, 0x180f },   { 0x200b, 0x200f },   { 0x2028, 0x202f },
	{ 0x205f, 0x206f },	 { 0x3164, 0x3164 },   { 0xd800, 0xf8ff },   { 0xfe00, 0xfe0f },
	{ 0xfeff, 0xfeff },	 { 0xffa0, 0xffa0 },   { 0xfff0, 0xfffb },   { 0xfffe, 0xffff },
	{ 0x110bd, 0x110cd },	 { 0x13430, 0x1343f }, { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a },
	{ 0xe0000, UINT32_MAX },
};

bool text_is_utf8(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* Length of the UTF-8 character at @s; 0 if there is none. Overlong forms count as none. */
static size_t decode(const unsigned char *s, uint32_t *ret_char)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length;
	uint32_t c;

	if (s[0] < 0x80) {
		*ret_char = s[0];
		return 1;
	}
	length = s[0] >= 0xc2 && s[0] < 0xe0   ? 2
		 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
		 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
					       : 0;
	c = length ? s[0] & (0xffU >> (length + 1)) : 0;
	for (size_t i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (length == 0 || c < least[length] || c > 0x10ffff)
		return 0;
	*ret_char = c;
	return length;
}

static bool is_shown(uint32_t c, bool utf8)
{
	if (c < 0x80)
		return c >= 0x20 && c != 0x7f && c != '\\';
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		if (c >= hidden[i].first && c <= hidden[i].last)
			return false;
	return utf8;
}

static void put_escaped(FILE *f, uint32_t c)
{
	if (c == '\\')
		fputs("\\\\", f);
	else if (c < 0x80)
		fprintf(f, "\\x%02x", c);
	else if (c < 0x10000)
		fprintf(f, "\\u%04x", c);
	else
		fprintf(f, "\\U%08x", c);
}

char *text_escape(const char *text, bool utf8)
{
	const unsigned char *s = (const unsigned char *)text;
	char *result = NULL;
	size_t size;
	FILE *f = open_memstream(&result, &size);

	if (!f)
		return NULL;
	while (*s) {
		uint32_t c;
		size_t length = decode(s, &c);

		if (length == 0)
			fprintf(f, "\\x%02x", *s);
		else if (is_shown(c, utf8))
			fwrite(s, 1, length, f);
		else
			put_escaped(f, c);
		s += length ?: 1;
	}
	if (fclose(f) != 0) {
		free(result);
		return NULL;
	}
	return result;
}

/* jansson escapes everything that text_escape() does, save DEL, which only strings can hold. */
char *text_json(const json_t *value, size_t flags)
{
	_cleanup_free_ char *json = json_dumps(value, flags | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
	char *result = NULL;
	size_t size;
	FILE *f = json ? open_memstream(&result, &size) : NULL;

	if (!f)
		return NULL;
	for (const char *p = json; *p; p++)
		if (*p == 0x7f)
			fputs("\\u007f", f);
		else
			putc(*p, f);
	if (fclose(f) != 0) {
		free(result);
		return NULL;
	}
	return result;
}

const char *text_size(long long bytes, bool raw, char buffer[static TEXT_SIZE_MAX])
{
	static const struct {
		uint64_t unit, least;
		const char *name;
	} units[] = {
		{ 1ULL << 40, 10ULL << 40, "TiB" },
		{ 1ULL << 30, 10ULL << 30, "GiB" },
		{ 1ULL << 20, 1ULL << 20, "MiB" },
		{ 1ULL << 10, 1ULL << 10, "KiB" },
	};
	uint64_t magnitude = bytes < 0 ? -(uint64_t)bytes : (uint64_t)bytes;
	const char *sign = bytes < 0 ? "-" : "";

	for (size_t i = 0; !raw && i < ARRAY_SIZE(units); i++) {
		uint64_t unit = units[i].unit, whole, tenths;

		if (magnitude < units[i].least)
			continue;
		whole = magnitude / unit;
		tenths = (magnitude % unit * 10 + unit / 2) / unit;
		snprintf(buffer, TEXT_SIZE_MAX, "%s%llu.%llu %s", sign,
			 (unsigned long long)(whole + tenths / 10),
			 (unsigned long long)(tenths % 10), units[i].name);
		return buffer;
	}
	snprintf(buffer, TEXT_SIZE_MAX, "%lld%s", bytes, raw ? "" : " B");
	return buffer;
}

const char *text_permille(long long permille, char buffer[static TEXT_SIZE_MAX])
{
	uint64_t magnitude = permille < 0 ? -(uint64_t)permille : (uint64_t)permille;

	snprintf(buffer, TEXT_SIZE_MAX, "%s%llu.%llu", permille < 0 ? "-" : "",
		 (unsigned long long)(magnitude / 10), (unsigned long long)(magnitude % 10));
	return buffer;
}

const char *text_duration(long long usec, char buffer[static TEXT_SIZE_MAX])
{
	long long seconds = usec / 1000000;

	if (seconds < 120)
		snprintf(buffer, TEXT_SIZE_MAX, "%lld.%lld s", seconds,
			 llabs(usec % 1000000) / 100000);
	else if (seconds < 2 * 3600)
		snprintf(buffer, TEXT_SIZE_MAX, "%lld min", seconds / 60);
	else if (seconds < 2 * 86400)
		snprintf(buffer, TEXT_SIZE_MAX, "%lld h", seconds / 3600);
	else
		snprintf(buffer, TEXT_SIZE_MAX, "%lld d", seconds / 86400);
	return buffer;
}
