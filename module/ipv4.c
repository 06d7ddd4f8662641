// SPDX-License-Identifier: GPL-2.0
/* IPv4: the receive hook, routes, headers, ICMP. */
#include <linux/icmp.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <net/icmp.h>
#include <net/inet_common.h>
#include <net/ip.h>
#include <net/protocol.h>
#include <net/route.h>
#include <net/tcp.h>
#include <net/xfrm.h>

#include "af.h"
#include "close.h"
#include "input.h"
#include "listen.h"
#include "netns.h"
#include "output.h"
#include "port.h"
#include "segment.h"
#include "sock.h"
#include "timewait.h"

/*
 * Routes.
 */

static struct flowi4 flow_of(struct sock *sk)
{
	const struct inet_sock *inet = inet_sk(sk);
	struct flowi4 fl4 = {
		.flowi4_oif = sk->sk_bound_dev_if,
		.flowi4_mark = READ_ONCE(sk->sk_mark),
		.flowi4_tos = inet->tos & ~INET_ECN_MASK,
		.flowi4_proto = IPPROTO_TCP,
		.flowi4_flags = inet_sk_flowi_flags(sk),
		.flowi4_uid = sk->sk_uid,
		.saddr = inet->inet_saddr,
		.daddr = inet->inet_daddr,
		.fl4_sport = inet->inet_sport,
		.fl4_dport = inet->inet_dport,
	};

	if (sock_flag(sk, SOCK_LOCALROUTE))
		fl4.flowi4_scope = RT_SCOPE_LINK;
	security_sk_classify_flow(sk, flowi4_to_flowi_common(&fl4));
	return fl4;
}

static struct dst_entry *route(struct sock *sk)
{
	struct dst_entry *dst = __sk_dst_check(sk, 0);
	struct flowi4 fl4;
	struct rtable *rt;

	cftcp_assert_held(sk);
	if (dst)
		return dst;
	fl4 = flow_of(sk);
	rt = ip_route_output_flow(sock_net(sk), &fl4, sk);
	if (IS_ERR(rt))
		return NULL;
	sk_setup_caps(sk, &rt->dst);
	return &rt->dst;
}

int cftcp_ipv4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
{
	struct sockaddr_in *addr = (struct sockaddr_in *)uaddr;
	struct inet_sock *inet = inet_sk(sk);
	struct flowi4 fl4;
	struct rtable *rt;

	if (addr_len < sizeof(*addr))
		return -EINVAL;
	if (addr->sin_family != AF_INET)
		return -EAFNOSUPPORT;
	if (!addr->sin_port)
		return -ECONNREFUSED;
	fl4 = flow_of(sk);
	fl4.daddr = addr->sin_addr.s_addr;
	fl4.fl4_dport = addr->sin_port;
	rt = ip_route_output_flow(sock_net(sk), &fl4, sk);
	if (IS_ERR(rt))
		return PTR_ERR(rt);
	/* MUST-46 */
	if (rt->rt_flags & (RTCF_MULTICAST | RTCF_BROADCAST)) {
		ip_rt_put(rt);
		return -ENETUNREACH;
	}
	if (!inet->inet_saddr)
		inet->inet_saddr = fl4.saddr;
	if (!inet->inet_rcv_saddr)
		inet->inet_rcv_saddr = inet->inet_saddr;
	inet->inet_daddr = fl4.daddr;
	inet->inet_dport = addr->sin_port;
	sk_setup_caps(sk, &rt->dst);
	return 0;
}

void cftcp_ipv4_unconnect(struct sock *sk)
{
	struct inet_sock *inet = inet_sk(sk);

	inet->inet_dport = 0;
	inet->inet_daddr = 0;
	if (!(sk->sk_userlocks & SOCK_BINDADDR_LOCK)) {
		inet->inet_saddr = 0;
		inet->inet_rcv_saddr = 0;
	}
	sk_dst_reset(sk);
}

/*
 * Sending.
 */

