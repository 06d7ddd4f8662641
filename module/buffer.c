// SPDX-License-Identifier: GPL-2.0
#include <linux/math64.h>

#include "buffer.h"
#include "compat.h"
#include "sock.h"

static bool may_grow(const struct sock *sk, int chosen_by_user)
{
	return !(sk->sk_userlocks & chosen_by_user) &&
	       !sk_under_memory_pressure(sk);
}

/* Before the first measurement a round trip is taken for long. */
static u64 round_trip_ns(const struct cftcp_sock *cs)
{
	return (cs->srtt_us ?: USEC_PER_SEC) * (u64)NSEC_PER_USEC;
}

void cftcp_rcvbuf_follow(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u64 now = cs->last_rcv_at, want;

	if (cs->read_round_at) {
		if (now - cs->read_round_at < round_trip_ns(cs))
			return;
		want = 4 * (u64)(cs->copied_seq - cs->read_round_seq);
		want = min_t(u64, want,
			     READ_ONCE(cftcp_sock_net(sk)->sysctl.rmem[2]));
		if (want > sk->sk_rcvbuf && may_grow(sk, SOCK_RCVBUF_LOCK))
			WRITE_ONCE(sk->sk_rcvbuf, want);
	}
	cs->read_round_at = now;
	cs->read_round_seq = cs->copied_seq;
}

bool cftcp_sndbuf_follow(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 queued = cs->write_seq - cs->snd_una;
	u64 want;

	if (!queued || !may_grow(sk, SOCK_SNDBUF_LOCK))
		return false;
	want = mul_u64_u32_div(2 * (u64)sk->sk_wmem_queued,
			       cs->snd_nxt - cs->snd_una, queued);
	want = min_t(u64, want,
		     READ_ONCE(cftcp_sock_net(sk)->sysctl.wmem[2]));
	if (want <= sk->sk_sndbuf)
		return false;
	WRITE_ONCE(sk->sk_sndbuf, want);
	return true;
}
