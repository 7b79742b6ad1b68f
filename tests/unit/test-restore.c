/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that are given back what they had, by peers that play QEMU. */
#include "fake-qmp.h"

#include "base/cleanup.h"
#include "host/restore-guest.h"

#define BOOT	    "01234567-89ab-cdef-0123-456789abcdef"
#define UUID	    "5c8f0d4e-7f1c-4b7e-9d0e-3f1f4a3b2c1d"
#define OTHER_UUID  "ffffffff-7f1c-4b7e-9d0e-3f1f4a3b2c1d"
#define MIB	    (1ULL << 20)
#define GIB	    (1ULL << 30)
#define START_TICKS 4242
#define MACHINES    128

/* A QEMU: what it has, what it does wrong, and what was asked of it. */
struct machine {
	struct fake fake;
	const char *uuid;
	int64_t actual;
	uint64_t targets[16]; /* in the order in which they were set */
	size_t n_targets;
	uint64_t interval;
	const char *refuses, *class; /* a command, with a class of errors */
	const char *hushes;	     /* a command that is never answered */
	struct journal_mems mems;    /* what its devices are to have, and have */
	uint64_t requests[8];	     /* of any device */
	size_t n_requests;
	bool brings_daemon;	 /* one is there once a target is set */
	unsigned int migrations; /* times that it says it is being migrated */
	unsigned int cut_reply;	 /* the reply, from 1, that is cut after cut_bytes; once */
	size_t cut_bytes;
	bool was_cut;
	unsigned int connections, replies;
	struct journal_entry entry;
	bool ended;
	enum restore_end end;
	char text[RESTORE_TEXT_MAX + 96];
	uint64_t ended_usec;
};

static char root[64], runtime[96];
static struct machine machines[MACHINES];
static size_t n_machines;
static bool finished, daemon_there;

static void put_meminfo(uint64_t total, uint64_t available)
{
	char text[128];

	snprintf(text, sizeof(text), "MemTotal: %llu kB\nMemAvailable: %llu kB\n",
		 (unsigned long long)total / 1024, (unsigned long long)available / 1024);
	test_write(root, "proc/meminfo", text, strlen(text));
}

static void put_process(int pid)
{
	char path[96], text[256];

	snprintf(path, sizeof(path), "%s/proc/%d", root, pid);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(text, sizeof(text),
		 "%d (qemu) S 1 1 1 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 4 0 %d 99\n", pid,
		 START_TICKS);
	test_write(path, "stat", text, strlen(text));
}

static json_t *mems_json(const struct machine *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->mems.n; i++) {
		const struct journal_mem *mem = &m->mems.devices[i];

		json_array_append_new(
			list, json_pack("{ss s{ss ss sI sI sI sI sI si}}", "type", "virtio-mem",
					"data", "id", mem->id, "memdev", "/objects/m", "memaddr",
					(json_int_t)(GIB * 4), "block-size", (json_int_t)(2 * MIB),
					"max-size", (json_int_t)GIB, "requested-size",
					(json_int_t)mem->requested_bytes, "size",
					(json_int_t)mem->bytes, "node", 0));
	}
	return list;
}

static struct journal_mem *mem_of(struct machine *m, const char *path)
{
	for (size_t i = 0; i < m->mems.n; i++)
		if (strcmp(path + strlen("/machine/peripheral/"), m->mems.devices[i].id) == 0)
			return &m->mems.devices[i];
	fail_msg("no device at %s", path);
	return NULL;
}