static void checksum(struct sock *sk, struct sk_buff *skb)
{
	const struct inet_sock *inet = inet_sk(sk);

	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = skb_transport_header(skb) - skb->head;
	skb->csum_offset = offsetof(struct tcphdr, check);
	tcp_hdr(skb)->check = ~tcp_v4_check(skb->len, inet->inet_saddr,
					    inet->inet_daddr, 0);
}

static struct iphdr *push_iphdr(struct sk_buff *skb, u8 tos, u8 ttl,
				__be32 saddr, __be32 daddr)
{
	struct iphdr *iph = skb_push(skb, sizeof(*iph));

	skb_reset_network_header(skb);
	*iph = (struct iphdr) {
		.version = 4, .ihl = 5, .tos = tos, .ttl = ttl,
		.protocol = IPPROTO_TCP, .saddr = saddr, .daddr = daddr,
		.tot_len = htons(skb->len),
	};
	return iph;
}

/* ip_queue_xmit() would write sk_protocol, which is no octet, into the header. */
static int xmit(struct sock *sk, struct sk_buff *skb)
{
	struct inet_sock *inet = inet_sk(sk);
	struct net *net = sock_net(sk);
	struct dst_entry *dst;
	struct iphdr *iph;
	int err;

	rcu_read_lock();
	dst = route(sk);
	if (!dst) {
		rcu_read_unlock();
		kfree_skb(skb);
		return -EHOSTUNREACH;
	}
	checksum(sk, skb);
	skb_dst_set_noref(skb, dst);
	iph = push_iphdr(skb, inet->tos,
			 inet->uc_ttl >= 0 ? inet->uc_ttl : ip4_dst_hoplimit(dst),
			 inet->inet_saddr, inet->inet_daddr);
	if (ip_dont_fragment(sk, dst))
		iph->frag_off = htons(IP_DF);
	ip_select_ident_segs(net, skb, sk, skb_shinfo(skb)->gso_segs ?: 1);
	skb->priority = sk->sk_priority;
	skb->mark = READ_ONCE(sk->sk_mark);
	skb_set_hash_from_sk(skb, sk);
	err = ip_local_out(net, sk, skb);
	rcu_read_unlock();
	return err;
}

static struct rtable *reply_route(struct cftcp_net *cn,
				  const struct cftcp_reply *reply)
{
	struct flowi4 fl4 = {
		.flowi4_oif = reply->oif,
		.flowi4_mark = reply->mark,
		.flowi4_tos = reply->tos & ~INET_ECN_MASK,
		.flowi4_proto = IPPROTO_TCP,
		.flowi4_flags = FLOWI_FLAG_ANYSRC,
		.flowi4_uid = sock_net_uid(cn->net, NULL),
		.saddr = reply->key.laddr,
		.daddr = reply->key.faddr,
		.fl4_sport = reply->key.lport,
		.fl4_dport = reply->key.fport,
	};

	return ip_route_output_key(cn->net, &fl4);
}

static void reply(struct cftcp_net *cn, const struct cftcp_reply *reply)
{
	struct rtable *rt = reply_route(cn, reply);
	struct sk_buff *skb;
	struct tcphdr *th;
	struct iphdr *iph;
	u8 ttl;

	if (IS_ERR(rt))
		return;
	skb = cftcp_reply_segment(reply);
	if (!skb) {
		ip_rt_put(rt);
		return;
	}
	th = tcp_hdr(skb);
	th->check = tcp_v4_check(skb->len, reply->key.laddr, reply->key.faddr,
				 csum_partial(th, skb->len, 0));
	ttl = reply->ttl >= 0 ? reply->ttl : ip4_dst_hoplimit(&rt->dst);
	skb_dst_set(skb, &rt->dst);
	iph = push_iphdr(skb, reply->tos, ttl, reply->key.laddr,
			 reply->key.faddr);
	iph->frag_off = htons(IP_DF);
	ip_select_ident(cn->net, skb, NULL);
	cftcp_count(cn, OutSegs);
	ip_local_out(cn->net, NULL, skb);
}

