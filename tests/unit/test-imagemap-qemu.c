/* SPDX-License-Identifier: Apache-2.0 */
/* With the real qemu-img: what a map says is compared with what the disk contains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/imagemap.h"

#define _cleanup_map_ _cleanup_(imagemap_freep)
#define KIB	      1024ull

struct folder {
	char path[40];
	char top[64], mid[64], base[64], flat[64], name[64];
};

static int run_tool(const char *const argv[], char **ret_out, size_t *ret_size)
{
	int fds[2], status;
	FILE *stream;
	char buffer[4096];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(fds[1]);
	*ret_out = NULL;
	stream = open_memstream(ret_out, ret_size);
	while ((n = read(fds[0], buffer, sizeof(buffer))) > 0)
		fwrite(buffer, 1, (size_t)n, stream);
	fclose(stream);
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void tool(const char *first, ...)
{
	const char *argv[32] = { first };
	_cleanup_free_ char *out = NULL;
	size_t n = 1, size;
	va_list ap;
	int status;

	va_start(ap, first);
	while (n < ARRAY_SIZE(argv) - 1 && (argv[n] = va_arg(ap, const char *)))
		n++;
	va_end(ap);
	status = run_tool(argv, &out, &size);
	if (status != 0)
		fail_msg("%s %s: status %d, %s", first, argv[1], status, out);
}

static void folder_done(struct folder *folder)
{
	const char *names[] = { folder->top, folder->mid, folder->base, folder->flat,
				folder->name };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(names[i]);
	rmdir(folder->path);
}

#define _cleanup_folder_ _cleanup_(folder_done)

static void folder_make(struct folder *folder)
{
	const char *const version[] = { "qemu-img", "--version", NULL };
	_cleanup_free_ char *out = NULL;
	size_t size;

	if (run_tool(version, &out, &size) != 0) {
		print_message("no qemu-img\n");
		skip();
	}
	strcpy(folder->path, "/tmp/pagepact-test-XXXXXX");
	assert_non_null(mkdtemp(folder->path));
	snprintf(folder->top, sizeof(folder->top), "%s/top.qcow2", folder->path);
	snprintf(folder->mid, sizeof(folder->mid), "%s/mid.qcow2", folder->path);
	snprintf(folder->base, sizeof(folder->base), "%s/base.raw", folder->path);
	snprintf(folder->flat, sizeof(folder->flat), "%s/flat.raw", folder->path);
	snprintf(folder->name, sizeof(folder->name), "%s/a,b=c.raw", folder->path);
}

/* Each block with contents of its own, but for some holes. */
static void write_base(const char *path, size_t bytes)
{
	_cleanup_close_ int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	char block[4096];

	assert_true(fd >= 0);
	for (size_t at = 0; at < bytes; at += 4096) {
		size_t n = bytes - at < 4096 ? bytes - at : 4096;

		memset(block, (int)(1 + at / 4096 % 251), sizeof(block));
		memcpy(block, &at, sizeof(at));
		if (at / 65536 % 4 != 3)
			assert_int_equal(pwrite(fd, block, n, (off_t)at), n);
	}
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
}

static struct imagemap *map_of(const struct image_layer *layers, size_t n)
{
	struct imagemap *map = NULL;
	_cleanup_free_ char *out = NULL;
	struct imagemap_argv argv;
	size_t size;

	assert_int_equal(imagemap_argv(layers, n, &argv), 0);
	assert_int_equal(run_tool(argv.argv, &out, &size), 0);
	imagemap_argv_done(&argv);
	assert_int_equal(imagemap_parse(out, size, layers, n, &map), 0);
	return map;
}

static bool block_at(int fd, uint64_t block, char ret[4096])
{
	memset(ret, 0, 4096);
	return pread(fd, ret, 4096, (off_t)(block * 4096)) > 0;
}

/*
 * Every block that is placed has in its file what the disk has. Returns how many blocks with data
 * are not placed.
 */
