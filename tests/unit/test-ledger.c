/* SPDX-License-Identifier: Apache-2.0 */
#include "host-test.h"

#include "base/blockset.h"
#include "host/ledger.h"

static struct ledger ledger;

static int teardown(void **state)
{
	(void)state;
	ledger_done(&ledger);
	ledger = (struct ledger){ 0 };
	return 0;
}

static void test_find(void **state)
{
	char name[32];

	(void)state;
	assert_null(ledger_find(&ledger, 0));
	assert_null(ledger_find(&ledger, 1));
	for (unsigned i = 1; i <= LEDGER_MAX + 3; i++) {
		snprintf(name, sizeof(name), "/image-%u", i);
		assert_int_equal(ledger_add(&ledger, name)->id, i);
		assert_string_equal(ledger_find(&ledger, i)->image, name);
	}
	/* The oldest have made room. */
	assert_null(ledger_find(&ledger, 3));
	assert_string_equal(ledger_find(&ledger, 4)->image, "/image-4");
	assert_null(ledger_find(&ledger, LEDGER_MAX + 4));
	assert_null(ledger_find(&ledger, 0));
	assert_null(ledger_find(&ledger, UINT64_MAX));
}

static json_int_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	assert_true(json_is_integer(value));
	return json_integer_value(value);
}

static void test_order(void **state)
{
	struct ledger_entry *e = ledger_add(&ledger, "/base.raw");
	json_t *order;

	(void)state;
	snprintf(e->vm, sizeof(e->vm), "alpha");
	e->action = PLAN_EVICT;
	e->asked = 10;
	e->done = 7;
	e->kept_hot = 3;
	order = ledger_order_json(e);
	assert_int_equal(number(order, "asked_bytes"), 10 * BLOCK_BYTES);
	assert_int_equal(number(order, "done_bytes"), 7 * BLOCK_BYTES);
	assert_int_equal(number(json_object_get(order, "kept"), "hot"), 3 * BLOCK_BYTES);
	assert_string_equal(json_string_value(json_object_get(order, "vm")), "alpha");
	assert_true(json_is_null(json_object_get(order, "error")));
	json_decref(order);

	e = ledger_add(&ledger, "/base.raw");
	e->action = PLAN_TRIM;
	order = ledger_order_json(e);
	assert_true(json_is_null(json_object_get(order, "vm")));
	json_decref(order);
}

static bool has_line(const json_t *reply, const char *part)
{
	json_t *line;
	size_t i;

	json_array_foreach (json_object_get(reply, "text"), i, line)
		if (strstr(json_string_value(line), part))
			return true;
	return false;
}

static void test_explain(void **state)
{
	struct ledger_entry *e = ledger_add(&ledger, "/base.raw");
	json_t *reply;

	(void)state;
	snprintf(e->reason, sizeof(e->reason), "held twice");
	snprintf(e->error, sizeof(e->error), "the guest has gone");
	e->inputs.holders[2] = 256;
	reply = ledger_explain_json(e);
	assert_true(has_line(reply, "held twice"));
	assert_true(has_line(reply, "It did not end well: the guest has gone"));
	assert_true(has_line(reply, "2 guests: 1.0 MiB"));
	assert_false(has_line(reply, "dry run"));
	json_decref(reply);
	e->dry_run = true;
	reply = ledger_explain_json(e);
	assert_true(has_line(reply, "A dry run: nothing was done."));
	json_decref(reply);
}

static void test_order_to_free(void **state)
{
	struct ledger_entry *e = ledger_add(&ledger, "");
	json_t *reply, *order;

	(void)state;
	snprintf(e->vm, sizeof(e->vm), "alpha");
	e->free = true;
	e->asked = 1024;
	e->done = 512;
	e->step_bytes[WIRE_STEP_FREE] = 1 << 20;
	e->step_bytes[WIRE_STEP_COLD] = 2 << 20;
	e->stopped = WIRE_STOPPED_BRAKED;
	e->brake = WIRE_BRAKE_IO;
	e->before_known = true;
	e->before.unmapped_bytes = 7 << 20;
	reply = ledger_explain_json(e);
	assert_true(has_line(reply, "Before it, 7.0 MiB"));
	assert_true(has_line(reply, "Step free: 1.0 MiB, which were free before."));
	assert_true(has_line(reply, "Step cold: 2.0 MiB."));
	assert_false(has_line(reply, "Step held"));
	assert_true(has_line(reply, "It ended with: braked, brake io."));
	assert_int_equal(number(json_object_get(reply, "inputs"), "unmapped_bytes"), 7 << 20);
	assert_int_equal(json_array_size(json_object_get(reply, "steps")), WIRE_STEPS);
	order = json_object_get(reply, "order");
	assert_string_equal(json_string_value(json_object_get(order, "action")), "free");
	assert_true(json_is_null(json_object_get(order, "step")));
	json_decref(reply);

	snprintf(e->error, sizeof(e->error), "the guest has gone");
	e->before_known = false;
	reply = ledger_explain_json(e);
	assert_true(has_line(reply, "It did not end well: the guest has gone"));
	assert_false(has_line(reply, "It ended with"));
	assert_int_equal(json_object_size(json_object_get(reply, "inputs")), 0);
	json_decref(reply);
}

static void test_balloon(void **state)
{
	struct ledger_entry *e = ledger_add(&ledger, "");
	struct balloon_result result = { .vm = (char *)"alpha",
					 .order = 1,
					 .asked_bytes = 512 << 20,
					 .original_bytes = 1024 << 20,
					 .from_bytes = 1024 << 20,
					 .actual_bytes = 700 << 20,
					 .floor = { 700 << 20, BALLOON_FLOOR_AGENT },
					 .state = BALLOON_FLOOR,
					 .reason = "the floor has come up",
					 .notes = json_pack("[s]", "something to know") };
	json_t *json;

	(void)state;
	e->balloon = balloon_result_copy(&result);
	json_decref(result.notes);
	json = ledger_order_json(e);
	assert_string_equal(json_string_value(json_object_get(json, "action")), "balloon");
	assert_true(json_is_null(json_object_get(json, "step")));
	json_decref(json);
	assert_ptr_equal(ledger_change(&ledger, e->id), e);
	assert_null(ledger_change(&ledger, e->id + 1));
	assert_null(ledger_change(&ledger, 0));
	json = ledger_explain_json(e);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(json, "inputs"), "state")),
		"floor");
	assert_true(json_is_null(
		json_object_get(json_object_get(json, "inputs"), "host_returned_bytes")));
	assert_int_equal(json_array_size(json_object_get(json, "text")), 6);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_balloon, teardown),
		cmocka_unit_test_teardown(test_find, teardown),
		cmocka_unit_test_teardown(test_order, teardown),
		cmocka_unit_test_teardown(test_explain, teardown),
		cmocka_unit_test_teardown(test_order_to_free, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