static json_t *machine_do(struct machine *m, const char *command, json_t *arguments)
{
	json_t *value = json_object_get(arguments, "value");

	if (strcmp(command, "query-uuid") == 0)
		return json_pack("{ss}", "UUID", m->uuid);
	if (strcmp(command, "query-migrate") == 0 && m->migrations) {
		m->migrations--;
		return json_pack("{ss}", "status", "active");
	}
	if (strcmp(command, "query-memory-devices") == 0)
		return mems_json(m);
	if (strcmp(command, "query-balloon") == 0)
		return json_pack("{sI}", "actual", (json_int_t)m->actual);
	if (strcmp(command, "balloon") == 0) {
		assert_true(m->n_targets < ARRAY_SIZE(m->targets));
		m->targets[m->n_targets++] = (uint64_t)json_integer_value(value);
		daemon_there = daemon_there || m->brings_daemon;
	} else if (strcmp(command, "qom-set") == 0 &&
		   strcmp(json_string_value(json_object_get(arguments, "property")),
			  "requested-size") == 0) {
		mem_of(m, json_string_value(json_object_get(arguments, "path")))->requested_bytes =
			(uint64_t)json_integer_value(value);
		assert_true(m->n_requests < ARRAY_SIZE(m->requests));
		m->requests[m->n_requests++] = (uint64_t)json_integer_value(value);
	} else if (strcmp(command, "qom-set") == 0) {
		assert_string_equal(json_string_value(json_object_get(arguments, "property")),
				    "guest-stats-polling-interval");
		m->interval = (uint64_t)json_integer_value(value);
	}
	return json_object();
}

/* Sends the reply, or a part of it and no more. */
static void machine_send(struct machine *m, const char *text)
{
	if (++m->replies == m->cut_reply && !m->was_cut) {
		(void)!send(m->fake.fd, text, m->cut_bytes, MSG_NOSIGNAL);
		m->was_cut = true;
		fake_hang_up(&m->fake);
		return;
	}
	fake_send(&m->fake, text);
}

static void machine_answer(struct machine *m, const char *line)
{
	json_auto_t *message = json_loads(line, 0, NULL), *reply = json_object();
	const char *command = json_string_value(json_object_get(message, "execute"));
	_cleanup_free_ char *text = NULL;
	char ended[1024];

	assert_non_null(command);
	if (m->hushes && strcmp(m->hushes, command) == 0)
		return;
	if (m->refuses && strcmp(m->refuses, command) == 0)
		json_object_set_new(reply, "error",
				    json_pack("{ss ss}", "class", m->class, "desc", "no, because"));
	else
		json_object_set_new(reply, "return",
				    machine_do(m, command, json_object_get(message, "arguments")));
	json_object_set(reply, "id", json_object_get(message, "id"));
	text = json_dumps(reply, 0);
	snprintf(ended, sizeof(ended), "%s\n", text);
	machine_send(m, ended);
}

static void machine_data(struct fake *fake)
{
	struct machine *m = (struct machine *)fake;

	for (char *end; fake->fd >= 0 && (end = strchr(fake->received, '\n'));) {
		char line[1024];

		snprintf(line, sizeof(line), "%.*s", (int)(end - fake->received), fake->received);
		fake->size -= (size_t)(end + 1 - fake->received);
		memmove(fake->received, end + 1, fake->size + 1);
		if (strstr(line, "qmp_capabilities"))
			m->connections++;
		machine_answer(m, line);
	}
}

/* A squeezed guest of 1 GiB, its QEMU, and its entry in the journal. */
static struct machine *machine_start(void)
{
	struct machine *m = &machines[n_machines];

	memset(m, 0, sizeof(*m));
	fake_start(&m->fake, GREETING);
	m->fake.negotiates = false;
	m->fake.on_data = machine_data;
	m->uuid = UUID;
	m->actual = 512 * MIB;
	m->interval = 2;
	m->entry = (struct journal_entry){
		.uuid = UUID,
		.pid = getpid(),
		.start_ticks = START_TICKS,
		.boot_id = BOOT,
		.original_bytes = GIB,
		.target_bytes = 512 * MIB,
		.stats_path = "/machine/peripheral/balloon0",
	};
	snprintf(m->entry.vm, sizeof(m->entry.vm), "vm%zu", n_machines++);
	strcpy(m->entry.qmp, m->fake.path);
	return m;
}

