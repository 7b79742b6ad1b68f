/* SPDX-License-Identifier: Apache-2.0 */
/* Inventory and port against a real QEMU that has no operating system in it. */
#include "host-test.h"

#include <errno.h>

#include "host/inventory.h"
#include "host/port.h"
#include "host/ram-files.h"

#define UUID "5c8f0d4e-7f1c-4b7e-9d0e-3f1f4a3b2c1d"

/* What the callbacks of one guest have said. */
struct guest {
	char folder[64];
	pid_t pid;
	struct qmp *qmp;
	bool ready;
	bool closed;
	bool done;
	int result;
	struct inventory *inventory;
	struct inventory_query *query;
	struct inventory_blockstats stats;
	struct port_change *change;
	char error[256];
};

static sd_event *event;

static void on_ready(struct qmp *qmp, void *userdata)
{
	(void)qmp;
	((struct guest *)userdata)->ready = true;
}

static void on_closed(struct qmp *qmp, int reason, const char *message, void *userdata)
{
	(void)qmp;
	(void)reason;
	(void)message;
	((struct guest *)userdata)->closed = true;
}

static const struct qmp_ops ops = { .ready = on_ready, .closed = on_closed };

static void guest_start(struct guest *guest, const char *const *args)
{
	char path[96];

	guest->pid = test_qemu(guest->folder, args);
	snprintf(path, sizeof(path), "%s/qmp", guest->folder);
	assert_int_equal(qmp_new(event, path, &ops, guest, &guest->qmp), 0);
	assert_true(test_run(event, &guest->ready));
}

static void shell(const struct guest *guest, const char *script)
{
	char command[1024];

	snprintf(command, sizeof(command), "cd '%s' && { %s; } >/dev/null", guest->folder, script);
	assert_int_equal(system(command), 0);
}

static void on_inventory(int result, struct inventory *inventory, void *userdata)
{
	struct guest *guest = userdata;

	guest->done = true;
	guest->result = result;
	guest->inventory = inventory;
	guest->query = inventory_query_free(guest->query);
}

static struct inventory *take_inventory(struct guest *guest)
{
	guest->inventory = inventory_free(guest->inventory);
	guest->done = false;
	assert_int_equal(inventory_query(guest->qmp, test_now() + 10000000, on_inventory, guest,
					 &guest->query),
			 0);
	assert_true(test_run(event, &guest->done));
	assert_int_equal(guest->result, 0);
	return guest->inventory;
}

static void on_stats(int result, const struct inventory_blockstats *stats, void *userdata)
{
	struct guest *guest = userdata;

	guest->done = true;
	guest->result = result;
	if (stats)
		guest->stats = *stats;
}

static void on_port(int result, const char *error, void *userdata)
{
	struct guest *guest = userdata;

	guest->done = true;
	guest->result = result;
	snprintf(guest->error, sizeof(guest->error), "%s", error);
	guest->change = port_change_free(guest->change);
}

static int attach(struct guest *guest, const char *bus, const char *path)
{
	guest->done = false;
	assert_int_equal(port_attach(guest->qmp, bus, path, test_now() + 10000000, on_port, guest,
				     &guest->change),
			 0);
	assert_true(test_run(event, &guest->done));
	if (guest->result < 0)
		print_message("QEMU: %s\n", guest->error);
	return guest->result;
}

static int detach(struct guest *guest)
{
	guest->done = false;
	assert_int_equal(
		port_detach(guest->qmp, test_now() + 10000000, on_port, guest, &guest->change), 0);
	assert_true(test_run(event, &guest->done));
	if (guest->result < 0)
		print_message("QEMU: %s\n", guest->error);
	return guest->result;
}

static const struct inventory_disk *find_disk(const struct inventory *inventory, const char *serial)
{
	for (size_t i = 0; i < inventory->n_disks; i++)
		if (strcmp(inventory->disks[i].serial, serial) == 0)
			return &inventory->disks[i];
	fail_msg("no disk with serial \"%s\"", serial);
	return NULL;
}

static void assert_no_notes(const struct inventory *inventory)
{
	if (inventory->n_notes > 0)
		fail_msg("note: %s", inventory->notes[0]);
}

