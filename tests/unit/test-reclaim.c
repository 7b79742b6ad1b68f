/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include "guest/reclaim.h"

#define NODE(n)	     "/sys/devices/system/node/node" n "/reclaim"
#define CGROUP	     "/sys/fs/cgroup/memory.reclaim"
#define HYBRID	     "/sys/fs/cgroup/unified/memory.reclaim"
#define SWAPS	     "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
#define MOUNTS_OTHER "22 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw\n"
#define MOUNTS_V2    "30 22 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"

static const struct nodes one = {
	.count = 1,
	.nodes = { { .number = 0, .unmapped_pages = 5000, .high_pages = 100 } },
};
static const struct nodes two = {
	.count = 2,
	.nodes = { { .number = 0, .unmapped_pages = 5000, .high_pages = 100 },
		   { .number = 3, .unmapped_pages = 5000, .high_pages = 100 } },
};
static struct reclaim reclaim;
static char reason[96];

static int setup(void **state)
{
	int r = tree_make(state);

	reason[0] = '\0';
	tree_put("/proc/swaps", SWAPS);
	tree_put("/proc/vmstat", "pgsteal_anon 7\npgsteal_file 1000\n"
				 "workingset_refault_anon 5\nworkingset_refault_file 33\n");
	tree_put("/proc/self/mountinfo", MOUNTS_OTHER MOUNTS_V2);
	return r;
}

static int open_tree(const struct nodes *n)
{
	return reclaim_open(tree, n, &reclaim, reason, sizeof(reason));
}