static void on_ended(const struct journal_entry *entry, enum restore_end end, const char *text,
		     void *userdata)
{
	(void)userdata;
	for (size_t i = 0; i < n_machines; i++) {
		struct machine *m = &machines[i];

		if (strcmp(m->entry.vm, entry->vm) != 0)
			continue;
		assert_false(m->ended);
		assert_null(strchr(text, '\n'));
		m->ended = true;
		m->end = end;
		m->ended_usec = test_now();
		snprintf(m->text, sizeof(m->text), "%s", text);
	}
}

static void on_finished(void *userdata)
{
	(void)userdata;
	assert_false(finished);
	finished = true;
}

static bool is_daemon_there(void *userdata)
{
	(void)userdata;
	return daemon_there;
}

static struct restore *begin(unsigned int msec)
{
	const struct restore_options options = {
		.event = event,
		.root = root,
		.runtime_dir = runtime,
		.deadline_usec = test_now() + msec * 1000ULL,
		.yield = is_daemon_there,
		.ended = on_ended,
		.finished = on_finished,
	};
	struct restore *restore;

	finished = false;
	assert_int_equal(restore_new(&options, &restore), 0);
	for (size_t i = 0; i < n_machines; i++) {
		assert_int_equal(journal_write(runtime, &machines[i].entry), 0);
		assert_int_equal(restore_add(restore, &machines[i].entry, NULL), 0);
	}
	return restore;
}

/* All machines, until there is nothing more to do for any. */
static void restore_them(unsigned int msec)
{
	struct restore *restore = begin(msec);

	assert_true(test_run(event, &finished));
	restore_free(restore);
	for (size_t i = 0; i < n_machines; i++)
		assert_true(machines[i].ended);
}

static bool is_kept(const struct machine *m)
{
	struct journal_entry entry;

	return journal_read(runtime, m->entry.vm, &entry) == 1;
}

static void assert_end(const struct machine *m, enum restore_end end, const char *text)
{
	if (m->end != end || !strstr(m->text, text))
		fail_msg("%s: %d: %s", m->entry.vm, m->end, m->text);
	assert_int_equal(is_kept(m), end == RESTORE_FAILED || end == RESTORE_LEFT);
}

static void assert_restored(const struct machine *m)
{
	assert_end(m, RESTORE_DONE, "1073741824");
	assert_int_equal(m->targets[m->n_targets - 1], GIB);
	assert_int_equal(m->interval, 0);
}

static void test_nothing_to_do(void **state)
{
	(void)state;
	restore_them(5000);
}

static void test_normal(void **state)
{
	struct machine *plain, *m = machine_start();

	(void)state;
	m->uuid = "5C8F0D4E-7F1C-4B7E-9D0E-3F1F4A3B2C1D";
	plain = machine_start();
	plain->entry.uuid[0] = plain->entry.stats_path[0] = '\0';
	restore_them(TEST_WAIT_MSEC);
	assert_restored(m);
	assert_int_equal(m->n_targets, 1);
	assert_int_equal(plain->targets[0], GIB);
	assert_int_equal(plain->n_targets, 1);
	assert_int_equal(plain->interval, 2);
	assert_false(is_kept(plain));
}

/* Its target may be lower than what it still has: also a guest that has all of it is told. What
 * was plugged in meanwhile stays. */
static void test_still_whole(void **state)
{
	struct machine *m = machine_start(), *more = machine_start(), *liar = machine_start();

	(void)state;
	m->actual = GIB;
	more->actual = 3 * GIB;
	liar->actual = -17590038556672;
	restore_them(TEST_WAIT_MSEC);
	assert_restored(m);
	assert_end(more, RESTORE_DONE, "3221225472");
	assert_int_equal(more->targets[0], 3 * GIB);
	assert_restored(liar);
}

