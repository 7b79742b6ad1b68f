/* SPDX-License-Identifier: Apache-2.0 */
#include "host/journal-parse.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "host/json-get.h"
#include "host/virtio-mem.h"

/* The second version lists devices. Where there are none the first one is written, which an older
 * daemon reads, too. */
#define VERSION	     1
#define VERSION_MEMS 2
#define MEMBERS	     11
#define MEMBERS_MEM  3
#define UUID_LENGTH  36

/* 8-4-4-4-12 hexadecimal digits, as query-uuid and the kernel write them. */
static bool uuid_valid(const char *text)
{
	for (size_t i = 0; i < UUID_LENGTH; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !text[i] || !strchr("0123456789abcdefABCDEF", text[i]))
			return false;
	}
	return text[UUID_LENGTH] == '\0';
}

static bool qom_path_valid(const char *text)
{
	if (text[0] != '/')
		return false;
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

static bool mems_valid(const struct journal_entry *e)
{
	uint64_t rest = e->original_bytes;

	for (size_t i = 0; i < e->mems.n; i++) {
		const struct journal_mem *mem = &e->mems.devices[i];

		/* They are a part of what the guest had. */
		if (!virtio_mem_id_valid(mem->id) || mem->requested_bytes > INT64_MAX ||
		    mem->bytes >= rest)
			return false;
		rest -= mem->bytes;
	}
	return true;
}

static bool entry_valid(const struct journal_entry *e)
{
	return mems_valid(e) && config_check_name(e->vm) >= 0 &&
	       url_check_path(e->qmp, NULL) >= 0 && (e->uuid[0] == '\0' || uuid_valid(e->uuid)) &&
	       e->pid > 0 && e->start_ticks <= INT64_MAX && uuid_valid(e->boot_id) &&
	       e->original_bytes > 0 && e->original_bytes <= INT64_MAX &&
	       e->target_bytes <= INT64_MAX &&
	       (e->stats_path[0] == '\0' || qom_path_valid(e->stats_path)) &&
	       e->stats_seconds <= UINT32_MAX;
}

static bool mem_read(const json_t *json, struct journal_mem *ret)
{
	return json_object_size(json) == MEMBERS_MEM &&
	       json_get_string(json, "id", ret->id, sizeof(ret->id)) &&
	       json_get_u64(json, "requested_bytes", &ret->requested_bytes) &&
	       json_get_u64(json, "bytes", &ret->bytes);
}

static bool mems_read(const json_t *json, uint64_t version, struct journal_entry *e)
{
	const json_t *mems = json_object_get(json, "virtio_mem"), *mem;
	size_t i;

	if (version == VERSION)
		return json_object_size(json) == MEMBERS;
	if (version != VERSION_MEMS || json_object_size(json) != MEMBERS + 1 ||
	    json_array_size(mems) == 0 || json_array_size(mems) > ARRAY_SIZE(e->mems.devices))
		return false;
	json_array_foreach (mems, i, mem)
		if (!mem_read(mem, &e->mems.devices[e->mems.n++]))
			return false;
	return true;
}

int journal_parse(const char *text, size_t size, struct journal_entry *ret)
{
	json_auto_t *json = size > JOURNAL_FILE_MAX
				    ? NULL
				    : json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	struct journal_entry e = { 0 };
	uint64_t version, pid;

	if (!json_get_u64(json, "version", &version) || !mems_read(json, version, &e) ||
	    !json_get_string(json, "vm", e.vm, sizeof(e.vm)) ||
	    !json_get_string(json, "qmp", e.qmp, sizeof(e.qmp)) ||
	    !json_get_string(json, "uuid", e.uuid, sizeof(e.uuid)) ||
	    !json_get_u64(json, "pid", &pid) || pid > INT_MAX ||
	    !json_get_u64(json, "start_ticks", &e.start_ticks) ||
	    !json_get_string(json, "boot_id", e.boot_id, sizeof(e.boot_id)) ||
	    !json_get_u64(json, "original_bytes", &e.original_bytes) ||
	    !json_get_u64(json, "target_bytes", &e.target_bytes) ||
	    !json_get_string(json, "stats_path", e.stats_path, sizeof(e.stats_path)) ||
	    !json_get_u64(json, "stats_seconds", &e.stats_seconds))
		return -EBADMSG;
	e.pid = (pid_t)pid;
	if (!entry_valid(&e))
		return -EBADMSG;
	*ret = e;
	return 0;
}

static json_t *mems_json(const struct journal_entry *e)
{
	json_t *mems = json_array();

	for (size_t i = 0; i < e->mems.n; i++)
		json_array_append_new(mems,
				      json_pack("{ss sI sI}", "id", e->mems.devices[i].id,
						"requested_bytes",
						(json_int_t)e->mems.devices[i].requested_bytes,
						"bytes", (json_int_t)e->mems.devices[i].bytes));
	return mems;
}

int journal_format(const struct journal_entry *e, char **ret)
{
	json_auto_t *json = NULL;

	if (!entry_valid(e))
		return -EINVAL;
	json = json_pack(
		"{si ss ss ss sI sI ss sI sI ss sI}", "version", e->mems.n ? VERSION_MEMS : VERSION,
		"vm", e->vm, "qmp", e->qmp, "uuid", e->uuid, "pid", (json_int_t)e->pid,
		"start_ticks", (json_int_t)e->start_ticks, "boot_id", e->boot_id, "original_bytes",
		(json_int_t)e->original_bytes, "target_bytes", (json_int_t)e->target_bytes,
		"stats_path", e->stats_path, "stats_seconds", (json_int_t)e->stats_seconds);
	/* Anything but UTF-8 has no place in JSON. */
	if (!json)
		return -EINVAL;
	if (e->mems.n && json_object_set_new(json, "virtio_mem", mems_json(e)) < 0)
		return -ENOMEM;
	*ret = json_dumps(json, 0);
	return *ret ? 0 : -ENOMEM;
}

int journal_parse_stat(const char *text, uint64_t *ret_ticks)
{
	const char *end = strrchr(text, ')');
	uint64_t ticks;
	char state;

	if (!end || sscanf(end,
			   ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
			   "%*d %*d %" SCNu64,
			   &state, &ticks) != 2)
		return -EBADMSG;
	if (state == 'Z' || state == 'X' || state == 'x')
		return -ESRCH;
	*ret_ticks = ticks;
	return 0;
}
