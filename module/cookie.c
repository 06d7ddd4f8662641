// SPDX-License-Identifier: GPL-2.0
/*
 * A cookie is, from the top: 5 bits of the period it was made in, 3 bits of
 * the MSS, 24 bits of a keyed hash over these, the 4-tuple and the SYN. Blind
 * guessing has 16 of 2^32 numbers (8 MSS, 2 periods) to hit.
 */
#include <linux/ktime.h>
#include <linux/siphash.h>

#include "af.h"
#include "cookie.h"
#include "segment.h"
#include "sock.h"

#define PERIOD_SHIFT	27
#define PERIOD_MASK	0x1f
#define MSS_SHIFT	24
#define MAC_MASK	0xffffff

#define STAMP_WSCALE	0x0f
#define STAMP_NO_WSCALE	0x0f
#define STAMP_SACK	0x10
#define STAMP_MASK	0x1f

/* What paths have: the least, defaults of both families, tunnels, Ethernet, jumbo. */
static const u16 mss_table[] = {
	CFTCP_MIN_MSS, 536, 1220, 1360, 1400, 1440, 1460, 8940,
};

static_assert(ARRAY_SIZE(mss_table) == 1 << (PERIOD_SHIFT - MSS_SHIFT));

static siphash_aligned_key_t mac_key __read_mostly;

static u32 period(void)
{
	return (u32)ktime_get_boottime_seconds() / CFTCP_COOKIE_S;
}

/* The cookie of the 4-tuple, of a SYN numbered @irs. */
static u32 make(const struct cftcp_segment *seg, u32 irs, u32 when, u32 index)
{
	const struct {
		struct cftcp_key key;
		u32 irs;
		u32 when;
		u32 index;
		u32 has_ts;
	} in = { *seg->key, irs, when, index, seg->opt.has_ts };

	BUILD_BUG_ON(sizeof(in) != sizeof(struct cftcp_key) + 4 * sizeof(u32));
	net_get_random_once(&mac_key, sizeof(mac_key));
	return (when & PERIOD_MASK) << PERIOD_SHIFT | index << MSS_SHIFT |
	       (siphash(&in, sizeof(in), &mac_key) & MAC_MASK);
}

u32 cftcp_cookie(const struct cftcp_segment *syn)
{
	u16 mss = syn->opt.mss ?: cftcp_wire(syn->key)->default_mss;
	u32 index = ARRAY_SIZE(mss_table) - 1;

	while (index && mss_table[index] > mss)
		index--;
	return make(syn, syn->seq, period(), index);
}

u16 cftcp_cookie_mss(const struct cftcp_segment *ack)
{
	u32 cookie = ack->ack - 1, now = period();
	u32 index = cookie >> MSS_SHIFT & (ARRAY_SIZE(mss_table) - 1);
	u32 age = (now - (cookie >> PERIOD_SHIFT)) & PERIOD_MASK;

	if (age > 1 || make(ack, ack->seq - 1, now - age, index) != cookie)
		return 0;
	return mss_table[index];
}

u32 cftcp_cookie_stamp(u32 tsval, const struct cftcp_segment *syn)
{
	u32 bits = STAMP_NO_WSCALE;
	u32 stamp;

	if (syn->opt.wscale_ok)
		bits = syn->opt.wscale;
	if (syn->opt.sack_ok)
		bits |= STAMP_SACK;
	stamp = (tsval & ~STAMP_MASK) | bits;
	return cftcp_after(stamp, tsval) ? stamp - STAMP_MASK - 1 : stamp;
}

struct cftcp_cookie_options cftcp_cookie_options(u32 tsecr)
{
	u8 wscale = tsecr & STAMP_WSCALE;

	return (struct cftcp_cookie_options) {
		.wscale_ok = wscale != STAMP_NO_WSCALE,
		.wscale = wscale == STAMP_NO_WSCALE ? 0 : wscale,
		.sack_ok = tsecr & STAMP_SACK,
	};
}
