/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include "guest/nodes.h"

#define VMSTAT0 "/sys/devices/system/node/node0/vmstat"
#define VMSTAT2 "/sys/devices/system/node/node2/vmstat"

/* A zone with memory, in the form of Linux 6.18. */
#define ZONE(node, zone, high, spanned, managed, start)                                            \
	"Node " node ", zone " zone "\n  pages free     3840\n        boost    0\n"                \
	"        min      1\n        low      2\n        high     " high "\n        promo    9\n"  \
	"        spanned  " spanned "\n        present  " managed "\n        managed  " managed    \
	"\n        cma      0\n        protection: (0, 3019, 11979)\n      nr_free_pages 3840\n"   \
	"  pagesets\n    cpu: 0\n              count:    7\n              high:     77777\n"       \
	"              high_min: 77777\n  vm stats threshold: 4\n  node_unreclaimable:  0\n"       \
	"  start_pfn:           " start "\n"

/* And one without. */
#define EMPTY(node, zone)                                                                          \
	"Node " node ", zone " zone "\n  pages free     0\n        high     32\n"                  \
	"        spanned  0\n        present  0\n        managed  0\n        protection: (0)\n"

/* Nodes 0 and 2, with a third of the memory and two; 1 has none. */
static const char zoneinfo[] = ZONE("0", "     DMA", "31", "4095", "3840", "1")
	ZONE("0", "   DMA32", "600", "258048", "250000", "4096") EMPTY("0", " Movable")
		EMPTY("1", "  Normal") ZONE("2", "  Normal", "1300", "600000", "507680", "1048576")
			EMPTY("2", "  Device");

static const char vmstat0[] = "nr_free_pages 1000\nnr_free_pages_blocks 900\n"
			      "nr_zone_inactive_file 5\nnr_inactive_file 3000\n"
			      "nr_active_file 500\nnr_slab_reclaimable 70\nnr_mapped 1200\n"
			      "nr_file_pages 4000\n";
static const char vmstat2[] = "nr_free_pages 2000\nnr_inactive_file 30\nnr_active_file 5\n"
			      "nr_slab_reclaimable 80\nnr_mapped 36\n";

static int setup(void **state)
{
	int r = tree_make(state);

	tree_put("/proc/zoneinfo", zoneinfo);
	tree_put("/proc/sys/vm/min_unmapped_ratio", "2\n");
	tree_put("/proc/sys/vm/min_slab_ratio", "7\n");
	tree_put(VMSTAT0, vmstat0);
	tree_put(VMSTAT2, vmstat2);
	return r;
}

static void test_nodes(void **state)
{
	struct nodes n;

	(void)state;
	assert_int_equal(nodes_read(tree, &n), 0);
	assert_int_equal(n.count, 2);
	assert_int_equal(n.nodes[0].number, 0);
	assert_int_equal(n.nodes[0].managed_pages, 253840);
	assert_int_equal(n.nodes[0].high_pages, 631);
	assert_int_equal(n.nodes[1].number, 2);
	assert_int_equal(n.nodes[1].managed_pages, 507680);
	assert_int_equal(n.nodes[1].high_pages, 1300);
	assert_int_equal(n.ranges_count, 3);
	assert_int_equal(n.min_unmapped_ratio, 2);
	assert_int_equal(n.min_slab_ratio, 7);
	assert_int_equal(nodes_of(&n, 0), 0);
	assert_int_equal(nodes_of(&n, 4096 + 258047), 0);
	assert_int_equal(nodes_of(&n, 1048575), 0);
	assert_int_equal(nodes_of(&n, 1048576), 1);
	assert_int_equal(nodes_of(&n, 1048576 + 599999), 1);
	assert_int_equal(nodes_of(&n, 1048576 + 600000), 0);
	nodes_done(&n);
	assert_int_equal(n.count, 0);
}

