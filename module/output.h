/* SPDX-License-Identifier: GPL-2.0 */
/* Building and sending segments of a full socket; the send queue. */
#ifndef _CFTCP_OUTPUT_H
#define _CFTCP_OUTPUT_H

#include <linux/types.h>

#include "sock.h"

/** enum cftcp_push - how urgent sending is */
enum cftcp_push {
	CFTCP_PUSH_NAGLE,	/* by Nagle's rule (RFC 9293 section 3.7.4) */
	CFTCP_PUSH_MORE,	/* full segments only: MSG_MORE, TCP_CORK */
	CFTCP_PUSH_ALL,		/* all that the window allows */
};

/**
 * cftcp_push() - send what may be sent from the send queue
 * @sk: the socket, lock held
 * @how: see enum cftcp_push
 *
 * Sends in the order of the queue as far as the peer's window and sender's
 * silly window avoidance (RFC 9293 section 3.8.6.2.1) allow. There is no
 * congestion window. Stops when the queue below us is full, or for pacing:
 * see egress.h. Starts the persist timer when the window is the obstacle
 * and nothing is in flight.
 *
 * Context: process or softirq.
 */
void cftcp_push(struct sock *sk, enum cftcp_push how);
/**
 * cftcp_push_by() - cftcp_push() by a caller who has just asked cftcp_mss()
 * @sk: the socket, lock held since then
 * @how: see enum cftcp_push
 * @mss: the answer
 */
void cftcp_push_by(struct sock *sk, enum cftcp_push how, u32 mss);
/**
 * cftcp_push_pending() - cftcp_push() by the socket's own options
 * @sk: the socket, lock held
 */
void cftcp_push_pending(struct sock *sk);
/**
 * cftcp_push_override() - the persist timer says: wait no more
 * @sk: the socket, lock held
 *
 * Return: true when something left.
 */
bool cftcp_push_override(struct sock *sk);
/**
 * cftcp_queue_fin() - our FIN follows the data that is queued
 * @sk: the socket, lock held
 *
 * Does nothing when it is queued already. Never fails.
 *
 * Context: process.
 */
void cftcp_queue_fin(struct sock *sk);

/** cftcp_send_syn() - send our SYN or SYN,ACK, by the state; lock held */
void cftcp_send_syn(struct sock *sk);
/** cftcp_send_ack() - send an ACK at once; lock held */
void cftcp_send_ack(struct sock *sk);
/** cftcp_send_challenge() - send an ACK unless one was just sent; lock held */
void cftcp_send_challenge(struct sock *sk);
/** cftcp_send_rst() - send RST,ACK with SEQ=SND.NXT; lock held */
void cftcp_send_rst(struct sock *sk);
/** cftcp_send_probe() - send SEQ=SND.UNA-1 without text; lock held */
void cftcp_send_probe(struct sock *sk);
/** cftcp_send_keepalive() - the same to a peer that is silent; lock held */
void cftcp_send_keepalive(struct sock *sk);
/**
 * cftcp_retransmit() - send a segment of the rtx queue again
 * @sk: the socket, lock held
 * @skb: the segment
 * @one: no more than one MSS of it
 *
 * Return: 0; -EAGAIN when it lies beyond the window; -EBUSY when it must wait
 * (egress.h); -ENOMEM.
 */
int cftcp_retransmit(struct sock *sk, struct sk_buff *skb, bool one);
/**
 * cftcp_split() - cut a queued segment in two; a FIN stays with the second
 * @sk: the socket, lock held
 * @skb: the segment, in the send or in the rtx queue
 * @len: octets of text that stay in @skb
 *
 * Return: 0 or -ENOMEM.
 */
int cftcp_split(struct sock *sk, struct sk_buff *skb, u32 len);
/**
 * cftcp_alloc_skb() - an empty segment for the send queue, accounted
 * @sk: the socket, lock held
 * @gfp: how
 *
 * Return: the buffer or NULL.
 */
struct sk_buff *cftcp_alloc_skb(struct sock *sk, gfp_t gfp);
/** cftcp_free_skb() - free a segment of the send queues, uncharge it */
void cftcp_free_skb(struct sock *sk, struct sk_buff *skb);
/** cftcp_purge_send() - free both send queues; lock held */
void cftcp_purge_send(struct sock *sk);

