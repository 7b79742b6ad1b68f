/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User space's side of the watch.
 *
 * How it works
 *
 * The programs' arrays are mapped: what is counted, stamped or pending is read where it lies, and
 * only finished runs come through the ring. A pending run that was told in part is told to its end
 * when it comes, by its number.
 *
 * What it costs, in guest instructions (QEMU 7.2, -icount shift=3, stock 6.1; 6.12 within 5 %), of
 * 13,100 for a cold pread() of 4 KiB and 5,600 for a warm one:
 *   a page that enters the cache                                            280
 *   a use, the sensor on                                                    265
 *   a use, the sensor attached but off                                      137
 *   attaching it and detaching it                                    15,000,000
 * which is 12 ms of CPU time under TCG (35 ms on 6.12), while whoever asks waits 260 ms (150 ms).
 * So a thread does it (sense.h); and the sensor is detached only where more would be lost by its
 * staying: at ten seconds from one time to the next, above 11,000 uses a second. Where fewer are
 * seen it stays, and does nothing.
 */
#include "guest/watch.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "guest/loader.h"
#include "guest/sense.h"
#include "guest/stamp.h"
#include "watch.skel.h"

#define NSEC_PER_SEC 1000000000u

/* A CPU's slot is copied in less than a microsecond; a CPU that the host has stolen in the middle
 * of a change is left for the next time. */
#define SNAPSHOT_TRIES 1000

_Static_assert(sizeof(struct watch_cpu) % 64 == 0, "no cache line is two CPUs'");

/* Pages that a CPU counts for itself at most: the sum of all is a cache line that all write. What
 * is left over from before makes a wake-up early by that much. */
#define WAKE_BATCH 64

/* Uses a second up to which the sensor stays attached between two times that it is on: see the
 * top. */
#define STAY_RATE 10000

/* What was told of a CPU's runs. */
struct told {
	uint64_t ring_id; /* the last that came through the ring */
	uint64_t id;	  /* the last that was told while it was pending, */
	uint32_t pages;	  /* and how much of it */
};