static u16 reply_mss(struct cftcp_net *cn, const struct cftcp_reply *reply)
{
	struct rtable *rt = reply_route(cn, reply);
	u16 mss = CFTCP_DEFAULT_MSS;

	if (!IS_ERR(rt)) {
		mss = dst_metric_advmss(&rt->dst);
		ip_rt_put(rt);
	}
	return mss;
}

const struct cftcp_af_ops cftcp_ipv4_ops = {
	.net_header_len	= sizeof(struct iphdr),
	.gso_type	= SKB_GSO_TCPV4,
	.route		= route,
	.xmit		= xmit,
	.reply		= reply,
	.reply_mss	= reply_mss,
};

/*
 * Receiving.
 */

static const struct net_protocol *stock __read_mostly;

static bool drop_here(struct cftcp_net *cn, struct sk_buff *skb,
		      const struct sock *sk)
{
	const struct tcphdr *th = tcp_hdr(skb);

	/* MUST-57 */
	if (skb->pkt_type != PACKET_HOST ||
	    skb_rtable(skb)->rt_flags & (RTCF_BROADCAST | RTCF_MULTICAST)) {
		cftcp_count_drop(cn, Address);
		return true;
	}
	if (skb_checksum_validate(skb, IPPROTO_TCP, inet_compute_pseudo)) {
		cftcp_count_drop(cn, Checksum);
		return true;
	}
	if (!xfrm4_policy_check((struct sock *)sk, XFRM_POLICY_IN, skb)) {
		cftcp_count_drop(cn, Policy);
		return true;
	}
	nf_reset_ct(skb);
	if (!sk)
		return false;
	if (ip_hdr(skb)->ttl < inet_sk(sk)->min_ttl ||
	    sk_filter_trim_cap((struct sock *)sk, skb, th->doff * 4)) {
		cftcp_count_drop(cn, Filter);
		return true;
	}
	return false;
}

static void to_socket(struct cftcp_net *cn, struct sock *sk,
		      struct sk_buff *skb)
{
	u32 limit = READ_ONCE(sk->sk_rcvbuf) + READ_ONCE(sk->sk_sndbuf) +
		    64 * 1024;

	skb_dst_drop(skb);
	skb->dev = NULL;
	bh_lock_sock_nested(sk);
	if (!sock_owned_by_user(sk)) {
		cftcp_segment_arrives(sk, skb);
	} else if (sk_add_backlog(sk, skb, limit)) {
		cftcp_count_drop(cn, Backlog);
		kfree_skb(skb);
	}
	bh_unlock_sock(sk);
}

/* For a connection in whatever state. Returns false when it is gone. */
static bool to_entry(struct cftcp_net *cn, struct cftcp_entry *entry,
		     struct sk_buff *skb)
{
	struct cftcp_request *req;
	struct sock *sk, *lsk;

	switch (entry->kind) {
	case CFTCP_KIND_SOCK:
		sk = cftcp_to_sk(container_of(entry, struct cftcp_sock, entry));
		if (!refcount_inc_not_zero(&sk->sk_refcnt))
			return false;
		if (drop_here(cn, skb, sk)) {
			kfree_skb(skb);
		} else {
			cftcp_segment_pull(skb);
			to_socket(cn, sk, skb);
		}
		sock_put(sk);
		return true;
	case CFTCP_KIND_REQUEST:
		req = container_of(entry, struct cftcp_request, entry);
		if (drop_here(cn, skb, req->listener)) {
			kfree_skb(skb);
			return true;
		}
		cftcp_segment_pull(skb);
		cftcp_request_arrives(req, skb);
		return true;
	case CFTCP_KIND_TIME_WAIT:
		lsk = cftcp_lookup_listener(cn, ip_hdr(skb)->daddr,
					    tcp_hdr(skb)->dest, inet_iif(skb),
					    inet_sdif(skb));
		/* A SYN may be the listener's. */
		if (drop_here(cn, skb, tcp_hdr(skb)->syn ? lsk : NULL)) {
			kfree_skb(skb);
			return true;
		}
		cftcp_segment_pull(skb);
		cftcp_time_wait_arrives(container_of(entry,
						     struct cftcp_time_wait,
						     entry), skb, lsk);
		return true;
	}
	return false;
}

