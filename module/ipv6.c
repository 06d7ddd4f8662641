// SPDX-License-Identifier: GPL-2.0
/* IPv6: the receive hook, routes, headers, ICMPv6. */
#include <linux/errqueue.h>
#include <linux/icmpv6.h>
#include <linux/tcp.h>
#include <net/inet_common.h>
#include <net/ip6_checksum.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/ndisc.h>
#include <net/protocol.h>
#include <net/transp_v6.h>
#include <net/xfrm.h>

#include "compat.h"
#include "demux.h"
#include "early.h"
#include "icmp.h"
#include "ipv4.h"
#include "netns.h"
#include "output.h"
#include "port.h"
#include "sock.h"

/* inet6_sk() knows none in states that stock TCP has mini-sockets for. */
static struct ipv6_pinfo *pinfo(const struct sock *sk)
{
	return inet_sk(sk)->pinet6;
}

/*
 * Routes.
 */

static struct flowi6 flow_of(struct sock *sk)
{
	const struct inet_sock *inet = inet_sk(sk);
	const struct ipv6_pinfo *np = pinfo(sk);
	struct flowi6 fl6 = {
		.flowi6_oif = sk->sk_bound_dev_if,
		.flowi6_mark = READ_ONCE(sk->sk_mark),
		.flowi6_proto = IPPROTO_TCP,
		.flowi6_uid = sk->sk_uid,
		.flowlabel = ip6_make_flowinfo(np->tclass, np->flow_label),
		.saddr = np->saddr,
		.daddr = sk->sk_v6_daddr,
		.fl6_sport = inet->inet_sport,
		.fl6_dport = inet->inet_dport,
	};

	security_sk_classify_flow(sk, flowi6_to_flowi_common(&fl6));
	return fl6;
}

/* Also fills in the source address if there is none. */
static struct dst_entry *look_up(struct sock *sk, struct flowi6 *fl6)
{
	struct in6_addr *final_dst, buffer;
	struct ipv6_txoptions *opt;

	opt = rcu_dereference_protected(pinfo(sk)->opt,
					lockdep_sock_is_held(sk));
	final_dst = fl6_update_dst(fl6, opt, &buffer);
	return ip6_dst_lookup_flow(sock_net(sk), sk, fl6, final_dst);
}

static struct dst_entry *route(struct sock *sk)
{
	struct dst_entry *dst = __sk_dst_check(sk, pinfo(sk)->dst_cookie);
	struct flowi6 fl6;

	cftcp_assert_held(sk);
	if (dst)
		return dst;
	fl6 = flow_of(sk);
	dst = look_up(sk, &fl6);
	if (IS_ERR(dst))
		return NULL;
	ip6_dst_store(sk, dst, NULL, NULL);
	return dst;
}

/*
 * Addresses of sockets.
 */

static void unconnect(struct sock *sk)
{
	struct inet_sock *inet = inet_sk(sk);

	cftcp_set_wire(sk, &cftcp_ipv6_ops);
	inet->inet_dport = 0;
	inet->inet_daddr = 0;
	sk->sk_v6_daddr = in6addr_any;
	if (!(sk->sk_userlocks & SOCK_BINDADDR_LOCK)) {
		inet->inet_saddr = 0;
		inet->inet_rcv_saddr = 0;
		pinfo(sk)->saddr = in6addr_any;
		sk->sk_v6_rcv_saddr = in6addr_any;
	}
	sk_dst_reset(sk);
}

/* IPv4 over an IPv6 socket. */
static int connect_mapped(struct sock *sk, const struct in6_addr *addr)
{
	struct inet_sock *inet = inet_sk(sk);
	int err;

	if (ipv6_only_sock(sk))
		return -ENETUNREACH;
	cftcp_set_wire(sk, &cftcp_ipv4_ops);
	inet->inet_daddr = addr->s6_addr32[3];
	err = cftcp_ipv4_route_to(sk);
	if (err)
		return err;
	ipv6_addr_set_v4mapped(inet->inet_daddr, &sk->sk_v6_daddr);
	ipv6_addr_set_v4mapped(inet->inet_saddr, &pinfo(sk)->saddr);
	ipv6_addr_set_v4mapped(inet->inet_rcv_saddr, &sk->sk_v6_rcv_saddr);
	return 0;
}

