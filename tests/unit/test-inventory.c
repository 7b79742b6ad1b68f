/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include "host/inventory-build.h"
#include "host/port.h"

/* Whether a key is the question's command, or what it asks for: a property, or a folder to list. */
static bool is_about(const char *key, const char *command, const json_t *arguments)
{
	const json_t *property = json_object_get(arguments, "property");
	const char *what = json_string_value(property ?: json_object_get(arguments, "path"));

	return strcmp(key, command) == 0 || (what && strcmp(key, what) == 0);
}

/* Plays QEMU: every question gets @fallback, or what was given for it; "-" refuses. */
static struct inventory_build *play(const char *const *answers, const char *fallback)
{
	struct inventory_build *build = inventory_build_new();
	const char *command;
	json_t *arguments;
	int r;

	assert_non_null(build);
	while ((r = inventory_build_next(build, &command, &arguments)) > 0) {
		const char *text = fallback;
		json_t *value;

		for (size_t i = 0; answers && answers[i]; i += 2)
			if (is_about(answers[i], command, arguments))
				text = answers[i + 1];
		json_decref(arguments);
		if (text[0] == '-') {
			inventory_build_refusal(build, "GenericError", text + 1);
			continue;
		}
		value = json_loads(text, JSON_DECODE_ANY, NULL);
		assert_non_null(value);
		inventory_build_answer(build, value);
		json_decref(value);
	}
	assert_int_equal(r, 0);
	return build;
}

/* A QEMU that its guest has taken over may say anything. */
static void test_hostile_answers(void **state)
{
	static const char *const values[] = {
		"null",
		"7",
		"-1",
		"\"x\"",
		"[]",
		"{}",
		"[[]]",
		"[{}]",
		"[null]",
		"true",
		"1e300",
		"[{\"inserted\": {}}]",
		"[{\"inserted\": {\"image\": {\"backing-image\": {}}}}]",
		"[{\"inserted\": 1, \"qdev\": [], \"devices\": {}, \"name\": 3, \"type\": "
		"\"child<\"}]",
		"[{\"name\": \"a\", \"type\": \"child<virtio-serial-pci>\"}]",
		"[{\"name\": \"a\", \"type\": \"child<virtserialport>\"}]",
		"[{\"devices\": [{\"bus\": 999, \"slot\": -1, \"function\": 8, \"pci_bridge\": "
		"4}]}]",
		"{\"actual\": \"x\", \"status\": 5, \"base-memory\": -1}",
		"{\"base-memory\": 9223372036854775807, \"plugged-memory\": 9223372036854775807}",
		"[{\"size\": 1, \"share\": true, \"id\": \"\"}]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		struct inventory_build *build = play(NULL, values[i]);

		assert_false(build->inventory->running);
		assert_int_equal(build->inventory->n_memdevs, i == 19);
		inventory_build_free(build);
	}
}

static void test_balloon_range(void **state)
{
	const char *answers[] = { "query-memory-size-summary", "{\"base-memory\": 1073741824}",
				  "query-balloon", "{\"actual\": 536870912}", NULL };
	struct inventory_build *build;

	(void)state;
	build = play(answers, "null");
	assert_int_equal(build->inventory->balloon_bytes, 512 << 20);
	assert_string_equal(build->inventory->balloon_reason, "");
	inventory_build_free(build);
	answers[3] = "{\"actual\": -17590038556672}";
	build = play(answers, "null");
	assert_int_equal(build->inventory->balloon_bytes, 0);
	assert_non_null(strstr(build->inventory->balloon_reason, "-17590038556672"));
	inventory_build_free(build);
	answers[3] = "{\"actual\": 1073741825}";
	build = play(answers, "null");
	assert_int_equal(build->inventory->balloon_bytes, 1 << 30);
	assert_string_not_equal(build->inventory->balloon_reason, "");
	inventory_build_free(build);
}

static bool has_note(const struct inventory *inventory, const char *text)
{
	for (size_t i = 0; i < inventory->n_notes; i++)
		if (strstr(inventory->notes[i], text))
			return true;
	return false;
}