struct watch {
	struct watch_bpf *skel;
	enum wire_heat sensor;
	struct sense *sense; /* NULL without a sensor */
	unsigned cpus_count;
	struct watch_cpu *cpus;
	uint16_t *stamps;
	size_t stamps_count;
	uint64_t *evicted;
	uint64_t evicted_by_class[WIRE_AGE_CLASSES];
	struct ring_buffer *ring;
	int epoll;
	struct told *told;
	struct watch_event *pending;
	int (*take)(const struct watch_run *run, void *userdata);
	void *userdata;
	uint64_t began_ns;
	uint64_t sense_ns;   /* when the sensor was last turned on, */
	uint64_t sense_used; /* with so many uses seen before; */
	uint64_t sensed_ns;  /* how long it was before that */
	uint64_t told_ns;    /* when its whole time was asked for last, */
	uint64_t told_sensed_ns;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static struct bpf_program *sensor_program(const struct watch *w)
{
	return w->sensor == WIRE_HEAT_ACCESSED ? w->skel->progs.page_accessed
					       : w->skel->progs.pages_got;
}

/* A tracepoint that the kernel does not have is seen when one attaches to it, and not before. */
static int sensor_try(const struct watch *w)
{
	struct bpf_link *link;

	if (w->sensor != WIRE_HEAT_GET_PAGES)
		return 0;
	link = bpf_program__attach(w->skel->progs.pages_got);
	if (!link)
		return -errno;
	bpf_link__destroy(link);
	return 0;
}

/* Load everything with this sensor, and make sure that it can be had. */
static int programs_load(struct watch *w, enum wire_heat sensor)
{
	int r;

	w->sensor = sensor;
	w->skel = watch_bpf__open();
	if (!w->skel)
		return -errno;
	w->skel->rodata->vmemmap_base = loader_address(LOADER_VMEMMAP_BASE);
	bpf_map__set_max_entries(w->skel->maps.cpus, w->cpus_count);
	bpf_map__set_max_entries(w->skel->maps.stamps, (uint32_t)(w->stamps_count / STAMPS_A_WORD));
	bpf_program__set_autoload(w->skel->progs.page_accessed, sensor == WIRE_HEAT_ACCESSED);
	bpf_program__set_autoload(w->skel->progs.pages_got, sensor == WIRE_HEAT_GET_PAGES);
	r = watch_bpf__load(w->skel);
	if (r >= 0)
		r = loader_run(w->skel->progs.watch_prepare);
	if (r >= 0)
		r = sensor_try(w);
	if (r < 0) {
		watch_bpf__destroy(w->skel);
		w->skel = NULL;
	}
	return r;
}

static int map_in(struct bpf_map *map, void **ret)
{
	size_t bytes = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (at == MAP_FAILED)
		return -errno;
	*ret = at;
	return 0;
}

static void map_out(struct bpf_map *map, void *at)
{
	if (at)
		munmap(at, (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map));
}

static int maps_in(struct watch *w)
{
	int r = map_in(w->skel->maps.cpus, (void **)&w->cpus);

	if (r >= 0)
		r = map_in(w->skel->maps.stamps, (void **)&w->stamps);
	if (r >= 0)
		r = map_in(w->skel->maps.evicted, (void **)&w->evicted);
	return r;
}

static int run_tell(struct watch *w, const struct watch_event *event, uint32_t told)
{
	struct watch_run run = event->run;

	run.index += told;
	run.count -= told;
	return run.count ? w->take(&run, w->userdata) : 0;
}

static int ring_take(void *userdata, void *data, size_t size)
{
	struct watch *w = userdata;
	const struct watch_event *event = data;
	struct told *told = &w->told[event->cpu % w->cpus_count];

	(void)size;
	told->ring_id = event->id;
	return run_tell(w, event, event->id == told->id ? told->pages : 0);
}

/* libbpf's own descriptor is ready whenever there is anything in the ring, once it has been: this
 * one only when a program says so. */
static int ring_open(struct watch *w)
{
	int fd = bpf_map__fd(w->skel->maps.ring);
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	w->ring = ring_buffer__new(fd, ring_take, w, NULL);
	w->epoll = w->ring ? epoll_create1(EPOLL_CLOEXEC) : -1;
	if (w->epoll < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	return 0;
}

static int watch_begin(struct watch *w)
{
	int r = maps_in(w);

	w->told = calloc(w->cpus_count, sizeof(*w->told));
	w->pending = calloc(w->cpus_count, sizeof(*w->pending));
	if (!w->told || !w->pending)
		return -ENOMEM;
	if (r >= 0)
		r = ring_open(w);
	if (r < 0)
		return r;
	if (w->sensor != WIRE_HEAT_NONE)
		r = sense_open(&w->sense, sensor_program(w));
	if (r < 0)
		return r;
	w->began_ns = now_ns();
	w->skel->links.page_added = bpf_program__attach(w->skel->progs.page_added);
	return w->skel->links.page_added ? 0 : -errno;
}

int watch_open(struct watch **ret, uint64_t frames, char *ret_reason, size_t reason_size)
{
	static const enum wire_heat sensors[] = { WIRE_HEAT_ACCESSED, WIRE_HEAT_GET_PAGES,
						  WIRE_HEAT_NONE };
	struct watch *w = calloc(1, sizeof(*w));
	int r = libbpf_num_possible_cpus();

	if (!w)
		return -ENOMEM;
	loader_begin();
	w->epoll = -1;
	w->cpus_count = r > 0 ? (unsigned)r : 1;
	w->stamps_count = (frames + STAMPS_A_WORD - 1) / STAMPS_A_WORD * STAMPS_A_WORD;
	for (size_t i = 0; i < ARRAY_SIZE(sensors) && !w->skel; i++)
		r = programs_load(w, sensors[i]);
	if (r >= 0)
		r = watch_begin(w);
	if (r < 0) {
		loader_reason(-r, "watch", ret_reason, reason_size);
		watch_close(w);
		return r;
	}
	*ret = w;
	return 0;
}

struct watch *watch_close(struct watch *w)
{
	if (!w)
		return NULL;
	sense_close(w->sense);
	ring_buffer__free(w->ring);
	if (w->epoll >= 0)
		close(w->epoll);
	if (w->skel) {
		map_out(w->skel->maps.cpus, w->cpus);
		map_out(w->skel->maps.stamps, w->stamps);
		map_out(w->skel->maps.evicted, w->evicted);
	}
	watch_bpf__destroy(w->skel);
	free(w->told);
	free(w->pending);
	free(w);
	return NULL;
}

int watch_fd(const struct watch *w)
{
	return w->epoll;
}

/* Each CPU keeps a small share of the pages to itself before it adds them to the sum of all; what
 * all of them may keep to themselves is taken off. */
void watch_wake_after(struct watch *w, uint64_t pages)
{
	uint64_t batch = pages / (4 * w->cpus_count);

	batch = batch < 1 ? 1 : batch > WAKE_BATCH ? WAKE_BATCH : batch;
	w->skel->bss->since_wake = 0;
	w->skel->data->wake_batch = (uint32_t)batch;
	w->skel->data->wake_pages = pages - (batch - 1) * w->cpus_count;
}

static bool pending_copy(const struct watch_cpu *cpu, struct watch_event *ret)
{
	for (int i = 0; i < SNAPSHOT_TRIES; i++) {
		uint32_t before = __atomic_load_n(&cpu->sequence, __ATOMIC_ACQUIRE);

		*ret = *(const volatile struct watch_event *)&cpu->event;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(before & 1) && __atomic_load_n(&cpu->sequence, __ATOMIC_RELAXED) == before)
			return true;
	}
	return false;
}

static int pending_tell(struct watch *w, const struct watch_event *event, struct told *told)
{
	uint32_t pages = event->id == told->id ? told->pages : 0;

	/* It may have come through the ring since it was copied. */
	if (event->id <= told->ring_id || event->run.count <= pages)
		return 0;
	told->id = event->id;
	told->pages = event->run.count;
	return run_tell(w, event, pages);
}

int watch_drain(struct watch *w, int (*take)(const struct watch_run *run, void *userdata),
		void *userdata)
{
	struct epoll_event event;
	int r;

	w->take = take;
	w->userdata = userdata;
	epoll_wait(w->epoll, &event, 1, 0);
	__atomic_store_n(&w->skel->bss->ring_told, 0, __ATOMIC_RELAXED);
	/* What is pending is copied first: whatever left that state before is in the ring by then.
	 */
	for (unsigned i = 0; i < w->cpus_count; i++)
		if (!pending_copy(&w->cpus[i], &w->pending[i]))
			w->pending[i].run.count = 0;
	r = ring_buffer__consume(w->ring);
	for (unsigned i = 0; i < w->cpus_count && r >= 0; i++)
		r = pending_tell(w, &w->pending[i], &w->told[i]);
	return r < 0 ? r : 0;
}

uint64_t watch_added(const struct watch *w)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < w->cpus_count; i++)
		sum += __atomic_load_n(&w->cpus[i].added, __ATOMIC_RELAXED);
	return sum;
}

