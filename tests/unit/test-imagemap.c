/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "host/imagemap.h"

#define _cleanup_map_	   _cleanup_(imagemap_freep)
#define _cleanup_blockset_ _cleanup_(blockset_freep)

static const struct image_layer two_layers[] = {
	{ "/top.qcow2", "qcow2", false, 0 },
	{ "/base.raw", "raw", false, 0 },
};

static int parse(const char *json, struct imagemap **ret)
{
	return imagemap_parse(json, strlen(json), two_layers, 2, ret);
}

#define ENTRY(start, length, depth, rest)                                                          \
	"{ \"start\": " #start ", \"length\": " #length ", \"depth\": " #depth                     \
	", \"present\": true, " rest "}"
#define DATA	   "\"zero\": false, \"data\": true"
#define ZERO	   "\"zero\": true, \"data\": false"
#define AT(offset) ", \"offset\": " #offset

static void assert_extent(const struct imagemap *map, size_t i, uint32_t start, uint32_t count,
			  uint32_t layer, uint32_t file_block)
{
	size_t n;
	const struct imagemap_extent *extents = imagemap_extents(map, &n);

	assert_true(i < n);
	assert_int_equal(extents[i].start, start);
	assert_int_equal(extents[i].count, count);
	assert_int_equal(extents[i].layer, layer);
	assert_int_equal(extents[i].file_block, file_block);
}

static size_t n_extents(const struct imagemap *map)
{
	size_t n;

	imagemap_extents(map, &n);
	return n;
}

static void test_kinds(void **state)
{
	_cleanup_map_ struct imagemap *map = NULL;

	(void)state;
	assert_int_equal(
		parse("[" ENTRY(0, 8192, 0, ZERO) ",\n"	       /* qcow2: no data */
		      ENTRY(8192, 4096, 0, ZERO AT(65536)) "," /* and none read */
		      ENTRY(12288, 4096, 0, DATA) ","	       /* compressed */
		      ENTRY(16384, 4096, 0, DATA AT(65536) ", \"compressed\": true") "," ENTRY(
			      20480, 8192, 0,
			      DATA AT(131072)) "," ENTRY(28672, 4096, 0,
							 DATA AT(139264)) "," /* goes on */
		      ENTRY(32768, 8192, 1, ZERO AT(32768)) "," /* hole of a raw file */
		      ENTRY(40960, 4096, 1, DATA AT(40960)) "]\n",
		      &map),
		0);
	assert_int_equal(n_extents(map), 2);
	assert_extent(map, 0, 5, 3, 0, 32);
	assert_extent(map, 1, 8, 3, 1, 8);
	assert_int_equal(imagemap_placed_blocks(map), 6);
}

static void test_unaligned(void **state)
{
	_cleanup_map_ struct imagemap *map = NULL;

	(void)state;
	assert_int_equal(
		parse("[" ENTRY(512, 8192, 0, DATA AT(66048)) "," /* one whole block inside */
		      ENTRY(12288, 8192, 0, DATA AT(512)) ","	  /* at the wrong place */
		      ENTRY(20480, 4095, 1, DATA AT(20480)) ","	  /* nearly a block */
		      ENTRY(24576, 4608, 1, DATA AT(24576)) "]",
		      &map),
		0);
	assert_int_equal(n_extents(map), 2);
	assert_extent(map, 0, 1, 1, 0, 17);
	assert_extent(map, 1, 6, 1, 1, 6);
}

static void test_beyond_file(void **state)
{
	struct image_layer layers[] = { two_layers[0], two_layers[1] };
	const char *json =
		"[" ENTRY(0, 8192, 1, DATA AT(0)) "," ENTRY(8192, 8192, 1, DATA AT(8192)) "]";
	_cleanup_map_ struct imagemap *map = NULL;

	(void)state;
	layers[1].file_bytes = 12288; /* one block less than is claimed */
	assert_int_equal(imagemap_parse(json, strlen(json), layers, 2, &map), 0);
	assert_int_equal(imagemap_placed_blocks(map), 2);
	map = imagemap_free(map);
	layers[1].file_bytes = 12289;
	assert_int_equal(imagemap_parse(json, strlen(json), layers, 2, &map), 0);
	assert_int_equal(imagemap_placed_blocks(map), 4);
}

