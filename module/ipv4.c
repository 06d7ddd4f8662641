// SPDX-License-Identifier: GPL-2.0
/* IPv4: the receive hook, routes, headers, ICMP. */
#include <linux/errqueue.h>
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
#include "compat.h"
#include "demux.h"
#include "early.h"
#include "icmp.h"
#include "ipopt.h"
#include "ipv4.h"
#include "netns.h"
#include "output.h"
#include "port.h"
#include "sock.h"

/*
 * Routes.
 */

static const struct ip_options_rcu *options(const struct sock *sk)
{
	return rcu_dereference_protected(inet_sk(sk)->inet_opt,
					 lockdep_sock_is_held(sk));
}

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
		.daddr = cftcp_ipopt_first_hop(options(sk), inet->inet_daddr),
		.fl4_sport = inet->inet_sport,
		.fl4_dport = inet->inet_dport,
	};

	if (sock_flag(sk, SOCK_LOCALROUTE))
		fl4.flowi4_scope = RT_SCOPE_LINK;
	security_sk_classify_flow(sk, flowi4_to_flowi_common(&fl4));
	return fl4;
}

static struct rtable *look_up(struct sock *sk, struct flowi4 *fl4)
{
	const struct ip_options_rcu *opt = options(sk);
	struct rtable *rt = ip_route_output_flow(sock_net(sk), fl4, sk);

	/* A strict route leads to neighbours only. */
	if (!IS_ERR(rt) && opt && opt->opt.is_strictroute &&
	    rt->rt_uses_gateway) {
		ip_rt_put(rt);
		return ERR_PTR(-EHOSTUNREACH);
	}
	return rt;
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
	rt = look_up(sk, &fl4);
	if (IS_ERR(rt))
		return NULL;
	sk_setup_caps(sk, &rt->dst);
	return &rt->dst;
}

static void set_route(struct sock *sk, struct ip_options_rcu *opt)
{
	struct inet_sock *inet = inet_sk(sk);
	struct ip_options_rcu *old;

	old = rcu_replace_pointer(inet->inet_opt, opt,
				  lockdep_sock_is_held(sk));
	if (old)
		kfree_rcu(old, rcu);
	cftcp_sk(sk)->route_heard = !!opt;
	sk_dst_reset(sk);
}

/* Route and local address of an active open; the caller has set the foreign
 * address and port.
 */
int cftcp_ipv4_route_to(struct sock *sk)
{
	struct inet_sock *inet = inet_sk(sk);
	const struct ip_options_rcu *opt;
	struct flowi4 fl4;
	struct rtable *rt;

	/* The way to the peer before is none to this one. */
	if (cftcp_sk(sk)->route_heard)
		set_route(sk, NULL);
	opt = options(sk);
	fl4 = flow_of(sk);
	rt = look_up(sk, &fl4);
	/* From the address that this chose the way may be another. */
	if (!IS_ERR(rt) && !inet->inet_saddr) {
		ip_rt_put(rt);
		inet->inet_saddr = fl4.saddr;
		fl4 = flow_of(sk);
		rt = look_up(sk, &fl4);
	}
	if (IS_ERR(rt))
		return PTR_ERR(rt);
	/* MUST-46 */
	if (rt->rt_flags & (RTCF_MULTICAST | RTCF_BROADCAST)) {
		ip_rt_put(rt);
		return -ENETUNREACH;
	}
	/* 0.0.0.0 is this host */
	if (!opt || !opt->opt.srr)
		inet->inet_daddr = fl4.daddr;
	if (!inet->inet_rcv_saddr)
		inet->inet_rcv_saddr = inet->inet_saddr;
	sk_setup_caps(sk, &rt->dst);
	return 0;
}

static void unconnect(struct sock *sk)
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

static int pre_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
{
	if (addr_len < sizeof(struct sockaddr_in))
		return -EINVAL;
	return cftcp_bpf_connect4(sk, uaddr, &addr_len);
}

static int connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
{
	struct sockaddr_in *addr = (struct sockaddr_in *)uaddr;
	struct inet_sock *inet = inet_sk(sk);
	int err;

	if (addr_len < sizeof(*addr))
		return -EINVAL;
	if (addr->sin_family != AF_INET)
		return -EAFNOSUPPORT;
	if (!addr->sin_port)
		return -ECONNREFUSED;
	inet->inet_daddr = addr->sin_addr.s_addr;
	inet->inet_dport = addr->sin_port;
	err = cftcp_ipv4_route_to(sk);
	if (err)
		unconnect(sk);
	return err;
}