static void check_machine(const struct inventory *inventory)
{
	assert_string_equal(inventory->status, "running");
	assert_true(inventory->running);
	assert_int_equal(inventory->memory_bytes, 64 << 20);
	assert_int_equal(inventory->n_memdevs, 1);
	assert_string_equal(inventory->memdevs[0].id, "ram0");
	assert_string_equal(inventory->memdevs[0].type, "memory-backend-memfd");
	assert_int_equal(inventory->memdevs[0].bytes, 64 << 20);
	assert_true(inventory->memdevs[0].share);
	assert_false(inventory->memdevs[0].hugetlb);
	assert_true(inventory->balloon);
	assert_true(inventory->free_page_reporting);
	assert_true(inventory->deflate_on_oom);
	assert_string_equal(inventory->balloon_path, "/machine/peripheral-anon/device[2]");
	assert_string_equal(inventory->uuid, UUID);
	assert_false(inventory->vfio);
	assert_false(inventory->confidential);
	assert_int_equal(inventory->balloon_bytes, 64 << 20);
	assert_string_equal(inventory->balloon_reason, "");
	assert_int_equal(inventory->block_jobs, 0);
	assert_false(inventory->migrating);
}

static void check_disks(const struct guest *guest, const struct inventory *inventory)
{
	const struct inventory_disk *disk = find_disk(inventory, "one");
	char base[96];

	snprintf(base, sizeof(base), "%s/base.raw", guest->folder);
	assert_int_equal(inventory->n_disks, 4);
	assert_string_equal(disk->device, "d0");
	assert_string_equal(disk->type, "virtio-blk-device");
	assert_string_equal(disk->qdev, "/machine/peripheral/v0/virtio-backend");
	assert_string_equal(disk->pci, "0000:01:00.0");
	assert_true(disk->complete);
	assert_false(disk->read_only);
	assert_int_equal(disk->virtual_bytes, 4 << 20);
	assert_int_equal(disk->n_layers, 3);
	assert_string_equal(disk->layers[0].format, "qcow2");
	/* Not whether it is writeback: that changes with the driver that the guest starts. */
	assert_true(disk->layers[0].cache_known);
	assert_false(disk->layers[0].direct || disk->layers[0].no_flush);
	assert_string_equal(disk->layers[0].protocol, "file");
	assert_string_equal(disk->layers[2].filename, base);
	assert_string_equal(disk->layers[2].format, "raw");
	/* The third disk opens the same base without O_DIRECT: it does have host copies. */
	assert_true(disk->layers[2].cache_known);
	assert_false(disk->layers[2].direct);

	disk = find_disk(inventory, "two");
	assert_string_equal(disk->qdev, "/machine/peripheral-anon/device[0]/virtio-backend");
	assert_string_equal(disk->pci, "0000:00:06.0");
	assert_true(disk->read_only);
	assert_true(disk->layers[0].no_flush);
	assert_false(disk->layers[0].direct);
	assert_int_equal(disk->n_layers, 1);

	disk = find_disk(inventory, "three");
	assert_string_equal(disk->pci, "0000:02:00.0");
	assert_true(disk->layers[0].direct);

	disk = find_disk(inventory, "scsi");
	assert_string_equal(disk->type, "scsi-hd");
	assert_string_equal(disk->pci, "");
	assert_non_null(strstr(disk->pci_reason, "no PCI function"));
	assert_false(disk->complete);
	assert_non_null(strstr(disk->reason, "no plain file name"));
}

static bool is_numbered(const struct inventory_disk *disk)
{
	return disk->pci[0] && !strstr(disk->pci, ":ff:");
}

