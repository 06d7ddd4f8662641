// SPDX-License-Identifier: GPL-2.0
/* Path MTU discovery: RFC 1191, 8201, and against forgers RFC 5927 section 7. */
#include "output.h"
#include "pmtu.h"
#include "recovery.h"
#include "sock.h"

static void obey(struct sock *sk, u32 mtu)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 before = cftcp_mss(sk);

	cs->pmtu.told = 0;
	cs->af->mtu_reduced(sk, mtu);
	if (cftcp_mss(sk) >= before)
		return;
	cftcp_count(cftcp_sock_net(sk), MtuReduced);
	cs->pmtu.passed = min(cs->pmtu.passed, cs->mss);
	cftcp_recovery_cut(sk);
}

void cftcp_pmtu_told(struct sock *sk, u32 seq, u32 mtu)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	const struct dst_entry *dst = cs->af->route(sk);
	u32 passed = cftcp_packet_len(sk, cs->pmtu.passed);

	if (!dst || mtu >= cs->af->mtu(sk, dst))
		return;
	if (!cs->pmtu.passed || mtu >= passed) {
		obey(sk, mtu);
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
}

void cftcp_pmtu_rto(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (cs->pmtu.told)
		obey(sk, cs->pmtu.told);
}
