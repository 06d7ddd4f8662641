/* SPDX-License-Identifier: GPL-2.0 */
/* What an ICMP message does to a connection. */
#ifndef _CFTCP_ICMP_H
#define _CFTCP_ICMP_H

#include <linux/types.h>

struct sk_buff;
struct sock;
struct tcphdr;

/**
 * struct cftcp_icmp - an ICMP message that quotes a segment
 * @skb: the message, at the network header that it quotes
 * @quoted: the TCP header that it quotes; 8 octets of it are there
 * @daddr: where in @skb the quoted network header names its destination
 * @ttl: what IP_MINTTL or IPV6_MINHOPCOUNT bounds: the time to live that the
 *	segment had left (IPv4), the hop limit of the message (IPv6)
 * @origin: SO_EE_ORIGIN_ICMP or SO_EE_ORIGIN_ICMP6
 * @type: ICMP type
 * @code: ICMP code
 * @err: errno, positive; 0 for nothing
 * @hard: there will be no connection, rather than not now (RFC 5461 table 1)
 * @redirect: another router is nearer
 * @mtu: path MTU of a packet that was too big, 0 if it is not that
 */
struct cftcp_icmp {
	struct sk_buff *skb;
	const struct tcphdr *quoted;
	const void *daddr;
	u8 ttl;
	u8 origin;
	u8 type;
	u8 code;
	int err;
	bool hard;
	bool redirect;
	u32 mtu;
};

/**
 * struct cftcp_icmp_kept - what ICMP told while a process owned the socket
 * @err: struct cftcp_icmp.err, 0 for nothing
 * @hard: struct cftcp_icmp.hard
 * @err_seq: SEQ of the segment that it quoted
 * @mtu: struct cftcp_icmp.mtu, 0 for nothing
 * @mtu_seq: SEQ of the segment that was too big
 */
struct cftcp_icmp_kept {
	int err;
	bool hard;
	u32 err_seq;
	u32 mtu;
	u32 mtu_seq;
};

/**
 * cftcp_icmp_arrives() - an ICMP message for a full socket
 * @sk: the socket, its spinlock held
 * @icmp: the message
 *
 * Heeded only if what it quotes may be in flight (RFC 5927 section 4.1), and
 * within the user's minimum TTL.
 * Kept for cftcp_icmp_deferred() while a process owns the socket.
 *
 * Context: softirq.
 */
void cftcp_icmp_arrives(struct sock *sk, const struct cftcp_icmp *icmp);
/** cftcp_icmp_deferred() - the process lets go: what was kept. Lock held */
void cftcp_icmp_deferred(struct sock *sk);

#endif
