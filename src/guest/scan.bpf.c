// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Looks at pages of the guest's memory without taking a lock or a reference.
 *
 * How it works
 *
 * Both programs are raw tracepoint programs that are never attached: the agent runs them by
 * BPF_PROG_TEST_RUN, which holds the RCU read lock for the length of one call. That call is one
 * chunk, bounded to SCAN_CHUNK_PAGES.
 *
 * scan_chunk() walks the array of struct pages by pfn. What it reads can be stale a moment later,
 * and a page may change while it is read; the result is a hint about what to look at again, never
 * a licence to do anything. An address_space that a page points to is freed under RCU (its inode
 * is), so within one chunk it is what it was; the table of owners is reset with each chunk.
 *
 * peek_range() looks up a range of one open file's page cache, to be sure of those very pages
 * just before they are evicted and of what became of them just after.
 *
 * glance_all() looks up short pieces of files by the addresses of their address_spaces, so that
 * what the kernel has evicted meanwhile is not opened, which would read an inode that has left too.
 * An address may be another's by now: what stands there must be the file's, number for number.
 */
#include "cache.bpf.h"
#include "owners.bpf.h"
#include "scan.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PAGES_AT_ONCE	   32
#define BDEVFS_MAGIC	   0x62646576 /* linux/magic.h */
#define BUFFERS_MOST	   8	      /* of a page; of 512 bytes each */
#define BUFFER_DIRTY	   (1 << 1)   /* BH_Dirty, BH_Lock: linux/buffer_head.h */
#define BUFFER_LOCKED	   (1 << 2)
#define STRUCT_PAGE_MAX	   64
#define MAPPING_FLAGS_BITS 3ul /* PAGE_MAPPING_ANON and _MOVABLE: not a page cache's mapping */
#define PAGE_BYTES	   4096

/* In: where to look. */
unsigned long long chunk_pfn;
unsigned int chunk_pages;
int peek_fd;
bool peek_presence; /* what is asked is only whether pages are cached */

/* Out. */
struct scan_page pages[SCAN_CHUNK_PAGES];
unsigned long long page_frames[SCAN_CHUNK_PAGES]; /* by peek_range(): each page's folio's */
unsigned int struct_page_bytes;
int init_on_alloc; /* whether the kernel clears what it gives out; -1: not known */

/* Of the kernel's static key of that name; 0: it has none. */
const volatile unsigned long init_on_alloc_key;

/* Both. */
struct scan_glance glances[GLANCES_MAX];
unsigned int glances_count;

static unsigned char raw[PAGES_AT_ONCE * STRUCT_PAGE_MAX + STRUCT_PAGE_MAX];
static bool raw_unread;
static unsigned int free_until; /* end of the free block that was met last, in pages of the chunk */
static bool in_free_block;
static unsigned long vmemmap;
static unsigned long peek_mapping;
static unsigned long leaf[1 << XA_SHIFT];
static unsigned long leaf_block;
static bool leaf_there;
static bool leaf_empty; /* nothing around it is cached */
/* The head that the pages just before belonged to: large folios come in long rows. */
static struct {
	unsigned long address;
	unsigned long flags;
	unsigned long mapping;
	unsigned long index;
	unsigned long private; /* of a page alone: its buffers; 0: none, or not known */
	unsigned int type;
	int refcount;
	bool whole_mapped;
	unsigned char order;
} head;

static __always_inline unsigned short flags_of(unsigned long flags)
{
	return (page_flag(flags, PG_dirty) ? SCAN_DIRTY : 0) |
	       (page_flag(flags, PG_writeback) ? SCAN_WRITEBACK : 0) |
	       (page_flag(flags, PG_active) ? SCAN_ACTIVE : 0) |
	       (page_flag(flags, PG_referenced) ? SCAN_REFERENCED : 0) |
	       (page_flag(flags, PG_workingset) ? SCAN_WORKINGSET : 0) |
	       (page_flag(flags, PG_locked) ? SCAN_LOCKED : 0) |
	       (page_flag(flags, PG_unevictable) ? SCAN_UNEVICTABLE : 0) |
	       (page_flag(flags, PG_uptodate) ? 0 : SCAN_NOT_UPTODATE);
}

