/* SPDX-License-Identifier: Apache-2.0 */
#include "host/dial.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

static_assert(PLUGGED_MAX >= INVENTORY_VIRTIO_MEMS_MAX, "all devices have room");

static const struct inventory_virtio_mem *find(const struct virtio_mems *mems, const char *id)
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
		const struct inventory_virtio_mem *mem = &now->devices[i];
		struct journal_mem *first = &ret->devices[ret->n];

		if (!mem->id[0])
			continue;
		strcpy(first->id, mem->id);
		first->requested_bytes = mem->requested_bytes;
		first->bytes = mem->bytes;
		ret->n++;
	}
}

uint64_t dial_most_bytes(const struct inventory *inventory, const struct journal_mems *first)
{
	uint64_t bytes = inventory->memory_bytes;

	for (size_t i = 0; i < inventory->n_virtio_mems; i++) {
		const struct inventory_virtio_mem *mem = &inventory->virtio_mems[i];

		bytes -= mem->bytes;
		for (size_t j = 0; j < first->n; j++)
			if (strcmp(first->devices[j].id, mem->id) == 0)
				bytes += first->devices[j].requested_bytes > mem->requested_bytes
						 ? first->devices[j].requested_bytes
						 : mem->requested_bytes;
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

void dial_plugged(const struct journal_mems *first, const struct virtio_mems *now,
		  struct plugged *ret)
{
	*ret = (struct plugged){ 0 };
	for (size_t i = 0; i < first->n; i++) {
		const struct inventory_virtio_mem *mem = find(now, first->devices[i].id);

		if (mem)
			ret->devices[ret->n++] = (struct plugged_device){
				.block_bytes = mem->block_bytes,
				.bytes = mem->bytes,
				.requested_bytes = mem->requested_bytes,
				.first_bytes = first->devices[i].bytes,
				.first_requested_bytes = first->devices[i].requested_bytes,
			};
	}
}

static void command(struct dial *d, const char *name, json_t *arguments, qmp_reply_fn *fn)
{
	static const struct qmp_reply closed = { .result = -ENOTCONN,
						 .error_class = "",
						 .error = "the QMP connection is closed" };

	if (qmp_command(d->qmp, name, arguments, now_usec() + d->request.command_usec, fn, d,
			&d->command) < 0)
		d->done(d, &closed, d->userdata);
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

static void request_next(struct dial *d, const struct qmp_reply *last)
{
	const struct journal_mem *mem = &d->wanted[d->next];
	char path[sizeof("/machine/peripheral/") + sizeof(mem->id)];

	if (d->next == d->n_wanted) {
		d->done(d, last, d->userdata);
		return;
	}
	d->next++;
	snprintf(path, sizeof(path), "/machine/peripheral/%s", mem->id);
	command(d, "qom-set",
		json_pack("{ss ss sI}", "path", path, "property", "requested-size", "value",
			  (json_int_t)mem->requested_bytes),
		on_requested);
}

/* One that was unplugged meanwhile has nothing to give or to take. */
static const struct qmp_reply *unless_gone(const struct qmp_reply *reply, const char *class)
{
	static const struct qmp_reply taken = { .error_class = "", .error = "" };

	return reply->result == -EREMOTEIO && strcmp(reply->error_class, class) == 0 ? &taken
										      : reply;
}

static void on_requested(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct dial *d = userdata;

	(void)qmp;
	reply = unless_gone(reply, "DeviceNotFound");
	if (answered(d, reply))
		request_next(d, reply);
}

static void want(struct dial *d, const struct inventory_virtio_mem *mem, uint64_t bytes)
{
	struct journal_mem *wanted = &d->wanted[d->n_wanted];

	if (bytes == mem->requested_bytes)
		return;
	strcpy(wanted->id, mem->id);
	wanted->requested_bytes = bytes;
	d->n_wanted++;
}

static void unplug_want(struct dial *d, const struct virtio_mems *mems,
			const struct plugged *plugged)
{
	const struct plugged_device *fullest = plugged_fullest(plugged);

	for (size_t i = 0, n = 0; fullest && i < d->request.entry->mems.n; i++) {
		const struct inventory_virtio_mem *mem = find(mems, d->request.entry->mems.devices[i].id);

		if (!mem || &plugged->devices[n++] != fullest)
			continue;
		want(d, mem,
		     mem->bytes > d->request.unplug_bytes ? mem->bytes - d->request.unplug_bytes
							   : 0);
	}
}

/* A device that is gone took with it what it had; the size was meant with that. */
static void size_want(struct dial *d, const struct virtio_mems *mems, const struct plugged *plugged)
{
	const struct journal_mems *first = &d->request.entry->mems;
	struct plugged_order order;
	uint64_t gone = dial_first_bytes(first);

	for (size_t i = 0; i < plugged->n; i++)
		gone -= plugged->devices[i].first_bytes;
	plugged_size(plugged, d->request.entry->original_bytes - gone, d->request.bytes - gone,
		     &order);
	for (size_t i = 0, n = 0; i < first->n; i++) {
		const struct inventory_virtio_mem *mem = find(mems, first->devices[i].id);

		if (mem)
			want(d, mem, order.requested_bytes[n++]);
	}
	d->balloon_bytes = order.balloon_bytes;
}

static void on_target(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct dial *d = userdata;

	(void)qmp;
	if (d->request.entry->mems.n)
		reply = unless_gone(reply, "DeviceNotActive");
	if (answered(d, reply))
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
	if (d->request.unplug_bytes) {
		unplug_want(d, &mems, &plugged);
		request_next(d, reply);
	} else {
		size_want(d, &mems, &plugged);
		command(d, "balloon", target(d->balloon_bytes), on_target);
	}
}

int dial_set(struct dial *dial, struct qmp *qmp, const struct dial_request *request,
	     dial_done_fn *done, void *userdata)
{
	bool looks = request->entry->mems.n > 0;

	*dial = (struct dial){
		.qmp = qmp, .request = *request, .done = done, .userdata = userdata
	};
	return qmp_command(qmp, looks ? "query-memory-devices" : "balloon",
			   looks ? NULL : target(request->bytes),
			   now_usec() + request->command_usec, looks ? on_looked : on_target, dial,
			   &dial->command);
}

void dial_cancel(struct dial *dial, struct qmp *qmp)
{
	if (dial->command && dial->qmp == qmp)
		qmp_cancel(qmp, dial->command);
	dial->command = 0;
}
