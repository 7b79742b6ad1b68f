// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Watches what enters the page cache and, while the sensor is on, what is used.
 *
 * How it works
 *
 * page_added() runs for each folio that enters the cache, with preemption off and never within
 * itself, so what each CPU knows (struct watch_cpu) needs no lock. Pages that follow each other in
 * a file make one pending run, which goes to the ring when the next page is not its
 * continuation; user space reads the pending ones where they lie. The ring wakes nobody, but when
 * enough pages have come or it is half full.
 *
 * A page's identity is read once for a file and a tick, not once for a page: an inode whose
 * address another file's has taken over since is told by the old one's name for that long.
 *
 * The table of evicted pages is filled by user space. It is not looked at when nothing was evicted
 * for a minute.
 *
 * Of the sensor's two programs one at most is loaded. A stamp is stored by one 16-bit write: CPUs
 * that use a page at the same time may lose a use, and that is all.
 */
#include "cache.bpf.h"
#include "events.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Every program looks at these fields of a folio's head and no others. */
#define HEAD_BYTES     48
#define RUN_PAGES      512 /* a run tells the agent what to look at: soon, in pieces of 2 MiB */
#define FOLIO_MAX      512 /* of one superpage: the largest folio of the page cache */
#define FOLIOS_A_BATCH 31  /* PAGEVEC_SIZE, "mm: increase folio batch size", 6.10 */
#define RING_BYTES     (256 * 1024)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct watch_cpu);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} stamps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, EVICTED_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} evicted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} ring SEC(".maps");

/* In. */
unsigned long long wake_pages = ~0ull;
unsigned int wake_batch = 64;
unsigned int sensing;		  /* uses are to be stamped */
unsigned long long evicted_until; /* the second from which on all that was evicted is forgotten */

/* Both. */
unsigned long long since_wake;
unsigned int ring_told; /* somebody was woken because the ring fills */

/* Out. */
unsigned long vmemmap;

struct head {
	unsigned long flags;
	unsigned long mapping;
	unsigned long index;
};

/* Pages of tmpfs, the swap cache and processes are not a file's page cache. */
static __always_inline bool head_is_cache(const struct head *head)
{
	return head->mapping && !(head->mapping & 3) && !page_flag(head->flags, PG_swapbacked);
}

static __always_inline bool head_read(unsigned long folio, struct head *ret)
{
	unsigned char raw[HEAD_BYTES];

	if (bpf_probe_read_kernel(raw, sizeof(raw), (void *)folio) < 0)
		return false;
	ret->flags = *(unsigned long *)(raw + page_flags_offset());
	ret->mapping = *(unsigned long *)(raw + bpf_core_field_offset(struct page, mapping));
	ret->index = *(unsigned long *)(raw + page_index_offset());
	return head_is_cache(ret);
}

/* A typed pointer is one that the verifier lets nobody compute with; through memory it becomes a
 * number. Where another task may come in between, a frame gets a tag that fits no page. */
static __always_inline unsigned long untyped(struct watch_cpu *cpu, const void *pointer)
{
	volatile unsigned long long *at = &cpu->untyped;

	*at = (unsigned long)pointer;
	return *at;
}

/* Of a typed folio: without a call. */
static __always_inline bool head_load(struct watch_cpu *cpu, const void *folio, struct head *ret)
{
	const unsigned int mapping = bpf_core_field_offset(struct page, mapping);

	ret->flags = *(unsigned long *)(folio + page_flags_offset());
	ret->mapping = untyped(cpu, *(void **)(folio + mapping));
	ret->index = *(unsigned long *)(folio + page_index_offset());
	return head_is_cache(ret);
}

static __always_inline unsigned int head_pages(unsigned long folio, const struct head *head)
{
	return page_flag(head->flags, PG_head) ? 1u << (folio_order(folio) & 15) : 1;
}

static __always_inline unsigned short *stamp_of(unsigned long folio)
{
	unsigned long pfn = page_frame(folio, vmemmap);
	__u32 word = pfn / STAMPS_A_WORD;
	unsigned short *found = bpf_map_lookup_elem(&stamps, &word);

	return found ? &found[pfn % STAMPS_A_WORD] : NULL;
}

