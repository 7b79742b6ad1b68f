/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/settings-parse.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/ini.h"
#include "base/log.h"

#define BOOT_KEY   "unmapped_page_control"
#define SMBIOS_KEY "pagepact.cache_limit"
#define SECTION	   "agent"

#define LIMIT_EXPECTED "a size (128M), a share of memory (10%), off or default"

/* DMTF DSP0134: structure header, OEM Strings, End-of-Table. */
#define SMBIOS_HEADER_BYTES 4
#define SMBIOS_OEM_STRINGS  11
#define SMBIOS_OEM_COUNT    4 /* offset */
#define SMBIOS_END	    127

/* What a second must at least let go for eviction to be worth its while: a few large folios. */
#define EVICT_BYTES_MIN ((uint64_t)1 << 20)
#define EVICT_BYTES_MAX ((uint64_t)1 << 50)

void settings_warn(struct settings_reader *reader, unsigned line, const char *format, ...)
{
	char where[256], what[256];
	va_list ap;

	if (!reader->warn || reader->warnings > SETTINGS_WARNINGS_MAX)
		return;
	if (line > 0)
		snprintf(where, sizeof(where), "%s:%u", reader->where, line);
	else
		snprintf(where, sizeof(where), "%s", reader->where);
	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	if (reader->warnings++ == SETTINGS_WARNINGS_MAX)
		snprintf(what, sizeof(what), "too many warnings: the others are not shown");
	reader->warn(where, log_clean(what), reader->userdata);
}

static bool read_limit(struct settings_reader *reader, const char *key, const char *value,
		       struct limit_text *ret)
{
	if (limit_text_parse(value, ret) == 0)
		return true;
	settings_warn(reader, 0, "%s must be %s, not \"%.80s\": ignored", key, LIMIT_EXPECTED,
		      value);
	return false;
}

static char *unquote(char *text)
{
	size_t n;

	if (*text != '"')
		return text;
	text++;
	n = strlen(text);
	if (n > 0 && text[n - 1] == '"')
		text[n - 1] = '\0';
	return text;
}

/* Takes one word off *rest; returns its name, or NULL at the end. */
static char *next_word(char **rest, char **ret_value)
{
	char *word = *rest, *end;
	bool quote = false;

	while (isspace((unsigned char)*word))
		word++;
	if (!*word)
		return NULL;
	for (end = word; *end && (quote || !isspace((unsigned char)*end)); end++)
		if (*end == '"')
			quote = !quote;
	*rest = *end ? end + 1 : end;
	*end = '\0';
	word = unquote(word);
	end = *word ? strchr(word + 1, '=') : NULL;
	*ret_value = NULL;
	if (end) {
		*end = '\0';
		*ret_value = unquote(end + 1);
	}
	return word;
}

static bool same_parameter(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if ((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b))
			return false;
	return *a == *b;
}

bool settings_parse_cmdline(struct settings_reader *reader, char *text, struct limit_text *ret)
{
	size_t n = strlen(text);
	char *word, *value;
	bool found = false;

	if (n > 0 && text[n - 1] == '\n')
		text[n - 1] = '\0';
	while ((word = next_word(&text, &value))) {
		if (strcmp(word, "--") == 0 && !value)
			break;
		if (same_parameter(word, BOOT_KEY))
			found |= read_limit(reader, BOOT_KEY, value ? value : "", ret);
	}
	return found;
}

/* What follows KEY= in a string; "" for KEY alone; NULL when it is not about KEY. */
static const char *value_of(const char *string, const char *key)
{
	size_t n = strlen(key);

	if (strncmp(string, key, n) != 0 || (string[n] && string[n] != '='))
		return NULL;
	return string + n + (string[n] == '=');
}

static bool read_oem_string(struct settings_reader *reader, const char *string,
			    struct limit_text *ret)
{
	const char *value = value_of(string, BOOT_KEY);

	if (value)
		return read_limit(reader, BOOT_KEY, value, ret);
	value = value_of(string, SMBIOS_KEY);
	if (!value)
		return false;
	if (*value)
		return read_limit(reader, SMBIOS_KEY, value, ret);
	settings_warn(reader, 0, "%s has no value, ignored: it must be %s", SMBIOS_KEY,
		      LIMIT_EXPECTED);
	return false;
}

/* The first @count strings of a set; returns where the structure after it begins. */
static size_t read_strings(struct settings_reader *reader, const uint8_t *data, size_t size,
			   size_t at, unsigned count, struct limit_text *ret, bool *found)
{
	size_t start = at, n;

	for (; at < size && data[at]; at += n + 1) {
		n = strnlen((const char *)data + at, size - at);
		if (n == size - at)
			return size;
		if (count == 0)
			continue;
		*found |= read_oem_string(reader, (const char *)data + at, ret);
		count--;
	}
	/* An empty set is two NUL bytes. */
	at += at == start ? 2 : 1;
	return at < size ? at : size;
}

