/* SPDX-License-Identifier: GPL-2.0 */
/* The address family: all that protocol code must not know about addresses. */
#ifndef _CFTCP_AF_H
#define _CFTCP_AF_H

#include <linux/types.h>
#include <net/sock.h>

#include "hash.h"

struct cftcp_net;
struct dst_entry;
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
 * @tos: IP type of service
 * @ttl: IP time to live, -1 for the route's
 * @mark: routing mark
 * @oif: bound device, 0 for any
 * @priority: skb priority
 * @uid: for routing
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
 * @route: route of a connection: the cached one or a new look-up; NULL if
 *	there is none. Socket lock held
 * @xmit: complete the checksum of a TCP segment, put the network header before
 *	it and send it; consumes it. Socket lock held. Returns 0 or what the
 *	device answered
 * @reply: build and send a segment without a socket; any context
 * @reply_mss: MSS to offer to a peer without a socket, from its route
 */
struct cftcp_af_ops {
	u16 net_header_len;
	u16 gso_type;
	struct dst_entry *(*route)(struct sock *sk);
	int (*xmit)(struct sock *sk, struct sk_buff *skb);
	void (*reply)(struct cftcp_net *cn, const struct cftcp_reply *reply);
	u16 (*reply_mss)(struct cftcp_net *cn, const struct cftcp_reply *reply);
};

extern const struct cftcp_af_ops cftcp_ipv4_ops;

/**
 * cftcp_ipv4_connect() - addresses and route of an active open
 * @sk: the socket, lock held
 * @uaddr: where to
 * @addr_len: its length
 *
 * Context: process.
 * Return: 0 or -EINVAL, -EAFNOSUPPORT, -ENETUNREACH, -EADDRNOTAVAIL, ...
 */
int cftcp_ipv4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len);
/** cftcp_ipv4_unconnect() - forget the addresses that connect() set; lock held */
void cftcp_ipv4_unconnect(struct sock *sk);
/** cftcp_ipv4_mtu_reduced() - ICMP told a smaller path MTU; lock held */
void cftcp_ipv4_mtu_reduced(struct sock *sk);
/** cftcp_ipv4_hook() - take over TCP's place in inet_protos. Context: process */
int cftcp_ipv4_hook(void);
/** cftcp_ipv4_unhook() - give it back and wait until nobody is inside */
void cftcp_ipv4_unhook(void);

#endif
