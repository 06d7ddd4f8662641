/* SPDX-License-Identifier: GPL-2.0 */
/* The address family: all that protocol code must not know about addresses. */
#ifndef _CFTCP_AF_H
#define _CFTCP_AF_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/types.h>
#include <net/ipv6.h>
#include <net/sock.h>

#include "hash.h"

struct cftcp_net;
struct dst_entry;
struct ip_options_rcu;
struct sk_buff;

/**
 * struct cftcp_reply - a segment without a full socket behind it
 * @key: the 4-tuple, as this host sees it
 * @seq: SEG.SEQ
 * @ack: SEG.ACK
 * @wnd: window field, host order
 * @flags: CFTCP_FLAG_*
 * @has_ts: carry timestamps
 * @tsval: our timestamp
 * @tsecr: echo
 * @syn: SYN options, NULL for none
 * @tos: IP type of service, traffic class
 * @ttl: IP time to live, hop limit; -1 for the route's
 * @mark: routing mark
 * @oif: bound device, 0 for any
 * @priority: skb priority
 * @uid: for routing
 * @route: source route of IPv4 that it takes, NULL for none
 */
struct cftcp_reply {
	struct cftcp_key key;
	u32 seq;
	u32 ack;
	u16 wnd;
	u8 flags;
	bool has_ts;
	u32 tsval;
	u32 tsecr;
	const struct cftcp_syn_options *syn;
	u8 tos;
	s16 ttl;
	u32 mark;
	int oif;
	u32 priority;
	kuid_t uid;
	const struct ip_options_rcu *route;
};

/**
 * struct cftcp_syn_options - what a SYN or SYN,ACK of ours offers
 * @mss: MSS
 * @wscale: window shift, if @wscale_ok
 * @wscale_ok: carry window scale
 * @sack_ok: carry SACK permitted
 */
struct cftcp_syn_options {
	u16 mss;
	u8 wscale;
	bool wscale_ok;
	bool sack_ok;
};

/**
 * struct cftcp_af_ops - one address family
 * @net_header_len: octets of the network header
 * @gso_type: SKB_GSO_TCPV4 or SKB_GSO_TCPV6
 * @default_mss: MSS of a peer that named none (MUST-15)
 *
 * By the addresses of a connection or segment, which cftcp_wire() looks at:
 *
 * @route: route of a connection: the cached one or a new look-up; NULL if
 *	there is none. Socket lock held
 * @xmit: complete the checksum of a TCP segment, put the network header before
 *	it and send it; consumes it. Socket lock held. Returns 0 or what the
 *	device answered
 * @tos: type of service or traffic class that the socket's segments have
 * @ttl: their time to live or hop limit; -1 for the route's
 * @min_ttl: the least of those that is heard (IP_MINTTL, IPV6_MINHOPCOUNT)
 * @options_len: octets of options or extension headers that @xmit adds
 * @mtu: octets of the largest packet that the path takes, by its route
 * @mtu_reduced: the route learns a smaller path MTU, unless the user or a
 *	locked metric forbid it: then false. Socket lock held
 * @redirect: the route learns of a nearer router from an ICMP message. Socket
 *	lock held
 * @recverr: does the user want ICMP errors at once (IP_RECVERR)?
 * @route_cookie: what tells that a route is still the one it was
 * @reply: build and send a segment without a socket; any context
 * @reply_mss: MSS to offer to a peer without a socket, from its route
 * @unfit: is a received segment to be dropped for its addresses, checksum,
 *	policy or TTL? Counts the reason. The socket or listener may be NULL
 * @heard: an acceptable segment: what its network header says goes to the user
 *	or, as a source route, is gone back by. Socket lock held
 * @return_route: way back of the source route that a packet came by, for
 *	kfree(); NULL if there is none
 * @unanswerable: is a SYN from where nobody can be answered (MUST-63), or to
 *	an address of many hosts (anycast)?
 *
 * By the family of a socket, cftcp_family():
 *
 * @pre_connect: what a BPF program of the cgroup says to an address, which it
 *	may change. Process, lock held. Returns 0, -EINVAL, -EPERM
 * @connect: addresses and route of an active open. Process, lock held. Returns
 *	0, -EINVAL, -EAFNOSUPPORT, -ENETUNREACH, -EADDRNOTAVAIL, ...
 * @unconnect: forget the addresses that @connect set; lock held
 * @adopt: a child takes its addresses from its key, all else from the listener
 * @dress: give a fresh stock socket the address of ours, as bind() would. Process,
 *	the lock of both held
 * @setsockopt: options at the levels of IP
 * @getsockopt: the same
 */