static __always_inline unsigned char kind_of(unsigned long flags, unsigned long mapping,
					     unsigned int type, int refcount)
{
	if (page_flag(flags, PG_reserved))
		return SCAN_OTHER;
	if (page_type_is_buddy(type))
		return SCAN_FREE;
	if (page_is_slab(flags, type))
		return SCAN_SLAB;
	/* The hugetlb pool's free superpages have no user either, nor have the tails of blocks that
	 * the kernel took without making them folios. */
	if (refcount == 0 && in_free_block && !page_flag(flags, PG_head))
		return SCAN_FREE;
	/* All zeros would be a page that nobody uses and somebody maps: it is not initialised yet,
	 * and counts as free. */
	if (refcount == 0)
		return flags || type ? SCAN_OTHER : SCAN_FREE;
	if (mapping & 1)
		return SCAN_ANONYMOUS;
	if (!mapping || mapping & MAPPING_FLAGS_BITS || (long)mapping > 0)
		return SCAN_OTHER;
	return page_flag(flags, PG_swapbacked) ? SCAN_SHMEM : SCAN_FILE;
}

static void head_read(unsigned long address)
{
	struct page *page = (void *)address;

	if (head.address == address)
		return;
	head.address = address;
	bpf_probe_read_kernel(&head.flags, sizeof(head.flags),
			      (void *)address + page_flags_offset());
	bpf_probe_read_kernel(&head.index, sizeof(head.index),
			      (void *)address + page_index_offset());
	head.mapping = (unsigned long)BPF_CORE_READ(page, mapping);
	head.type = BPF_CORE_READ(page, _mapcount.counter);
	head.refcount = BPF_CORE_READ(page, _refcount.counter);
	head.private = 0;
	head.order = 0;
	head.whole_mapped = false;
	if (page_flag(head.flags, PG_head)) {
		head.order = folio_order(address) & 31;
		head.whole_mapped = folio_mapped_as_a_whole(address);
	}
}

static __always_inline bool is_metadata(unsigned short owner)
{
	return owner != OWNER_NONE && owners[owner % SCAN_CHUNK_PAGES].magic == BDEVFS_MAGIC;
}

/* As the kernel asks before it drops them (buffer_busy(), fs/buffer.c); a journal holds some. */
static __always_inline bool buffers_idle(unsigned long first)
{
	unsigned long buffer = first;

	for (int i = 0; i < BUFFERS_MOST && buffer; i++) {
		struct buffer_head *head = (void *)buffer;

		if (BPF_CORE_READ(head, b_count.counter) ||
		    BPF_CORE_READ(head, b_state) & (BUFFER_DIRTY | BUFFER_LOCKED))
			return false;
		buffer = (unsigned long)BPF_CORE_READ(head, b_this_page);
		if (buffer == first)
			return true;
	}
	return false;
}

/* From what head_read() found, and the page's own _mapcount. */
static __always_inline void page_describe(struct scan_page *out, unsigned long address,
					  int mapcount)
{
	unsigned long offset = (address - head.address) / bpf_core_type_size(struct page);
	unsigned short flags = flags_of(head.flags);
	/* A tail whose folio was freed meanwhile is nobody's page. */
	unsigned char kind = offset >> head.order
				     ? SCAN_OTHER
				     : kind_of(head.flags, head.mapping, head.type, head.refcount);
	int explained = (1 << head.order) + page_flag(head.flags, PG_private);

	out->kind = kind;
	out->order = head.order;
	out->offset = offset;
	out->owner = OWNER_NONE;
	out->index = head.index + offset;
	if (kind != SCAN_FILE) {
		out->flags = 0;
		return;
	}
	/* Without a type, the word counts the mappings of the page, less one. */
	if (head.whole_mapped || mapcount >= 0)
		flags |= SCAN_MAPPED;
	else if (head.refcount != explained)
		flags |= SCAN_PINNED;
	out->owner = owner_of(head.mapping);
	if (flags & SCAN_NOT_UPTODATE && is_metadata(out->owner) && buffers_idle(head.private))
		flags |= SCAN_BUFFERS;
	out->flags = flags;
	/* Superpages of hugetlbfs are its pool's, not page cache. */
	if (out->owner == OWNER_NONE ||
	    owners[out->owner % SCAN_CHUNK_PAGES].magic == HUGETLBFS_MAGIC)
		out->kind = SCAN_OTHER;
}

/* One copy of many struct pages costs a fraction of reading them field by field. Those behind the
 * chunk's end are left alone: there may be no memory, and nothing that describes it. */
static __always_inline void raw_read(unsigned int i, unsigned long address)
{
	unsigned int left = chunk_pages - i;

	if (left > PAGES_AT_ONCE)
		left = PAGES_AT_ONCE;
	raw_unread = bpf_probe_read_kernel(raw, left * bpf_core_type_size(struct page),
					   (void *)address) < 0;
}

static __always_inline unsigned long raw_long(unsigned int at, unsigned int offset)
{
	at += offset;
	return at <= sizeof(raw) - 8 ? *(unsigned long *)(raw + at) : 0;
}

static __always_inline int raw_int(unsigned int at, unsigned int offset)
{
	at += offset;
	return at <= sizeof(raw) - 4 ? *(int *)(raw + at) : 0;
}

