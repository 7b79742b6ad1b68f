/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The page cache as BPF programs see it: where struct pages lie, and what a file's tree of them
 * holds at an index. Nothing here takes a lock or a reference.
 */
#ifndef PAGEPACT_GUEST_CACHE_BPF_H
#define PAGEPACT_GUEST_CACHE_BPF_H

#include "compat.bpf.h"

#define XA_SHIFT	6 /* XA_CHUNK_SHIFT, include/linux/xarray.h */
#define XA_MASK		63
#define XA_DEPTH_MAX	12	   /* 64 bits of index in steps of 6, and the entry itself */
#define HUGETLBFS_MAGIC 0x958458f6 /* linux/magic.h */

/* Of the kernel's variable, set before the programs are loaded (loader_address()); 0: it has none.
 */
const volatile unsigned long vmemmap_base;

static __always_inline unsigned long pages_base(void)
{
	unsigned long base = 0;

	if (vmemmap_base)
		bpf_probe_read_kernel(&base, sizeof(base), (void *)vmemmap_base);
#ifdef VMEMMAP_FIXED
	else
		base = VMEMMAP_FIXED;
#endif
	return base;
}

/* The page frame number of a struct page. */
static __always_inline unsigned long page_frame(unsigned long page, unsigned long base)
{
	const unsigned int size = bpf_core_type_size(struct page);

	return size == 64 ? (page - base) >> 6 : (page - base) / size;
}

static __always_inline bool xa_is_node(unsigned long entry)
{
	return (entry & 3) == 2 && entry > 4096;
}

/* The node whose slots are the pages around an index; 0 where the tree has none there: then
 * @ret_empty tells whether nothing around it is cached. */
static __always_inline unsigned long cache_leaf(struct address_space *mapping, unsigned long index,
						bool *ret_empty)
{
	unsigned long entry = (unsigned long)BPF_CORE_READ(mapping, i_pages.xa_head);
	bool first = true;

	*ret_empty = false;

	for (int depth = 0; depth < XA_DEPTH_MAX && xa_is_node(entry); depth++) {
		struct xa_node *node = (void *)(entry - 2);
		unsigned int shift = BPF_CORE_READ(node, shift) & 63;

		if (first && index >> shift >> XA_SHIFT) {
			*ret_empty = true;
			return 0;
		}
		if (!shift)
			return (unsigned long)node;
		first = false;
		bpf_probe_read_kernel(&entry, sizeof(entry),
				      &node->slots[index >> shift & XA_MASK]);
	}
	/* A shadow of what was there is a value, with bit 0. */
	*ret_empty = !entry || entry & 1;
	return 0;
}

/* The page cache's entry at an index: a folio, or 0 for none and for a shadow of one. */
static __always_inline unsigned long cache_lookup(struct address_space *mapping,
						  unsigned long index)
{
	unsigned long entry = (unsigned long)BPF_CORE_READ(mapping, i_pages.xa_head);
	bool first = true;

	for (int depth = 0; depth < XA_DEPTH_MAX && xa_is_node(entry); depth++) {
		struct xa_node *node = (void *)(entry - 2);
		unsigned int shift = BPF_CORE_READ(node, shift) & 63;
		unsigned int slot = index >> shift & 63;

		if (first && index >> shift >> 6)
			return 0;
		first = false;
		bpf_probe_read_kernel(&entry, sizeof(entry), &node->slots[slot]);
		/* A large folio stands in its first slot; the others name that one. */
		if ((entry & 3) == 2 && entry < 64 << 2)
			bpf_probe_read_kernel(&entry, sizeof(entry), &node->slots[entry >> 2]);
	}
	/* A root that is an entry itself holds index 0 alone. */
	if (first && index != 0)
		return 0;
	return entry & 3 ? 0 : entry;
}

#endif