static void adopt(struct sock *sk, const struct sock *lsk)
{
	const struct cftcp_key *key = &cftcp_sk(sk)->key;
	struct inet_sock *inet = inet_sk(sk);

	inet->inet_saddr = key->laddr.s6_addr32[3];
	inet->inet_rcv_saddr = inet->inet_saddr;
	inet->inet_daddr = key->faddr.s6_addr32[3];
}

/* MUST-52: what the user gave goes before. SHLD-24: the latest counts. */
static void take_route(struct sock *sk, const struct sk_buff *skb)
{
	const struct ip_options_rcu *old = options(sk);
	struct ip_options_rcu *opt;

	if (old && !cftcp_sk(sk)->route_heard)
		return;
	opt = cftcp_ipopt_return_route(skb);
	if (!opt)
		return;
	if (old && cftcp_ipopt_same(old, opt))
		kfree(opt);
	else
		set_route(sk, opt);
}

static void heard(struct sock *sk, const struct sk_buff *skb)
{
	const struct iphdr *iph = ip_hdr(skb);

	inet_sk(sk)->rcv_tos = iph->tos;
	if (unlikely(iph->ihl > 5))
		take_route(sk, skb);
}

static void dress(struct sock *res, const struct sock *sk)
{
	inet_sk(res)->inet_rcv_saddr = inet_sk(sk)->inet_rcv_saddr;
	inet_sk(res)->inet_saddr = inet_sk(sk)->inet_rcv_saddr;
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
				__be32 saddr, __be32 daddr,
				const struct ip_options_rcu *opt)
{
	unsigned int len = sizeof(struct iphdr) + cftcp_ipopt_len(opt);
	struct iphdr *iph = skb_push(skb, len);

	skb_reset_network_header(skb);
	*iph = (struct iphdr) {
		.version = 4, .ihl = len / 4, .tos = tos, .ttl = ttl,
		.protocol = IPPROTO_TCP, .saddr = saddr,
		.daddr = cftcp_ipopt_first_hop(opt, daddr),
		.tot_len = htons(skb->len),
	};
	if (opt)
		cftcp_ipopt_write(skb, opt, daddr);
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
			 inet->inet_saddr, inet->inet_daddr, options(sk));
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
		.flowi4_oif = reply->oif ?: reply->key.scope,
		.flowi4_mark = reply->mark,
		.flowi4_tos = reply->tos & ~INET_ECN_MASK,
		.flowi4_proto = IPPROTO_TCP,
		.flowi4_flags = FLOWI_FLAG_ANYSRC,
		.flowi4_uid = reply->uid,
		.saddr = reply->key.laddr.s6_addr32[3],
		.daddr = cftcp_ipopt_first_hop(reply->route,
					       reply->key.faddr.s6_addr32[3]),
		.fl4_sport = reply->key.lport,
		.fl4_dport = reply->key.fport,
	};

	return ip_route_output_key(cn->net, &fl4);
}

static void reply(struct cftcp_net *cn, const struct cftcp_reply *reply)
{
	__be32 laddr = reply->key.laddr.s6_addr32[3];
	__be32 faddr = reply->key.faddr.s6_addr32[3];
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
	th->check = tcp_v4_check(skb->len, laddr, faddr,
				 csum_partial(th, skb->len, 0));
	ttl = reply->ttl >= 0 ? reply->ttl : ip4_dst_hoplimit(&rt->dst);
	skb_dst_set(skb, &rt->dst);
	iph = push_iphdr(skb, reply->tos, ttl, laddr, faddr, reply->route);
	iph->frag_off = htons(IP_DF);
	ip_select_ident(cn->net, skb, NULL);
	cftcp_count(cn, OutSegs);
	ip_local_out(cn->net, NULL, skb);
}

static u16 reply_mss(struct cftcp_net *cn, const struct cftcp_reply *reply)
{
	struct rtable *rt = reply_route(cn, reply);
	u16 mss = cftcp_ipv4_ops.default_mss;

	if (!IS_ERR(rt)) {
		mss = dst_metric_advmss(&rt->dst);
		ip_rt_put(rt);
	}
	return mss;
}

/*
 * Receiving.
 */

static const struct net_protocol *stock __read_mostly;

static u8 min_ttl(const struct sock *sk)
{
	return READ_ONCE(inet_sk(sk)->min_ttl);
}