static void test_refused(void **state)
{
	static const struct {
		const char *json;
		int result;
	} cases[] = {
		{ "", -EBADMSG },
		{ "[", -EBADMSG },
		{ "{}", -EBADMSG },
		{ "[{}]", -EBADMSG },
		{ "[1]", -EBADMSG },
		{ "[[[[[[[[", -EBADMSG },
		{ "[]x", -EBADMSG },
		{ "[" ENTRY(0, 4096, 0, DATA) ",]", -EBADMSG },
		{ "[" ENTRY(0, 4096, 0, DATA) "]]", -EBADMSG },
		{ "[" ENTRY(0, 4096, 0, DATA), -EBADMSG },
		{ "[" ENTRY(0, 4096, 0, DATA) ENTRY(4096, 4096, 0, DATA) "]", -EBADMSG },
		{ "[" ENTRY(0, 0, 0, DATA) "]", -EBADMSG },
		{ "[" ENTRY(-1, 4096, 0, DATA) "]", -EBADMSG },
		{ "[" ENTRY(0.5, 4096, 0, DATA) "]", -EBADMSG },
		{ "[" ENTRY("0", 4096, 0, DATA) "]", -EBADMSG },
		{ "[" ENTRY(0, 4096, 2, DATA) "]", -EBADMSG },
		{ "[" ENTRY(0, 4096, 0, DATA AT(-4096)) "]", -EBADMSG },
		{ "[" ENTRY(0, 4096, 0, DATA AT(null)) "]", -EBADMSG },
		{ "[" ENTRY(0, 4096, 0, "\"zero\": 0, \"data\": true") "]", -EBADMSG },
		{ "[" ENTRY(0, 4096, 0, DATA ", \"compressed\": 1") "]", -EBADMSG },
		{ "[" ENTRY(0, 4096, 0, DATA ", \"data\": true") "]", -EBADMSG },
		{ "[" ENTRY(4096, 4096, 0, DATA) "," ENTRY(0, 4096, 0, DATA) "]", -EBADMSG },
		{ "[" ENTRY(0, 4097, 0, DATA) "," ENTRY(4096, 4096, 0, DATA) "]", -EBADMSG },
		{ "[" ENTRY(9223372036854775807, 4096, 0, DATA) "]", -E2BIG },
		{ "[" ENTRY(0, 9223372036854775807, 0, DATA) "]", -E2BIG },
		{ "[" ENTRY(0, 4096, 0, DATA AT(9223372036854775807)) "]", -E2BIG },
		{ "[" ENTRY(99999999999999999999, 4096, 0, DATA) "]", -EBADMSG },
	};
	struct imagemap *map = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (parse(cases[i].json, &map) != cases[i].result)
			fail_msg("%s", cases[i].json);
		assert_null(map);
	}
	assert_int_equal(imagemap_parse("[]", 2, two_layers, 0, &map), -EINVAL);
	assert_int_equal(imagemap_parse("[]", 2, two_layers, IMAGEMAP_LAYERS_MAX + 1, &map),
			 -EINVAL);
	assert_int_equal(imagemap_parse("[]", IMAGEMAP_JSON_MAX + 1, two_layers, 2, &map), -E2BIG);
	assert_int_equal(parse(" [ ] ", &map), 0);
	assert_int_equal(imagemap_placed_blocks(map), 0);
	imagemap_free(map);
}

/* Alternate blocks until there are too many extents. */
static void test_too_many(void **state)
{
	_cleanup_free_ char *json = NULL;
	struct imagemap *map = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&json, &size);

	(void)state;
	for (size_t i = 0; i <= IMAGEMAP_EXTENTS_MAX; i++)
		fprintf(stream, "%c{\"start\":%zu,\"length\":4096,\"depth\":0,\"zero\":%s",
			i ? ',' : '[', i * 8192, "false,\"data\":true,\"offset\":0}");
	fprintf(stream, "]");
	fclose(stream);
	assert_int_equal(imagemap_parse(json, size, two_layers, 2, &map), -E2BIG);
	assert_null(map);
}