struct cftcp_af_ops {
	u16 net_header_len;
	u16 gso_type;
	u16 default_mss;
	struct dst_entry *(*route)(struct sock *sk);
	int (*xmit)(struct sock *sk, struct sk_buff *skb);
	u8 (*tos)(const struct sock *sk);
	s16 (*ttl)(const struct sock *sk);
	u8 (*min_ttl)(const struct sock *sk);
	u16 (*options_len)(const struct sock *sk);
	u32 (*mtu)(const struct sock *sk, const struct dst_entry *dst);
	bool (*mtu_reduced)(struct sock *sk, u32 mtu);
	void (*redirect)(struct sock *sk, struct sk_buff *skb);
	bool (*recverr)(const struct sock *sk);
	u32 (*route_cookie)(const struct dst_entry *dst);
	void (*reply)(struct cftcp_net *cn, const struct cftcp_reply *reply);
	u16 (*reply_mss)(struct cftcp_net *cn, const struct cftcp_reply *reply);
	bool (*unfit)(struct cftcp_net *cn, struct sk_buff *skb,
		      const struct sock *sk);
	void (*heard)(struct sock *sk, const struct sk_buff *skb);
	struct ip_options_rcu *(*return_route)(const struct sk_buff *skb);
	bool (*unanswerable)(struct cftcp_net *cn, const struct sk_buff *skb);
	int (*pre_connect)(struct sock *sk, struct sockaddr *uaddr,
			   int addr_len);
	int (*connect)(struct sock *sk, struct sockaddr *uaddr, int addr_len);
	void (*unconnect)(struct sock *sk);
	void (*adopt)(struct sock *sk, const struct sock *lsk);
	void (*dress)(struct sock *res, const struct sock *sk);
	int (*setsockopt)(struct sock *sk, int level, int optname,
			  sockptr_t optval, unsigned int optlen);
	int (*getsockopt)(struct sock *sk, int level, int optname,
			  char __user *optval, int __user *optlen);
};

extern const struct cftcp_af_ops cftcp_ipv4_ops;
extern const struct cftcp_af_ops cftcp_ipv6_ops;

/** cftcp_wire() - who carries segments between these addresses; any context */
static inline const struct cftcp_af_ops *cftcp_wire(const struct cftcp_key *key)
{
	if (!IS_ENABLED(CONFIG_IPV6) || ipv6_addr_v4mapped(&key->faddr))
		return &cftcp_ipv4_ops;
	return &cftcp_ipv6_ops;
}

/** cftcp_wire_of() - who carried this segment; any context */
static inline const struct cftcp_af_ops *cftcp_wire_of(const struct sk_buff *skb)
{
	if (!IS_ENABLED(CONFIG_IPV6) || ip_hdr(skb)->version == 4)
		return &cftcp_ipv4_ops;
	return &cftcp_ipv6_ops;
}

/** cftcp_family() - operations of sockets of a family; any context */
static inline const struct cftcp_af_ops *cftcp_family(const struct sock *sk)
{
	if (!IS_ENABLED(CONFIG_IPV6) || sk->sk_family == AF_INET)
		return &cftcp_ipv4_ops;
	return &cftcp_ipv6_ops;
}

/**
 * struct cftcp_local - the local address that a socket is bound to
 * @addr: the address; 0.0.0.0 is mapped, :: is all of both families
 * @v6only: :: is all of IPv6 only
 */
struct cftcp_local {
	struct in6_addr addr;
	bool v6only;
};

/** cftcp_local_of() - what a socket is bound to; any context */
struct cftcp_local cftcp_local_of(const struct sock *sk);
/** cftcp_local_is_any() - is it all addresses of a family? */
bool cftcp_local_is_any(const struct cftcp_local *local);
/** cftcp_local_covers() - is what is sent to @addr for whoever is bound so? */
bool cftcp_local_covers(const struct cftcp_local *local,
			const struct in6_addr *addr);
/** cftcp_locals_overlap() - is there an address that both cover? */
bool cftcp_locals_overlap(const struct cftcp_local *a,
			  const struct cftcp_local *b);

/**
 * cftcp_sock_set_key() - make the table key from the socket's addresses
 * @sk: the socket, lock held or not yet visible
 */
void cftcp_sock_set_key(struct sock *sk);
/**
 * cftcp_key_set_scope() - the scope of a key whose addresses are set
 * @key: the key
 * @dif: device that the segment came in by, or the VRF of that
 * @sdif: that device, if @dif is a VRF, else 0
 */
void cftcp_key_set_scope(struct cftcp_key *key, int dif, int sdif);
/**
 * cftcp_key_fits() - is a received segment of this connection?
 * @key: the 4-tuple
 * @skb: the segment, its IP and TCP headers known and linear
 *
 * By addresses and ports; the scope does not count.
 *
 * Context: any.
 */
bool cftcp_key_fits(const struct cftcp_key *key, const struct sk_buff *skb);

/**
 * cftcp_trust_fraglist() - GRO of the kind "fraglist" has verified each piece
 * @skb: a segment that came
 *
 * Its checksum is that of its head alone, as the card told it, and its length that
 * of all: CHECKSUM_COMPLETE would not fit.
 */
void cftcp_trust_fraglist(struct sk_buff *skb);

/** cftcp_answer_tos() - a segment's type of service, but for its ECN bits */
u8 cftcp_answer_tos(const struct sk_buff *skb);

/**
 * cftcp_sockaddr() - write an address as a socket address of its family
 * @to: room of a struct sockaddr_in6
 * @addr: the address, IPv4's mapped
 */
void cftcp_sockaddr(void *to, const struct in6_addr *addr);

/**
 * cftcp_ipv4_hook() - take over TCP's place in inet_protos
 *
 * Context: process. Return: 0, -ENOENT without a stock TCP, -EBUSY.
 */
int cftcp_ipv4_hook(void);
/** cftcp_ipv4_unhook() - give it back and wait until nobody is inside */
void cftcp_ipv4_unhook(void);
#if IS_ENABLED(CONFIG_IPV6)
/** cftcp_ipv6_hook() - as cftcp_ipv4_hook(); 0 also if IPv6 is switched off */
int cftcp_ipv6_hook(void);
/** cftcp_ipv6_unhook() - as cftcp_ipv4_unhook() */
void cftcp_ipv6_unhook(void);
#else
static inline int cftcp_ipv6_hook(void) { return 0; }
static inline void cftcp_ipv6_unhook(void) {}
#endif

#endif
