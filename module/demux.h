/* SPDX-License-Identifier: GPL-2.0 */
/* Who gets a segment, and who an ICMP message. */
#ifndef _CFTCP_DEMUX_H
#define _CFTCP_DEMUX_H

#include <linux/types.h>

#include "hash.h"

struct cftcp_icmp;
struct cftcp_net;
struct sk_buff;
struct sock;

/**
 * struct cftcp_arrival - a segment at the receive hook
 * @cn: the namespace
 * @key: its 4-tuple
 * @dif: device that it came in by, or the VRF of that
 * @sdif: that device, if @dif is a VRF, else 0
 */
struct cftcp_arrival {
	struct cftcp_net *cn;
	struct cftcp_key key;
	int dif;
	int sdif;
};

/**
 * cftcp_demux() - hand a segment to whom it is for
 * @skb: at its TCP header, the ports of which are linear; consumed if taken
 * @arrival: filled in but for the scope of the key
 *
 * Context: softirq, under rcu_read_lock().
 * Return: false when nobody here knows the connection: it is stock TCP's.
 */
bool cftcp_demux(struct sk_buff *skb, struct cftcp_arrival *arrival);

/**
 * cftcp_demux_sock() - the full socket that a segment is for
 * @arrival: filled in but for the scope of the key
 *
 * Context: softirq, under rcu_read_lock().
 * Return: the socket without a reference, NULL if there is none.
 */
struct sock *cftcp_demux_sock(struct cftcp_arrival *arrival);
/**
 * cftcp_demux_to() - hand a segment to a socket that was found for it
 * @cn: the namespace
 * @sk: the socket; its reference is consumed
 * @skb: at its TCP header; consumed
 *
 * Context: softirq, under rcu_read_lock().
 */
void cftcp_demux_to(struct cftcp_net *cn, struct sock *sk, struct sk_buff *skb);
/**
 * cftcp_demux_backlog() - a segment had to wait for the owner of the socket
 * @sk: the socket, lock held
 * @skb: at its TCP header, which is pulled; consumed
 *
 * Return: 0
 */
int cftcp_demux_backlog(struct sock *sk, struct sk_buff *skb);

/**
 * cftcp_demux_icmp() - hand an ICMP message to whom it is for
 * @arrival: filled in but for the scope of the key, which is ours: the local
 *	end is the source of the segment that the message quotes
 * @icmp: the message
 *
 * Context: softirq, under rcu_read_lock().
 * Return: false when nobody here knows the connection: it is stock TCP's.
 */
bool cftcp_demux_icmp(struct cftcp_arrival *arrival,
		      const struct cftcp_icmp *icmp);

#endif