/* The time is read once a tick: jiffies are a load, the clock is a call and maybe a device. */
static __always_inline void time_read(struct watch_cpu *cpu)
{
	unsigned long long tick = bpf_jiffies64();

	if (cpu->tick == tick)
		return;
	cpu->tick = tick;
	cpu->second = bpf_ktime_get_ns() >> STAMP_SECOND_SHIFT;
}

static void run_emit(struct watch_cpu *cpu, __u64 flags)
{
	if (!cpu->event.run.count)
		return;
	if (flags == BPF_RB_NO_WAKEUP && !ring_told &&
	    bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > RING_BYTES / 2) {
		ring_told = 1;
		flags = BPF_RB_FORCE_WAKEUP;
	}
	if (bpf_ringbuf_output(&ring, &cpu->event, sizeof(cpu->event), flags) < 0)
		cpu->lost++;
	cpu->event.run.count = 0;
}

static __noinline void file_read(struct watch_cpu *cpu, unsigned long address)
{
	struct address_space *mapping = (void *)address;
	struct inode *host = BPF_CORE_READ(mapping, host);
	struct super_block *sb = BPF_CORE_READ(host, i_sb);
	unsigned long long inode = BPF_CORE_READ(host, i_ino);
	unsigned int generation = BPF_CORE_READ(host, i_generation);
	unsigned int device = BPF_CORE_READ(sb, s_dev);
	struct watch_run *run = &cpu->event.run;

	cpu->file_tick = cpu->tick;
	if (run->mapping == address && run->inode == inode && run->generation == generation &&
	    run->device == device)
		return;
	run_emit(cpu, BPF_RB_NO_WAKEUP);
	run->mapping = address;
	run->inode = inode;
	run->generation = generation;
	run->device = device;
	run->magic = BPF_CORE_READ(sb, s_magic);
	cpu->file = evicted_file(device, inode);
	cpu->followed = host && run->magic != HUGETLBFS_MAGIC;
}

/* A global function is verified once, not once for each turn of the loop that calls it. */
__noinline int page_returned(__u32 number, unsigned long index)
{
	struct watch_cpu *cpu = bpf_map_lookup_elem(&cpus, &number);
	__u64 *entry;
	__u32 slot;

	if (!cpu)
		return 0;
	slot = evicted_slot(cpu->file, index);
	entry = bpf_map_lookup_elem(&evicted, &slot);
	if (!entry || *entry >> EVICTED_TAG_SHIFT != evicted_tag(cpu->file, index) ||
	    !evicted_is_young(*entry, evicted_second(cpu->second)))
		return 0;
	cpu->refaulted[evicted_class(*entry)]++;
	*entry = evicted_returned(*entry, evicted_second(cpu->second));
	return 1;
}

/* Whether one of the pages had been evicted less than a minute ago; those have come back then. */
static __noinline int pages_returned(__u32 number, unsigned long index, unsigned int pages)
{
	int found = 0;

	for (unsigned int i = 0; i < FOLIO_MAX; i++) {
		if (i >= pages)
			break;
		found |= page_returned(number, index + i);
	}
	return found;
}

static __always_inline void pages_count(struct watch_cpu *cpu, unsigned int pages)
{
	unsigned int uncounted = cpu->uncounted + pages;

	cpu->added += pages;
	if (uncounted >= wake_batch) {
		if (__sync_fetch_and_add(&since_wake, uncounted) + uncounted >= wake_pages) {
			since_wake = 0;
			run_emit(cpu, BPF_RB_FORCE_WAKEUP);
		}
		uncounted = 0;
	}
	cpu->uncounted = uncounted;
}

static __always_inline void page_note(struct watch_cpu *cpu, unsigned long folio,
				      const struct head *head)
{
	struct watch_run *run = &cpu->event.run;
	unsigned int pages = head_pages(folio, head);
	unsigned int uses = 0;
	unsigned short *stamp;

	if (run->mapping != head->mapping || cpu->file_tick != cpu->tick)
		file_read(cpu, head->mapping);
	if (!cpu->followed)
		return;
	if (!run->count || run->index + run->count != head->index ||
	    run->count + pages > RUN_PAGES) {
		run_emit(cpu, BPF_RB_NO_WAKEUP);
		run->index = head->index;
		cpu->event.id++;
	}
	run->count += pages;
	pages_count(cpu, pages);
	if (cpu->second < evicted_until)
		uses = pages_returned(cpu->event.cpu, head->index, pages);
	stamp = stamp_of(folio);
	if (stamp)
		*stamp = stamp_make(stamp_second(cpu->second),
				    stamp_tag(head->mapping, head->index), uses);
}

