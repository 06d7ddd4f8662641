// SPDX-License-Identifier: GPL-2.0
/*
 * Path MTU discovery: RFC 1191, 8201, and against forgers RFC 5927 section 7.
 * Where routers are silent, RFC 4821: the MSS is lowered when full segments
 * vanish, and larger ones are tried again, one at a time.
 */
#include "output.h"
#include "pmtu.h"
#include "recovery.h"
#include "sock.h"

/* Timeouts in a row of a full segment: R1 of RFC 9293 section 3.8.3. */
#define SUSPICIOUS	3
/* Octets: a search that is this narrow is done. */
#define NARROW		8
/* Segments that follow a probe, so that its loss is noticed by their ACKs. */
#define FOLLOWERS	3

/* Less than what every host takes helps nobody. */
static u32 base(struct sock *sk)
{
	return max_t(u32, cftcp_sysctl(cftcp_sock_net(sk), pmtu_base_bytes),
		     cftcp_sk(sk)->af->default_mss);
}

void cftcp_pmtu_init(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_net *cn = cftcp_sock_net(sk);

	memset(&cs->pmtu, 0, sizeof(cs->pmtu));
	if (cftcp_sysctl(cn, pmtu_probing) == 2)
		cs->pmtu.limit = base(sk);
}

/* Nothing larger is tried for a while. */
static void rest(struct cftcp_sock *cs)
{
	u32 ms = cftcp_sysctl(cftcp_sock_net(&cs->inet.sk),
			      pmtu_probe_interval_ms);

	cs->pmtu.high = 0;
	cs->pmtu.probe_at = ktime_get_ns() + ms * (u64)NSEC_PER_MSEC;
}

/* "ip rule ... ipproto tcp": it was not our route that learned the MTU. */
static void learn(struct sock *sk, u32 mtu)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 headers = cftcp_packet_len(sk, 0) - cs->ts_ok * CFTCP_TS_LEN;

	if (mtu < headers + cs->af->default_mss ||
	    mtu - headers >= min_not_zero((u32)cs->pmtu.limit,
					  cftcp_route_mss(sk)))
		return;
	cs->pmtu.limit = mtu - headers;
	rest(cs);
}

/* Returns whether segments must become smaller. */
static bool obey(struct sock *sk, u32 mtu)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 before = cftcp_mss(sk);

	cs->pmtu.told = 0;
	if (!cs->af->mtu_reduced(sk, mtu))
		return false;
	learn(sk, mtu);
	if (cftcp_mss(sk) >= before)
		return false;
	cftcp_count(cftcp_sock_net(sk), MtuReduced);
	cs->pmtu.passed = min(cs->pmtu.passed, cs->mss);
	return true;
}

void cftcp_pmtu_told(struct sock *sk, u32 seq, u32 mtu)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	const struct dst_entry *dst = cs->af->route(sk);
	u32 passed = cftcp_packet_len(sk, cs->pmtu.passed);

	if (!dst || mtu >= cs->af->mtu(sk, dst))
		return;
	if (!cs->pmtu.passed || mtu >= passed) {
		if (obey(sk, mtu))
			cftcp_recovery_cut(sk);
	} else if (!cs->pmtu.told || cftcp_before(seq, cs->pmtu.told_seq)) {
		cs->pmtu.told = mtu;
		cs->pmtu.told_seq = seq;
	}
}

void cftcp_pmtu_acked(struct sock *sk, u32 octets)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	cs->pmtu.passed = max_t(u32, cs->pmtu.passed, min_t(u32, octets, cs->mss));
	/* It was not too big after all. */
	if (cs->pmtu.told && cftcp_after(cs->snd_una, cs->pmtu.told_seq))
		cs->pmtu.told = 0;
	if (cs->pmtu.probe && !cftcp_before(cs->snd_una, cs->pmtu.probe_end)) {
		cs->pmtu.limit = cs->pmtu.probe;
		cs->pmtu.probe = 0;
	}
}

/* By steps to what every host takes. */
static void suspect_black_hole(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 used = min_not_zero((u32)cs->pmtu.limit, cftcp_route_mss(sk));
	u32 step = base(sk);

	if (used <= step)
		step = cs->af->default_mss;
	if (used <= step)
		return;
	cftcp_count(cftcp_sock_net(sk), MtuBlackHole);
	cs->pmtu.limit = step;
	cs->pmtu.high = 0;
	cs->pmtu.passed = 0;
}

void cftcp_pmtu_rto(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (cs->pmtu.told)
		obey(sk, cs->pmtu.told);
	else if (cs->backoff >= SUSPICIOUS &&
		 cftcp_sysctl(cftcp_sock_net(sk), pmtu_probing) &&
		 cftcp_rtx_head(cs) && cftcp_rtx_head(cs)->len >= cs->mss)
		suspect_black_hole(sk);
}

/* The MSS to try: twice of what passes, but then the middle of what is left. A
 * peer that acknowledges every second segment makes room for that.
 */
static u32 choose_probe(struct cftcp_sock *cs, u32 most)
{
	struct cftcp_pmtu *pmtu = &cs->pmtu;

	if (!pmtu->high)
		return min_t(u32, most, pmtu->limit + cs->mss);
	if (min_t(u32, pmtu->high, most) < pmtu->limit + NARROW)
		return 0;
	return (pmtu->limit + min_t(u32, pmtu->high, most) + 1) / 2;
}

u32 cftcp_pmtu_probe(struct sock *sk, u32 ready)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_pmtu *pmtu = &cs->pmtu;
	u32 most = cftcp_route_mss(sk), options, mss;

	if (pmtu->probe || cs->lost_segs || ktime_get_ns() < pmtu->probe_at)
		return 0;
	if (pmtu->limit >= most) {
		pmtu->limit = 0;
		return 0;
	}
	mss = choose_probe(cs, most);
	if (!mss) {
		rest(cs);
		return 0;
	}
	options = cs->ts_ok ? CFTCP_TS_LEN : 0;
	if (ready < mss - options ||
	    cs->write_seq - cs->snd_nxt < mss - options + FOLLOWERS * cs->mss)
		return 0;
	cftcp_count(cftcp_sock_net(sk), MtuProbe);
	pmtu->probe = mss;
	pmtu->probe_seq = cs->snd_nxt;
	pmtu->probe_end = cs->snd_nxt + mss - options;
	return mss - options;
}

u32 cftcp_pmtu_goal(struct sock *sk, u32 mss)
{
	return (cftcp_route_mss(sk) / mss + 1 + FOLLOWERS) * mss;
}

void cftcp_pmtu_retransmitted(struct sock *sk, u32 seq)
{
	struct cftcp_pmtu *pmtu = &cftcp_sk(sk)->pmtu;

	if (!pmtu->probe || seq != pmtu->probe_seq)
		return;
	pmtu->high = pmtu->probe - 1;
	pmtu->probe = 0;
}
