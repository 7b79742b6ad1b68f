/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a watch and does what lines on standard input say; each answer is one line of JSON.
 *
 *   sensor | sense on|off | wake PAGES | wait MSEC | drain | counts | memlock | sweep
 *   heat PATH INDEX COUNT | evicted PATH INDEX COUNT CLASS | returns | read PATH INDEX COUNT
 * | open | close
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "guest/memmap.h"
#include "guest/ram.h"
#include "guest/watch.h"

struct tool {
	struct watch *watch;
	struct memmap *memmap;
	unsigned long long memlock;
	unsigned long long frames;
};

static const char *const sensors[WIRE_HEATS] = { "none", "accessed", "get_pages" };
static const char *separator;

static int error_say(int error)
{
	printf("{\"error\": \"%s\"}\n", strerror(error < 0 ? -error : error));
	return 0;
}

static int run_say(const struct watch_run *run, void *userdata)
{
	(void)userdata;
	printf("%s[%u, %llu, %u, %llu, %llu, %u]", separator, run->device, run->inode,
	       run->generation, run->magic, run->index, run->count);
	separator = ", ";
	return 0;
}

static int counts_say(const struct tool *t)
{
	return printf("\"added\": %llu, \"lost\": %llu}\n",
		      (unsigned long long)watch_added(t->watch),
		      (unsigned long long)watch_lost(t->watch));
}

static int drain(struct tool *t)
{
	separator = "";
	printf("{\"runs\": [");
	int r = watch_drain(t->watch, run_say, NULL);
	printf("], \"result\": %d, ", r);
	return counts_say(t);
}

static int wait_wake(struct tool *t, int msec)
{
	struct pollfd wait = { .fd = watch_fd(t->watch), .events = POLLIN };
	int r = poll(&wait, 1, msec);

	return printf("{\"woken\": %s, \"usec\": %llu}\n", r > 0 ? "true" : "false",
		      (unsigned long long)now_usec());
}

/* What the maps of this process's BPF programs take: kernels before 6.4 only estimate memlock. */
static unsigned long long maps_bytes(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fdinfo");
	unsigned long long sum = 0;

	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		char path[300], line[200];
		unsigned long long value = 0, entries = 0;

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", entry->d_name);
		_cleanup_fclose_ FILE *info = fopen(path, "re");
		while (info && fgets(line, sizeof(line), info)) {
			sscanf(line, "value_size: %llu", &value);
			sscanf(line, "max_entries: %llu", &entries);
		}
		sum += (value ? value : 1) * entries;
	}
	return sum;
}

static int heat(struct tool *t, int fd, unsigned long long index, unsigned count)
{
	unsigned owners;
	int r = memmap_peek(t->memmap, fd, index, count);

	if (r < 0)
		return error_say(r);
	uint64_t mapping = memmap_owners(t->memmap, &owners)->mapping;
	separator = "";
	printf("{\"pages\": [");
	for (unsigned i = 0; i < count; i++, separator = ", ") {
		const struct scan_page *page = &memmap_pages(t->memmap)[i];
		uint64_t pfn = memmap_frames(t->memmap)[i];

		if (page->kind != SCAN_FILE) {
			printf("%snull", separator);
			continue;
		}
		struct watch_heat found =
			watch_heat(t->watch, pfn, mapping, page->index - page->offset, now_usec());
		printf("%s[%u, %u, %u, %llu, %u]", separator, found.known, found.uses,
		       found.age_sec, (unsigned long long)pfn, watch_age_class(found));
	}
	return printf("]}\n");
}

static int evict(struct tool *t, int fd, unsigned long long index, unsigned count,
		 unsigned age_class)
{
	unsigned owners;
	int r = memmap_peek(t->memmap, fd, index, 1);

	if (r < 0)
		return error_say(r);
	const struct scan_owner *owner = memmap_owners(t->memmap, &owners);
	for (unsigned i = 0; i < count; i++)
		watch_evicted(t->watch, owner->device, owner->inode, index + i, age_class,
			      now_usec());
	return printf("{}\n");
}

static int returns(const struct tool *t)
{
	struct watch_returns found;

	watch_returns(t->watch, &found);
	printf("{\"evicted\": [");
	for (int i = 0; i < WIRE_AGE_CLASSES; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)found.evicted[i]);
	printf("], \"refaulted\": [");
	for (int i = 0; i < WIRE_AGE_CLASSES; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)found.refaulted[i]);
	return printf("]}\n");
}

static double cpu_usec(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return (double)(use.ru_stime.tv_sec + use.ru_utime.tv_sec) * 1e6 +
	       (double)(use.ru_stime.tv_usec + use.ru_utime.tv_usec);
}

