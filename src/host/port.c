/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach: chardev-add, device_add. A character device of our name without a port on it is what a
 * daemon leaves that was killed between the two: it is removed and made anew. One with a port on it
 * cannot be removed (QEMU says it is busy), which is how the two are told apart.
 *
 * detach: device_del, chardev-remove. The character device stays busy for some milliseconds after
 * its port has gone (QEMU frees that by RCU), so its removal is tried again until the deadline.
 */
#include "host/port.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "host/inventory.h"
#include "host/url.h"

#define RETRY_USEC 20000

enum port_step {
	STEP_CHARDEV,
	STEP_CHARDEV_CLEAR,
	STEP_CHARDEV_AGAIN,
	STEP_DEVICE,
	STEP_UNDO,
	STEP_DEVICE_DEL,
	STEP_CHARDEV_REMOVE,
};

struct port_change {
	struct qmp *qmp;
	uint64_t command;
	uint64_t deadline_usec;
	sd_event_source *retry;
	enum port_step step;
	char bus[INVENTORY_ID_MAX];
	char path[URL_PATH_SIZE];
	char error[256];
	port_done_fn *done;
	void *userdata;
};

struct port_change *port_change_free(struct port_change *change)
{
	if (!change)
		return NULL;
	if (change->command)
		qmp_cancel(change->qmp, change->command);
	sd_event_source_disable_unref(change->retry);
	free(change);
	return NULL;
}

static void port_change_freep(struct port_change **change)
{
	*change = port_change_free(*change);
}

static json_t *chardev_arguments(const struct port_change *change)
{
	return json_pack("{s:s,s:{s:s,s:{s:{s:s,s:{s:s}},s:b,s:b}}}", "id", PORT_ID, "backend",
			 "type", "socket", "data", "addr", "type", "unix", "data", "path",
			 change->path, "server", 1, "wait", 0);
}

static json_t *device_arguments(const struct port_change *change)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:s}", "driver", "virtserialport", "id", PORT_ID, "bus",
			 change->bus, "chardev", PORT_ID, "name", INVENTORY_PORT_NAME);
}

static void answered(struct qmp *qmp, const struct qmp_reply *reply, void *userdata);

static int go(struct port_change *change, enum port_step step)
{
	const char *command;
	json_t *arguments;

	change->step = step;
	switch (step) {
	case STEP_CHARDEV:
	case STEP_CHARDEV_AGAIN:
		command = "chardev-add";
		arguments = chardev_arguments(change);
		break;
	case STEP_DEVICE:
		command = "device_add";
		arguments = device_arguments(change);
		break;
	case STEP_DEVICE_DEL:
		command = "device_del";
		arguments = json_pack("{s:s}", "id", PORT_ID);
		break;
	default:
		command = "chardev-remove";
		arguments = json_pack("{s:s}", "id", PORT_ID);
		break;
	}
	if (!arguments)
		return -ENOMEM;
	return qmp_command(change->qmp, command, arguments, change->deadline_usec, answered, change,
			   &change->command);
}

static int refused(struct port_change *change, int result, const struct qmp_reply *reply)
{
	snprintf(change->error, sizeof(change->error), "%s", reply->error);
	return result;
}

static void finish(struct port_change *change, int result)
{
	if (result < 0 && change->error[0] == '\0')
		snprintf(change->error, sizeof(change->error), "%s", strerror(-result));
	change->done(result, result < 0 ? change->error : "", change->userdata);
}

static int retry_handler(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct port_change *change = userdata;
	int r;

	(void)source;
	(void)usec;
	change->retry = sd_event_source_disable_unref(change->retry);
	r = go(change, change->step);
	if (r < 0)
		finish(change, r);
	return 0;
}

static bool is_busy(const struct qmp_reply *reply)
{
	return reply->result < 0 && strstr(reply->error, "busy");
}

/* Tries the same step again a little later. */
static int try_again(struct port_change *change)
{
	uint64_t next = now_usec() + RETRY_USEC;
	int r;

	if (next >= change->deadline_usec)
		return -ETIMEDOUT;
	r = sd_event_add_time(qmp_event(change->qmp), &change->retry, CLOCK_MONOTONIC, next, 1000,
			      retry_handler, change);
	return r < 0 ? r : 1;
}