static int connect_native(struct sock *sk, const struct in6_addr *addr)
{
	struct ipv6_pinfo *np = pinfo(sk);
	struct dst_entry *dst;
	struct flowi6 fl6;

	sk->sk_v6_daddr = *addr;
	fl6 = flow_of(sk);
	dst = look_up(sk, &fl6);
	if (IS_ERR(dst))
		return PTR_ERR(dst);
	np->saddr = fl6.saddr;
	if (ipv6_addr_any(&sk->sk_v6_rcv_saddr))
		sk->sk_v6_rcv_saddr = fl6.saddr;
	ip6_dst_store(sk, dst, NULL, NULL);
	return 0;
}

/* Link-local addresses need a device (RFC 4007). */
static int take_scope(struct sock *sk, const struct sockaddr_in6 *addr,
		      int addr_len)
{
	if (!(ipv6_addr_type(&addr->sin6_addr) & IPV6_ADDR_LINKLOCAL))
		return 0;
	if (addr_len >= sizeof(*addr) && addr->sin6_scope_id) {
		if (!sk_dev_equal_l3scope(sk, addr->sin6_scope_id))
			return -EINVAL;
		sk->sk_bound_dev_if = addr->sin6_scope_id;
	}
	return sk->sk_bound_dev_if ? 0 : -EINVAL;
}

/* IPV6_FLOWINFO_SEND: the label must be one that the user holds. */
static int take_flowlabel(struct sock *sk, const struct sockaddr_in6 *addr)
{
	__be32 label = addr->sin6_flowinfo & IPV6_FLOWLABEL_MASK;
	struct ip6_flowlabel *held;

	pinfo(sk)->flow_label = 0;
	if (!cftcp_sends_flowinfo(sk))
		return 0;
	if (label) {
		held = fl6_sock_lookup(sk, label);
		if (IS_ERR(held))
			return -EINVAL;
		fl6_sock_release(held);
	}
	pinfo(sk)->flow_label = addr->sin6_flowinfo & IPV6_FLOWINFO_MASK;
	return 0;
}

static int pre_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
{
	if (addr_len < SIN6_LEN_RFC2133)
		return -EINVAL;
	return cftcp_bpf_connect6(sk, uaddr, &addr_len);
}

static int connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)uaddr;
	struct in6_addr addr;
	int err;

	if (addr_len < SIN6_LEN_RFC2133)
		return -EINVAL;
	if (sin6->sin6_family != AF_INET6)
		return -EAFNOSUPPORT;
	if (!sin6->sin6_port)
		return -ECONNREFUSED;
	addr = sin6->sin6_addr;
	if (ipv6_addr_any(&addr) && ipv6_addr_v4mapped(&sk->sk_v6_rcv_saddr))
		ipv6_addr_set_v4mapped(htonl(INADDR_LOOPBACK), &addr);
	else if (ipv6_addr_any(&addr))
		addr = in6addr_loopback;
	/* MUST-46 */
	if (ipv6_addr_is_multicast(&addr))
		return -ENETUNREACH;
	err = take_flowlabel(sk, sin6) ?: take_scope(sk, sin6, addr_len);
	if (err)
		return err;
	inet_sk(sk)->inet_dport = sin6->sin6_port;
	if (ipv6_addr_v4mapped(&addr))
		err = connect_mapped(sk, &addr);
	else
		err = connect_native(sk, &addr);
	if (err)
		unconnect(sk);
	return err;
}