static bool unfit(struct cftcp_net *cn, struct sk_buff *skb,
		  const struct sock *sk)
{
	/* MUST-57 */
	if (skb->pkt_type != PACKET_HOST ||
	    skb_rtable(skb)->rt_flags & (RTCF_BROADCAST | RTCF_MULTICAST)) {
		cftcp_count_drop(cn, Address);
		return true;
	}
	cftcp_trust_fraglist(skb);
	if (skb_checksum_validate(skb, IPPROTO_TCP, inet_compute_pseudo)) {
		cftcp_count_drop(cn, Checksum);
		return true;
	}
	if (!xfrm4_policy_check((struct sock *)sk, XFRM_POLICY_IN, skb)) {
		cftcp_count_drop(cn, Policy);
		return true;
	}
	if (sk && ip_hdr(skb)->ttl < min_ttl(sk)) {
		cftcp_count_drop(cn, Filter);
		return true;
	}
	return false;
}

static bool unanswerable(struct cftcp_net *cn, const struct sk_buff *skb)
{
	unsigned int type = inet_addr_type_dev_table(cn->net, skb->dev,
						     ip_hdr(skb)->saddr);

	return type == RTN_BROADCAST || type == RTN_MULTICAST;
}

static void fill_arrival(struct cftcp_arrival *arrival,
			 const struct sk_buff *skb)
{
	const struct tcphdr *th = tcp_hdr(skb);

	ipv6_addr_set_v4mapped(ip_hdr(skb)->daddr, &arrival->key.laddr);
	ipv6_addr_set_v4mapped(ip_hdr(skb)->saddr, &arrival->key.faddr);
	arrival->key.lport = th->dest;
	arrival->key.fport = th->source;
	arrival->dif = inet_iif(skb);
	arrival->sdif = inet_sdif(skb);
}

unsigned int cftcp_ipv4_early(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	const struct iphdr *iph = ip_hdr(skb);
	struct cftcp_arrival arrival;

	/* What is of a VRF is told by a later step. */
	if (iph->protocol != IPPROTO_TCP || iph->ihl != 5 ||
	    ip_is_fragment(iph) || skb_dst(skb) || skb->sk ||
	    netif_is_l3_slave(skb->dev) ||
	    !pskb_may_pull(skb, sizeof(*iph) + sizeof(struct tcphdr)))
		return NF_ACCEPT;
	arrival.cn = cftcp_net(state->net);
	if (cftcp_port_used(&arrival.cn->ports, tcp_hdr(skb)->dest)) {
		fill_arrival(&arrival, skb);
		cftcp_early(skb, &arrival);
	}
	return NF_ACCEPT;
}

static int receive(struct sk_buff *skb)
{
	struct sock *sk = cftcp_early_sock(skb);
	struct cftcp_arrival arrival;

	arrival.cn = cftcp_net(dev_net(skb->dev));
	if (likely(sk)) {
		cftcp_demux_to(arrival.cn, sk, skb);
		return 0;
	}
	/* TPROXY, early demux or BPF found a stock socket for it. */
	if (unlikely(skb->sk))
		return stock->handler(skb);
	/* The two ports decide whose it is. */
	if (!pskb_may_pull(skb, 4))
		return stock->handler(skb);
	if (likely(!cftcp_port_used(&arrival.cn->ports, tcp_hdr(skb)->dest)))
		return stock->handler(skb);
	fill_arrival(&arrival, skb);
	return cftcp_demux(skb, &arrival) ? 0 : stock->handler(skb);
}

/*
 * ICMP.
 */

/* IP_MTU_DISCOVER: who probes for itself is bounded by the device only. */
static u32 mtu(const struct sock *sk, const struct dst_entry *dst)
{
	return ip_sk_use_pmtu(sk) ? dst_mtu(dst) :
		min_t(u32, READ_ONCE(dst->dev->mtu), IP_MAX_MTU);
}

static bool mtu_reduced(struct sock *sk, u32 mtu)
{
	struct dst_entry *dst = __sk_dst_check(sk, 0);

	cftcp_assert_held(sk);
	if (!dst || !dst->ops->update_pmtu || !ip_sk_accept_pmtu(sk) ||
	    inet_sk(sk)->pmtudisc == IP_PMTUDISC_DONT ||
	    dst_metric_locked(dst, RTAX_MTU))
		return false;
	dst->ops->update_pmtu(dst, sk, NULL, mtu, true);
	return true;
}

static void redirect(struct sock *sk, struct sk_buff *skb)
{
	struct dst_entry *dst = __sk_dst_check(sk, 0);

	cftcp_assert_held(sk);
	if (dst && dst->ops->redirect)
		dst->ops->redirect(dst, sk, skb);
}

/* Routers that do not tell the MTU: RFC 1191 section 7.1. */
static u32 plateau_below(u32 len)
{
	static const u16 plateaus[] = {
		32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296,
	};

	for (int i = 0; i < ARRAY_SIZE(plateaus); i++)
		if (plateaus[i] < len)
			return plateaus[i];
	return IPV4_MIN_MTU;
}