/* The name serves another machine now: that one is not touched. */
static void test_other_machine(void **state)
{
	struct machine *m = machine_start(), *lost = machine_start();

	(void)state;
	m->uuid = lost->uuid = OTHER_UUID;
	/* Its own QEMU lives, and is not who listens. */
	put_process(100000002);
	lost->entry.pid = 100000002;
	restore_them(TEST_WAIT_MSEC);
	assert_end(lost, RESTORE_FAILED, "another machine");
	assert_int_equal(lost->n_targets, 0);
	assert_true(is_kept(lost));
	assert_end(m, RESTORE_GONE, "another machine");
	assert_int_equal(m->n_targets, 0);
	assert_int_equal(m->interval, 2);
}

static void test_ended_process(void **state)
{
	struct machine *reused = machine_start(), *boot = machine_start(), *none = machine_start();

	(void)state;
	reused->entry.start_ticks++;
	boot->entry.boot_id[0] = 'f';
	none->entry.pid = INT32_MAX;
	restore_them(TEST_WAIT_MSEC);
	for (size_t i = 0; i < n_machines; i++) {
		assert_end(&machines[i], RESTORE_GONE, "has ended");
		assert_int_equal(machines[i].connections, 0);
	}
}

/* Without a UUID, who listens says whether it is the same machine. */
static void test_other_listener(void **state)
{
	struct machine *other = machine_start(), *gone = machine_start();

	(void)state;
	put_process(100000001);
	other->entry.pid = 100000001;
	other->entry.uuid[0] = '\0';
	restore_them(TEST_WAIT_MSEC);
	assert_end(other, RESTORE_FAILED, "not QEMU");
	assert_int_equal(other->n_targets, 0);
	assert_restored(gone);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *command, *class, *text;
		enum restore_end end;
		size_t n_targets;
	} cases[] = {
		{ "balloon", "GenericError", "no, because", RESTORE_FAILED, 0 },
		{ "balloon", "DeviceNotActive", "no balloon", RESTORE_DONE, 0 },
		{ "query-balloon", "KVMMissingCap", "no, because", RESTORE_FAILED, 0 },
		{ "query-balloon", "DeviceNotActive", "no balloon", RESTORE_DONE, 0 },
		{ "query-uuid", "CommandNotFound", "no, because", RESTORE_FAILED, 0 },
		/* The memory comes back though the statistics do not. */
		{ "qom-set", "GenericError", "no, because", RESTORE_FAILED, 1 },
		{ "qom-set", "DeviceNotFound", "1073741824", RESTORE_DONE, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		machine_start()->refuses = cases[i].command;
		machines[i].class = cases[i].class;
	}
	restore_them(TEST_WAIT_MSEC);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_end(&machines[i], cases[i].end, cases[i].text);
		assert_int_equal(machines[i].n_targets, cases[i].n_targets);
		assert_int_equal(machines[i].connections, 1);
	}
}

/* What it had plugged in: half of that is unplugged, and some is still to be. */
static struct machine *plugged_start(void)
{
	struct machine *m = machine_start();

	strcpy(m->mems.devices[0].id, "vm0");
	strcpy(m->mems.devices[1].id, "vm1");
	m->mems.devices[0].requested_bytes = m->mems.devices[0].bytes = 256 * MIB;
	m->mems.devices[1].requested_bytes = m->mems.devices[1].bytes = 64 * MIB;
	m->mems.n = 2;
	m->entry.mems = m->mems;
	m->mems.devices[0].bytes = 128 * MIB;
	m->mems.devices[0].requested_bytes = 100 * MIB;
	m->actual = 640 * MIB - 192 * MIB;
	return m;
}

static void test_plugged(void **state)
{
	struct machine *m = plugged_start(), *gone = plugged_start(), *bare = plugged_start();

	(void)state;
	gone->mems.n = 1;
	bare->refuses = "balloon";
	bare->class = "DeviceNotActive";
	restore_them(TEST_WAIT_MSEC);
	for (size_t i = 0; i < n_machines; i++) {
		assert_end(&machines[i], RESTORE_DONE, "1073741824");
		assert_int_equal(machines[i].mems.devices[0].requested_bytes, 256 * MIB);
	}
	/* A target leaves out what is plugged in. */
	assert_int_equal(m->n_targets, 1);
	assert_int_equal(m->targets[0], GIB - 320 * MIB);
	assert_int_equal(m->mems.devices[1].requested_bytes, 64 * MIB);
	assert_int_equal(gone->n_targets, 1);
	assert_int_equal(gone->targets[0], GIB - 320 * MIB);
	assert_int_equal(bare->n_targets, 0);
}