/* What the listener keeps for itself must not be freed by the child too. */
static void copy_pinfo(struct ipv6_pinfo *np, const struct ipv6_pinfo *from)
{
	memcpy(np, from, sizeof(*np));
	np->ipv6_mc_list = NULL;
	np->ipv6_ac_list = NULL;
	np->ipv6_fl_list = NULL;
	np->pktoptions = NULL;
	np->rxpmtu = NULL;
	RCU_INIT_POINTER(np->opt, NULL);
}

static void adopt(struct sock *sk, const struct sock *lsk)
{
	struct ipv6_pinfo *np = &((struct cftcp6_sock *)sk)->inet6;
	const struct cftcp_key *key = &cftcp_sk(sk)->key;
	struct inet_sock *inet = inet_sk(sk);
	struct ipv6_txoptions *opt;

	copy_pinfo(np, pinfo(lsk));
	inet->pinet6 = np;
	sk->sk_destruct = inet6_sock_destruct;
	sk->sk_ipv6only = lsk->sk_ipv6only;
	np->saddr = key->laddr;
	sk->sk_v6_rcv_saddr = key->laddr;
	sk->sk_v6_daddr = key->faddr;
	if (ipv6_addr_v4mapped(&key->faddr)) {
		inet->inet_saddr = key->laddr.s6_addr32[3];
		inet->inet_rcv_saddr = inet->inet_saddr;
		inet->inet_daddr = key->faddr.s6_addr32[3];
	}
	rcu_read_lock();
	opt = rcu_dereference(pinfo(lsk)->opt);
	if (opt)
		RCU_INIT_POINTER(np->opt, ipv6_dup_options(sk, opt));
	rcu_read_unlock();
}

static void dress(struct sock *res, const struct sock *sk)
{
	const struct in6_addr *addr = &sk->sk_v6_rcv_saddr;
	bool mapped = ipv6_addr_v4mapped(addr), any = ipv6_addr_any(addr);
	/* To IPv4 an address that has no place there. */
	__be32 four = any ? 0 : LOOPBACK4_IPV6;

	if (mapped)
		four = addr->s6_addr32[3];
	res->sk_v6_rcv_saddr = *addr;
	inet6_sk(res)->saddr = *addr;
	inet_sk(res)->inet_rcv_saddr = four;
	inet_sk(res)->inet_saddr = four;
	res->sk_ipv6only = sk->sk_ipv6only || !(mapped || any);
	if (__ipv6_addr_needs_scope_id(ipv6_addr_type(addr)))
		res->sk_bound_dev_if = sk->sk_bound_dev_if;
}

/*
 * Sending.
 */

static int xmit(struct sock *sk, struct sk_buff *skb)
{
	const struct ipv6_pinfo *np = pinfo(sk);
	struct dst_entry *dst;
	struct flowi6 fl6;
	int err;

	rcu_read_lock();
	dst = route(sk);
	if (!dst) {
		rcu_read_unlock();
		kfree_skb(skb);
		return -EHOSTUNREACH;
	}
	fl6 = (struct flowi6) {
		.flowi6_proto = IPPROTO_TCP,
		.saddr = np->saddr, .daddr = sk->sk_v6_daddr,
		.flowlabel = np->flow_label,
	};
	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = skb_transport_header(skb) - skb->head;
	skb->csum_offset = offsetof(struct tcphdr, check);
	tcp_hdr(skb)->check = ~tcp_v6_check(skb->len, &fl6.saddr, &fl6.daddr,
					    0);
	skb_dst_set_noref(skb, dst);
	skb_set_hash_from_sk(skb, sk);
	err = ip6_xmit(sk, skb, &fl6, READ_ONCE(sk->sk_mark),
		       rcu_dereference(np->opt), np->tclass, sk->sk_priority);
	rcu_read_unlock();
	return err;
}

static u8 tos(const struct sock *sk)
{
	return pinfo(sk)->tclass;
}

static s16 ttl(const struct sock *sk)
{
	return pinfo(sk)->hop_limit;
}

