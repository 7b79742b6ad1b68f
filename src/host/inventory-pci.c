/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a disk is on the guest's PCI buses: what the guest's own /sys/block/vda/device/.. says.
 *
 * A device with an id is found by it in query-pci. One without is asked for its slot and its bus;
 * the bus below a bridge with an id has the number that query-pci gives for that bridge.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "host/inventory-build.h"
#include "host/json-get.h"

#define PCI_LEVELS_MAX 8
#define VIRTIO_BACKEND "/virtio-backend"
#define PERIPHERAL     "/machine/peripheral/"

static void set_address(struct inventory_disk *disk, unsigned int bus, unsigned int slot,
			unsigned int function)
{
	snprintf(disk->pci, sizeof(disk->pci), "0000:%02x:%02x.%x", bus & 0xff, slot & 0x1f,
		 function & 7);
	disk->pci_reason[0] = '\0';
}

static void set_reason(struct inventory_disk *disk, const char *reason)
{
	snprintf(disk->pci_reason, sizeof(disk->pci_reason), "%s", reason);
}

static bool get_number(const json_t *object, const char *key, unsigned int limit, unsigned int *ret)
{
	uint64_t value;

	if (!json_get_u64(object, key, &value) || value >= limit)
		return false;
	*ret = (unsigned int)value;
	return true;
}

/* Return: the devices below, or NULL. */
static const json_t *add_function(struct inventory_build *build, const json_t *device)
{
	const json_t *bridge = json_object_get(device, "pci_bridge");
	struct build_pci *pci = &build->pci[build->n_pci];

	if (build->n_pci == BUILD_PCI_MAX)
		return NULL;
	*pci = (struct build_pci){ .bridge = json_is_object(bridge) };
	if (!get_number(device, "bus", 256, &pci->bus) ||
	    !get_number(device, "slot", 32, &pci->slot) ||
	    !get_number(device, "function", 8, &pci->function))
		return NULL;
	(void)json_get_string(device, "qdev_id", pci->id, sizeof(pci->id));
	(void)get_number(json_object_get(bridge, "bus"), "secondary", 256, &pci->secondary);
	build->n_pci++;
	return json_object_get(bridge, "devices");
}

/* Depth first without recursion: a place in the list of each level. */
static void add_functions(struct inventory_build *build, const json_t *devices)
{
	struct {
		const json_t *list;
		size_t next;
	} levels[PCI_LEVELS_MAX] = { { devices, 0 } };
	size_t depth = 1;

	while (depth > 0) {
		const json_t *device, *below;

		device = json_array_get(levels[depth - 1].list, levels[depth - 1].next++);
		if (!device) {
			depth--;
			continue;
		}
		below = add_function(build, device);
		if (below && depth < PCI_LEVELS_MAX) {
			levels[depth].list = below;
			levels[depth++].next = 0;
		}
	}
}

static const struct build_pci *find_id(const struct inventory_build *build, const char *id)
{
	for (size_t i = 0; i < build->n_pci; i++)
		if (build->pci[i].id[0] && strcmp(build->pci[i].id, id) == 0)
			return &build->pci[i];
	return NULL;
}

void build_function_path(const struct inventory_disk *disk, char path[INVENTORY_QOM_MAX])
{
	size_t n = strlen(disk->qdev), tail = strlen(VIRTIO_BACKEND);

	memcpy(path, disk->qdev, n + 1);
	if (n > tail && strcmp(path + n - tail, VIRTIO_BACKEND) == 0)
		path[n - tail] = '\0';
}

static void locate(struct inventory_build *build, size_t index)
{
	struct inventory_disk *disk = &build->inventory->disks[index];
	const struct build_pci *pci = NULL;
	char path[INVENTORY_QOM_MAX];

	if (!disk->qdev[0])
		return;
	build_function_path(disk, path);
	if (strncmp(path, PERIPHERAL, strlen(PERIPHERAL)) == 0)
		pci = find_id(build, path + strlen(PERIPHERAL));
	if (pci)
		set_address(disk, pci->bus, pci->slot, pci->function);
	else
		build_add(build, JOB_DISK_ADDRESS, index);
}

void build_pci_list(struct inventory_build *build, size_t index, json_t *value)
{
	size_t i;
	json_t *bus;

	(void)index;
	json_array_foreach (value, i, bus)
		add_functions(build, json_object_get(bus, "devices"));
	if (build->n_pci == 0)
		build_note(build, "query-pci: the answer names no device");
	for (size_t k = 0; k < build->inventory->n_disks; k++)
		locate(build, k);
}

void build_disk_no_address(struct inventory_build *build, size_t index, const char *error)
{
	(void)error;
	set_reason(&build->inventory->disks[index], "the disk is no PCI function of its own");
}

/* "04.0": slot and function, in hexadecimal. */
static bool parse_slot(const char *text, struct build_slot *ret)
{
	char *end;
	unsigned long slot, function;

	slot = strtoul(text, &end, 16);
	if (end != text + 2 || *end != '.' || slot > 31)
		return false;
	text = end + 1;
	function = strtoul(text, &end, 16);
	if (end != text + 1 || *end != '\0' || function > 7)
		return false;
	*ret = (struct build_slot){ true, (unsigned int)slot, (unsigned int)function };
	return true;
}

void build_disk_address(struct inventory_build *build, size_t index, json_t *value)
{
	const char *text = json_string_value(value);

	if (text && parse_slot(text, &build->slots[index]))
		build_add(build, JOB_DISK_BUS, index);
	else
		set_reason(&build->inventory->disks[index], "QEMU's answer has no slot");
}

/* The board's own: not below a device that somebody added. */
static bool is_root_bus(const char *path)
{
	const char *name = strrchr(path, '/');

	return strncmp(path, "/machine/", 9) == 0 && !strstr(path, "/peripheral") &&
	       (strcmp(name, "/pcie.0") == 0 || strcmp(name, "/pci.0") == 0);
}

void build_disk_bus(struct inventory_build *build, size_t index, json_t *value)
{
	struct inventory_disk *disk = &build->inventory->disks[index];
	const struct build_slot *slot = &build->slots[index];
	const struct build_pci *bridge = NULL;
	char path[INVENTORY_QOM_MAX];
	char *name, *end;

	if (!json_copy_string(value, path, sizeof(path))) {
		set_reason(disk, "QEMU's answer has no bus");
		return;
	}
	if (is_root_bus(path)) {
		set_address(disk, 0, slot->slot, slot->function);
		return;
	}
	/* /machine/peripheral/BRIDGE/BUS */
	if (strncmp(path, PERIPHERAL, strlen(PERIPHERAL)) == 0) {
		name = path + strlen(PERIPHERAL);
		end = strchr(name, '/');
		if (end)
			*end = '\0';
		bridge = find_id(build, name);
	}
	if (!bridge || !bridge->bridge)
		set_reason(disk, "it is behind a bridge that has no id=");
	else if (bridge->secondary == 0)
		set_reason(disk, "the guest's firmware has not numbered its bus yet");
	else
		set_address(disk, bridge->secondary, slot->slot, slot->function);
}
