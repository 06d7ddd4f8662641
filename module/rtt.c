// SPDX-License-Identifier: GPL-2.0
#include "rtt.h"
#include "segment.h"
#include "sock.h"

/* RFC 6298 section 2: clock granularity G. */
#define GRANULARITY_US	1000U
/* No round trip is taken for longer: several times this fits into 32 bits. */
#define LONGEST_US	268000000U

void cftcp_rtt_sample(struct sock *sk, u32 rtt_us)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_net *cn = cftcp_sock_net(sk);
	u32 floor_us = cftcp_sysctl(cn, rto_min_ms) * USEC_PER_MSEC;
	u64 rto_us;

	rtt_us = clamp(rtt_us, 1U, LONGEST_US);
	if (!cs->min_rtt_us || rtt_us < cs->min_rtt_us)
		cs->min_rtt_us = rtt_us;
	if (!cs->srtt_us) {
		cs->srtt_us = rtt_us;
		cs->rttvar_us = rtt_us / 2;
	} else {
		u32 diff = abs((int)(cs->srtt_us - rtt_us));

		cs->rttvar_us = cs->rttvar_us - cs->rttvar_us / 4 + diff / 4;
		cs->srtt_us = cs->srtt_us - cs->srtt_us / 8 + rtt_us / 8;
	}
	/* The floor stands for the variance, so that a peer's delayed ACK has
	 * room beside any round trip.
	 */
	rto_us = cs->srtt_us + max3(GRANULARITY_US, 4 * cs->rttvar_us, floor_us);
	cs->rto_ns = min(rto_us * NSEC_PER_USEC,
			 cftcp_sysctl(cn, rto_max_ms) * (u64)NSEC_PER_MSEC);
	cs->backoff = 0;
}

static u32 echoed_rtt_us(const struct cftcp_sock *cs,
			 const struct cftcp_segment *seg)
{
	u32 ms;

	if (!cs->ts_ok || !seg->opt.has_ts || !seg->opt.tsecr)
		return 0;
	ms = cftcp_tsval(cs) - seg->opt.tsecr;
	if (ms >= CFTCP_DAY_MS)
		return 0;
	return clamp_t(u32, ms, 1, LONGEST_US / USEC_PER_MSEC) * USEC_PER_MSEC;
}

void cftcp_rtt_acked(struct sock *sk, const struct cftcp_segment *seg,
		     u32 rtt_us)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (!rtt_us)
		rtt_us = echoed_rtt_us(cs, seg);
	if (!rtt_us) {
		/* Karn: the backoff stays, less a step, lest the losses of a
		 * whole window add up.
		 */
		cs->backoff -= !!cs->backoff;
		return;
	}
	rtt_us = min(rtt_us, LONGEST_US);
	if (cs->rtt_rose && cftcp_after(seg->ack, cs->rtt_rose_seq)) {
		cs->rtt_rose = 0;
		cs->srtt_us = max(cs->srtt_us, rtt_us);
		cs->rttvar_us = max(cs->rttvar_us, rtt_us / 2);
	}
	cftcp_rtt_sample(sk, rtt_us);
}

void cftcp_rtt_rose(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	cs->rtt_rose = 1;
	cs->rtt_rose_seq = cs->snd_nxt;
}
