/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Whose pages a chunk has: each file once, by its address_space, with what names it and what stands
 * against touching its cache (struct scan_owner).
 */
#ifndef PAGEPACT_GUEST_OWNERS_BPF_H
#define PAGEPACT_GUEST_OWNERS_BPF_H

#include <linux/stat.h>

#include "compat.bpf.h"
#include "scan.h"

#define OWNER_CACHE_BITS 9 /* 64 files in one chunk are to miss each other, mostly */
#define OWNER_NONE	 0xffff

/* Out. */
struct scan_owner owners[SCAN_CHUNK_PAGES];
unsigned int owners_count;

static unsigned long last_mapping;
static unsigned short last_owner;
static struct {
	unsigned long mapping;
	unsigned int owner;
	unsigned int chunk; /* that it was found in: no more is known in the next */
} owner_cache[1 << OWNER_CACHE_BITS];
static unsigned int chunk_number;

static void owner_fill(struct scan_owner *owner, unsigned long address)
{
	struct address_space *mapping = (void *)address;
	struct inode *host = BPF_CORE_READ(mapping, host);
	struct super_block *sb = BPF_CORE_READ(host, i_sb);
	struct file_lock_context *locks = BPF_CORE_READ(host, i_flctx);
	unsigned int flags = 0;

	if (locks) {
		void *lease = (void *)locks + bpf_core_field_offset(locks->flc_lease);

		if (BPF_CORE_READ(locks, flc_lease.next) != lease)
			flags |= SCAN_OWNER_LEASED;
	}
	/* The errno of the last failed writeback is in the low 12 bits of an errseq_t; AS_EIO and
	 * AS_ENOSPC are bits 0 and 1 of the mapping's flags. */
	if (BPF_CORE_READ(mapping, wb_err) & 0xfff || BPF_CORE_READ(mapping, flags) & 3)
		flags |= SCAN_OWNER_WRITE_ERROR;
	if ((BPF_CORE_READ(host, i_mode) & S_IFMT) != S_IFREG)
		flags |= SCAN_OWNER_IRREGULAR;
	if (!BPF_CORE_READ(host, i_nlink))
		flags |= SCAN_OWNER_UNLINKED;
	owner->mapping = address;
	owner->inode = BPF_CORE_READ(host, i_ino);
	owner->size_bytes = BPF_CORE_READ(host, i_size);
	owner->generation = BPF_CORE_READ(host, i_generation);
	owner->magic = BPF_CORE_READ(sb, s_magic);
	owner->device = BPF_CORE_READ(sb, s_dev);
	owner->flags = flags;
}

static __always_inline unsigned short owner_of(unsigned long mapping)
{
	unsigned int slot = mapping * 0x9e3779b97f4a7c15ul >> (64 - OWNER_CACHE_BITS);
	unsigned int owner;

	if (mapping == last_mapping)
		return last_owner;
	owner = owner_cache[slot].owner;
	if (owner_cache[slot].mapping != mapping || owner_cache[slot].chunk != chunk_number) {
		owner = owners_count;
		if (owner >= SCAN_CHUNK_PAGES)
			return OWNER_NONE;
		owner_fill(&owners[owner], mapping);
		owners_count = owner + 1;
		owner_cache[slot].mapping = mapping;
		owner_cache[slot].owner = owner;
		owner_cache[slot].chunk = chunk_number;
	}
	last_mapping = mapping;
	last_owner = owner;
	return owner;
}

static void owners_reset(void)
{
	owners_count = 0;
	last_mapping = 0;
	chunk_number++;
}

#endif