static void test_lookup(void **state)
{
	_cleanup_map_ struct imagemap *map = NULL;
	uint64_t count = 0, file_block = 77;
	size_t layer = 77;

	(void)state;
	assert_int_equal(parse("[" ENTRY(8192, 8192, 0, DATA AT(65536)) "," ENTRY(
				       40960, 4096, 1, DATA AT(40960)) "]",
			       &map),
			 0);
	assert_false(imagemap_lookup(map, 0, &count, &layer, &file_block));
	assert_int_equal(count, 2);
	assert_int_equal(layer, 77);
	assert_int_equal(file_block, 77);
	assert_true(imagemap_lookup(map, 2, &count, &layer, &file_block));
	assert_int_equal(count, 2);
	assert_int_equal(layer, 0);
	assert_int_equal(file_block, 16);
	assert_true(imagemap_lookup(map, 3, &count, &layer, &file_block));
	assert_int_equal(count, 1);
	assert_int_equal(file_block, 17);
	assert_false(imagemap_lookup(map, 4, &count, &layer, &file_block));
	assert_int_equal(count, 6);
	assert_true(imagemap_lookup(map, 10, &count, &layer, &file_block));
	assert_int_equal(layer, 1);
	assert_false(imagemap_lookup(map, 11, &count, &layer, &file_block));
	assert_true(count > UINT32_MAX);
}

static void test_identity(void **state)
{
	_cleanup_map_ struct imagemap *map = NULL, *empty = NULL;
	uint64_t count, file_block;
	size_t layer;

	(void)state;
	assert_int_equal(imagemap_identity(10 * 4096 + 1, &map), 0);
	assert_true(imagemap_lookup(map, 3, &count, &layer, &file_block));
	assert_int_equal(count, 7);
	assert_int_equal(layer, 0);
	assert_int_equal(file_block, 3);
	assert_false(imagemap_lookup(map, 10, &count, &layer, &file_block));
	assert_int_equal(imagemap_identity(4095, &empty), 0);
	assert_int_equal(n_extents(empty), 0);
	assert_int_equal(imagemap_identity(1ull << 44, &map), -EFBIG);
	assert_null(imagemap_free(NULL));
}

static void test_argv(void **state)
{
	const struct image_layer layers[] = {
		{ "/a,b/top", "qcow2", false, 0 },
		{ "/dev/vg/mid", "qcow2", true, 0 },
		{ "/base", "raw", false, 0 },
	};
	struct image_layer bad = layers[2];
	struct imagemap_argv argv;

	(void)state;
	assert_int_equal(imagemap_argv(layers, 3, &argv), 0);
	assert_string_equal(argv.argv[0], "qemu-img");
	assert_string_equal(argv.argv[5],
			    "driver=qcow2,file.driver=file,file.filename=/a,,b/top,"
			    "backing.driver=qcow2,backing.file.driver=host_device,"
			    "backing.file.filename=/dev/vg/mid,"
			    "backing.backing.driver=raw,backing.backing.file.driver=file,"
			    "backing.backing.file.filename=/base");
	assert_null(argv.argv[6]);
	imagemap_argv_done(&argv);
	bad.format = "vmdk";
	assert_int_equal(imagemap_argv(&bad, 1, &argv), -EOPNOTSUPP);
	bad = layers[2];
	bad.path = "json:{}";
	assert_int_equal(imagemap_argv(&bad, 1, &argv), -EINVAL);
	assert_int_equal(imagemap_argv(layers, 0, &argv), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),	    cmocka_unit_test(test_unaligned),
		cmocka_unit_test(test_beyond_file), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_many),    cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_identity),    cmocka_unit_test(test_argv),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
