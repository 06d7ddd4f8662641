// SPDX-License-Identifier: GPL-2.0
/* Addresses of both families in one form: IPv4's are mapped. */
#include <linux/tcp.h>
#include <net/dsfield.h>
#include <net/inet_ecn.h>
#include <net/inet_sock.h>
#include <net/l3mdev.h>

#include "af.h"
#include "sock.h"

static bool is_ipv6(const struct sock *sk)
{
	return IS_ENABLED(CONFIG_IPV6) && sk->sk_family == AF_INET6;
}

struct cftcp_local cftcp_local_of(const struct sock *sk)
{
	struct cftcp_local local = {};

#if IS_ENABLED(CONFIG_IPV6)
	if (is_ipv6(sk)) {
		local.addr = sk->sk_v6_rcv_saddr;
		local.v6only = sk->sk_ipv6only;
		return local;
	}
#endif
	ipv6_addr_set_v4mapped(inet_sk(sk)->inet_rcv_saddr, &local.addr);
	return local;
}

static bool is_any_ipv4(const struct in6_addr *addr)
{
	return ipv6_addr_v4mapped(addr) && !addr->s6_addr32[3];
}

bool cftcp_local_is_any(const struct cftcp_local *local)
{
	return ipv6_addr_any(&local->addr) || is_any_ipv4(&local->addr);
}

bool cftcp_local_covers(const struct cftcp_local *local,
			const struct in6_addr *addr)
{
	if (ipv6_addr_any(&local->addr))
		return !(local->v6only && ipv6_addr_v4mapped(addr));
	if (is_any_ipv4(&local->addr))
		return ipv6_addr_v4mapped(addr);
	return ipv6_addr_equal(&local->addr, addr);
}

bool cftcp_locals_overlap(const struct cftcp_local *a,
			  const struct cftcp_local *b)
{
	return cftcp_local_covers(a, &b->addr) ||
	       cftcp_local_covers(b, &a->addr);
}

static bool link_local(const struct in6_addr *addr)
{
	return ipv6_addr_type(addr) & IPV6_ADDR_LINKLOCAL;
}

void cftcp_key_set_scope(struct cftcp_key *key, int dif, int sdif)
{
	key->scope = sdif ? dif : 0;
	if (ipv6_addr_v4mapped(&key->faddr))
		return;
	if (unlikely(link_local(&key->faddr) || link_local(&key->laddr)))
		key->scope = sdif ?: dif;
}

void cftcp_sock_set_key(struct sock *sk)
{
	struct cftcp_key *key = &cftcp_sk(sk)->key;
	const struct inet_sock *inet = inet_sk(sk);
	int dif = sk->sk_bound_dev_if, vrf = 0;

	*key = (struct cftcp_key) {
		.lport = inet->inet_sport, .fport = inet->inet_dport,
	};
#if IS_ENABLED(CONFIG_IPV6)
	if (is_ipv6(sk)) {
		key->laddr = inet_sk(sk)->pinet6->saddr;
		key->faddr = sk->sk_v6_daddr;
	}
#endif
	if (!is_ipv6(sk)) {
		ipv6_addr_set_v4mapped(inet->inet_saddr, &key->laddr);
		ipv6_addr_set_v4mapped(inet->inet_daddr, &key->faddr);
	}
	if (dif)
		vrf = l3mdev_master_ifindex_by_index(sock_net(sk), dif);
	if (vrf)
		cftcp_key_set_scope(key, vrf, dif);
	else
		cftcp_key_set_scope(key, dif, 0);
}

bool cftcp_key_fits(const struct cftcp_key *key, const struct sk_buff *skb)
{
	const struct tcphdr *th = tcp_hdr(skb);

	if (th->dest != key->lport || th->source != key->fport)
		return false;
	if (ip_hdr(skb)->version == 4)
		return ipv6_addr_v4mapped(&key->faddr) &&
		       ip_hdr(skb)->saddr == key->faddr.s6_addr32[3] &&
		       ip_hdr(skb)->daddr == key->laddr.s6_addr32[3];
	return ipv6_addr_equal(&ipv6_hdr(skb)->saddr, &key->faddr) &&
	       ipv6_addr_equal(&ipv6_hdr(skb)->daddr, &key->laddr);
}

void cftcp_trust_fraglist(struct sk_buff *skb)
{
	const unsigned int type = skb_shinfo(skb)->gso_type;

	if (skb->ip_summed == CHECKSUM_COMPLETE &&
	    type & SKB_GSO_FRAGLIST && !(type & SKB_GSO_DODGY))
		skb->ip_summed = CHECKSUM_UNNECESSARY;
}

u8 cftcp_answer_tos(const struct sk_buff *skb)
{
	u8 tos = ip_hdr(skb)->version == 4 ? ip_hdr(skb)->tos :
		 ipv6_get_dsfield(ipv6_hdr(skb));

	return tos & ~INET_ECN_MASK;
}

void cftcp_sockaddr(void *to, const struct in6_addr *addr)
{
	struct sockaddr_in6 *sin6 = to;
	struct sockaddr_in *sin = to;

	memset(sin6, 0, sizeof(*sin6));
	if (ipv6_addr_v4mapped(addr)) {
		sin->sin_family = AF_INET;
		sin->sin_addr.s_addr = addr->s6_addr32[3];
	} else {
		sin6->sin6_family = AF_INET6;
		sin6->sin6_addr = *addr;
	}
}