/** cftcp_mss() - payload of a full segment, by route and peer; lock held */
u32 cftcp_mss(struct sock *sk);
/**
 * cftcp_route_mss() - MSS by route, peer and user alone, in the sense of the
 *	MSS option; lock held
 */
u32 cftcp_route_mss(struct sock *sk);
/** cftcp_packet_len() - octets of a packet with this much payload; lock held */
u32 cftcp_packet_len(const struct sock *sk, u32 payload);
/** cftcp_size_goal() - most octets of one queued segment; lock held */
u32 cftcp_size_goal(struct sock *sk, u32 mss);
/**
 * cftcp_select_window() - the window to advertise now (RFC 9293 3.8.6.2.2)
 * @cs: the socket, lock held
 *
 * Never moves the right edge to the left; what the peer sees of it may move by
 * less than a unit of the window scale.
 *
 * Return: octets from RCV.NXT on.
 */
u32 cftcp_select_window(const struct cftcp_sock *cs);
/** cftcp_max_window() - the window that an empty buffer may be shown by */
u32 cftcp_max_window(const struct cftcp_sock *cs);
/** cftcp_rcv_full() - is the window shut until the user reads? Any context */
bool cftcp_rcv_full(const struct cftcp_sock *cs);
/** cftcp_choose_syn_options() - what our SYN offers; lock held */
void cftcp_choose_syn_options(struct sock *sk, struct cftcp_syn_options *syn);
/**
 * cftcp_choose_wscale() - shift that lets the largest buffer be advertised
 * @space: octets
 *
 * Return: 0 to 14.
 */
u8 cftcp_choose_wscale(u32 space);
/**
 * cftcp_write_options() - write the options of a SYN and timestamps
 * @ptr: where to
 * @syn: SYN options, NULL for none
 * @has_ts: with timestamps
 * @tsval: our timestamp
 * @tsecr: echo
 *
 * Context: any; pure.
 * Return: octets written, a multiple of 4, all of them initialised.
 */
unsigned int cftcp_write_options(u8 *ptr, const struct cftcp_syn_options *syn,
				 bool has_ts, u32 tsval, u32 tsecr);

/**
 * cftcp_reply_segment() - a segment without a socket, but for its checksum
 * @reply: what to say
 *
 * Context: any. Return: the buffer, at its TCP header, or NULL.
 */
struct sk_buff *cftcp_reply_segment(const struct cftcp_reply *reply);

/*
 * Rtx queue: two trees by sequence number, what is SACKED in one of its own.
 * Socket lock held for all.
 */
/** cftcp_rtx_head() - oldest segment not acknowledged, or NULL */
static inline struct sk_buff *cftcp_rtx_head(const struct cftcp_sock *cs)
{
	struct sk_buff *skb = skb_rb_first(&cs->rtx);
	struct sk_buff *sacked = skb_rb_first(&cs->rtx_sacked);

	if (!skb || (sacked && cftcp_before(cftcp_cb(sacked)->seq,
					    cftcp_cb(skb)->seq)))
		return sacked;
	return skb;
}

/** cftcp_rtx_tree() - the tree that a segment is in, or belongs into */
static inline struct rb_root *cftcp_rtx_tree(struct cftcp_sock *cs,
					     const struct sk_buff *skb)
{
	return cftcp_cb(skb)->sacked & CFTCP_SEG_SACKED ? &cs->rtx_sacked :
							  &cs->rtx;
}

/** cftcp_rtx_insert() - put a segment into its tree of the rtx queue */
void cftcp_rtx_insert(struct cftcp_sock *cs, struct sk_buff *skb);
/** cftcp_rtx_unlink() - take a segment out of the rtx queue and its list */
static inline void cftcp_rtx_unlink(struct cftcp_sock *cs, struct sk_buff *skb)
{
	rb_erase(&skb->rbnode, cftcp_rtx_tree(cs, skb));
	list_del_init(&cftcp_cb(skb)->node);
}

/** cftcp_segs() - how many segments of @mss a queued buffer stands for */
static inline u32 cftcp_segs(const struct sk_buff *skb)
{
	return max_t(u32, 1, skb_shinfo(skb)->gso_segs);
}

#endif