static u16 options_len(const struct sock *sk)
{
	const struct ipv6_txoptions *opt;
	u16 len = 0;

	rcu_read_lock();
	opt = rcu_dereference(pinfo(sk)->opt);
	if (opt)
		len = opt->opt_nflen + opt->opt_flen;
	rcu_read_unlock();
	return len;
}

static struct dst_entry *reply_route(struct cftcp_net *cn,
				     const struct cftcp_reply *reply)
{
	struct flowi6 fl6 = {
		.flowi6_oif = reply->oif ?: reply->key.scope,
		.flowi6_mark = reply->mark,
		.flowi6_proto = IPPROTO_TCP,
		.flowi6_uid = reply->uid,
		.flowlabel = ip6_make_flowinfo(reply->tos, 0),
		.saddr = reply->key.laddr,
		.daddr = reply->key.faddr,
		.fl6_sport = reply->key.lport,
		.fl6_dport = reply->key.fport,
	};

	return ip6_dst_lookup_flow(cn->net, NULL, &fl6, NULL);
}

static void push_ipv6hdr(struct sk_buff *skb, const struct cftcp_reply *reply,
			 u8 hop_limit)
{
	struct ipv6hdr *hdr = skb_push(skb, sizeof(*hdr));

	skb_reset_network_header(skb);
	ip6_flow_hdr(hdr, reply->tos, 0);
	hdr->nexthdr = IPPROTO_TCP;
	hdr->hop_limit = hop_limit;
	hdr->saddr = reply->key.laddr;
	hdr->daddr = reply->key.faddr;
}

static void reply(struct cftcp_net *cn, const struct cftcp_reply *reply)
{
	struct dst_entry *dst = reply_route(cn, reply);
	struct sk_buff *skb;
	struct tcphdr *th;

	if (IS_ERR(dst))
		return;
	skb = cftcp_reply_segment(reply);
	if (!skb) {
		dst_release(dst);
		return;
	}
	th = tcp_hdr(skb);
	th->check = tcp_v6_check(skb->len, &reply->key.laddr,
				 &reply->key.faddr,
				 csum_partial(th, skb->len, 0));
	skb_dst_set(skb, dst);
	push_ipv6hdr(skb, reply,
		     reply->ttl >= 0 ? reply->ttl : ip6_dst_hoplimit(dst));
	cftcp_count(cn, OutSegs);
	ip6_local_out(cn->net, NULL, skb);
}

static u16 reply_mss(struct cftcp_net *cn, const struct cftcp_reply *reply)
{
	struct dst_entry *dst = reply_route(cn, reply);
	u16 mss = cftcp_ipv6_ops.default_mss;

	if (!IS_ERR(dst)) {
		mss = dst_metric_advmss(dst);
		dst_release(dst);
	}
	return mss;
}

/*
 * Receiving.
 */

static const struct inet6_protocol *stock __read_mostly;

static u8 min_ttl(const struct sock *sk)
{
	return READ_ONCE(pinfo(sk)->min_hopcount);
}

static bool unfit(struct cftcp_net *cn, struct sk_buff *skb,
		  const struct sock *sk)
{
	/* MUST-57 */
	if (skb->pkt_type != PACKET_HOST ||
	    ipv6_addr_is_multicast(&ipv6_hdr(skb)->daddr)) {
		cftcp_count_drop(cn, Address);
		return true;
	}
	cftcp_trust_fraglist(skb);
	if (skb_checksum_validate(skb, IPPROTO_TCP, ip6_compute_pseudo)) {
		cftcp_count_drop(cn, Checksum);
		return true;
	}
	if (!xfrm6_policy_check((struct sock *)sk, XFRM_POLICY_IN, skb)) {
		cftcp_count_drop(cn, Policy);
		return true;
	}
	if (sk && ipv6_hdr(skb)->hop_limit < min_ttl(sk)) {
		cftcp_count_drop(cn, Filter);
		return true;
	}
	return false;
}