/* q35: a memfd, disks with and without an id, one behind a root port, all sorts of images. */
static void test_full_guest(void **state)
{
	struct guest *guest = *state;
	const struct inventory_disk *disk;
	const struct inventory_io *io;
	struct inventory *inventory;
	uint64_t end;

	shell(guest, "truncate -s 4M base.raw other.raw part.raw;"
		     "qemu-img create -q -f qcow2 -F raw -b \"$PWD/base.raw\" mid.qcow2;"
		     "qemu-img create -q -f qcow2 -F qcow2 -b mid.qcow2 top.qcow2;"
		     "qemu-img create -q -f qcow2 -F raw -b base.raw direct.qcow2");
	guest_start(guest,
		    (const char *const[]){
			    "-machine",
			    "q35,memory-backend=ram0",
			    "-m",
			    "64",
			    "-object",
			    "memory-backend-memfd,id=ram0,size=64M,share=on",
			    "-device",
			    "pcie-root-port,id=rp0,chassis=1,addr=5",
			    "-drive",
			    "file=top.qcow2,if=none,id=d0",
			    "-device",
			    "virtio-blk-pci,drive=d0,id=v0,serial=one,bus=rp0",
			    "-drive",
			    "file=other.raw,format=raw,if=none,id=d1,readonly=on,cache=unsafe",
			    "-device",
			    "virtio-blk-pci,drive=d1,serial=two,addr=6",
			    "-blockdev",
			    "driver=qcow2,node-name=n2,cache.direct=on,file.driver=file,"
			    "file.filename=direct.qcow2,file.cache.direct=on,"
			    "backing.driver=raw,backing.file.driver=file,"
			    "backing.file.filename=base.raw,backing.file.cache.direct=off",
			    "-device",
			    "pcie-root-port,id=rp1,chassis=2,addr=7",
			    "-device",
			    "virtio-blk-pci,drive=n2,serial=three,bus=rp1",
			    "-device",
			    "virtio-scsi-pci,id=scsi0,addr=8",
			    "-blockdev",
			    "driver=raw,node-name=n3,offset=1048576,file.driver=file,"
			    "file.filename=part.raw",
			    "-device",
			    "scsi-hd,drive=n3,serial=scsi,bus=scsi0.0,id=sd0",
			    "-device",
			    "virtio-balloon-pci,free-page-reporting=on,deflate-on-oom=on,addr=9",
			    "-uuid",
			    UUID,
			    NULL });
	/* The firmware numbers the buses when it gets there, each as 255 first. */
	end = test_now() + 5000000;
	do {
		inventory = take_inventory(guest);
		disk = find_disk(inventory, "one");
		assert_true(disk->pci[0] || strstr(disk->pci_reason, "not numbered"));
	} while ((!is_numbered(disk) || !is_numbered(find_disk(inventory, "three"))) &&
		 test_now() < end);
	assert_no_notes(inventory);
	check_machine(inventory);
	check_disks(guest, inventory);
	assert_false(inventory->serial.controller);

	guest->done = false;
	assert_int_equal(inventory_blockstats(guest->qmp, test_now() + 1000000, on_stats, guest,
					      &guest->query),
			 0);
	assert_true(test_run(event, &guest->done));
	guest->query = inventory_query_free(guest->query);
	assert_int_equal(guest->stats.n_disks, 4);
	for (size_t i = 0; i < inventory->n_disks; i++) {
		io = inventory_io_find(&guest->stats, &inventory->disks[i]);
		assert_non_null(io);
		assert_string_equal(io->device, inventory->disks[i].device);
	}
}

/* pc, paused at its first instruction; plain -m; a controller with an id. */
static void test_port(void **state)
{
	struct guest *guest = *state;
	struct inventory *inventory;
	char path[96];

	guest_start(guest, (const char *const[]){ "-machine", "pc", "-m", "32", "-S", "-device",
						  "virtio-serial-pci,id=vs0", NULL });
	inventory = take_inventory(guest);
	assert_no_notes(inventory);
	assert_string_equal(inventory->status, "prelaunch");
	assert_false(inventory->running);
	assert_string_equal(inventory->memdevs[0].id, "pc.ram");
	assert_string_equal(inventory->memdevs[0].type, "memory-backend-ram");
	assert_false(inventory->balloon);
	assert_non_null(strstr(inventory->balloon_reason, "balloon"));
	assert_string_equal(inventory->balloon_path, "");
	assert_string_equal(inventory->uuid, "");
	assert_int_equal(inventory->n_disks, 0);
	assert_true(inventory->serial.controller);
	assert_string_equal(inventory->serial.bus, "vs0.0");
	assert_false(inventory->serial.port);

	snprintf(path, sizeof(path), "%s/agent", guest->folder);
	assert_int_equal(attach(guest, "vs0.0", path), 0);
	assert_int_equal(access(path, F_OK), 0);
	inventory = take_inventory(guest);
	assert_true(inventory->serial.port);
	assert_string_equal(inventory->serial.port_id, PORT_ID);
	assert_string_equal(inventory->serial.chardev, PORT_ID);
	assert_string_equal(inventory->serial.chardev_path, path);
	assert_string_equal(inventory->serial.bus, "vs0.0");
	assert_int_equal(attach(guest, "vs0.0", path), -EEXIST);
	assert_true(take_inventory(guest)->serial.port);

	assert_int_equal(detach(guest), 0);
	assert_false(take_inventory(guest)->serial.port);
	assert_int_equal(detach(guest), 0);
	/* A bus that is not there: refused in QEMU's words, and nothing is left behind. */
	assert_int_equal(attach(guest, "nowhere.0", path), -EREMOTEIO);
	assert_non_null(strstr(guest->error, "nowhere.0"));
	assert_int_equal(attach(guest, "vs0.0", "/nonexistent/agent"), -EREMOTEIO);
	assert_non_null(strstr(guest->error, "/nonexistent/agent"));
	assert_int_equal(attach(guest, "vs0.0", path), 0);
	assert_int_equal(port_attach(guest->qmp, "vs0.0", "relative", test_now() + 1000000, on_port,
				     guest, &guest->change),
			 -EINVAL);
}