#define PLUGGED(data) "[{\"type\": \"virtio-mem\", \"data\": {" data "}}]"
#define REGION                                                                                     \
	"\"memdev\": \"/objects/vm0\", \"memaddr\": 4294967296, \"block-size\": 2097152, "         \
	"\"node\": 1, \"max-size\": 1073741824"

static void test_virtio_mem(void **state)
{
	const char *answers[] = {
		"query-memory-devices",
		PLUGGED(REGION ", \"size\": 4194304, \"requested-size\": 6291456, \"id\": \"x\""),
		NULL
	};
	struct inventory_build *build = play(answers, "[]");
	const struct virtio_mem *device = build->inventory->virtio_mems.devices;

	(void)state;
	assert_int_equal(build->inventory->virtio_mems.n, 1);
	assert_string_equal(device->id, "x");
	assert_string_equal(device->memdev, "vm0");
	assert_int_equal(device->address, 1ull << 32);
	assert_int_equal(device->block_bytes, 2 << 20);
	assert_int_equal(device->max_bytes, 1 << 30);
	assert_int_equal(device->bytes, 4 << 20);
	assert_int_equal(device->requested_bytes, 6 << 20);
	assert_int_equal(device->node, 1);
	inventory_build_free(build);
	/* Other devices hold memory that nobody unplugs by blocks. */
	answers[1] = "[{\"type\": \"dimm\", \"data\": {\"size\": 1}}]";
	build = play(answers, "[]");
	assert_int_equal(build->inventory->virtio_mems.n, 0);
	inventory_build_free(build);
}