static void heard(struct sock *sk, const struct sk_buff *skb)
{
	pinfo(sk)->rcv_flowinfo = ip6_flowinfo(ipv6_hdr(skb));
}

/* Routing headers of that kind are no more (RFC 5095). */
static struct ip_options_rcu *return_route(const struct sk_buff *skb)
{
	return NULL;
}

static bool unanswerable(struct cftcp_net *cn, const struct sk_buff *skb)
{
	return !(ipv6_addr_type(&ipv6_hdr(skb)->saddr) & IPV6_ADDR_UNICAST) ||
	       !ipv6_unicast_destination(skb);
}

static void fill_arrival(struct cftcp_arrival *arrival,
			 const struct sk_buff *skb)
{
	const struct ipv6hdr *hdr = ipv6_hdr(skb);
	const struct tcphdr *th = tcp_hdr(skb);

	arrival->key = (struct cftcp_key) {
		.laddr = hdr->daddr, .faddr = hdr->saddr,
		.lport = th->dest, .fport = th->source,
	};
	arrival->dif = inet6_iif(skb);
	arrival->sdif = inet6_sdif(skb);
}

/* Mapped addresses stand for IPv4 here, and for nothing on a wire. */
static bool no_address(const struct ipv6hdr *hdr)
{
	return ipv6_addr_v4mapped(&hdr->saddr) ||
	       ipv6_addr_v4mapped(&hdr->daddr);
}

unsigned int cftcp_ipv6_early(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	const struct ipv6hdr *hdr = ipv6_hdr(skb);
	struct cftcp_arrival arrival;

	/* What is of a VRF is told by a later step. */
	if (hdr->nexthdr != NEXTHDR_TCP || no_address(hdr) || skb_dst(skb) ||
	    skb->sk || netif_is_l3_slave(skb->dev) ||
	    !pskb_may_pull(skb, sizeof(*hdr) + sizeof(struct tcphdr)))
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
	if (likely(!cftcp_port_used(&arrival.cn->ports, tcp_hdr(skb)->dest)) ||
	    no_address(ipv6_hdr(skb)))
		return stock->handler(skb);
	fill_arrival(&arrival, skb);
	return cftcp_demux(skb, &arrival) ? 0 : stock->handler(skb);
}

/*
 * ICMPv6.
 */

static u32 mtu(const struct sock *sk, const struct dst_entry *dst)
{
	return dst_mtu(dst);
}

static bool mtu_reduced(struct sock *sk, u32 mtu)
{
	struct dst_entry *dst = __sk_dst_check(sk, pinfo(sk)->dst_cookie);

	cftcp_assert_held(sk);
	if (!dst || !dst->ops->update_pmtu || !ip6_sk_accept_pmtu(sk))
		return false;
	dst->ops->update_pmtu(dst, sk, NULL, mtu, true);
	return true;
}

static void redirect(struct sock *sk, struct sk_buff *skb)
{
	struct dst_entry *dst = __sk_dst_check(sk, pinfo(sk)->dst_cookie);

	cftcp_assert_held(sk);
	if (dst && dst->ops->redirect)
		dst->ops->redirect(dst, sk, skb);
}

static void meaning(struct cftcp_icmp *icmp, u32 info)
{
	switch (icmp->type) {
	case ICMPV6_PKT_TOOBIG:
		icmp->mtu = info;
		break;
	case NDISC_REDIRECT:
		icmp->redirect = true;
		break;
	default:
		icmpv6_err_convert(icmp->type, icmp->code, &icmp->err);
		icmp->hard = icmp->type == ICMPV6_DEST_UNREACH &&
			     (icmp->code == ICMPV6_ADM_PROHIBITED ||
			      icmp->code == ICMPV6_PORT_UNREACH);
	}
}