static void test_count(void **state)
{
	struct nodes n;

	(void)state;
	assert_int_equal(nodes_read(tree, &n), 0);
	assert_int_equal(nodes_count(&n), 0);
	assert_int_equal(n.nodes[0].unmapped_pages, 2300);
	assert_int_equal(n.nodes[0].free_pages, 1000);
	assert_int_equal(n.nodes[0].slab_reclaimable_pages, 70);
	/* More mapped than on the lists: tmpfs. */
	assert_int_equal(n.nodes[1].unmapped_pages, 0);
	assert_int_equal(n.nodes[1].free_pages, 2000);
	/* Read again, by the same descriptors. */
	tree_put(VMSTAT0, "nr_free_pages 1\nnr_inactive_file 4\nnr_active_file 5\n"
			  "nr_slab_reclaimable 3\nnr_mapped 2\n");
	assert_int_equal(nodes_count(&n), 0);
	assert_int_equal(n.nodes[0].unmapped_pages, 7);
	/* All of it or nothing; a line without its end may have lost digits. */
	tree_put(VMSTAT0, "nr_free_pages 100\nnr_inactive_file 400\nnr_active_file 500\n"
			  "nr_slab_reclaimable 300\nnr_mapped 2");
	assert_int_equal(nodes_count(&n), -EBADMSG);
	tree_put(VMSTAT0, vmstat0);
	tree_put(VMSTAT2, "nr_free_pages 2000\n");
	assert_int_equal(nodes_count(&n), -EBADMSG);
	assert_int_equal(n.nodes[0].unmapped_pages, 7);
	assert_int_equal(n.nodes[0].free_pages, 1);
	nodes_done(&n);
}

/* Without nodes in sysfs there is one, and /proc/vmstat counts for it. */
static void test_without_nodes(void **state)
{
	char vmstat[6000] = "";
	struct nodes n;

	(void)state;
	tree_drop(VMSTAT2);
	assert_int_equal(nodes_read(tree, &n), -ENOENT);
	for (int i = 0; i < 250; i++)
		strcat(vmstat, "numa_interleave 123\n");
	strcat(vmstat, vmstat0);
	tree_put("/proc/vmstat", vmstat);
	assert_int_equal(nodes_read(tree, &n), 0);
	assert_int_equal(n.count, 1);
	assert_int_equal(n.nodes[0].managed_pages, 761520);
	assert_int_equal(n.nodes[0].high_pages, 1931);
	assert_int_equal(nodes_of(&n, 1048576), 0);
	assert_int_equal(nodes_count(&n), 0);
	assert_int_equal(n.nodes[0].unmapped_pages, 2300);
	nodes_done(&n);
}

/* Memory of node 2 was plugged in between two pieces of node 0's last zone. */
static void test_overlap(void **state)
{
	struct nodes n;

	(void)state;
	tree_put("/proc/zoneinfo", ZONE("0", " Movable", "1", "90000", "100", "1000")
					   ZONE("2", " Movable", "1", "1000", "100", "5000"));
	assert_int_equal(nodes_read(tree, &n), 0);
	assert_int_equal(nodes_of(&n, 4999), 0);
	assert_int_equal(nodes_of(&n, 5000), 1);
	assert_int_equal(nodes_of(&n, 5999), 1);
	assert_int_equal(nodes_of(&n, 6000), 0);
	nodes_done(&n);
	/* Whichever is told first. */
	tree_put("/proc/zoneinfo", ZONE("0", " Movable", "1", "1000", "100", "5000")
					   ZONE("2", " Movable", "1", "90000", "100", "1000"));
	assert_int_equal(nodes_read(tree, &n), 0);
	assert_int_equal(nodes_of(&n, 4999), 1);
	assert_int_equal(nodes_of(&n, 5000), 0);
	assert_int_equal(nodes_of(&n, 5999), 0);
	assert_int_equal(nodes_of(&n, 6000), 1);
	nodes_done(&n);
}

static uint64_t pages(const char *text, const struct nodes *n, unsigned node)
{
	struct limit_text limit;

	assert_int_equal(limit_text_parse(text, &limit), 0);
	return limit_pages(&limit, n, node);
}

