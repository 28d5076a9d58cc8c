/* SPDX-License-Identifier: MIT */
/*
 * tag.h - the user_data of every ring entry: kind, generation, index.
 *
 * The only place that packs or unpacks it. A completion belongs to a live op
 * only when kind, index and generation all match.
 */
#ifndef URINGFS_TAG_H
#define URINGFS_TAG_H

#include <assert.h>
#include <stdint.h>

enum tag_kind {
	TAG_NONE,     /* 0 is never a valid tag */
	TAG_OP,       /* index: place in the op pool */
	TAG_WAKE,     /* our own READ of the ring's eventfd */
	TAG_MSG,      /* arrived from another ring: look into the inbox */
	TAG_MSG_SENT, /* our own MSG_RING failed; index: the ring that should have been woken */
	TAG_KINDS_COUNT
};

#define TAG_KIND_BITS 8
#define TAG_GENERATION_BITS 24
#define TAG_INDEX_BITS 32
#define TAG_GENERATION_MASK ((1u << TAG_GENERATION_BITS) - 1)

/** liburing's own user_data of timeouts, on kernels without IORING_FEAT_EXT_ARG (liburing.h). */
#define TAG_LIBURING UINT64_MAX

_Static_assert(TAG_KIND_BITS + TAG_GENERATION_BITS + TAG_INDEX_BITS == 64, "a tag fills user_data");
_Static_assert(TAG_KINDS_COUNT < (1 << TAG_KIND_BITS) - 1, "kinds fit and none equals liburing's");

static inline uint64_t tag_make(enum tag_kind kind, uint32_t generation, uint32_t index)
{
	return (uint64_t)kind << (TAG_GENERATION_BITS + TAG_INDEX_BITS) |
	       (uint64_t)(generation & TAG_GENERATION_MASK) << TAG_INDEX_BITS | index;
}

/** tag_kind() - may be a number outside the enum when the tag is not ours. */
static inline unsigned tag_kind(uint64_t tag)
{
	return (unsigned)(tag >> (TAG_GENERATION_BITS + TAG_INDEX_BITS));
}

static inline uint32_t tag_generation(uint64_t tag)
{
	return (uint32_t)(tag >> TAG_INDEX_BITS) & TAG_GENERATION_MASK;
}

static inline uint32_t tag_index(uint64_t tag)
{
	return (uint32_t)tag;
}

#endif
