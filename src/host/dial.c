/* SPDX-License-Identifier: Apache-2.0 */
#include "host/dial.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

static_assert(PLUGGED_MAX >= VIRTIO_MEMS_MAX, "all devices have room");

static const struct virtio_mem *find(const struct virtio_mems *mems, const char *id)
{
	for (size_t i = 0; i < mems->n; i++)
		if (strcmp(mems->devices[i].id, id) == 0)
			return &mems->devices[i];
	return NULL;
}

void dial_first(const struct virtio_mems *now, struct journal_mems *ret)
{
	*ret = (struct journal_mems){ 0 };
	for (size_t i = 0; i < now->n; i++) {
		const struct virtio_mem *mem = &now->devices[i];
		struct journal_mem *first = &ret->devices[ret->n];

		/* Of one that has nothing of what it is to have nobody knows whether its driver
		 * will come. */
		if (!mem->id[0] || (!mem->bytes && mem->requested_bytes))
			continue;
		strcpy(first->id, mem->id);
		first->requested_bytes = mem->requested_bytes;
		first->bytes = mem->bytes;
		ret->n++;
	}
}

static uint64_t most_of(const struct journal_mem *first, const struct virtio_mem *now)
{
	uint64_t most = now->requested_bytes;

	if (first->requested_bytes > most)
		most = first->requested_bytes;
	return first->bytes > most ? first->bytes : most;
}

uint64_t dial_most_bytes(const struct inventory *inventory, const struct journal_mems *first)
{
	uint64_t bytes = inventory->memory_bytes;

	for (size_t i = 0; i < inventory->virtio_mems.n; i++) {
		const struct virtio_mem *mem = &inventory->virtio_mems.devices[i];

		bytes -= mem->bytes;
		for (size_t j = 0; j < first->n; j++)
			if (strcmp(first->devices[j].id, mem->id) == 0)
				bytes += most_of(&first->devices[j], mem);
	}
	return bytes;
}

uint64_t dial_first_bytes(const struct journal_mems *first)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < first->n; i++)
		bytes += first->devices[i].bytes;
	return bytes;
}

uint64_t dial_gone_bytes(const struct journal_mems *first, const struct plugged *plugged)
{
	uint64_t bytes = dial_first_bytes(first);

	for (size_t i = 0; i < plugged->n; i++)
		bytes -= plugged->devices[i].first_bytes;
	return bytes;
}

void dial_plugged(const struct journal_mems *first, const struct virtio_mems *now,
		  struct plugged *ret)
{
	*ret = (struct plugged){ 0 };
	for (size_t i = 0; i < first->n; i++) {
		const struct virtio_mem *mem = find(now, first->devices[i].id);

		if (mem)
			ret->devices[ret->n++] = (struct plugged_device){
				.index = (unsigned int)i,
				.block_bytes = mem->block_bytes,
				.bytes = mem->bytes,
				.requested_bytes = mem->requested_bytes,
				.first_bytes = first->devices[i].bytes,
				.first_requested_bytes = first->devices[i].requested_bytes,
			};
	}
}

static int command(struct dial *d, const char *name, json_t *arguments, qmp_reply_fn *fn)
{
	return qmp_command(d->qmp, name, arguments, now_usec() + d->request.command_usec, fn, d,
			   &d->command);
}

static void closed(struct dial *d)
{
	static const struct qmp_reply reply = { .result = -ENOTCONN,
						.error_class = "",
						.error = "the QMP connection is closed" };

	d->done(d, &reply, d->userdata);
}

/* Return: whether it goes on. */
static bool answered(struct dial *d, const struct qmp_reply *reply)
{
	d->command = 0;
	if (reply->result >= 0)
		return true;
	d->done(d, reply, d->userdata);
	return false;
}

static void on_requested(struct qmp *qmp, const struct qmp_reply *reply, void *userdata);

static void finish(struct dial *d, const struct qmp_reply *last)
{
	const struct qmp_reply refused = { .result = -EREMOTEIO,
					   .error_class = "GenericError",
					   .error = d->error };

	d->done(d, d->is_refused ? &refused : last, d->userdata);
}

static int request_send(struct dial *d)
{
	const struct journal_mem *mem = &d->wanted[d->next++];
	char path[sizeof("/machine/peripheral/") + sizeof(mem->id)];

	snprintf(path, sizeof(path), "/machine/peripheral/%s", mem->id);
	return command(d, "qom-set",
		       json_pack("{ss ss sI}", "path", path, "property", "requested-size", "value",
				 (json_int_t)mem->requested_bytes),
		       on_requested);
}