uint64_t watch_lost(const struct watch *w)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < w->cpus_count; i++)
		sum += __atomic_load_n(&w->cpus[i].lost, __ATOMIC_RELAXED);
	return sum;
}

static uint64_t used_sum(const struct watch *w)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < w->cpus_count; i++)
		sum += __atomic_load_n(&w->cpus[i].used, __ATOMIC_RELAXED);
	return sum;
}

/* How long the sensor has been attached and on since it was last turned on. */
static uint64_t sensing_ns(const struct watch *w, uint64_t now)
{
	uint64_t since = 0;

	if (!w->sense || !w->skel->bss->sensing || sense_state(w->sense, &since) != 1)
		return 0;
	if (since < w->sense_ns)
		since = w->sense_ns;
	return now > since ? now - since : 0;
}

int watch_sense(struct watch *w, bool on)
{
	uint64_t now = now_ns(), on_ns;

	if (!w->sense)
		return -EOPNOTSUPP;
	if (on == w->skel->bss->sensing)
		return on ? sense_want(w->sense, true) : 0;
	if (on) {
		w->sense_ns = now;
		w->sense_used = used_sum(w);
		w->skel->bss->sensing = true;
		return sense_want(w->sense, true);
	}
	on_ns = sensing_ns(w, now);
	w->sensed_ns += on_ns;
	w->skel->bss->sensing = false;
	if ((used_sum(w) - w->sense_used) * NSEC_PER_SEC < on_ns * STAY_RATE)
		return 0;
	return sense_want(w->sense, false);
}