/* Return: 1 when one more answer is awaited, 0 when all is done, or a negative errno. */
static int next(struct port_change *change, const struct qmp_reply *reply)
{
	bool ok = reply->result == 0;
	int r = 0;

	switch (change->step) {
	case STEP_CHARDEV:
		(void)refused(change, 0, reply);
		r = go(change, ok ? STEP_DEVICE : STEP_CHARDEV_CLEAR);
		break;
	case STEP_CHARDEV_CLEAR:
		if (is_busy(reply))
			return refused(change, -EEXIST, reply);
		/* Nothing of our name was in the way, then: the first refusal stands. */
		if (!ok)
			return -EREMOTEIO;
		r = go(change, STEP_CHARDEV_AGAIN);
		break;
	case STEP_CHARDEV_AGAIN:
		if (!ok)
			return refused(change, -EREMOTEIO, reply);
		r = go(change, STEP_DEVICE);
		break;
	case STEP_DEVICE:
		if (ok)
			return 0;
		(void)refused(change, 0, reply);
		r = go(change, STEP_UNDO);
		break;
	case STEP_UNDO:
		if (is_busy(reply))
			return try_again(change);
		return strstr(change->error, "already exists") ? -EEXIST : -EREMOTEIO;
	case STEP_DEVICE_DEL:
		if (!ok && strcmp(reply->error_class, "DeviceNotFound") != 0)
			return refused(change, -EREMOTEIO, reply);
		r = go(change, STEP_CHARDEV_REMOVE);
		break;
	case STEP_CHARDEV_REMOVE:
		if (is_busy(reply)) {
			(void)refused(change, 0, reply);
			return try_again(change);
		}
		if (!ok && !strstr(reply->error, "not found"))
			return refused(change, -EREMOTEIO, reply);
		return 0;
	}
	return r < 0 ? r : 1;
}

static void answered(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct port_change *change = userdata;
	int r;

	(void)qmp;
	change->command = 0;
	if (reply->result == 0 || reply->result == -EREMOTEIO)
		r = next(change, reply);
	else
		r = refused(change, reply->result, reply);
	if (r <= 0)
		finish(change, r);
}

static int start(struct qmp *qmp, uint64_t deadline_usec, port_done_fn *done, void *userdata,
		 const char *bus, const char *path, enum port_step step, struct port_change **ret)
{
	_cleanup_(port_change_freep) struct port_change *change = calloc(1, sizeof(*change));
	int r;

	if (!change)
		return -ENOMEM;
	change->qmp = qmp;
	change->deadline_usec = deadline_usec;
	change->done = done;
	change->userdata = userdata;
	snprintf(change->bus, sizeof(change->bus), "%s", bus);
	snprintf(change->path, sizeof(change->path), "%s", path);
	r = go(change, step);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(change);
	return 0;
}

int port_attach(struct qmp *qmp, const char *bus, const char *path, uint64_t deadline_usec,
		port_done_fn *done, void *userdata, struct port_change **ret)
{
	if (bus[0] == '\0' || strlen(bus) >= INVENTORY_ID_MAX || url_check_path(path, NULL) < 0)
		return -EINVAL;
	return start(qmp, deadline_usec, done, userdata, bus, path, STEP_CHARDEV, ret);
}

int port_detach(struct qmp *qmp, uint64_t deadline_usec, port_done_fn *done, void *userdata,
		struct port_change **ret)
{
	return start(qmp, deadline_usec, done, userdata, "", "", STEP_DEVICE_DEL, ret);
}

int port_advice(const char *path, char ***ret)
{
	static const char *const formats[] = {
		"The guest has no virtio-serial controller for the agent's port. Add to QEMU's "
		"arguments:",
		"  -device virtio-serial-pci",
		"  -chardev socket,id=" PORT_ID ",path=%s,server=on,wait=off",
		"  -device virtserialport,chardev=" PORT_ID ",name=" INVENTORY_PORT_NAME,
		"or to the guest's libvirt XML, in <devices>:",
		"  <channel type='unix'>",
		"    <source mode='bind' path='%s'/>",
		"    <target type='virtio' name='" INVENTORY_PORT_NAME "'/>",
		"  </channel>",
		"then start the guest again and set agent = serial:%s",
	};
	size_t line_max = 160 + strlen(path), n = ARRAY_SIZE(formats);
	char **lines = calloc(1, (n + 1) * sizeof(*lines) + n * line_max);
	char *text;

	if (!lines)
		return -ENOMEM;
	text = (char *)(lines + n + 1);
	for (size_t i = 0; i < n; i++) {
		const char *hole = strstr(formats[i], "%s");

		lines[i] = text + i * line_max;
		snprintf(lines[i], line_max, "%.*s%s%s",
			 hole ? (int)(hole - formats[i]) : (int)strlen(formats[i]), formats[i],
			 hole ? path : "", hole ? hole + 2 : "");
	}
	*ret = lines;
	return 0;
}