static void request_next(struct dial *d, const struct qmp_reply *last)
{
	if (d->next == d->n_wanted)
		finish(d, last);
	else if (request_send(d) < 0)
		closed(d);
}

/* One that was unplugged meanwhile has nothing to give or to take. */
static const struct qmp_reply *unless_gone(const struct qmp_reply *reply, const char *class)
{
	static const struct qmp_reply taken = { .error_class = "", .error = "" };
	bool is_gone = reply->result == -EREMOTEIO && strcmp(reply->error_class, class) == 0;

	return is_gone ? &taken : reply;
}

static void on_requested(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct dial *d = userdata;

	(void)qmp;
	reply = unless_gone(reply, "DeviceNotFound");
	d->command = 0;
	if (reply->result == -EREMOTEIO) {
		if (!d->is_refused)
			snprintf(d->error, sizeof(d->error), "%s", reply->error);
		d->is_refused = true;
	} else if (!answered(d, reply)) {
		return;
	}
	request_next(d, reply);
}

/* As much of it as the device can have: one of the same id may have taken another's place. */
static void want(struct dial *d, const struct virtio_mem *mem, uint64_t bytes)
{
	struct journal_mem *wanted = &d->wanted[d->n_wanted];

	if (bytes > mem->max_bytes)
		bytes = mem->max_bytes;
	bytes -= bytes % mem->block_bytes;
	if (bytes == mem->requested_bytes)
		return;
	strcpy(wanted->id, mem->id);
	wanted->requested_bytes = bytes;
	d->n_wanted++;
}

/*
 * A device that is gone had nothing plugged in when it went, and what it had once is nobody's to
 * give back. Where blocks are to come back, none of a block's pages is taken before that is there.
 */
static void size_want(struct dial *d, const struct virtio_mems *mems, const struct plugged *plugged)
{
	const struct journal_mems *first = &d->request.entry->mems;
	uint64_t gone = dial_gone_bytes(first, plugged), bytes = d->request.bytes;
	uint64_t original = d->request.entry->original_bytes - gone;
	struct plugged_order order;

	if (bytes > original)
		bytes = bytes - original > gone ? bytes - gone : original;
	if (!d->request.is_exact)
		d->request.bytes = bytes = plugged_whole_bytes(plugged, original, bytes);
	plugged_size(plugged, original, bytes, &order);
	for (size_t i = 0; i < plugged->n; i++)
		want(d, find(mems, first->devices[plugged->devices[i].index].id),
		     order.requested_bytes[i]);
	d->balloon_bytes = order.balloon_bytes;
}

static void on_target(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct dial *d = userdata;

	(void)qmp;
	if (d->request.entry->mems.n)
		reply = unless_gone(reply, "DeviceNotActive");
	if (!answered(d, reply))
		return;
	d->is_target_set = true;
	request_next(d, reply);
}

static json_t *target(uint64_t bytes)
{
	return json_pack("{sI}", "value", (json_int_t)bytes);
}

static void on_looked(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct dial *d = userdata;
	struct virtio_mems mems;
	struct plugged plugged;

	(void)qmp;
	if (!answered(d, reply))
		return;
	virtio_mems_read(reply->value, &mems);
	dial_plugged(&d->request.entry->mems, &mems, &plugged);
	if (plugged.n < d->request.entry->mems.n && !mems.is_whole) {
		d->is_refused = true;
		snprintf(d->error, sizeof(d->error),
			 "its list of memory devices cannot be read as a whole");
		finish(d, reply);
		return;
	}
	size_want(d, &mems, &plugged);
	if (command(d, "balloon", target(d->balloon_bytes), on_target) < 0)
		closed(d);
}

int dial_set(struct dial *dial, struct qmp *qmp, const struct dial_request *request,
	     dial_done_fn *done, void *userdata)
{
	*dial = (struct dial){
		.qmp = qmp, .request = *request, .done = done, .userdata = userdata
	};
	if (request->unplug.id[0]) {
		dial->wanted[dial->n_wanted++] = request->unplug;
		return request_send(dial);
	}
	if (request->entry->mems.n)
		return command(dial, "query-memory-devices", NULL, on_looked);
	return command(dial, "balloon", target(request->bytes), on_target);
}

void dial_cancel(struct dial *dial, struct qmp *qmp)
{
	if (dial->command && dial->qmp == qmp)
		qmp_cancel(qmp, dial->command);
	dial->command = 0;
}
