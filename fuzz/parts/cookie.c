// SPDX-License-Identifier: GPL-2.0
/*
 * SYN cookies: the ACK that answers one is known for two minutes at most and
 * tells what the SYN said; no other is.
 */
#include "parts.h"

#include "cookie.h"

static u16 remembered(u16 mss)
{
	static const u16 eight[] = { 8940, 1460, 1440, 1400, 1360, 1220, 536 };

	for (unsigned int i = 0; i < ARRAY_SIZE(eight); i++)
		if (mss >= eight[i])
			return eight[i];
	return CFTCP_MIN_MSS;
}

static void check_cookie(struct cftcp_segment *syn, struct cftcp_key *key)
{
	u32 age = any8(), seconds = parts_now / NSEC_PER_SEC;
	struct cftcp_segment ack = { .key = key, .opt = syn->opt };
	u16 mss = remembered(syn->opt.mss ?: 536);
	u32 periods;

	ack.ack = cftcp_cookie(syn) + 1;
	ack.seq = syn->seq + 1;
	parts_now += age * (u64)NSEC_PER_SEC;
	periods = (seconds + age) / CFTCP_COOKIE_S - seconds / CFTCP_COOKIE_S;
	must(cftcp_cookie_mss(&ack) == (periods <= 1 ? mss : 0));
	if (periods > 1)
		return;
	/* Of three forgeries a hash of 24 bits may let one through, not all. */
	for (int n = 0; n < 3; n++) {
		struct cftcp_segment forged = ack;
		struct cftcp_key other = *key;

		forged.key = &other;
		switch (any8() % 4) {
		case 0:
			other.fport ^= 1 << n;
			break;
		case 1:
			forged.seq += 1 + n;
			break;
		case 2:
			forged.ack += 1 + n;
			break;
		case 3:
			other.faddr.s6_addr[15] ^= 1 << n;
			break;
		}
		if (!cftcp_cookie_mss(&forged))
			return;
	}
	must(!"a forgery is refused");
}

static void check_stamp(const struct cftcp_segment *syn)
{
	u32 tsval = any32(), stamp = cftcp_cookie_stamp(tsval, syn);
	struct cftcp_cookie_options back = cftcp_cookie_options(stamp);

	must(tsval - stamp < 32);
	must(back.wscale_ok == syn->opt.wscale_ok);
	must(back.wscale == (back.wscale_ok ? syn->opt.wscale : 0));
	must(back.sack_ok == syn->opt.sack_ok);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct cftcp_key key = {};
	struct cftcp_segment syn = { .key = &key };

	parts_begin();
	parts_input(data, size);
	parts_now = any32() * (u64)NSEC_PER_SEC;
	syn.seq = any32();
	key.lport = any16();
	key.fport = any16();
	key.faddr.s6_addr32[3] = any32();
	syn.opt.mss = any16();
	syn.opt.wscale_ok = any8() & 1;
	syn.opt.wscale = any8() % (CFTCP_MAX_WSCALE + 1);
	syn.opt.sack_ok = any8() & 1;
	syn.opt.has_ts = any8() & 1;
	check_stamp(&syn);
	check_cookie(&syn, &key);
	return 0;
}