static size_t assert_contents(const struct imagemap *map, const char *flat,
			      const struct image_layer *layers, size_t n, size_t blocks)
{
	static const char zeros[4096];
	_cleanup_close_ int disk = open(flat, O_RDONLY | O_CLOEXEC);
	int files[IMAGEMAP_LAYERS_MAX];
	size_t unplaced = 0, layer;
	uint64_t count, file_block;
	char want[4096], found[4096];

	assert_true(disk >= 0);
	for (size_t i = 0; i < n; i++)
		assert_true((files[i] = open(layers[i].path, O_RDONLY | O_CLOEXEC)) >= 0);
	for (uint64_t block = 0; block < blocks; block++) {
		assert_true(block_at(disk, block, want));
		if (!imagemap_lookup(map, block, &count, &layer, &file_block)) {
			unplaced += memcmp(want, zeros, 4096) != 0;
			continue;
		}
		assert_true(layer < n);
		assert_true(block_at(files[layer], file_block, found));
		assert_memory_equal(want, found, 4096);
	}
	for (size_t i = 0; i < n; i++)
		close(files[i]);
	return unplaced;
}

static void test_chain(void **state)
{
	_cleanup_folder_ struct folder f = { 0 };
	_cleanup_map_ struct imagemap *map = NULL;
	struct image_layer layers[3];

	(void)state;
	folder_make(&f);
	write_base(f.base, 2048 * KIB + 1536); /* ends in the middle of a block */
	tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", f.base, "-F", "raw", f.mid, "3M",
	     NULL);
	tool("qemu-io", "-f", "qcow2", "-c", "write -P 171 100k 40k", "-c", "write -P 172 1M 64k",
	     f.mid, NULL);
	tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", f.mid, "-F", "qcow2", f.top, "4M",
	     NULL);
	tool("qemu-io", "-f", "qcow2", "-c", "write -P 173 1032k 4k", "-c", "write -z 256k 128k",
	     "-c", "write -c -P 174 512k 64k", "-c", "write -P 175 3500k 100k", f.top, NULL);
	tool("qemu-img", "convert", "-q", "-U", "-f", "qcow2", "-O", "raw", f.top, f.flat, NULL);
	layers[0] = (struct image_layer){ f.top, "qcow2", false, 0 };
	layers[1] = (struct image_layer){ f.mid, "qcow2", false, 0 };
	layers[2] = (struct image_layer){ f.base, "raw", false, 2048 * KIB + 1536 };
	map = map_of(layers, 3);
	/* Not placed: the compressed cluster, and the base's last block, which is not whole. */
	assert_int_equal(assert_contents(map, f.flat, layers, 3, 1024), 16 + 1);
	/* 2 clusters of zeros and the compressed one hide blocks of the base. */
	assert_true(imagemap_placed_blocks(map) >= 512 - 32 - 16 + 16);
}

/* Clusters of 512 bytes lie anywhere: what is not aligned must not be placed. */
static void test_small_clusters(void **state)
{
	_cleanup_folder_ struct folder f = { 0 };
	_cleanup_map_ struct imagemap *map = NULL;
	struct image_layer layers[2];

	(void)state;
	folder_make(&f);
	write_base(f.base, 1024 * KIB);
	tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "-b", f.base,
	     "-F", "raw", f.top, NULL);
	tool("qemu-io", "-f", "qcow2", "-c", "write -P 3 512 16k", "-c", "write -P 4 100k 16k",
	     "-c", "write -P 5 300k 1k", f.top, NULL);
	tool("qemu-img", "convert", "-q", "-U", "-f", "qcow2", "-O", "raw", f.top, f.flat, NULL);
	layers[0] = (struct image_layer){ f.top, "qcow2", false, 0 };
	layers[1] = (struct image_layer){ f.base, "raw", false, 1024 * KIB };
	map = map_of(layers, 2);
	assert_true(assert_contents(map, f.flat, layers, 2, 256) >= 2);
	assert_true(imagemap_placed_blocks(map) >= 240);
}

/* The name is that of a file, whatever it looks like; and the format is never guessed. */
static void test_name_and_format(void **state)
{
	_cleanup_folder_ struct folder f = { 0 };
	_cleanup_map_ struct imagemap *map = NULL;
	struct image_layer layer;
	char magic[4096] = "QFI\xfb";
	uint64_t count, file_block;
	size_t layer_index;
	_cleanup_close_ int fd = -1;

	(void)state;
	folder_make(&f);
	write_base(f.name, 256 * KIB);
	fd = open(f.name, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, magic, sizeof(magic), 0), sizeof(magic));
	layer = (struct image_layer){ f.name, "raw", false, 256 * KIB };
	map = map_of(&layer, 1);
	assert_true(imagemap_lookup(map, 0, &count, &layer_index, &file_block));
	assert_int_equal(count, 64);
	assert_int_equal(layer_index, 0);
	assert_int_equal(file_block, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_small_clusters),
		cmocka_unit_test(test_name_and_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
