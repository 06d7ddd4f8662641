// SPDX-License-Identifier: GPL-2.0
/*
 * RFC 9293 section 3.9.2.2, with RFC 5461 and 5927: an error ends an attempt
 * to connect; a connection that stands goes on, and its user may ask.
 */
#include <linux/errqueue.h>
#include <linux/tcp.h>

#include "close.h"
#include "icmp.h"
#include "pmtu.h"
#include "sock.h"

static bool may_be_in_flight(const struct cftcp_sock *cs, u32 seq)
{
	return cftcp_between(cs->snd_una, seq, cs->snd_nxt);
}

/* MSG_ERRQUEUE. */
static void queue_error(struct sock *sk, const struct cftcp_icmp *icmp)
{
	struct sk_buff *skb = skb_clone(icmp->skb, GFP_ATOMIC);
	struct sock_exterr_skb *serr;

	if (!skb)
		return;
	/* These count in their namespace, which may go before this is read. */
	skb_dst_drop(skb);
	nf_reset_ct(skb);
	skb_ext_reset(skb);
	serr = SKB_EXT_ERR(skb);
	serr->ee = (struct sock_extended_err) {
		.ee_errno = icmp->err, .ee_origin = icmp->origin,
		.ee_type = icmp->type, .ee_code = icmp->code,
	};
	serr->addr_offset = icmp->daddr - (void *)skb_network_header(skb);
	serr->port = icmp->quoted->dest;
	__skb_pull(skb, (u8 *)icmp->quoted - skb->data);
	skb_reset_transport_header(skb);
	if (sock_queue_err_skb(sk, skb))
		kfree_skb(skb);
}

static void tell_user(struct sock *sk, int err)
{
	if (!cftcp_sk(sk)->af->recverr(sk)) {
		WRITE_ONCE(sk->sk_err_soft, err);
		return;
	}
	WRITE_ONCE(sk->sk_err, err);
	sk_error_report(sk);
}

static void take_error(struct sock *sk, int err, bool hard)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);

	if (!cftcp_fsm_covers(sk->sk_state)) {
		cftcp_count(cn, AttemptFails);
		cftcp_sock_done(sk, err, "ICMP");
	} else if (hard && cftcp_sysctl(cn, icmp_hard_abort)) {
		cftcp_abort(sk, err);
	} else if (cftcp_event(sk, CFTCP_EV_ICMP, NULL) & CFTCP_DO_SOFT) {
		tell_user(sk, err);
	}
}

static void keep(struct cftcp_sock *cs, u32 seq, const struct cftcp_icmp *icmp)
{
	struct cftcp_icmp_kept *kept = &cs->icmp;

	if (icmp->err) {
		kept->err = icmp->err;
		kept->hard = icmp->hard;
		kept->err_seq = seq;
	}
	if (icmp->mtu) {
		kept->mtu = icmp->mtu;
		kept->mtu_seq = seq;
	}
	set_bit(CFTCP_DEFER_ICMP, &cs->deferred);
}

void cftcp_icmp_arrives(struct sock *sk, const struct cftcp_icmp *icmp)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 seq = ntohl(icmp->quoted->seq);

	/* It may have left the connection since the look-up. */
	if ((1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN))
		return;
	if (icmp->ttl < cs->af->min_ttl(sk) || !may_be_in_flight(cs, seq)) {
		cftcp_count(cftcp_sock_net(sk), IcmpStray);
		return;
	}
	if (icmp->err && !cftcp_fsm_covers(sk->sk_state) &&
	    cs->af->recverr(sk))
		queue_error(sk, icmp);
	if (sock_owned_by_user(sk)) {
		keep(cs, seq, icmp);
		return;
	}
	if (icmp->redirect)
		cs->af->redirect(sk, icmp->skb);
	if (icmp->mtu)
		cftcp_pmtu_told(sk, seq, icmp->mtu);
	if (icmp->err)
		take_error(sk, icmp->err, icmp->hard);
}

void cftcp_icmp_deferred(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_icmp_kept kept = cs->icmp;

	memset(&cs->icmp, 0, sizeof(cs->icmp));
	if ((1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN))
		return;
	/* An ACK in the backlog may have answered the segment meanwhile. */
	if (kept.mtu && may_be_in_flight(cs, kept.mtu_seq))
		cftcp_pmtu_told(sk, kept.mtu_seq, kept.mtu);
	if (kept.err && may_be_in_flight(cs, kept.err_seq))
		take_error(sk, kept.err, kept.hard);
}
