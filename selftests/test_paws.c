// SPDX-License-Identifier: GPL-2.0
/*
 * What PAWS says after any time. Runs in user space, needs no module; that the
 * module asks it is seen in test_transport.py.
 */
#include "../module/paws.h"

#include "kselftest_harness.h"

#define DAY_NS	(24 * 60 * 60 * 1000000000ULL)

/* ids: R7323-13 */
TEST(old_and_new)
{
	EXPECT_TRUE(cftcp_paws_old(999, 1000, 0));
	EXPECT_FALSE(cftcp_paws_old(1000, 1000, 0));
	EXPECT_FALSE(cftcp_paws_old(1001, 1000, 0));
	EXPECT_TRUE(cftcp_paws_old(0xffffffff, 0, 0));
	EXPECT_FALSE(cftcp_paws_old(0, 0xffffffff, 0));
	EXPECT_FALSE(cftcp_paws_old(0x7fffffff, 0, 0));
	EXPECT_TRUE(cftcp_paws_old(0x80000001, 0, 0));
}

/* ids: R7323-15 */
TEST(after_24_days)
{
	EXPECT_TRUE(cftcp_paws_old(999, 1000, 24 * DAY_NS));
	EXPECT_FALSE(cftcp_paws_old(999, 1000, 24 * DAY_NS + 1));
	EXPECT_FALSE(cftcp_paws_old(0x80000001, 0, 25 * DAY_NS));
	EXPECT_FALSE(cftcp_paws_old(1000, 1000, 24 * DAY_NS + 1));
}

/* Before the clock of a peer with 1 ms a tick has gone half way round. */
/* ids: R7323-15 */
TEST(in_time_for_a_clock_of_1_ms)
{
	for (u64 days = 0; days < 40; days++) {
		u32 tsval = 1000 + days * (DAY_NS / 1000000);

		EXPECT_FALSE(cftcp_paws_old(tsval, 1000, days * DAY_NS));
	}
}

TEST_HARNESS_MAIN