static void not_delivered(struct cftcp_icmp *icmp, u32 told, u32 len)
{
	if (icmp->code > NR_ICMP_UNREACH)
		return;
	if (icmp->code == ICMP_FRAG_NEEDED) {
		icmp->mtu = told ?: plateau_below(len);
		return;
	}
	icmp->err = icmp_err_convert[icmp->code].errno;
	icmp->hard = icmp->code == ICMP_PROT_UNREACH ||
		     icmp->code == ICMP_PORT_UNREACH;
}

/* What a message says to a connection; MUST-55: Source Quench says nothing. */
static void meaning(struct cftcp_icmp *icmp, u32 told, u32 len)
{
	switch (icmp->type) {
	case ICMP_DEST_UNREACH:
		not_delivered(icmp, told, len);
		break;
	case ICMP_REDIRECT:
		icmp->redirect = true;
		break;
	case ICMP_TIME_EXCEEDED:
		icmp->err = EHOSTUNREACH;
		break;
	case ICMP_PARAMETERPROB:
		icmp->err = EPROTO;
		break;
	}
}

static int receive_error(struct sk_buff *skb, u32 info)
{
	const struct iphdr *iph = (const struct iphdr *)skb->data;
	const struct tcphdr *th = (const void *)skb->data + iph->ihl * 4;
	struct cftcp_icmp icmp = {
		.skb = skb, .quoted = th, .daddr = &iph->daddr, .ttl = iph->ttl,
		.origin = SO_EE_ORIGIN_ICMP, .type = icmp_hdr(skb)->type,
		.code = icmp_hdr(skb)->code,
	};
	struct cftcp_arrival arrival = {
		.cn = cftcp_net(dev_net(skb->dev)),
		.key = { .lport = th->source, .fport = th->dest },
		.dif = inet_iif(skb), .sdif = inet_sdif(skb),
	};

	ipv6_addr_set_v4mapped(iph->saddr, &arrival.key.laddr);
	ipv6_addr_set_v4mapped(iph->daddr, &arrival.key.faddr);
	meaning(&icmp, info, ntohs(iph->tot_len));
	if (cftcp_port_used(&arrival.cn->ports, th->source) &&
	    cftcp_demux_icmp(&arrival, &icmp))
		return 0;
	return stock->err_handler(skb, info);
}

/*
 * Options at the level of IP.
 */

static void options_set(struct sock *sk)
{
	lock_sock(sk);
	cftcp_sk(sk)->route_heard = 0;
	sk_dst_reset(sk);
	release_sock(sk);
}

static int setsockopt(struct sock *sk, int level, int optname,
		      sockptr_t optval, unsigned int optlen)
{
	int err;

	if (level != SOL_IP)
		return -ENOPROTOOPT;
	err = ip_setsockopt(sk, level, optname, optval, optlen);
	if (!err && optname == IP_OPTIONS)
		options_set(sk);
	return err;
}

static int getsockopt(struct sock *sk, int level, int optname,
		      char __user *optval, int __user *optlen)
{
	if (level != SOL_IP)
		return -EOPNOTSUPP;
	return ip_getsockopt(sk, level, optname, optval, optlen);
}

static u8 tos(const struct sock *sk)
{
	return READ_ONCE(inet_sk(sk)->tos);
}

static s16 ttl(const struct sock *sk)
{
	return READ_ONCE(inet_sk(sk)->uc_ttl);
}

static u32 route_cookie(const struct dst_entry *dst)
{
	return 0;
}

static u16 options_len(const struct sock *sk)
{
	return cftcp_ipopt_len(options(sk));
}

const struct cftcp_af_ops cftcp_ipv4_ops = {
	.net_header_len	= sizeof(struct iphdr),
	.gso_type	= SKB_GSO_TCPV4,
	.default_mss	= 536,
	.route		= route,
	.xmit		= xmit,
	.tos		= tos,
	.ttl		= ttl,
	.min_ttl	= min_ttl,
	.options_len	= options_len,
	.mtu		= mtu,
	.mtu_reduced	= mtu_reduced,
	.redirect	= redirect,
	.recverr	= cftcp_recverr,
	.route_cookie	= route_cookie,
	.reply		= reply,
	.reply_mss	= reply_mss,
	.unfit		= unfit,
	.heard		= heard,
	.return_route	= cftcp_ipopt_return_route,
	.unanswerable	= unanswerable,
	.pre_connect	= pre_connect,
	.connect	= connect,
	.unconnect	= unconnect,
	.adopt		= adopt,
	.dress		= dress,
	.setsockopt	= setsockopt,
	.getsockopt	= getsockopt,
};

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
		pr_crit_once("cftcp: another module hooked TCP after this one; unload in reverse order\n");
	synchronize_net();
}
