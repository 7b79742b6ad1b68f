/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices that the machine was given: virtio-serial controllers, our port on one of them, and
 * the socket behind that; the balloon; what is passed through.
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "host/inventory-build.h"
#include "host/json-get.h"

/* "child<TYPE>" → TYPE */
static bool child_type(const json_t *property, char *type, size_t size)
{
	const char *text = json_string_value(json_object_get(property, "type"));
	size_t n = text ? strlen(text) : 0;

	if (n < 8 || strncmp(text, "child<", 6) != 0 || text[n - 1] != '>' || n - 7 >= size)
		return false;
	memcpy(type, text + 6, n - 7);
	type[n - 7] = '\0';
	return true;
}

static bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void add_controller(struct inventory_build *build, const char *path, const char *type)
{
	char *slot = build->controllers[build->n_controllers];
	int n;

	build->inventory->serial.controller = true;
	if (build->n_controllers == BUILD_CONTROLLERS_MAX)
		return;
	/* A transport has the controller below it. */
	n = snprintf(slot, INVENTORY_QOM_MAX, "%s%s", path,
		     strcmp(type, "virtio-serial-device") == 0 ? "" : "/virtio-backend");
	if (n < INVENTORY_QOM_MAX)
		build_add(build, JOB_CONTROLLER_BUS, build->n_controllers++);
}

static void add_port(struct inventory_build *build, const char *path)
{
	if (build->n_ports == BUILD_PORTS_MAX)
		return;
	snprintf(build->ports[build->n_ports], INVENTORY_QOM_MAX, "%s", path);
	build_add(build, JOB_PORT_NAME, build->n_ports++);
}

static void add_device(struct inventory_build *build, const char *folder, const json_t *property)
{
	char path[INVENTORY_QOM_MAX], name[INVENTORY_ID_MAX], type[64];
	char *balloon = build->inventory->balloon_path;
	int n;

	if (!json_get_string(property, "name", name, sizeof(name)) ||
	    !child_type(property, type, sizeof(type)))
		return;
	n = snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (n < 0 || (size_t)n >= sizeof(path))
		return;
	if (starts_with(type, "virtio-serial")) {
		add_controller(build, path, type);
	} else if (strcmp(type, "virtserialport") == 0) {
		add_port(build, path);
	} else if (starts_with(type, "virtio-balloon") && balloon[0] == '\0') {
		memcpy(balloon, path, sizeof(path));
		build_add(build, JOB_BALLOON_REPORTING, 0);
		build_add(build, JOB_BALLOON_DEFLATE, 0);
	}
}

/* Whatever else its entry says, or does not. */
static bool is_vfio(const json_t *property)
{
	const char *text = json_string_value(json_object_get(property, "type"));

	return text && starts_with(text, "child<vfio-");
}

void build_peripheral(struct inventory_build *build, const char *folder, json_t *value)
{
	size_t i;
	json_t *property;

	if (json_is_array(value))
		build->folders++;
	else
		build_note(build, "%s: the answer is no list", folder);
	json_array_foreach (value, i, property) {
		add_device(build, folder, property);
		build->vfio |= is_vfio(property);
	}
	build->inventory->vfio = build->vfio || build->folders < 2;
}

void build_controller_bus(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory_serial *serial = &build->inventory->serial;
	size_t i;
	json_t *property;
	char type[64];

	(void)index;
	json_array_foreach (value, i, property)
		if (serial->bus[0] == '\0' && child_type(property, type, sizeof(type)) &&
		    strcmp(type, "virtio-serial-bus") == 0)
			(void)json_get_string(property, "name", serial->bus, sizeof(serial->bus));
}

void build_port_name(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory_serial *serial = &build->inventory->serial;
	const char *name = json_string_value(value), *path = build->ports[index];

	if (serial->port || !name || strcmp(name, INVENTORY_PORT_NAME) != 0)
		return;
	serial->port = true;
	if (starts_with(path, "/machine/peripheral/"))
		snprintf(serial->port_id, sizeof(serial->port_id), "%.*s", INVENTORY_ID_MAX - 1,
			 path + strlen("/machine/peripheral/"));
	build_add(build, JOB_PORT_BUS, index);
	build_add(build, JOB_PORT_CHARDEV, index);
}

void build_port_bus(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory_serial *serial = &build->inventory->serial;
	const char *path = json_string_value(value);
	const char *name = path ? strrchr(path, '/') : NULL;

	(void)index;
	if (name && strlen(name + 1) < sizeof(serial->bus))
		strcpy(serial->bus, name + 1);
}

void build_port_chardev(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory_serial *serial = &build->inventory->serial;

	(void)index;
	if (json_copy_string(value, serial->chardev, sizeof(serial->chardev)) && serial->chardev[0])
		build_add(build, JOB_CHARDEVS, 0);
	else
		build_note(build, "the port " INVENTORY_PORT_NAME " has no character device");
}

/* "disconnected:unix:/path,server=on" → /path */
static void parse_path(struct inventory_serial *serial)
{
	const char *text = serial->chardev_text;
	size_t n;

	if (starts_with(text, "disconnected:"))
		text += strlen("disconnected:");
	if (!starts_with(text, "unix:/"))
		return;
	text += strlen("unix:");
	n = strlen(text);
	if (n > 10 && strcmp(text + n - 10, ",server=on") == 0)
		n -= 10;
	if (n >= sizeof(serial->chardev_path))
		return;
	memcpy(serial->chardev_path, text, n);
	serial->chardev_path[n] = '\0';
}

void build_chardevs(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory_serial *serial = &build->inventory->serial;
	size_t i;
	json_t *chardev;

	(void)index;
	json_array_foreach (value, i, chardev) {
		const char *label = json_string_value(json_object_get(chardev, "label"));

		if (label && strcmp(label, serial->chardev) == 0 &&
		    json_get_string(chardev, "filename", serial->chardev_text,
				    sizeof(serial->chardev_text)))
			parse_path(serial);
	}
}