bool settings_parse_smbios(struct settings_reader *reader, const uint8_t *data, size_t size,
			   struct limit_text *ret)
{
	bool found = false;
	size_t at = 0;

	while (size - at >= SMBIOS_HEADER_BYTES && data[at] != SMBIOS_END) {
		const uint8_t *header = data + at;
		unsigned strings = 0;

		if (header[1] < SMBIOS_HEADER_BYTES || header[1] > size - at)
			break;
		if (header[0] == SMBIOS_OEM_STRINGS && header[1] > SMBIOS_OEM_COUNT)
			strings = header[SMBIOS_OEM_COUNT];
		at = read_strings(reader, data, size, at + header[1], strings, ret, &found);
	}
	return found;
}

static bool set_cache_limit(const char *value, struct settings *settings)
{
	if (!*value || limit_text_parse(value, &settings->limit) < 0)
		return false;
	settings->origin = WIRE_ORIGIN_FILE;
	return true;
}

static bool set_number(const char *value, uint64_t least, uint64_t most, uint32_t *ret)
{
	uint64_t number;

	if (parse_u64(value, &number) < 0 || number < least || number > most)
		return false;
	*ret = (uint32_t)number;
	return true;
}

static bool set_scan_cpu(const char *value, struct settings *settings)
{
	return set_number(value, 1, 1000, &settings->cpu_permille);
}

static bool set_evict_cpu(const char *value, struct settings *settings)
{
	return set_number(value, 1, 1000, &settings->evict_cpu_permille);
}

static bool set_evict_bytes(const char *value, struct settings *settings)
{
	uint64_t bytes;

	if (parse_size(value, &bytes) < 0 || bytes < EVICT_BYTES_MIN || bytes > EVICT_BYTES_MAX)
		return false;
	settings->evict_bytes_per_sec = bytes;
	return true;
}

static bool set_hot(const char *value, struct settings *settings)
{
	return set_number(value, 1, SETTINGS_HOT_SEC_MAX, &settings->hot_sec);
}

static bool set_slab(const char *value, struct settings *settings)
{
	return parse_bool(value, &settings->slab) == 0;
}

static bool set_cache_first(const char *value, struct settings *settings)
{
	return parse_bool(value, &settings->cache_first) == 0;
}

#define TEXT(number)  #number
#define VALUE(number) TEXT(number)

static const struct key {
	const char *name;
	bool (*set)(const char *value, struct settings *settings);
	const char *expected;
} agent_keys[] = {
	{ "cache_limit", set_cache_limit, LIMIT_EXPECTED },
	{ "scan_cpu_permille", set_scan_cpu, "1 to 1000 thousandths of a CPU" },
	{ "evict_cpu_permille", set_evict_cpu, "1 to 1000 thousandths of a CPU" },
	{ "evict_bytes_per_second", set_evict_bytes, "a size from 1M to 1024T" },
	{ "hot_seconds", set_hot, "1 to " VALUE(SETTINGS_HOT_SEC_MAX) " seconds" },
	{ "slab", set_slab, "yes or no" },
	{ "reclaim_cache_first", set_cache_first, "yes or no" },
};

struct conf {
	struct settings_reader *reader;
	struct settings *settings;
	uint64_t seen; /* bits of keys, by their place in the table */
};

static int conf_key(const char *section, const char *name, const char *value, unsigned int line,
		    void *userdata)
{
	struct conf *conf = userdata;
	size_t i = 0;

	if (!name) {
		settings_warn(conf->reader, line, "%s: line ignored", value);
		return 0;
	}
	if (strcmp(section, SECTION) != 0) {
		settings_warn(conf->reader, line,
			      "\"%.80s\" is in section [%.80s], ignored: only [" SECTION
			      "] is known here",
			      name, section);
		return 0;
	}
	while (i < ARRAY_SIZE(agent_keys) && strcmp(name, agent_keys[i].name) != 0)
		i++;
	if (i == ARRAY_SIZE(agent_keys)) {
		settings_warn(conf->reader, line, "unknown key \"%.80s\", ignored", name);
		return 0;
	}
	if (conf->seen & (1ULL << i))
		settings_warn(conf->reader, line, "%s is given twice: the last one counts", name);
	conf->seen |= 1ULL << i;
	if (!agent_keys[i].set(value, conf->settings))
		settings_warn(conf->reader, line, "%s must be %s, not \"%.80s\": ignored", name,
			      agent_keys[i].expected, value);
	return 0;
}

void settings_parse_conf(struct settings_reader *reader, const char *text, size_t size,
			 struct settings *settings)
{
	struct conf conf = { reader, settings, 0 };

	if (ini_parse(text, size, conf_key, &conf) < 0)
		settings_warn(reader, 0, "no memory to read it, ignored");
}