static void to_listener(struct cftcp_net *cn, struct sock *lsk,
			struct sk_buff *skb)
{
	struct cftcp_segment seg;
	unsigned int source;

	if (drop_here(cn, skb, lsk)) {
		kfree_skb(skb);
		return;
	}
	/* MUST-63 */
	source = inet_addr_type_dev_table(cn->net, skb->dev,
					  ip_hdr(skb)->saddr);
	if (source == RTN_BROADCAST || source == RTN_MULTICAST) {
		cftcp_count_drop(cn, Address);
		kfree_skb(skb);
		return;
	}
	cftcp_segment_pull(skb);
	cftcp_segment_parse(skb, &seg);
	cftcp_listen_arrives(lsk, &seg, NULL);
	consume_skb(skb);
}

static int drop_short(struct cftcp_net *cn, struct sk_buff *skb, bool offset)
{
	if (offset)
		cftcp_count_drop(cn, DataOffset);
	else
		cftcp_count_drop(cn, Short);
	kfree_skb(skb);
	return 0;
}

static int receive(struct sk_buff *skb)
{
	struct cftcp_net *cn = cftcp_net(dev_net(skb->dev));
	struct cftcp_entry *entry;
	struct cftcp_key key;
	struct sock *lsk;
	struct tcphdr *th;

	/* TPROXY, early demux or BPF found a stock socket for it. */
	if (unlikely(skb->sk))
		return stock->handler(skb);
	/* The two ports decide whose it is. */
	if (!pskb_may_pull(skb, 4))
		return stock->handler(skb);
	th = tcp_hdr(skb);
	if (likely(!cftcp_port_used(&cn->ports, th->dest)))
		return stock->handler(skb);
	key = (struct cftcp_key) {
		.laddr = ip_hdr(skb)->daddr, .faddr = ip_hdr(skb)->saddr,
		.lport = th->dest, .fport = th->source,
	};
	entry = cftcp_lookup(cn, &key);
	lsk = entry ? NULL :
	      cftcp_lookup_listener(cn, key.laddr, key.lport, inet_iif(skb),
				    inet_sdif(skb));
	if (!entry && !lsk)
		return stock->handler(skb);

	cftcp_count(cn, InSegs);
	if (!pskb_may_pull(skb, sizeof(*th)))
		return drop_short(cn, skb, false);
	th = tcp_hdr(skb);
	if (th->doff < sizeof(*th) / 4 || !pskb_may_pull(skb, th->doff * 4))
		return drop_short(cn, skb, true);
	if (!entry)
		to_listener(cn, lsk, skb);
	else if (!to_entry(cn, entry, skb))
		return stock->handler(skb);
	return 0;
}

/*
 * ICMP.
 */

void cftcp_ipv4_mtu_reduced(struct sock *sk)
{
	struct dst_entry *dst = __sk_dst_check(sk, 0);

	cftcp_assert_held(sk);
	if (dst && dst->ops->update_pmtu)
		dst->ops->update_pmtu(dst, sk, NULL, cftcp_sk(sk)->mtu_info,
				      true);
	cftcp_mss(sk);
}

static void frag_needed(struct sock *sk, u32 mtu)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (inet_sk(sk)->pmtudisc == IP_PMTUDISC_DONT ||
	    (1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN))
		return;
	cs->mtu_info = mtu;
	if (sock_owned_by_user(sk))
		set_bit(CFTCP_DEFER_MTU, &cs->deferred);
	else
		cftcp_ipv4_mtu_reduced(sk);
}

