/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Everything in which kernels differ, and nothing else. Each piece names the release or commit
 * that it answers to. Only fields that are read are declared; CO-RE finds where they are.
 */
#ifndef PAGEPACT_GUEST_COMPAT_BPF_H
#define PAGEPACT_GUEST_COMPAT_BPF_H

#include <linux/types.h>
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct list_head {
	struct list_head *next;
};

struct file_lock_context {
	struct list_head flc_lease;
};

struct super_block {
	__u32 s_dev;
	unsigned long s_magic;
};

struct inode {
	unsigned short i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
	unsigned int i_nlink;
	__u32 i_generation;
	long long i_size;
	struct file_lock_context *i_flctx;
};

struct xarray {
	void *xa_head;
};

struct address_space {
	struct inode *host;
	struct xarray i_pages;
	unsigned long flags;
	__u32 wb_err;
};

struct buffer_head {
	unsigned long b_state;
	struct buffer_head *b_this_page;
	atomic_t b_count;
};

struct xa_node {
	unsigned char shift;
	void *slots[64];
};

struct page {
	unsigned long flags;
	struct address_space *mapping;
	unsigned long index;
	unsigned long private; /* of a free block's first page: the order */
	unsigned long compound_head;
	atomic_t _mapcount;
	atomic_t _refcount;
};

/* 6.18: page.flags became a struct, "mm: introduce memdesc_flags_t". */
typedef struct {
	unsigned long f;
} memdesc_flags_t;
struct page___memdesc {
	memdesc_flags_t flags;
};

/* 6.16: page.index became __folio_index, "mm: rename page->index to page->__folio_index". */
struct page___folio_index {
	unsigned long __folio_index;
};

struct folio {
	unsigned long _flags_1;
};

/* 6.1 to 6.5 keep the order in a byte of the first tail page. */
struct folio___order {
	unsigned char _folio_order;
};

/* 6.10: "mm: track mapcount of large folios in a single value". */
struct folio___large_mapcount {
	atomic_t _large_mapcount;
};

/* 6.1 and 6.2: what later is _entire_mapcount; counts mappings of the folio as a whole. */
struct folio___total_mapcount {
	atomic_t _total_mapcount;
};
struct folio___entire_mapcount {
	atomic_t _entire_mapcount;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct file {
	struct address_space *f_mapping;
};

struct task_struct {
	struct files_struct *files;
};

#pragma clang attribute pop

/* Bits of page.flags move from build to build: take them from the kernel's own enum. */
enum pageflags {
	PG_locked,
	PG_referenced,
	PG_uptodate,
	PG_dirty,
	PG_workingset,
	PG_active,
	PG_reserved,
	PG_private,
	PG_writeback,
	PG_head,
	PG_swapbacked,
	PG_unevictable,
};

/* Gone in 6.12, "mm: free up PG_slab": the type is in page_type from there on. */
enum pageflags___slab {
	PG_slab___slab,
};

/*
 * page_type shares its word with _mapcount. Up to 6.9 its values are #defines (buddy 0x80 under
 * 0xf0000000, a bit cleared when set); 6.12 keeps a number in the top byte, "mm: support only one
 * page_type per page". In between, free blocks are known by their reference count alone.
 */
enum pagetype {
	PGTY_buddy,
	PGTY_slab,
};

#define PAGE_TYPE_BASE_BEFORE_6_10 0xf0000000u
#define PG_BUDDY_BEFORE_6_10	   0x00000080u

/* A page flag's value: 0 or not. */
#define page_flag(flags, name) ((flags) >> bpf_core_enum_value(enum pageflags, name) & 1)

static __always_inline bool page_type_has_buddy(void)
{
	return bpf_core_enum_value_exists(enum pagetype, PGTY_buddy) ||
	       !bpf_core_field_exists(((struct folio___large_mapcount *)0)->_large_mapcount);
}

static __always_inline bool page_type_is_buddy(__u32 type)
{
	if (bpf_core_enum_value_exists(enum pagetype, PGTY_buddy))
		return type >> 24 == bpf_core_enum_value(enum pagetype, PGTY_buddy);
	return (type & (PAGE_TYPE_BASE_BEFORE_6_10 | PG_BUDDY_BEFORE_6_10)) ==
	       PAGE_TYPE_BASE_BEFORE_6_10;
}

static __always_inline bool page_is_slab(unsigned long flags, __u32 type)
{
	if (bpf_core_enum_value_exists(enum pageflags___slab, PG_slab___slab))
		return flags >> bpf_core_enum_value(enum pageflags___slab, PG_slab___slab) & 1;
	if (bpf_core_enum_value_exists(enum pagetype, PGTY_slab))
		return type >> 24 == bpf_core_enum_value(enum pagetype, PGTY_slab);
	return false;
}

#define page_flags_offset()                                                                        \
	(bpf_core_field_exists(((struct page___memdesc *)0)->flags)                                \
		 ? bpf_core_field_offset(struct page___memdesc, flags)                             \
		 : bpf_core_field_offset(struct page, flags))

#define page_index_offset()                                                                        \
	(bpf_core_field_exists(((struct page___folio_index *)0)->__folio_index)                    \
		 ? bpf_core_field_offset(struct page___folio_index, __folio_index)                 \
		 : bpf_core_field_offset(struct page, index))

/* The order of a large folio, from its head. */
static __always_inline __u8 folio_order(unsigned long head)
{
	if (bpf_core_field_exists(((struct folio___order *)0)->_folio_order))
		return BPF_CORE_READ((struct folio___order *)head, _folio_order);
	return BPF_CORE_READ((struct folio *)head, _flags_1) & 0xff;
}

/*
 * Whether a large folio as a whole is mapped. Where the kernel keeps no count of all mappings
 * (before 6.10), mappings of single pages are in each page's own _mapcount.
 */
static __always_inline bool folio_mapped_as_a_whole(unsigned long head)
{
	if (bpf_core_field_exists(((struct folio___large_mapcount *)0)->_large_mapcount))
		return BPF_CORE_READ((struct folio___large_mapcount *)head,
				     _large_mapcount.counter) >= 0;
	if (bpf_core_field_exists(((struct folio___entire_mapcount *)0)->_entire_mapcount))
		return BPF_CORE_READ((struct folio___entire_mapcount *)head,
				     _entire_mapcount.counter) >= 0;
	return BPF_CORE_READ((struct folio___total_mapcount *)head, _total_mapcount.counter) >= 0;
}

/* Where the array of struct pages starts when memory layout is not randomised. */
#if defined(__TARGET_ARCH_x86)
#define VMEMMAP_FIXED 0xffffea0000000000ul /* __VMEMMAP_BASE_L4, arch/x86 */
#endif

#endif