SEC("tp_btf/mm_filemap_add_to_page_cache")
int page_added(unsigned long long *ctx)
{
	const void *folio = (const void *)ctx[0];
	__u32 number = bpf_get_smp_processor_id();
	struct watch_cpu *cpu = bpf_map_lookup_elem(&cpus, &number);
	struct head head;

	if (!cpu || !head_load(cpu, folio, &head))
		return 0;
	cpu->sequence++;
	barrier();
	cpu->event.cpu = number;
	time_read(cpu);
	page_note(cpu, untyped(cpu, folio), &head);
	barrier();
	cpu->sequence++;
	return 0;
}

/* @inside: the use began behind the folio's first page. Within one second it is taken for a reader
 * who is on its way through the folio: no more than one use. */
static __always_inline void page_used(struct watch_cpu *cpu, unsigned long folio,
				      const struct head *head, bool inside)
{
	unsigned int second = stamp_second(cpu->second);
	unsigned int tag = stamp_tag(head->mapping, head->index);
	unsigned short *stamp = stamp_of(folio);
	unsigned int uses = 0;

	if (!stamp)
		return;
	if (stamp_fits(*stamp, tag))
		uses = stamp_uses(*stamp);
	if (uses < STAMP_USES_MAX && !(inside && uses && (*stamp & STAMP_SECOND_MASK) == second))
		uses++;
	*stamp = stamp_make(second, tag, uses);
	cpu->used++;
}

SEC("fentry/folio_mark_accessed")
int page_accessed(unsigned long long *ctx)
{
	const void *folio = (const void *)ctx[0];
	struct watch_cpu *cpu;
	struct head head;
	__u32 number;

	if (!sensing)
		return 0;
	number = bpf_get_smp_processor_id();
	cpu = bpf_map_lookup_elem(&cpus, &number);
	if (!cpu || !head_load(cpu, folio, &head))
		return 0;
	time_read(cpu);
	page_used(cpu, untyped(cpu, folio), &head, false);
	return 0;
}

/* A read of many pages comes here once for each batch of folios, each time to its end: what the
 * thread's earlier batches have stamped is not used again. */
static __always_inline unsigned long read_begin(struct watch_cpu *cpu, unsigned long mapping,
						unsigned long index, unsigned long last)
{
	unsigned int thread = bpf_get_current_pid_tgid();
	bool goes_on = cpu->read_mapping == mapping && cpu->read_last == last &&
		       cpu->read_thread == thread && index > cpu->read_from &&
		       index <= cpu->read_to;

	cpu->read_mapping = mapping;
	cpu->read_last = last;
	cpu->read_thread = thread;
	cpu->read_from = index;
	return goes_on ? cpu->read_to : index;
}

SEC("raw_tp/mm_filemap_get_pages")
int pages_got(struct bpf_raw_tracepoint_args *ctx)
{
	unsigned long mapping = ctx->args[0], last = ctx->args[2];
	struct watch_cpu *cpu;
	unsigned long index;
	__u32 number;

	if (!sensing)
		return 0;
	number = bpf_get_smp_processor_id();
	cpu = bpf_map_lookup_elem(&cpus, &number);
	if (!cpu)
		return 0;
	time_read(cpu);
	index = read_begin(cpu, mapping, ctx->args[1], last);
	for (int i = 0; i < FOLIOS_A_BATCH && index <= last; i++) {
		unsigned long folio = cache_lookup((void *)mapping, index);
		struct head head;

		if (!folio || !head_read(folio, &head) || head.mapping != mapping)
			break;
		page_used(cpu, folio, &head, index > head.index);
		index = head.index + head_pages(folio, &head);
	}
	cpu->read_to = index;
	return 0;
}

/* Never attached: run once, to find what the others need. */
SEC("raw_tp/sys_enter")
int watch_prepare(void *ctx)
{
	vmemmap = pages_base();
	return vmemmap != 0;
}