/* A global function is verified once, not once for each turn of the loop that calls it. */
__noinline int page_visit(unsigned int i)
{
	const unsigned int size = bpf_core_type_size(struct page);
	unsigned long address = vmemmap + (chunk_pfn + i) * size;
	const unsigned int private_offset = bpf_core_field_offset(struct page, private);
	unsigned int at = i % PAGES_AT_ONCE * size;
	unsigned long compound;

	if (i >= SCAN_CHUNK_PAGES)
		return 0;
	if (at == 0)
		raw_read(i, address);
	if (raw_unread) {
		pages[i].kind = SCAN_OTHER;
		pages[i].order = 0;
		return 0;
	}
	compound = raw_long(at, bpf_core_field_offset(struct page, compound_head));
	if (compound & 1) {
		head_read(compound - 1);
	} else {
		head.address = address;
		head.flags = raw_long(at, page_flags_offset());
		head.mapping = raw_long(at, bpf_core_field_offset(struct page, mapping));
		head.index = raw_long(at, page_index_offset());
		head.type = raw_int(at, bpf_core_field_offset(struct page, _mapcount));
		head.refcount = raw_int(at, bpf_core_field_offset(struct page, _refcount));
		head.private = page_flag(head.flags, PG_private) ? raw_long(at, private_offset) : 0;
		head.order = 0;
		head.whole_mapped = false;
		if (page_type_is_buddy(head.type))
			free_until = i + (1u << (raw_long(at, private_offset) & 15));
		if (page_flag(head.flags, PG_head)) {
			head.address = 0;
			head_read(address);
		}
	}
	in_free_block = i < free_until || !page_type_has_buddy();
	page_describe(&pages[i], address,
		      raw_int(at, bpf_core_field_offset(struct page, _mapcount)));
	return 0;
}

/* A static key begins with how often it is enabled. */
static __always_inline void init_on_alloc_read(void)
{
	int enabled;

	init_on_alloc = -1;
	if (init_on_alloc_key &&
	    !bpf_probe_read_kernel(&enabled, sizeof(enabled), (void *)init_on_alloc_key))
		init_on_alloc = enabled > 0;
}

SEC("raw_tp/sys_enter")
int scan_chunk(void *ctx)
{
	if (!chunk_pages)
		init_on_alloc_read();
	struct_page_bytes = bpf_core_type_size(struct page);
	vmemmap = pages_base();
	if (struct_page_bytes > STRUCT_PAGE_MAX || !vmemmap)
		return 0;
	owners_reset();
	head.address = 0;
	free_until = 0;
	for (unsigned int i = 0; i < SCAN_CHUNK_PAGES; i++) {
		if (i >= chunk_pages)
			break;
		page_visit(i);
	}
	return 1;
}

/* The 64 entries of the cache's tree around an index, read in one go: neighbours share a leaf. */
__noinline int leaf_read(unsigned long block)
{
	unsigned long index = block << XA_SHIFT, node;
	bool is_empty;

	node = cache_leaf((void *)peek_mapping, index, &is_empty);
	leaf_block = block;
	leaf_empty = is_empty;
	leaf_there = node && bpf_probe_read_kernel(leaf, sizeof(leaf),
						   &((struct xa_node *)node)->slots[0]) == 0;
	return 0;
}

/* The verifier has to see the mask, which the compiler knows to be of no use. */
static __always_inline unsigned long leaf_at(unsigned long slot)
{
	barrier_var(slot);
	return leaf[slot & XA_MASK];
}

/* The page cache's entry at an index: a folio, or 0 for none and for a shadow of one. */
static __always_inline unsigned long peek_lookup(unsigned long index)
{
	unsigned long entry;

	if (index >> XA_SHIFT != leaf_block)
		leaf_read(index >> XA_SHIFT);
	/* One page alone is in no leaf, a superpage in the node above. */
	if (leaf_empty)
		return 0;
	if (!leaf_there)
		return cache_lookup((void *)peek_mapping, index);
	entry = leaf_at(index);
	/* A large folio stands in its first slot; the others name that one. */
	if ((entry & 3) == 2 && entry < 64 << 2)
		entry = leaf_at(entry >> 2);
	return entry & 3 ? 0 : entry;
}