static int receive_error(struct sk_buff *skb, struct inet6_skb_parm *opt,
			 u8 type, u8 code, int offset, __be32 info)
{
	const struct ipv6hdr *hdr = (const struct ipv6hdr *)skb->data;
	const struct tcphdr *th = (const void *)skb->data + offset;
	struct cftcp_icmp icmp = {
		.skb = skb, .quoted = th, .daddr = &hdr->daddr,
		.ttl = ipv6_hdr(skb)->hop_limit,
		.origin = SO_EE_ORIGIN_ICMP6, .type = type, .code = code,
	};
	struct cftcp_arrival arrival = {
		.cn = cftcp_net(dev_net(skb->dev)),
		.key = { .laddr = hdr->saddr, .faddr = hdr->daddr,
			 .lport = th->source, .fport = th->dest },
		.dif = inet6_iif(skb), .sdif = inet6_sdif(skb),
	};

	meaning(&icmp, ntohl(info));
	if (cftcp_port_used(&arrival.cn->ports, th->source) &&
	    !no_address(hdr) && cftcp_demux_icmp(&arrival, &icmp))
		return 0;
	return stock->err_handler(skb, opt, type, code, offset, info);
}

/*
 * Options at the levels of IP.
 */

static int setsockopt(struct sock *sk, int level, int optname,
		      sockptr_t optval, unsigned int optlen)
{
	if (level == SOL_IP)
		return cftcp_ipv4_ops.setsockopt(sk, level, optname, optval,
						 optlen);
	if (level == SOL_IPV6)
		return ipv6_setsockopt(sk, level, optname, optval, optlen);
	return -ENOPROTOOPT;
}

static int getsockopt(struct sock *sk, int level, int optname,
		      char __user *optval, int __user *optlen)
{
	if (level == SOL_IP)
		return ip_getsockopt(sk, level, optname, optval, optlen);
	if (level == SOL_IPV6)
		return ipv6_getsockopt(sk, level, optname, optval, optlen);
	return -ENOPROTOOPT;
}

static u32 route_cookie(const struct dst_entry *dst)
{
	return rt6_get_cookie((const struct rt6_info *)dst);
}

const struct cftcp_af_ops cftcp_ipv6_ops = {
	.net_header_len	= sizeof(struct ipv6hdr),
	.gso_type	= SKB_GSO_TCPV6,
	.default_mss	= 1220,
	.route		= route,
	.xmit		= xmit,
	.tos		= tos,
	.ttl		= ttl,
	.min_ttl	= min_ttl,
	.options_len	= options_len,
	.mtu		= mtu,
	.mtu_reduced	= mtu_reduced,
	.redirect	= redirect,
	.recverr	= cftcp_recverr6,
	.route_cookie	= route_cookie,
	.reply		= reply,
	.reply_mss	= reply_mss,
	.unfit		= unfit,
	.heard		= heard,
	.return_route	= return_route,
	.unanswerable	= unanswerable,
	.pre_connect	= pre_connect,
	.connect	= connect,
	.unconnect	= unconnect,
	.adopt		= adopt,
	.dress		= dress,
	.setsockopt	= setsockopt,
	.getsockopt	= getsockopt,
};

static const struct inet6_protocol protocol = {
	.handler	= receive,
	.err_handler	= receive_error,
	.flags		= INET6_PROTO_NOPOLICY | INET6_PROTO_FINAL,
};

/* The slot as inet6_add_protocol() sees it, which fills empty ones only. */
static const struct inet6_protocol **slot(void)
{
	return (__force const struct inet6_protocol **)
		&inet6_protos[IPPROTO_TCP];
}

int cftcp_ipv6_hook(void)
{
	stock = READ_ONCE(*slot());
	/* ipv6.disable=1: there is no IPv6 to take over. */
	if (!stock)
		return 0;
	return cmpxchg(slot(), stock, &protocol) == stock ? 0 : -EBUSY;
}

void cftcp_ipv6_unhook(void)
{
	if (!stock)
		return;
	if (cmpxchg(slot(), &protocol, stock) != &protocol)
		pr_crit_once("cftcp: another module hooked TCP after this one; unload in reverse order\n");
	synchronize_net();
}