/* What the host holds of it is that of all backends, two of one size among them. */
static void test_virtio_mem(void **state)
{
	struct guest *guest = *state;
	struct ram_files files;
	struct inventory *inventory;
	uint64_t bytes;

	guest_start(guest,
		    (const char *const[]){
			    "-machine", "pc,memory-backend=ram0", "-m", "64,maxmem=1G,slots=2",
			    "-S", "-object", "memory-backend-memfd,id=ram0,size=64M,share=on",
			    "-object", "memory-backend-memfd,id=vm0,size=64M,share=on", "-object",
			    "memory-backend-memfd,id=vm1,size=64M,share=on,prealloc=on", "-device",
			    "virtio-mem-pci,id=vmem0,memdev=vm0,requested-size=32M", "-device",
			    "virtio-balloon-pci", NULL });
	inventory = take_inventory(guest);
	assert_no_notes(inventory);
	assert_int_equal(inventory->n_memdevs, 3);
	assert_int_equal(inventory->virtio_mems.n, 1);
	assert_string_equal(inventory->virtio_mems.devices[0].id, "vmem0");
	assert_string_equal(inventory->virtio_mems.devices[0].memdev, "vm0");
	assert_int_equal(inventory->virtio_mems.devices[0].max_bytes, 64 << 20);
	assert_int_equal(inventory->virtio_mems.devices[0].requested_bytes, 32 << 20);
	/* There is no operating system that plugs it in. */
	assert_int_equal(inventory->virtio_mems.devices[0].bytes, 0);
	assert_int_equal(inventory->memory_bytes, 64 << 20);
	assert_int_equal(ram_files_open(guest->pid, inventory, &files), 0);
	assert_int_equal(files.count, 3);
	assert_int_equal(ram_files_bytes(&files, &bytes), 0);
	/* The firmware's share is beside the preallocated backend. */
	assert_in_range(bytes, 64 << 20, 80 << 20);
	ram_files_close(&files);
	assert_int_equal(ram_files_bytes(&files, &bytes), -EOPNOTSUPP);
	inventory->memdevs[1].share = false;
	assert_int_equal(ram_files_open(guest->pid, inventory, &files), -EOPNOTSUPP);
	assert_int_equal(files.count, 0);
	inventory->memdevs[1].share = true;
	inventory->memdevs[2].bytes = 65 << 20;
	assert_int_equal(ram_files_open(guest->pid, inventory, &files), -EOPNOTSUPP);
	assert_int_equal(files.count, 0);
}

/* A controller without an id, a port that was there from the start. */
static void test_anonymous_serial(void **state)
{
	struct guest *guest = *state;
	struct inventory *inventory;
	char path[96];

	guest_start(guest,
		    (const char *const[]){
			    "-machine", "q35", "-m", "32", "-S", "-device", "virtio-serial-pci",
			    "-chardev", "socket,id=c0,path=agent,server=on,wait=off", "-device",
			    "virtserialport,chardev=c0,name=org.other", "-chardev",
			    "socket,id=c1,path=agent1,server=on,wait=off", "-device",
			    "virtserialport,chardev=c1,name=" INVENTORY_PORT_NAME, NULL });
	inventory = take_inventory(guest);
	assert_no_notes(inventory);
	assert_true(inventory->serial.port);
	assert_string_equal(inventory->serial.port_id, "");
	assert_string_equal(inventory->serial.chardev, "c1");
	assert_string_equal(inventory->serial.chardev_text, "disconnected:unix:agent1,server=on");
	assert_string_equal(inventory->serial.chardev_path, "");
	assert_string_equal(inventory->serial.bus, "virtio-serial-bus.0");
	snprintf(path, sizeof(path), "%s/mine", guest->folder);
	/* The guest's bus takes a name once; what was begun for the second is undone. */
	assert_int_equal(attach(guest, inventory->serial.bus, path), -EEXIST);
	assert_int_equal(access(path, F_OK), -1);
	assert_string_equal(take_inventory(guest)->serial.chardev, "c1");
}

