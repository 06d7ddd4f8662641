/* SPDX-License-Identifier: GPL-2.0 */
/* SEGMENT ARRIVES, RFC 9293 section 3.10.7. */
#ifndef _CFTCP_INPUT_H
#define _CFTCP_INPUT_H

#include <linux/types.h>

struct cftcp_key;
struct cftcp_net;
struct cftcp_segment;
struct cftcp_sock;
struct sk_buff;
struct sock;

/**
 * cftcp_segment_arrives() - work through a segment for a full socket
 * @sk: the socket, lock held
 * @skb: after cftcp_segment_pull(); consumed
 *
 * Context: softirq, or process from the backlog (proto.backlog_rcv).
 * Return: 0.
 */
int cftcp_segment_arrives(struct sock *sk, struct sk_buff *skb);
/**
 * cftcp_reply_rst() - RST in answer to a segment without a connection
 * @sk: the socket that it came to, maybe a listener: its mark, priority, device
 *	and user choose the way
 * @seg: the segment; nothing is sent if it is a RST itself
 *
 * RFC 9293 section 3.5.2: SEQ=SEG.ACK, or SEQ=0 ACK=SEG.SEQ+SEG.LEN. It has the
 * segment's type of service, but is never capable of ECN.
 *
 * Context: any.
 */
void cftcp_reply_rst(const struct sock *sk, const struct cftcp_segment *seg);
/**
 * cftcp_paws_reject() - is this timestamp old? (RFC 7323 section 5.3)
 * @seg: a segment with timestamps
 * @ts_recent: TS.Recent
 */
bool cftcp_paws_reject(const struct cftcp_segment *seg, u32 ts_recent);
/** cftcp_purge_ofo() - free the out-of-order queue; lock held */
void cftcp_purge_ofo(struct sock *sk);
/**
 * cftcp_set_peer_mss() - what the peer's SYN said about MSS
 * @cs: the socket
 * @mss: the option, 0 if absent
 */
void cftcp_set_peer_mss(struct cftcp_sock *cs, u16 mss);

/** cftcp_wake_writer() - there may be room in the send buffer; lock held */
void cftcp_wake_writer(struct sock *sk);

#endif