static void test_limits(void **state)
{
	struct nodes n;

	(void)state;
	assert_int_equal(nodes_read(tree, &n), 0);
	assert_int_equal(pages("3G", &n, 0), 262144);
	assert_int_equal(pages("3G", &n, 1), 524288);
	assert_int_equal(pages("1", &n, 0), 0);
	/* No overflow on the way. */
	assert_int_equal(pages("8388607T", &n, 1), 8388607ull * (1 << 28) * 2 / 3);
	assert_int_equal(pages("12.5%", &n, 0), 31730);
	assert_int_equal(pages("100%", &n, 1), 507680);
	assert_int_equal(pages("default", &n, 0), 16 * 5076);
	assert_int_equal(pages("default", &n, 1), 16 * 10153);
	assert_true(pages("off", &n, 0) == UINT64_MAX);
	n.min_unmapped_ratio = 0;
	assert_true(pages("default", &n, 0) == UINT64_MAX);
	nodes_done(&n);
}

/* A kernel without NUMA has no ratios: what it would begin with. */
static void test_ratios(void **state)
{
	struct nodes n;

	(void)state;
	tree_drop("/proc/sys/vm/min_unmapped_ratio");
	tree_drop("/proc/sys/vm/min_slab_ratio");
	assert_int_equal(nodes_read(tree, &n), 0);
	assert_int_equal(n.min_unmapped_ratio, 1);
	assert_int_equal(n.min_slab_ratio, 5);
	nodes_done(&n);
	tree_put("/proc/sys/vm/min_slab_ratio", "101\n");
	assert_int_equal(nodes_read(tree, &n), -EBADMSG);
	tree_put("/proc/sys/vm/min_slab_ratio", "\n");
	assert_int_equal(nodes_read(tree, &n), -EBADMSG);
}

static void put_zones(unsigned nodes, unsigned zones)
{
	char text[65536];
	size_t size = 0;

	for (unsigned i = 0; i < nodes * zones; i++)
		size += (size_t)snprintf(text + size, sizeof(text) - size,
					 "Node %u, zone DMA\n high 1\n spanned 9\n managed 9\n"
					 " start_pfn: %u\n",
					 i / zones, i * 9);
	tree_put("/proc/zoneinfo", text);
}

static void test_refused(void **state)
{
	struct nodes n = { .count = 77 };

	(void)state;
	put_zones(NODES_MAX + 1, 1);
	assert_int_equal(nodes_read(tree, &n), -E2BIG);
	put_zones(1, NODES_RANGES_MAX + 1);
	assert_int_equal(nodes_read(tree, &n), -E2BIG);
	tree_put("/proc/zoneinfo", "");
	assert_int_equal(nodes_read(tree, &n), -EBADMSG);
	tree_drop("/proc/zoneinfo");
	assert_int_equal(nodes_read(tree, &n), -ENOENT);
	assert_int_equal(n.count, 77);
	put_zones(1, NODES_RANGES_MAX);
	assert_int_equal(nodes_read(tree, &n), 0);
	assert_int_equal(n.ranges_count, NODES_RANGES_MAX);
	nodes_done(&n);
}

/* The kernel that runs this test. */
static void test_here(void **state)
{
	uint64_t managed = 0;
	struct nodes n;

	(void)state;
	assert_int_equal(nodes_read("", &n), 0);
	assert_int_equal(nodes_count(&n), 0);
	for (unsigned i = 0; i < n.count; i++) {
		managed += n.nodes[i].managed_pages;
		assert_true(n.nodes[i].free_pages <= n.nodes[i].managed_pages);
		assert_true(n.nodes[i].unmapped_pages <= n.nodes[i].managed_pages);
	}
	assert_in_range(managed, 1, sysconf(_SC_PHYS_PAGES));
	nodes_done(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nodes, setup, tree_remove),
		cmocka_unit_test_setup_teardown(test_count, setup, tree_remove),
		cmocka_unit_test_setup_teardown(test_without_nodes, setup, tree_remove),
		cmocka_unit_test_setup_teardown(test_overlap, setup, tree_remove),
		cmocka_unit_test_setup_teardown(test_limits, setup, tree_remove),
		cmocka_unit_test_setup_teardown(test_ratios, setup, tree_remove),
		cmocka_unit_test_setup_teardown(test_refused, setup, tree_remove),
		cmocka_unit_test(test_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
