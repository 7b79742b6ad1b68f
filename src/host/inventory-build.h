/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes an inventory of answers: which question is next, and what its answer says. No I/O, so that
 * tests and fuzzers can be QEMU.
 */
#ifndef PAGEPACT_HOST_INVENTORY_BUILD_H
#define PAGEPACT_HOST_INVENTORY_BUILD_H

#include "host/inventory.h"

#define BUILD_PCI_MAX	      256
#define BUILD_CONTROLLERS_MAX 8
#define BUILD_PORTS_MAX	      64
#define BUILD_JOBS_MAX	      320

/* In the order of the table in inventory-build.c. */
enum build_job_kind {
	JOB_STATUS,
	JOB_MEMORY,
	JOB_MEMDEVS,
	JOB_MEMORY_DEVICES,
	JOB_BALLOON,
	JOB_BLOCK,
	JOB_NODES,
	JOB_PCI,
	JOB_BLOCK_JOBS,
	JOB_MIGRATE,
	JOB_PERIPHERAL,
	JOB_PERIPHERAL_ANON,
	JOB_UUID,
	JOB_CONFIDENTIAL,
	JOB_FIRST_FOLLOWING, /* from here on: asked for because of an earlier answer */
	JOB_MEMDEV_TYPE = JOB_FIRST_FOLLOWING,
	JOB_MEMDEV_HUGETLB,
	JOB_MEMDEV_PATH,
	JOB_BALLOON_REPORTING,
	JOB_BALLOON_DEFLATE,
	JOB_DISK_TYPE,
	JOB_DISK_SERIAL,
	JOB_DISK_ADDRESS,
	JOB_DISK_BUS,
	JOB_CONTROLLER_BUS,
	JOB_PORT_NAME,
	JOB_PORT_BUS,
	JOB_PORT_CHARDEV,
	JOB_CHARDEVS,
	JOB_KINDS,
};

struct build_job {
	enum build_job_kind kind;
	size_t index; /* of the disk, memory backend, controller or port */
};

/**
 * struct build_pci - one PCI function
 * @id: of its device; ""
 * @bridge: whether it is a bridge
 * @secondary: number of the bus below; 0: firmware has not been there yet
 */
struct build_pci {
	char id[INVENTORY_ID_MAX];
	unsigned int bus;
	unsigned int slot;
	unsigned int function;
	bool bridge;
	unsigned int secondary;
};

/**
 * struct build_slot - slot and function of a disk without an id, until its bus is known
 */
struct build_slot {
	bool known;
	unsigned int slot;
	unsigned int function;
};

struct inventory_build {
	struct inventory *inventory;
	struct build_job jobs[BUILD_JOBS_MAX];
	size_t n_jobs;
	size_t next_job;
	struct build_pci pci[BUILD_PCI_MAX];
	size_t n_pci;
	struct build_slot slots[INVENTORY_DISKS_MAX];
	char controllers[BUILD_CONTROLLERS_MAX][INVENTORY_QOM_MAX];
	size_t n_controllers;
	char ports[BUILD_PORTS_MAX][INVENTORY_QOM_MAX];
	size_t n_ports;
	unsigned int folders; /* of devices, that were listed; of two */
	bool vfio;
};

/** inventory_build_new() - NULL without memory */
struct inventory_build *inventory_build_new(void);
struct inventory_build *inventory_build_free(struct inventory_build *build);

/**
 * inventory_build_next() - the next question
 * @ret_arguments: for the caller to release or to give away; NULL: none
 *
 * Return: 1; 0: there is none, take build->inventory; -ENOMEM.
 */
int inventory_build_next(struct inventory_build *build, const char **ret_command,
			 json_t **ret_arguments);

/** inventory_build_answer() - the answer to it: any JSON value at all */
void inventory_build_answer(struct inventory_build *build, json_t *value);

/** inventory_build_refusal() - QEMU's refusal to answer it */
void inventory_build_refusal(struct inventory_build *build, const char *error_class,
			     const char *error);

/** build_add() - ask one more question */
void build_add(struct inventory_build *build, enum build_job_kind kind, size_t index);

/** build_note() - tell the operator what could not be learned */
__attribute__((format(printf, 2, 3))) void build_note(struct inventory_build *build,
						      const char *format, ...);

/* inventory-disks.c */
void build_block(struct inventory_build *build, size_t index, json_t *value);
void build_nodes(struct inventory_build *build, size_t index, json_t *value);
void build_disk_type(struct inventory_build *build, size_t index, json_t *value);
void build_disk_serial(struct inventory_build *build, size_t index, json_t *value);

/* inventory-memory.c */
void build_memdevs(struct inventory_build *build, size_t index, json_t *value);
void build_memdev_type(struct inventory_build *build, size_t index, json_t *value);
void build_memdev_hugetlb(struct inventory_build *build, size_t index, json_t *value);
void build_memdev_path(struct inventory_build *build, size_t index, json_t *value);
void build_memory_devices(struct inventory_build *build, size_t index, json_t *value);

/* inventory-pci.c */
void build_pci_list(struct inventory_build *build, size_t index, json_t *value);
void build_disk_address(struct inventory_build *build, size_t index, json_t *value);
void build_disk_bus(struct inventory_build *build, size_t index, json_t *value);
void build_disk_no_address(struct inventory_build *build, size_t index, const char *error);

/* The path of the PCI function of a disk: of the transport where the disk is a virtio device. */
void build_function_path(const struct inventory_disk *disk, char path[INVENTORY_QOM_MAX]);

/* inventory-serial.c */
void build_peripheral(struct inventory_build *build, const char *folder, json_t *value);
void build_controller_bus(struct inventory_build *build, size_t index, json_t *value);
void build_port_name(struct inventory_build *build, size_t index, json_t *value);
void build_port_bus(struct inventory_build *build, size_t index, json_t *value);
void build_port_chardev(struct inventory_build *build, size_t index, json_t *value);
void build_chardevs(struct inventory_build *build, size_t index, json_t *value);

/** build_blockstats() - what query-blockstats says; inventory-disks.c */
void build_blockstats(const json_t *value, struct inventory_blockstats *ret);

#endif
