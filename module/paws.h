/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PAWS, RFC 7323 section 5: is a segment old by its timestamp? Pure C: a
 * selftest tries in user space what takes weeks elsewhere.
 */
#ifndef _CFTCP_PAWS_H
#define _CFTCP_PAWS_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stdint.h>
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
#endif

/**
 * cftcp_ts_recent_valid() - may TS.Recent be believed? (section 5.5)
 * @age_ns: ns since it was set
 *
 * A clock of 1 ms turns round after 24.8 days, and what is newer seems older.
 */
static inline bool cftcp_ts_recent_valid(u64 age_ns)
{
	return age_ns <= 24ULL * 24 * 60 * 60 * 1000000000;
}

/**
 * cftcp_paws_old() - is this timestamp older than TS.Recent? (section 5.3)
 * @tsval: of the segment
 * @ts_recent: TS.Recent
 * @age_ns: ns since that was set
 */
static inline bool cftcp_paws_old(u32 tsval, u32 ts_recent, u64 age_ns)
{
	return (s32)(tsval - ts_recent) < 0 && cftcp_ts_recent_valid(age_ns);
}

#endif