/* Read a file from page index on, so many pages, one call each. */
static int read_pages(int fd, unsigned long long index, unsigned count)
{
	static char page[4096];
	double cpu = cpu_usec();
	uint64_t start = now_usec();

	for (unsigned i = 0; i < count; i++)
		if (pread(fd, page, sizeof(page), (off_t)((index + i) * sizeof(page))) <= 0)
			return error_say(errno);
	return printf("{\"usec\": %llu, \"cpu_usec\": %.0f}\n",
		      (unsigned long long)(now_usec() - start), cpu_usec() - cpu);
}

/* Turn the sensor on or off, and wait until it is; what that took. */
static int sense(const struct tool *t, bool on)
{
	double cpu = cpu_usec();
	uint64_t start = now_usec();
	int r = watch_sense(t->watch, on);
	uint64_t called = now_usec() - start;

	while (r >= 0 && watch_sensing(t->watch) != on) {
		if (watch_sensor(t->watch) == WIRE_HEAT_NONE || now_usec() - start > 20000000)
			r = -EIO;
		usleep(1000);
	}
	return r < 0 ? error_say(r)
		     : printf("{\"call_usec\": %llu, \"usec\": %llu, \"cpu_usec\": %.0f}\n",
			      (unsigned long long)called, (unsigned long long)(now_usec() - start),
			      cpu_usec() - cpu);
}

static int watch_begin(struct tool *t)
{
	char reason[200];
	double cpu = cpu_usec();
	uint64_t start = now_usec();
	int r = watch_open(&t->watch, t->frames, reason, sizeof(reason));

	return r < 0 ? error_say(r)
		     : printf("{\"usec\": %llu, \"cpu_usec\": %.0f}\n",
			      (unsigned long long)(now_usec() - start), cpu_usec() - cpu);
}

/* Without a watch there is nothing to obey but to begin one. */
static int obey_plain(struct tool *t, const char *line)
{
	unsigned long long number;

	if (strncmp(line, "close", 5) == 0) {
		t->watch = watch_close(t->watch);
		return printf("{}\n");
	}
	if (!t->watch)
		return strncmp(line, "open", 4) == 0 ? watch_begin(t) : error_say(ENOENT);
	if (sscanf(line, "wake %llu", &number) == 1) {
		watch_wake_after(t->watch, number);
		return printf("{}\n");
	}
	if (sscanf(line, "wait %llu", &number) == 1)
		return wait_wake(t, (int)number);
	if (strncmp(line, "sense ", 6) == 0)
		return sense(t, strncmp(line + 6, "on", 2) == 0);
	if (strncmp(line, "sensor", 6) == 0)
		return printf("{\"sensor\": \"%s\"}\n", sensors[watch_sensor(t->watch)]);
	if (strncmp(line, "drain", 5) == 0)
		return drain(t);
	if (strncmp(line, "counts", 6) == 0)
		return printf("{") + counts_say(t);
	if (strncmp(line, "returns", 7) == 0)
		return returns(t);
	if (strncmp(line, "memlock", 7) == 0)
		return printf("{\"bytes\": %llu, \"frames\": %llu}\n", t->memlock, t->frames);
	if (strncmp(line, "sweep", 5) == 0) {
		watch_sweep(t->watch);
		return printf("{}\n");
	}
	return error_say(EINVAL);
}

static int obey(struct tool *t, const char *line)
{
	char path[1024], verb[16];
	unsigned long long index;
	unsigned count, age_class = 0;

	if (sscanf(line, "%15s %1023s %llu %u %u", verb, path, &index, &count, &age_class) < 4)
		return obey_plain(t, line);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_say(errno);
	if (strcmp(verb, "heat") == 0)
		return heat(t, fd, index, count);
	if (strcmp(verb, "evicted") == 0)
		return evict(t, fd, index, count, age_class);
	if (strcmp(verb, "read") == 0)
		return read_pages(fd, index, count);
	return error_say(EINVAL);
}

int main(void)
{
	struct tool t = { 0 };
	struct ram ram;
	char reason[200] = "", line[2048];
	int r = ram_read("/proc/iomem", &ram);

	log_open("watch-tool", LOG_DEBUG);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	if (r >= 0) {
		const struct ram_range *last = &ram.ranges[ram.count - 1];

		t.frames = last->start + last->count;
		r = watch_open(&t.watch, t.frames, reason, sizeof(reason));
		t.memlock = maps_bytes();
	}
	if (r >= 0)
		r = memmap_open(&t.memmap, reason, sizeof(reason));
	if (r < 0)
		printf("{\"error\": \"%s\", \"reason\": \"%s\"}\n", strerror(-r), reason);
	else
		printf("{\"memlock\": %llu}\n", t.memlock);
	fflush(stdout);
	while (r >= 0 && fgets(line, sizeof(line), stdin)) {
		obey(&t, line);
		fflush(stdout);
	}
	watch_close(t.watch);
	memmap_close(t.memmap);
	return r < 0;
}