/* How long it has been on in all; of each of a piece's pages the same is asked. */
static uint64_t sensed_ns(struct watch *w, uint64_t now)
{
	if (now != w->told_ns) {
		w->told_ns = now;
		w->told_sensed_ns = w->sensed_ns + sensing_ns(w, now);
	}
	return w->told_sensed_ns;
}

bool watch_sensing(const struct watch *w)
{
	return sensing_ns(w, now_ns()) > 0;
}

enum wire_heat watch_sensor(const struct watch *w)
{
	return w->sense && sense_error(w->sense) >= 0 ? w->sensor : WIRE_HEAT_NONE;
}

struct watch_heat watch_heat(struct watch *w, uint64_t pfn, uint64_t mapping, uint64_t index,
			     uint64_t now_usec)
{
	struct stamp_clock clock = { .now_ns = now_usec * 1000, .began_ns = w->began_ns };
	uint16_t stamp;

	if (pfn >= w->stamps_count)
		return (struct watch_heat){ .known = false };
	stamp = __atomic_load_n(&w->stamps[pfn], __ATOMIC_RELAXED);
	if (stamp == 0)
		clock.sensed_ns = sensed_ns(w, clock.now_ns);
	return stamp_heat(stamp, stamp_tag(mapping, index), &clock);
}

void watch_sweep(struct watch *w)
{
	stamp_sweep(w->stamps, w->stamps_count, now_ns());
}

void watch_evicted(struct watch *w, uint32_t device, uint64_t inode, uint64_t index,
		   unsigned age_class, uint64_t now_usec)
{
	struct watch_run page = { .device = device, .inode = inode, .index = index };
	uint64_t now = now_usec * 1000;

	evicted_insert(w->evicted, w->evicted_by_class, &page, age_class, now);
	__atomic_store_n(&w->skel->bss->evicted_until,
			 (now >> STAMP_SECOND_SHIFT) + EVICTED_SECONDS, __ATOMIC_RELAXED);
}

bool watch_came_back(const struct watch *w, uint32_t device, uint64_t inode, uint64_t index,
		     uint64_t now_usec)
{
	struct watch_run page = { .device = device, .inode = inode, .index = index };

	return evicted_came_back(w->evicted, &page, now_usec * 1000);
}

void watch_returns(const struct watch *w, struct watch_returns *ret)
{
	for (unsigned n = 0; n < WIRE_AGE_CLASSES; n++) {
		ret->evicted[n] = w->evicted_by_class[n];
		ret->refaulted[n] = 0;
		for (unsigned i = 0; i < w->cpus_count; i++)
			ret->refaulted[n] +=
				__atomic_load_n(&w->cpus[i].refaulted[n], __ATOMIC_RELAXED);
	}
}