/* Into head, by one read where the folio is a page. */
static __always_inline bool peek_head(unsigned long folio)
{
	if (bpf_probe_read_kernel(raw, bpf_core_type_size(struct page), (void *)folio) < 0)
		return false;
	head.address = folio;
	head.flags = raw_long(0, page_flags_offset());
	head.mapping = raw_long(0, bpf_core_field_offset(struct page, mapping));
	head.index = raw_long(0, page_index_offset());
	head.type = raw_int(0, bpf_core_field_offset(struct page, _mapcount));
	head.refcount = raw_int(0, bpf_core_field_offset(struct page, _refcount));
	head.private = 0;
	head.order = 0;
	head.whole_mapped = false;
	if (page_flag(head.flags, PG_head)) {
		head.address = 0;
		head_read(folio);
	}
	return true;
}

__noinline int peek_visit(unsigned int i)
{
	unsigned long index = chunk_pfn + i;
	unsigned long folio, address;
	int mapcount;

	if (i >= SCAN_CHUNK_PAGES)
		return 0;
	pages[i].kind = SCAN_FREE;
	pages[i].order = 0;
	page_frames[i] = ~0ull;
	folio = peek_lookup(index);
	if (!folio)
		return 0;
	if (peek_presence) {
		pages[i].kind = SCAN_FILE;
		return 0;
	}
	if (folio != head.address && !peek_head(folio))
		return 0;
	/* It may have left the file since, and be another's already. */
	if (head.mapping != peek_mapping || index < head.index ||
	    index - head.index >= 1ul << head.order)
		return 0;
	page_frames[i] = page_frame(folio, vmemmap);
	address = folio + (index - head.index) * bpf_core_type_size(struct page);
	mapcount = head.order ? BPF_CORE_READ((struct page *)address, _mapcount.counter)
			      : (int)head.type;
	page_describe(&pages[i], address, mapcount);
	return 0;
}

SEC("raw_tp/sys_exit")
int peek_range(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
	struct file **fds = BPF_CORE_READ(fdt, fd);
	struct file *file = NULL;

	if (peek_fd < 0 || (unsigned int)peek_fd >= BPF_CORE_READ(fdt, max_fds))
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), &fds[peek_fd]);
	owners_reset();
	head.address = 0;
	peek_mapping = (unsigned long)BPF_CORE_READ(file, f_mapping);
	vmemmap = pages_base();
	if (!peek_mapping || !vmemmap)
		return 0;
	leaf_block = ~0ul;
	owner_fill(&owners[0], peek_mapping);
	owners_count = 1;
	last_mapping = peek_mapping;
	last_owner = 0;
	for (unsigned int i = 0; i < SCAN_CHUNK_PAGES; i++) {
		if (i >= chunk_pages)
			break;
		peek_visit(i);
	}
	return 1;
}

static __always_inline bool glance_is_same(const struct scan_glance *glance)
{
	struct address_space *mapping = (void *)glance->mapping;
	struct inode *host = BPF_CORE_READ(mapping, host);
	struct super_block *sb = BPF_CORE_READ(host, i_sb);

	return host && BPF_CORE_READ(host, i_ino) == glance->inode &&
	       BPF_CORE_READ(host, i_generation) == glance->generation &&
	       BPF_CORE_READ(sb, s_dev) == glance->device;
}

/* A global function is verified once, not once for each turn of the loop that calls it. */
__noinline int slot_any(unsigned int slot)
{
	unsigned long entry = leaf_at(slot);

	/* A shadow of what was there is a value, with bit 0. */
	return entry && !(entry & 1);
}

/* Whether anything is cached in slots [from, to] of the leaf that was read last: no more than
 * GLANCE_PAGES_MAX. */
static __always_inline bool leaf_any(unsigned int from, unsigned int to)
{
	int found = 0;

	for (unsigned int i = 0; i < GLANCE_PAGES_MAX; i++) {
		if (i > to - from)
			break;
		found |= slot_any(from + i);
	}
	return found;
}

static __always_inline bool range_any(unsigned long index, unsigned long last)
{
	leaf_read(index >> XA_SHIFT);
	if (leaf_empty)
		return false;
	/* In no leaf: a page alone, or a part of a superpage. */
	return !leaf_there || leaf_any(index & XA_MASK, last & XA_MASK);
}

__noinline int glance_visit(unsigned int i)
{
	struct scan_glance *glance;
	unsigned long index, last, end;

	if (i >= GLANCES_MAX)
		return 0;
	glance = &glances[i];
	glance->there = 0;
	if (!glance->count || !glance_is_same(glance))
		return 0;
	index = glance->index;
	last = index + glance->count - 1;
	end = index | XA_MASK;
	peek_mapping = glance->mapping;
	glance->there = range_any(index, last < end ? last : end) ||
			(last > end && range_any(end + 1, last));
	return 0;
}

SEC("raw_tp/sys_enter")
int glance_all(void *ctx)
{
	for (unsigned int i = 0; i < GLANCES_MAX; i++) {
		if (i >= glances_count)
			break;
		glance_visit(i);
	}
	return 1;
}