static void test_plugged_without_balloon(void **state)
{
	struct machine *m = plugged_start();

	(void)state;
	m->refuses = "query-balloon";
	m->class = "DeviceNotActive";
	restore_them(TEST_WAIT_MSEC);
	assert_end(m, RESTORE_DONE, "1073741824");
	assert_int_equal(m->mems.devices[0].requested_bytes, 256 * MIB);
}

/* By steps, where the host has little room: no more is unplugged, then pages, then blocks. */
static void test_plugged_in_steps(void **state)
{
	struct machine *m = plugged_start();

	(void)state;
	put_meminfo(4 * GIB, 256 * MIB + 300 * MIB);
	restore_them(TEST_WAIT_MSEC);
	assert_end(m, RESTORE_DONE, "1073741824");
	assert_int_equal(m->n_targets, 3);
	assert_int_equal(m->targets[0], 448 * MIB);
	assert_int_equal(m->targets[1], 704 * MIB);
	assert_int_equal(m->targets[2], 704 * MIB);
	assert_int_equal(m->n_requests, 2);
	assert_int_equal(m->requests[0], 128 * MIB);
	assert_int_equal(m->requests[1], 256 * MIB);
}

/* Each reply is cut after each of its bytes; the next connection serves. */
static void test_cut(void **state)
{
	static const size_t lengths[] = { 0, 24, 72, 48, 24, 24 };
	unsigned int cut = 0;

	(void)state;
	for (unsigned int reply = 1; reply < ARRAY_SIZE(lengths); reply++)
		for (size_t bytes = 0; bytes < lengths[reply] && n_machines < MACHINES;
		     bytes += 2) {
			struct machine *m = machine_start();

			m->cut_reply = reply;
			m->cut_bytes = bytes;
		}
	restore_them(TEST_WAIT_MSEC);
	for (size_t i = 0; i < n_machines; i++) {
		assert_restored(&machines[i]);
		cut += machines[i].was_cut && machines[i].connections == 2;
	}
	assert_in_range(cut, n_machines - 12, n_machines);
}

/* One never greets, one never answers; the others have their memory at once. */
static void test_silent_peers(void **state)
{
	struct machine *mute = machine_start(), *hushed = machine_start(), *m = machine_start();
	uint64_t start = test_now();
	struct restore *restore;

	(void)state;
	mute->fake.greeting = NULL;
	hushed->hushes = "query-balloon";
	restore = begin(3000);
	assert_true(test_run_for(event, &m->ended, 5000));
	assert_true(m->ended_usec - start < 2000000);
	assert_false(mute->ended || hushed->ended);
	assert_restored(m);
	assert_true(test_run(event, &finished));
	restore_free(restore);
	assert_end(mute, RESTORE_FAILED, "another client");
	assert_end(hushed, RESTORE_FAILED, "in time");
	assert_in_range(test_now() - start, 2900000, 6000000);
}

/* Nobody listens, then QEMU does, as after another client has gone. */
static void test_late(void **state)
{
	struct machine *m = machine_start();
	struct restore *restore;
	char away[112];

	(void)state;
	snprintf(away, sizeof(away), "%s.away", m->fake.path);
	assert_int_equal(rename(m->fake.path, away), 0);
	restore = begin(TEST_WAIT_MSEC);
	test_idle(event, 700);
	assert_false(m->ended);
	assert_int_equal(rename(away, m->fake.path), 0);
	assert_true(test_run(event, &finished));
	restore_free(restore);
	assert_restored(m);
}

