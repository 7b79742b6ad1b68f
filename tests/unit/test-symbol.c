/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include <errno.h>

#include "guest/symbol.h"

#define KALLSYMS "/proc/kallsyms"

static uint64_t address;

static int find(const char *text, const char *name)
{
	tree_put(KALLSYMS, text);

	struct symbol symbol = { .name = name, .address = 1 };
	int r = symbols_find(tree, &symbol, 1);

	address = symbol.address;
	return r;
}

static void test_finds_the_whole_name(void **state)
{
	const char *text = "ffffffff81000000 T _text\n"
			   "ffffffff82000010 D vmemmap_base_not\n"
			   "ffffffff82000020 D not_vmemmap_base\n"
			   "ffffffff82000030 D vmemmap_base\n"
			   "ffffffff82000040 D last\n";

	(void)state;
	assert_int_equal(find(text, "vmemmap_base"), 1);
	assert_int_equal(address, 0xffffffff82000030);
	assert_int_equal(find(text, "_text"), 1);
	assert_int_equal(address, 0xffffffff81000000);
	assert_int_equal(find(text, "vmemmap"), 0);
}

static void test_a_modules_symbol_is_not_the_kernels(void **state)
{
	(void)state;
	assert_int_equal(find("ffffffffc0000000 d vmemmap_base\t[evil]\n", "vmemmap_base"), 0);
	assert_int_equal(find("ffffffffc0000000 d vmemmap_base\t[evil]\n"
			      "ffffffff82000030 D vmemmap_base\n",
			      "vmemmap_base"),
			 1);
	assert_int_equal(address, 0xffffffff82000030);
}

static void test_hidden_addresses(void **state)
{
	(void)state;
	assert_int_equal(find("0000000000000000 D vmemmap_base\n", "vmemmap_base"), -EPERM);
}

static void test_several_in_one_pass(void **state)
{
	struct symbol symbols[] = { { .name = "last" }, { .name = "none" }, { .name = "first" } };

	(void)state;
	tree_put(KALLSYMS, "10 D first\n20 D first\n30 D last");
	assert_int_equal(symbols_find(tree, symbols, 3), 2);
	assert_int_equal(symbols[0].address, 0x30);
	assert_int_equal(symbols[1].address, 0);
	assert_int_equal(symbols[2].address, 0x10);
	/* One that is hidden: none is believed. */
	tree_put(KALLSYMS, "10 D first\n00 D last\n");
	assert_int_equal(symbols_find(tree, symbols, 3), -EPERM);
	assert_int_equal(symbols[2].address, 0);
}

static void test_what_is_no_list_of_symbols(void **state)
{
	struct symbol symbols[2] = { { .name = "a", .address = 1 }, { .name = "b" } };

	(void)state;
	assert_int_equal(find("", "vmemmap_base"), 0);
	assert_int_equal(find("\n \nx\nvmemmap_base\n", "vmemmap_base"), 0);
	assert_int_equal(find("1 ", "vmemmap_base"), 0);
	tree_drop(KALLSYMS);
	assert_int_equal(symbols_find(tree, symbols, 2), -ENOENT);
	assert_int_equal(symbols[0].address, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finds_the_whole_name),
		cmocka_unit_test(test_a_modules_symbol_is_not_the_kernels),
		cmocka_unit_test(test_hidden_addresses),
		cmocka_unit_test(test_several_in_one_pass),
		cmocka_unit_test(test_what_is_no_list_of_symbols),
	};

	return cmocka_run_group_tests(tests, tree_make, tree_remove);
}