static void assert_text(const char *path, const char *expected)
{
	char full[512], text[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", tree, path);
	f = fopen(full, "re");
	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	assert_string_equal(text, expected);
}

/* What the kernel refuses: the file is there, and no order is understood. */
static void put_refusing(const char *path)
{
	char full[512];

	tree_put(path, "");
	tree_drop(path);
	snprintf(full, sizeof(full), "%s%s", tree, path);
	assert_int_equal(symlink("/dev/full", full), 0);
}

static void test_cgroup(void **state)
{
	uint64_t pages[NODES_MAX] = { 3 }, freed = 77;

	(void)state;
	tree_put(CGROUP, "");
	tree_put(NODE("0"), "");
	assert_int_equal(open_tree(&one), 0);
	assert_int_equal(reclaim.way, RECLAIM_CGROUP);
	/* Nothing went: the count is as before. */
	assert_int_equal(reclaim_cache(&reclaim, &one, pages, &freed), 0);
	assert_int_equal(freed, 0);
	assert_text(CGROUP, "0 swappiness=0\n12288 swappiness=0\n");
	assert_text(NODE("0"), "");
}

static void test_nodes(void **state)
{
	uint64_t pages[NODES_MAX] = { 3, 0 }, freed;

	(void)state;
	tree_put(CGROUP, "");
	tree_put(NODE("0"), "");
	tree_put(NODE("3"), "");
	assert_int_equal(open_tree(&two), 0);
	assert_int_equal(reclaim.way, RECLAIM_NODES);
	assert_int_equal(reclaim_cache(&reclaim, &two, pages, &freed), 0);
	pages[1] = 2;
	assert_int_equal(reclaim_cache(&reclaim, &two, pages, &freed), 0);
	assert_text(NODE("0"), "0 swappiness=0\n12288 swappiness=0\n12288 swappiness=0\n");
	assert_text(NODE("3"), "0 swappiness=0\n8192 swappiness=0\n");
	assert_text(CGROUP, "");
}

/* A node with little page cache would be made to swap. */
static void test_node_with_little(void **state)
{
	uint64_t pages[NODES_MAX] = { 3, 3 }, freed;
	struct nodes n = two;

	(void)state;
	n.nodes[0].unmapped_pages = n.nodes[0].high_pages;
	tree_put(NODE("0"), "");
	tree_put(NODE("3"), "");
	assert_int_equal(open_tree(&n), 0);
	assert_int_equal(reclaim_cache(&reclaim, &n, pages, &freed), 0);
	assert_text(NODE("0"), "0 swappiness=0\n");
	assert_text(NODE("3"), "0 swappiness=0\n12288 swappiness=0\n");
}

static void test_several_nodes_without_files(void **state)
{
	uint64_t pages[NODES_MAX] = { 3, 2 }, freed;

	(void)state;
	tree_put(CGROUP, "");
	tree_put(NODE("0"), "");
	assert_int_equal(open_tree(&two), 0);
	assert_int_equal(reclaim.way, RECLAIM_CGROUP);
	assert_int_equal(reclaim_cache(&reclaim, &two, pages, &freed), 0);
	assert_text(CGROUP, "0 swappiness=0\n20480 swappiness=0\n");
}

static void test_one_node_without_cgroup(void **state)
{
	(void)state;
	tree_put(NODE("0"), "");
	tree_put("/proc/self/mountinfo", MOUNTS_OTHER);
	assert_int_equal(open_tree(&one), 0);
	assert_int_equal(reclaim.way, RECLAIM_NODES);
}

static void test_swap(void **state)
{
	uint64_t pages[NODES_MAX] = { 3 }, freed;

	(void)state;
	put_refusing(CGROUP);
	assert_int_equal(open_tree(&one), 0);
	assert_int_equal(reclaim.way, RECLAIM_CGROUP_NO_SWAP);
	tree_drop(CGROUP);
	tree_put(CGROUP, "");
	assert_int_equal(reclaim_cache(&reclaim, &one, pages, &freed), 0);
	assert_text(CGROUP, "12288\n");

	/* Swap that comes later counts as well. */
	tree_put("/proc/swaps", SWAPS "/dev/vdb partition 1048572 0 -2\n");
	assert_int_equal(reclaim_cache(&reclaim, &one, pages, &freed), -EOPNOTSUPP);
	assert_text(CGROUP, "12288\n");
	tree_drop(CGROUP);
	put_refusing(CGROUP);
	assert_int_equal(open_tree(&one), -EOPNOTSUPP);
	assert_int_equal(reclaim.way, RECLAIM_NONE);
	assert_non_null(strstr(reason, "swap"));
	assert_int_equal(reclaim_cache(&reclaim, &one, pages, &freed), -EOPNOTSUPP);
}

static void test_swap_with_swappiness(void **state)
{
	(void)state;
	tree_put(CGROUP, "");
	tree_put("/proc/swaps", SWAPS "/dev/vdb partition 1048572 0 -2\n");
	assert_int_equal(open_tree(&one), 0);
	assert_int_equal(reclaim.way, RECLAIM_CGROUP);
}

static void test_no_way(void **state)
{
	(void)state;
	assert_int_equal(open_tree(&one), -EOPNOTSUPP);
	assert_non_null(strstr(reason, "memory.reclaim"));
	tree_put("/proc/self/mountinfo", MOUNTS_OTHER);
	assert_int_equal(open_tree(&one), -EOPNOTSUPP);
	assert_non_null(strstr(reason, "not mounted"));
}

/* Only the true root of the hierarchy is the whole machine. */
static void test_other_cgroups(void **state)
{
	(void)state;
	tree_put(CGROUP, "");
	tree_put(HYBRID, "");
	tree_put("/proc/self/mountinfo",
		 "30 22 0:26 /system.slice /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
		 "31 22 0:27 / /sys/fs/cgroup rw - cgroup cgroup rw,memory\n");
	assert_int_equal(open_tree(&one), -EOPNOTSUPP);
	tree_put("/proc/self/mountinfo",
		 "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
		 "31 22 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
	tree_put("/sys/fs/cgroup/cgroup.type", "domain\n");
	assert_int_equal(open_tree(&one), 0);
	assert_int_equal(strlen(reclaim.path), strlen(tree) + strlen(HYBRID));
}

static void test_refusal_is_an_error(void **state)
{
	uint64_t pages[NODES_MAX] = { 3 }, freed;

	(void)state;
	tree_put(CGROUP, "");
	assert_int_equal(open_tree(&one), 0);
	tree_drop(CGROUP);
	assert_int_equal(reclaim_cache(&reclaim, &one, pages, &freed), -ENOENT);
}

static void test_refaulted(void **state)
{
	(void)state;
	assert_int_equal(reclaim_refaulted(tree), 33);
	tree_drop("/proc/vmstat");
	assert_int_equal(reclaim_refaulted(tree), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, tree_remove)
	const struct CMUnitTest tests[] = {
		T(test_cgroup),
		T(test_nodes),
		T(test_node_with_little),
		T(test_several_nodes_without_files),
		T(test_one_node_without_cgroup),
		T(test_swap),
		T(test_swap_with_swappiness),
		T(test_no_way),
		T(test_other_cgroups),
		T(test_refusal_is_an_error),
		T(test_refaulted),
	};

	return cmocka_run_group_tests_name("reclaim", tests, NULL, NULL);
}