/* Room for a part of it: first no further inflation, then steps. */
static void test_steps(void **state)
{
	struct machine *m = machine_start(), *stalled = machine_start();

	(void)state;
	put_meminfo(4 * GIB, 256 * MIB + 600 * MIB);
	stalled->actual = 900 * MIB;
	restore_them(TEST_WAIT_MSEC);
	assert_restored(m);
	assert_int_equal(m->n_targets, 3);
	assert_int_equal(m->targets[0], 512 * MIB);
	assert_int_equal(m->targets[1], 768 * MIB);
	assert_restored(stalled);
	assert_int_equal(stalled->n_targets, 2);
	assert_int_equal(stalled->targets[0], 900 * MIB);
}

static void test_no_room(void **state)
{
	struct machine *m = machine_start();
	struct journal_entry entry;

	(void)state;
	put_meminfo(4 * GIB, 200 * MIB);
	m->actual = 600 * MIB;
	restore_them(2500);
	assert_end(m, RESTORE_FAILED, "no room");
	assert_int_equal(m->n_targets, 1);
	assert_int_equal(m->targets[0], 600 * MIB);
	assert_int_equal(m->interval, 0);
	/* The journal says what is so now. */
	assert_int_equal(journal_read(runtime, m->entry.vm, &entry), 1);
	assert_int_equal(entry.target_bytes, 600 * MIB);
	assert_int_equal(entry.original_bytes, GIB);
}

/* Whoever has it afterwards goes by its target: none is set until that is over. */
static void test_migrating(void **state)
{
	struct machine *m = machine_start(), *ever = machine_start();

	(void)state;
	m->migrations = 3;
	ever->migrations = UINT32_MAX;
	restore_them(6000);
	assert_restored(m);
	assert_int_equal(m->migrations, 0);
	assert_int_equal(m->n_targets, 1);
	assert_end(ever, RESTORE_FAILED, "migrated");
	assert_int_equal(ever->n_targets, 0);
}

/* Nothing was set: the journal keeps what was, whatever the guest claims. */
static void test_claims_while_refused(void **state)
{
	struct machine *m = machine_start();
	struct journal_entry entry;

	(void)state;
	m->actual = 800 * MIB;
	m->refuses = "balloon";
	m->class = "GenericError";
	restore_them(2500);
	assert_int_equal(m->end, RESTORE_FAILED);
	assert_int_equal(journal_read(runtime, m->entry.vm, &entry), 1);
	assert_int_equal(entry.target_bytes, 512 * MIB);
}

/* A daemon that comes takes over where things are. */
static void test_daemon_comes(void **state)
{
	struct machine *m = machine_start();
	struct restore *restore;

	(void)state;
	put_meminfo(4 * GIB, 200 * MIB);
	restore = begin(TEST_WAIT_MSEC);
	for (int i = 0; m->n_targets == 0 && i < TEST_WAIT_MSEC / 20; i++)
		test_idle(event, 20);
	assert_false(m->ended);
	daemon_there = true;
	assert_true(test_run(event, &finished));
	restore_free(restore);
	assert_end(m, RESTORE_LEFT, "daemon");
	assert_int_equal(m->n_targets, 1);
}

/* It has taken the entry over as it was: what this one did meanwhile is for it to find. */
static void test_daemon_comes_at_the_end(void **state)
{
	struct machine *m = machine_start();

	(void)state;
	m->brings_daemon = true;
	restore_them(TEST_WAIT_MSEC);
	assert_int_equal(m->n_targets, 1);
	assert_true(is_kept(m));
}

/* What was written after this began is about something else. */
static void test_entry_is_new(void **state)
{
	struct machine *m = machine_start();
	struct restore *restore = begin(TEST_WAIT_MSEC);

	(void)state;
	m->entry.target_bytes = 800 * MIB;
	assert_int_equal(journal_write(runtime, &m->entry), 0);
	assert_true(test_run(event, &finished));
	restore_free(restore);
	assert_int_equal(m->end, RESTORE_DONE);
	assert_true(is_kept(m));
}