/* One that cannot be is left out, and a note says so. */
static void test_virtio_mem_sizes(void **state)
{
	static const char *const wrong[] = {
		"7",
		"[7]",
		PLUGGED(""),
		PLUGGED(REGION ", \"size\": 0"),
		PLUGGED(REGION ", \"size\": 4096, \"requested-size\": 0"),
		PLUGGED(REGION ", \"size\": 0, \"requested-size\": 2147483648"),
		PLUGGED(REGION ", \"size\": -2097152, \"requested-size\": 0"),
		PLUGGED("\"memaddr\": 0, \"block-size\": 0, \"node\": 0, \"max-size\": 0, "
			"\"size\": 0, \"requested-size\": 0"),
		PLUGGED("\"memaddr\": 0, \"block-size\": 3145728, \"node\": 0, \"max-size\": "
			"3145728, \"size\": 0, \"requested-size\": 0"),
		PLUGGED("\"memaddr\": 4096, \"block-size\": 2097152, \"node\": 0, \"max-size\": "
			"2097152, \"size\": 0, \"requested-size\": 0"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		const char *answers[] = { "query-memory-devices", wrong[i], NULL };
		struct inventory_build *build = play(answers, "[]");

		assert_int_equal(build->inventory->virtio_mems.n, 0);
		assert_int_equal(has_note(build->inventory, "query-memory-devices"), i != 1);
		inventory_build_free(build);
	}
}

static void test_unknown_is_unsafe(void **state)
{
	const char *answers[] = { "query-block-jobs", "[{}, {}]", "query-migrate",
				  "{\"status\": \"active\"}", NULL };
	struct inventory_build *build;

	(void)state;
	build = play(NULL, "null");
	assert_true(build->inventory->vfio);
	assert_true(build->inventory->migrating);
	assert_int_equal(build->inventory->block_jobs, 1);
	inventory_build_free(build);
	build = play(answers, "null");
	assert_true(build->inventory->migrating);
	assert_int_equal(build->inventory->block_jobs, 2);
	inventory_build_free(build);
	answers[3] = "{\"status\": \"completed\"}";
	build = play(answers, "null");
	assert_false(build->inventory->migrating);
	inventory_build_free(build);
}

static void test_uuid(void **state)
{
	static const char *const uuids[][2] = {
		{ "{\"UUID\": \"5c8f0d4e-7f1c-4b7e-9d0e-3f1f4a3b2c1d\"}",
		  "5c8f0d4e-7f1c-4b7e-9d0e-3f1f4a3b2c1d" },
		{ "{\"UUID\": \"00000000-0000-0000-0000-000000000000\"}", "" },
		{ "{\"UUID\": \"5c8f0d4e-7f1c-4b7e-9d0e-3f1f4a3b2c1d-and-more\"}", "" },
		{ "7", "" },
		{ "-unknown command", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(uuids) / sizeof(*uuids); i++) {
		const char *answers[] = { "query-uuid", uuids[i][0], NULL };
		struct inventory_build *build = play(answers, "[]");

		assert_string_equal(build->inventory->uuid, uuids[i][1]);
		assert_int_equal(has_note(build->inventory, "query-uuid"), i >= 2);
		inventory_build_free(build);
	}
}

#define DEVICE(type) "[{\"name\": \"device[0]\", \"type\": \"child<" type ">\"}]"

static void test_balloon_device(void **state)
{
	const char *answers[] = {
		"/machine/peripheral-anon",
		DEVICE("virtio-balloon-pci"),
		"deflate-on-oom",
		"true",
		"free-page-reporting",
		"true",
		"/machine/peripheral",
		DEVICE("virtio-balloon-pci-transitional"),
		NULL,
	};
	struct inventory_build *build;

	(void)state;
	/* The first one: QEMU has no second. */
	build = play(answers, "[]");
	assert_string_equal(build->inventory->balloon_path, "/machine/peripheral/device[0]");
	assert_true(build->inventory->deflate_on_oom);
	assert_true(build->inventory->free_page_reporting);
	inventory_build_free(build);
	answers[7] = "[]";
	answers[3] = "-Property not found";
	build = play(answers, "[]");
	assert_string_equal(build->inventory->balloon_path, "/machine/peripheral-anon/device[0]");
	assert_false(build->inventory->deflate_on_oom);
	assert_true(build->inventory->free_page_reporting);
	inventory_build_free(build);
}

/* Only two lists without such a device say that nothing is passed through. */
static void test_vfio(void **state)
{
	static const struct {
		const char *named, *anonymous;
		bool vfio, note;
	} lists[] = {
		{ "[]", "[]", false, false },
		{ DEVICE("virtio-net-pci"), DEVICE("nvfio-pci"), false, false },
		{ DEVICE("vfio-pci"), "[]", true, false },
		{ "[]", DEVICE("vfio-pci-nohotplug"), true, false },
		{ "[]", "[{\"type\": \"child<vfio-\"}]", true, false },
		{ DEVICE("vfio-ap"), "-no", true, true },
		{ "[]", "-no", true, true },
		{ "{}", "[]", true, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		const char *answers[] = { "/machine/peripheral", lists[i].named,
					  "/machine/peripheral-anon", lists[i].anonymous, NULL };
		struct inventory_build *build = play(answers, "[]");

		assert_int_equal(build->inventory->vfio, lists[i].vfio);
		assert_int_equal(has_note(build->inventory, "qom-list") ||
					 has_note(build->inventory, "no list"),
				 lists[i].note);
		inventory_build_free(build);
	}
}

static void test_confidential(void **state)
{
	static const struct {
		const char *answer;
		bool confidential, note;
	} links[] = {
		{ "\"\"", false, false },
		{ "null", false, false },
		{ "-Property '.confidential-guest-support' not found", false, false },
		{ "\"/objects/sev0\"", true, false },
		{ "-Insufficient permission", true, true },
		{ "7", true, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++) {
		const char *answers[] = { "confidential-guest-support", links[i].answer, NULL };
		struct inventory_build *build = play(answers, "[]");

		assert_int_equal(build->inventory->confidential, links[i].confidential);
		assert_int_equal(has_note(build->inventory, "confidential"), links[i].note);
		inventory_build_free(build);
	}
}

#define LAYER                                                                                      \
	"{\"filename\": \"/i\", \"format\": \"qcow2\", \"virtual-size\": 5, \"backing-image\": "
#define LAYER4 LAYER LAYER LAYER LAYER

static void test_chains(void **state)
{
	static const char *const chains[][2] = {
		{ LAYER4 LAYER4 "null}}}}}}}}", "format" },
		{ LAYER4 LAYER4 LAYER "null}}}}}}}}}", "more than 8" },
		{ LAYER "{\"format\": \"raw\"}}", "file name" },
		{ LAYER "{\"filename\": \"\", \"format\": \"raw\"}}", "file name" },
		{ LAYER "{\"filename\": \"json:{}\", \"format\": \"raw\"}}", "plain file name" },
		{ "{\"filename\": \"/f\", \"format\": \"throttle\", \"backing-image\": "
		  "{\"filename\": \"/f\", \"format\": \"raw\"}}",
		  "" },
	};
	char text[2048];
	const char *answers[] = { "query-block", text, NULL };

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		struct inventory_build *build;
		const struct inventory_disk *disk;

		snprintf(text, sizeof(text), "[{\"inserted\": {\"ro\": false, \"image\": %s}}]",
			 chains[i][0]);
		build = play(answers, "[]");
		disk = &build->inventory->disks[0];
		assert_int_equal(build->inventory->n_disks, 1);
		assert_int_equal(disk->complete, chains[i][1][0] == '\0');
		assert_non_null(strstr(disk->reason, chains[i][1]));
		assert_string_equal(disk->pci_reason, "no device uses it");
		inventory_build_free(build);
	}
}

static void test_many_disks(void **state)
{
	json_t *list = json_array();
	struct inventory_build *build;
	const char *command;
	json_t *arguments;

	(void)state;
	for (int i = 0; i < 100; i++)
		json_array_append_new(list, json_pack("{s:s,s:{s:b,s:{s:s,s:s}}}", "qdev",
						      "/machine/x", "inserted", "ro", 0, "image",
						      "filename", "/f", "format", "raw"));
	build = inventory_build_new();
	while (inventory_build_next(build, &command, &arguments) > 0) {
		json_decref(arguments);
		inventory_build_answer(build, list);
	}
	assert_int_equal(build->inventory->n_disks, INVENTORY_DISKS_MAX);
	assert_true(build->inventory->disks[31].complete);
	inventory_build_free(build);
	json_decref(list);
}

static void test_blockstats_answers(void **state)
{
	json_t *value = json_loads(
		"[{\"device\": \"a\", \"stats\": {\"rd_bytes\": 1, \"rd_operations\": 2, "
		"\"wr_bytes\": 3, \"wr_operations\": 4, \"flush_operations\": 5}, \"parent\": "
		"{\"stats\": {\"wr_highest_offset\": 6}}}, {\"device\": \"b\", \"stats\": {}}, 7]",
		0, NULL);
	struct inventory_disk disk = { .device = "a" }, other = { .device = "b" }, none = { 0 };
	struct inventory_blockstats stats;
	const struct inventory_io *io;

	(void)state;
	build_blockstats(value, &stats);
	assert_int_equal(stats.n_disks, 1);
	io = inventory_io_find(&stats, &disk);
	assert_non_null(io);
	assert_int_equal(io->flush_operations, 5);
	assert_int_equal(io->wr_highest_offset, 6);
	assert_null(inventory_io_find(&stats, &other));
	assert_null(inventory_io_find(&stats, &none));
	json_decref(value);
	build_blockstats(NULL, &stats);
	assert_int_equal(stats.n_disks, 0);
}

static void test_advice(void **state)
{
	char **lines;
	size_t n;

	(void)state;
	assert_int_equal(port_advice("/run/x/agent%s.sock", &lines), 0);
	for (n = 0; lines[n]; n++)
		assert_true(strlen(lines[n]) > 4);
	assert_true(n > 5);
	assert_string_equal(lines[2], "  -chardev socket,id=" PORT_ID
				      ",path=/run/x/agent%s.sock,server=on,wait=off");
	free(lines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_answers),
		cmocka_unit_test(test_balloon_range),
		cmocka_unit_test(test_virtio_mem),
		cmocka_unit_test(test_virtio_mem_sizes),
		cmocka_unit_test(test_unknown_is_unsafe),
		cmocka_unit_test(test_uuid),
		cmocka_unit_test(test_balloon_device),
		cmocka_unit_test(test_vfio),
		cmocka_unit_test(test_confidential),
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_many_disks),
		cmocka_unit_test(test_blockstats_answers),
		cmocka_unit_test(test_advice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
