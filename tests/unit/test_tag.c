/* SPDX-License-Identifier: MIT */
/* test_tag.c - every part of a tag comes out as it went in, and none spills into another. */
#include "backend/tag.h"
#include "test.h"

static void round_trip(enum tag_kind kind, uint32_t generation, uint32_t index)
{
	uint64_t tag = tag_make(kind, generation, index);

	CHECK_EQ(tag_kind(tag), kind);
	CHECK_EQ(tag_generation(tag), generation & TAG_GENERATION_MASK);
	CHECK_EQ(tag_index(tag), index);
	CHECK(tag != TAG_LIBURING);
}

int main(void)
{
	const uint32_t generations[] = { 0, 1, 0x800000, TAG_GENERATION_MASK, TAG_GENERATION_MASK + 1, UINT32_MAX };
	const uint32_t indices[] = { 0, 1, 65535, 0x80000000u, UINT32_MAX };

	for (unsigned k = TAG_NONE; k < TAG_KINDS_COUNT; k++)
		for (size_t g = 0; g < sizeof(generations) / sizeof(generations[0]); g++)
			for (size_t i = 0; i < sizeof(indices) / sizeof(indices[0]); i++)
				round_trip((enum tag_kind)k, generations[g], indices[i]);
	CHECK_EQ(tag_kind(TAG_LIBURING), 255);
	return test_end();
}