/* Only a bus that has a name of QEMU's own making. */
static void test_anonymous_bus(void **state)
{
	struct guest *guest = *state;
	struct inventory *inventory;
	char path[96];

	guest_start(guest, (const char *const[]){ "-machine", "q35", "-m", "32", "-S", "-device",
						  "virtio-serial-pci", NULL });
	inventory = take_inventory(guest);
	assert_true(inventory->serial.controller);
	assert_string_equal(inventory->serial.bus, "virtio-serial-bus.0");
	snprintf(path, sizeof(path), "%s/agent", guest->folder);
	assert_int_equal(attach(guest, inventory->serial.bus, path), 0);
	assert_string_equal(take_inventory(guest)->serial.chardev_path, path);
	assert_int_equal(detach(guest), 0);
}

/* The daemon was killed between the two commands of an attach. */
static void test_port_left_over(void **state)
{
	struct guest *guest = *state;
	char path[96];

	guest_start(guest, (const char *const[]){
				   "-machine", "pc", "-m", "32", "-S", "-device",
				   "virtio-serial-pci,id=vs0", "-chardev",
				   "socket,id=" PORT_ID ",path=old,server=on,wait=off", NULL });
	snprintf(path, sizeof(path), "%s/agent", guest->folder);
	assert_int_equal(attach(guest, "vs0.0", path), 0);
	assert_string_equal(take_inventory(guest)->serial.chardev_path, path);
}

static void test_no_answer(void **state)
{
	struct guest *guest = *state;
	uint64_t begin;

	guest_start(guest, (const char *const[]){ "-machine", "pc", "-m", "32", "-S", NULL });
	kill(guest->pid, SIGSTOP);
	begin = test_now();
	assert_int_equal(
		inventory_query(guest->qmp, begin + 200000, on_inventory, guest, &guest->query), 0);
	assert_true(test_run(event, &guest->done));
	assert_int_equal(guest->result, -ETIMEDOUT);
	assert_null(guest->inventory);
	/* Given up: nothing comes, not even with the end of the connection. */
	guest->done = false;
	assert_int_equal(inventory_query(guest->qmp, test_now() + 100000, on_inventory, guest,
					 &guest->query),
			 0);
	guest->query = inventory_query_free(guest->query);
	test_idle(event, 150);
	assert_false(guest->done);
	assert_int_equal(inventory_query(guest->qmp, test_now() + 10000000, on_inventory, guest,
					 &guest->query),
			 0);
	kill(guest->pid, SIGKILL);
	assert_true(test_run(event, &guest->done));
	assert_int_equal(guest->result, -ECONNRESET);
	assert_true(test_run(event, &guest->closed));
}

static int setup(void **state)
{
	struct guest *guest = calloc(1, sizeof(*guest));

	test_folder(guest->folder);
	*state = guest;
	return sd_event_new(&event);
}

static int teardown(void **state)
{
	struct guest *guest = *state;

	inventory_query_free(guest->query);
	port_change_free(guest->change);
	inventory_free(guest->inventory);
	qmp_free(guest->qmp);
	if (guest->pid > 0)
		test_qemu_stop(guest->pid);
	test_folder_remove(guest->folder);
	free(guest);
	event = sd_event_unref(event);
	return 0;
}

#define GUEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUEST(test_full_guest),	   GUEST(test_port),	       GUEST(test_anonymous_serial),
		GUEST(test_anonymous_bus), GUEST(test_port_left_over), GUEST(test_no_answer),
		GUEST(test_virtio_mem),
	};

	if (!test_have(QEMU) || !test_have("qemu-img")) {
		fprintf(stderr, "SKIP: " QEMU " or qemu-img is not installed\n");
		return SKIP_TEST;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
