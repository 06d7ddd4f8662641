/* SPDX-License-Identifier: GPL-2.0 */
/* Passive opens: requests (SYN-RECEIVED), their children, the accept queue. */
#ifndef _CFTCP_LISTEN_H
#define _CFTCP_LISTEN_H

#include <linux/refcount.h>
#include <linux/timerqueue.h>

#include "af.h"
#include "hash.h"

struct cftcp_due;
struct cftcp_net;
struct cftcp_segment;
struct cftcp_time_wait;
struct sk_buff;
struct sock;

/**
 * struct cftcp_request - a connection in SYN-RECEIVED that a listener opened
 * @entry: place in the connection table
 * @key: the 4-tuple
 * @refs: one for the table, one for the queue of due times, one for @listener
 * @due: when to send the SYN,ACK again
 * @listen_node: link in cftcp_listen.requests, under its lock
 * @listener: who listens; holds a reference
 * @cn: the namespace
 * @port: the reservation; holds a reference until a child takes it
 * @saved_syn: headers of the SYN, if the listener wants them; a child takes them
 * @old: the TIME-WAIT record whose place it took, or NULL; holds a reference
 * @iss: our initial sequence number
 * @irs: the peer's
 * @ts_recent: TS.Recent
 * @ts_offset: of our timestamps
 * @rcv_wnd: window that our SYN,ACK advertises
 * @snd_wnd: window of the SYN
 * @peer_mss: MSS of the peer, 0 if it named none
 * @mss: MSS that we offer
 * @snd_wscale: the peer's window shift
 * @rcv_wscale: ours
 * @ts_ok: timestamps in use
 * @sack_ok: SACK in use
 * @wscale_ok: window scaling in use
 * @rexmits: how often the SYN,ACK was sent again
 * @resent: it was sent again for a repeated SYN, besides
 * @acked: an ACK of our SYN came, without text (TCP_DEFER_ACCEPT)
 * @dead: dropped; the queue of due times may not know yet
 * @sent_at: ns, when the SYN,ACK was first sent
 * @challenge_at: ns, earliest time of the next challenge ACK
 * @iif: device that the connection is bound to: the listener's, or the scope
 * @mark: routing mark
 * @route: way back of the SYN's source route, or NULL
 * @rcu: frees it
 */
struct cftcp_request {
	struct cftcp_entry entry;
	struct cftcp_key key;
	refcount_t refs;
	struct timerqueue_node due;
	struct list_head listen_node;
	struct sock *listener;
	struct cftcp_net *cn;
	struct cftcp_port_ref *port;
	struct cftcp_saved_syn *saved_syn;
	struct cftcp_time_wait *old;
	u32 iss;
	u32 irs;
	u32 ts_recent;
	u32 ts_offset;
	u32 rcv_wnd;
	u16 snd_wnd;
	u16 peer_mss;
	u16 mss;
	u8 snd_wscale;
	u8 rcv_wscale;
	u8 ts_ok:1,
	   sack_ok:1,
	   wscale_ok:1;
	u8 rexmits;
	bool resent;
	bool acked;
	bool dead;
	u64 sent_at;
	u64 challenge_at;
	int iif;
	u32 mark;
	struct ip_options_rcu *route;
	struct rcu_head rcu;
};

/**
 * cftcp_listen_arrives() - a segment for a socket in LISTEN (RFC 9293 3.10.7.2)
 * @lsk: the listener
 * @seg: the segment; its buffer stays the caller's
 * @old: a TIME-WAIT record that a newer SYN takes over (RFC 6191), or NULL
 *
 * Context: softirq, under rcu_read_lock(); no socket lock held.
 */
void cftcp_listen_arrives(struct sock *lsk, const struct cftcp_segment *seg,
			  struct cftcp_time_wait *old);
/**
 * cftcp_listen_cookie() - open a connection by the ACK of a SYN cookie
 * @lsk: the listener
 * @skb: the segment; consumed if true is returned
 * @seg: the same
 *
 * Context: softirq, under rcu_read_lock(); no socket lock held.
 * Return: true when it was that; else LISTEN treats it like any segment.
 */
bool cftcp_listen_cookie(struct sock *lsk, struct sk_buff *skb,
			 const struct cftcp_segment *seg);
/**
 * cftcp_request_arrives() - a segment for a request
 * @req: the request
 * @skb: after cftcp_segment_pull(); consumed if true is returned
 *
 * Context: softirq, under rcu_read_lock(); no socket lock held.
 * Return: false when it is a connection by now, or gone.
 */
bool cftcp_request_arrives(struct cftcp_request *req, struct sk_buff *skb);
/**
 * cftcp_request_cancel() - the opener gets no answer any more
 * @req: the request
 *
 * Context: under rcu_read_lock().
 */
void cftcp_request_cancel(struct cftcp_request *req);
/** cftcp_request_expired() - queue of due times: send again, or give up */
void cftcp_request_expired(struct cftcp_due *due, struct timerqueue_node *node);

/**
 * cftcp_listen_start() - LISTEN
 * @sk: a bound socket, lock held
 * @backlog: the most children to hold for accept()
 *
 * Context: process. Return: 0, -EADDRINUSE or -ENOMEM.
 */
int cftcp_listen_start(struct sock *sk, int backlog);
/**
 * cftcp_listen_stop() - the end of LISTEN
 * @sk: the listener, lock held
 *
 * Requests are dropped silently, children that nobody accepted are reset.
 *
 * Context: process.
 */
void cftcp_listen_stop(struct sock *sk);
/**
 * cftcp_accept_pop() - take the oldest child
 * @sk: the listener, lock held
 *
 * Return: the child with the reference of the queue, or NULL.
 */
struct sock *cftcp_accept_pop(struct sock *sk);

/**
 * cftcp_isn() - initial sequence number (RFC 6528)
 * @key: the 4-tuple
 *
 * Context: any.
 */
u32 cftcp_isn(const struct cftcp_key *key);
/**
 * cftcp_ts_offset() - offset of our timestamps towards a peer
 * @key: the 4-tuple; ports do not count, so that the clock stays monotonic
 *	from one connection to the next (RFC 6191 section 3)
 */
u32 cftcp_ts_offset(const struct cftcp_key *key);

/** cftcp_listen_register() - make what requests need. Context: process */
int cftcp_listen_register(void);
/** cftcp_listen_unregister() - the reverse; all requests are freed */
void cftcp_listen_unregister(void);

#endif