static void test_entry_is_another_process(void **state)
{
	struct machine *m = machine_start();
	struct restore *restore = begin(TEST_WAIT_MSEC);

	(void)state;
	m->entry.start_ticks++;
	assert_int_equal(journal_write(runtime, &m->entry), 0);
	assert_true(test_run(event, &finished));
	restore_free(restore);
	assert_int_equal(m->end, RESTORE_DONE);
	assert_true(is_kept(m));
}

/* By the connection that the daemon has already; it is not made anew. */
static void test_given_connection(void **state)
{
	struct machine *m = machine_start(), *cut = machine_start();
	uint64_t start = test_now();
	struct client clients[2];
	struct restore *restore;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		client_start(&clients[i], machines[i].fake.path);
		assert_true(test_run(event, &clients[i].ready));
	}
	cut->cut_reply = 3;
	n_machines = 0;
	restore = begin(TEST_WAIT_MSEC);
	n_machines = 2;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(journal_write(runtime, &machines[i].entry), 0);
		assert_int_equal(restore_add(restore, &machines[i].entry, clients[i].qmp), 0);
	}
	assert_true(test_run(event, &finished));
	restore_free(restore);
	assert_restored(m);
	assert_end(cut, RESTORE_FAILED, "closed");
	assert_true(cut->ended_usec - start < 2000000);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(machines[i].connections, 1);
		assert_int_equal(clients[i].closed, i == 1);
		qmp_free(clients[i].qmp);
	}
}

/* Given up in the middle: nothing is told any more, and all is released. */
static void test_freed(void **state)
{
	struct machine *m = machine_start(), *hushed = machine_start();
	struct restore *restore;

	(void)state;
	hushed->hushes = "balloon";
	restore = begin(TEST_WAIT_MSEC);
	assert_true(test_run(event, &m->ended));
	restore_free(restore);
	test_idle(event, 100);
	assert_false(hushed->ended || finished);
	assert_true(is_kept(hushed));
}

static int setup(void **state)
{
	char command[160];

	(void)state;
	test_folder(root);
	snprintf(folder, sizeof(folder), "%s", root);
	snprintf(runtime, sizeof(runtime), "%s/run", root);
	snprintf(command, sizeof(command), "mkdir -p %s/proc/sys/kernel/random", root);
	assert_int_equal(system(command), 0);
	test_write(root, "proc/sys/kernel/random/boot_id", BOOT "\n", strlen(BOOT) + 1);
	put_process(getpid());
	put_meminfo(24 * GIB, 20 * GIB);
	n_machines = 0;
	daemon_there = false;
	return sd_event_new(&event);
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_machines; i++)
		fake_stop(&machines[i].fake);
	event = sd_event_unref(event);
	test_folder_remove(root);
	return 0;
}

#define RESTORE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RESTORE(test_nothing_to_do),
		RESTORE(test_normal),
		RESTORE(test_still_whole),
		RESTORE(test_other_machine),
		RESTORE(test_ended_process),
		RESTORE(test_other_listener),
		RESTORE(test_refusals),
		RESTORE(test_plugged),
		RESTORE(test_plugged_without_balloon),
		RESTORE(test_plugged_in_steps),
		RESTORE(test_cut),
		RESTORE(test_silent_peers),
		RESTORE(test_late),
		RESTORE(test_steps),
		RESTORE(test_no_room),
		RESTORE(test_migrating),
		RESTORE(test_claims_while_refused),
		RESTORE(test_entry_is_another_process),
		RESTORE(test_daemon_comes),
		RESTORE(test_daemon_comes_at_the_end),
		RESTORE(test_entry_is_new),
		RESTORE(test_given_connection),
		RESTORE(test_freed),
	};

	(void)have_qemu;
	(void)ask;
	(void)end;
	(void)client_ready;
	(void)fake_drip_start;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