/* The errno of an ICMP message, 0 for one that says nothing to a connection. */
static int icmp_error(const struct icmphdr *icmp)
{
	int err = 0;	/* MUST-55: Source Quench among them */

	if (icmp->type == ICMP_PARAMETERPROB)
		err = EPROTO;
	else if (icmp->type == ICMP_TIME_EXCEEDED)
		err = EHOSTUNREACH;
	else if (icmp->type == ICMP_DEST_UNREACH &&
		 icmp->code <= NR_ICMP_UNREACH)
		err = icmp_err_convert[icmp->code].errno;
	return err;
}

/* RFC 5927, RFC 5461: soft once synchronized, an end before that. */
static void icmp_to_socket(struct sock *sk, struct sk_buff *skb, u32 info)
{
	const struct icmphdr *icmp = icmp_hdr(skb);
	int err = icmp_error(icmp);

	if (icmp->type == ICMP_DEST_UNREACH && icmp->code == ICMP_FRAG_NEEDED) {
		frag_needed(sk, info);
		return;
	}
	/* It may have left the connection since the look-up. */
	if (!err || (1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN))
		return;
	WRITE_ONCE(sk->sk_err_soft, err);
	if (sock_owned_by_user(sk))
		return;
	if (cftcp_fsm_covers(sk->sk_state)) {
		cftcp_event(sk, CFTCP_EV_ICMP, NULL);
	} else {
		cftcp_count(cftcp_sock_net(sk), AttemptFails);
		cftcp_sock_done(sk, err, "ICMP");
	}
}

static int receive_error(struct sk_buff *skb, u32 info)
{
	const struct iphdr *iph = (const struct iphdr *)skb->data;
	const struct tcphdr *th = (const void *)skb->data + iph->ihl * 4;
	struct cftcp_net *cn = cftcp_net(dev_net(skb->dev));
	struct cftcp_key key = {
		.laddr = iph->saddr, .faddr = iph->daddr,
		.lport = th->source, .fport = th->dest,
	};
	struct cftcp_entry *entry = NULL;
	struct cftcp_sock *cs;

	if (cftcp_port_used(&cn->ports, th->source))
		entry = cftcp_lookup(cn, &key);
	if (!entry)
		return stock->err_handler(skb, info);
	/* RFC 5927 4.1: nothing but a full socket has something to learn. */
	if (entry->kind != CFTCP_KIND_SOCK)
		return 0;
	cs = container_of(entry, struct cftcp_sock, entry);
	if (!refcount_inc_not_zero(&cs->inet.sk.sk_refcnt))
		return 0;
	bh_lock_sock(cftcp_to_sk(cs));
	if (cftcp_between(cs->snd_una, ntohl(th->seq), cs->snd_nxt))
		icmp_to_socket(cftcp_to_sk(cs), skb, info);
	bh_unlock_sock(cftcp_to_sk(cs));
	sock_put(cftcp_to_sk(cs));
	return 0;
}

static const struct net_protocol protocol = {
	.handler	= receive,
	.err_handler	= receive_error,
	.no_policy	= 1,
	.icmp_strict_tag_validation = 1,
};

/* The slot as inet_add_protocol() sees it, which fills empty ones only. */
static const struct net_protocol **slot(void)
{
	return (__force const struct net_protocol **)&inet_protos[IPPROTO_TCP];
}

int cftcp_ipv4_hook(void)
{
	stock = READ_ONCE(*slot());
	if (!stock || !stock->handler || !stock->err_handler)
		return -ENOENT;
	return cmpxchg(slot(), stock, &protocol) == stock ? 0 : -EBUSY;
}

void cftcp_ipv4_unhook(void)
{
	if (cmpxchg(slot(), &protocol, stock) != &protocol)
		pr_crit("cftcp: another module hooked TCP after this one; unload in reverse order\n");
	synchronize_net();
}
