/* SPDX-License-Identifier: GPL-2.0 */
/* TIME-WAIT: a record of its own, not a full socket. */
#ifndef _CFTCP_TIMEWAIT_H
#define _CFTCP_TIMEWAIT_H

#include <linux/refcount.h>
#include <linux/timerqueue.h>

#include "hash.h"
#include "port.h"

struct cftcp_due;
struct sk_buff;
struct sock;

/**
 * struct cftcp_time_wait - a connection in TIME-WAIT
 * @entry: place in the connection table
 * @refs: one for the table, one for the queue
 * @msl_ms: MSL of this connection
 * @due: the end of 2MSL
 * @rcu: frees it, once it is out of the queue
 * @port: the reservation; holds a reference
 * @route: IPv4 options, a source route among them, or NULL
 * @snd_nxt: SND.NXT
 * @rcv_nxt: RCV.NXT
 * @ts_recent: TS.Recent
 * @challenge_at: jiffies, earliest time of the next challenge ACK
 * @mark: routing mark
 * @oif: bound device
 * @priority: skb priority
 * @wnd_field: RCV.WND as our ACKs show it
 * @ttl: IP time to live, -1 for the route's
 * @tos: IP type of service
 * @rcv_wscale: shift of @wnd_field
 * @ts_ok: timestamps in use
 * @ipv4: the connection is IPv4's: @key4 is the 4-tuple, and the object ends
 *	behind it
 * @key4: addresses, ports and scope, as in struct cftcp_key
 * @key: the 4-tuple of IPv6
 *
 * There may be a million of them, and they outlast all else.
 */
struct cftcp_time_wait {
	struct cftcp_entry entry;
	refcount_t refs;
	u32 msl_ms;
	union {
		struct timerqueue_node due;
		struct rcu_head rcu;
	};
	struct cftcp_port_ref *port;
	struct ip_options_rcu *route;
	u32 snd_nxt;
	u32 rcv_nxt;
	u32 ts_recent;
	u32 challenge_at;
	u32 mark;
	int oif;
	u32 priority;
	u16 wnd_field;
	s16 ttl;
	u8 tos;
	u8 rcv_wscale:4,
	   ts_ok:1,
	   ipv4:1;
	union {
		struct {
			__be32 laddr;
			__be32 faddr;
			__be16 lport;
			__be16 fport;
			int scope;
		} key4;
		struct cftcp_key key;
	};
};

/* Octets of the record of an IPv4 connection. */
#define CFTCP_TIME_WAIT_IPV4_SIZE offsetofend(struct cftcp_time_wait, key4)

static_assert(CFTCP_TIME_WAIT_IPV4_SIZE <= 128);
static_assert(sizeof(struct cftcp_time_wait) <= 192);

/** cftcp_time_wait_key() - the 4-tuple of a record */
static inline struct cftcp_key
cftcp_time_wait_key(const struct cftcp_time_wait *tw)
{
	struct cftcp_key key;

	if (!tw->ipv4)
		return tw->key;
	ipv6_addr_set_v4mapped(tw->key4.laddr, &key.laddr);
	ipv6_addr_set_v4mapped(tw->key4.faddr, &key.faddr);
	key.lport = tw->key4.lport;
	key.fport = tw->key4.fport;
	key.scope = tw->key4.scope;
	return key;
}

/**
 * cftcp_time_wait_enter() - 2MSL begins; the full socket becomes CLOSED
 * @sk: the socket, lock held
 * @why: for the tracepoint, the event
 *
 * Where max_time_wait or memory forbid a record the connection just ends.
 *
 * Context: process or softirq.
 */
void cftcp_time_wait_enter(struct sock *sk, const char *why);
/**
 * cftcp_time_wait_get() - hold a record that a lookup has found
 * @tw: the record
 *
 * Context: any, under rcu_read_lock() since the lookup.
 * Return: false when it has ended already: look it up again.
 */
bool cftcp_time_wait_get(struct cftcp_time_wait *tw);
/**
 * cftcp_time_wait_arrives() - a segment for a TIME-WAIT record
 * @tw: the record, held by cftcp_time_wait_get(); let go
 * @skb: after cftcp_segment_pull(); consumed
 * @lsk: who listens on the port, or NULL
 *
 * Context: softirq, under rcu_read_lock().
 */
void cftcp_time_wait_arrives(struct cftcp_time_wait *tw, struct sk_buff *skb,
			     struct sock *lsk);
/** cftcp_time_wait_expired() - the queue: 2MSL are over */
void cftcp_time_wait_expired(struct cftcp_due *due,
			     struct timerqueue_node *node);
/**
 * cftcp_time_wait_replace() - a newer connection takes the 4-tuple
 * @tw: the record
 * @new: entry of the new connection, same key
 *
 * The record's 2MSL go on: cftcp_time_wait_restore() may bring it back.
 *
 * Context: any but hard irq.
 * Return: true when @new is in its place; the table's reference of @tw is the
 * caller's then.
 */
bool cftcp_time_wait_replace(struct cftcp_time_wait *tw,
			     struct cftcp_entry *new);
/**
 * cftcp_time_wait_restore() - the newer connection was none: TIME-WAIT again
 * @cn: the namespace
 * @tw: what cftcp_time_wait_replace() replaced; the caller may have lost it to
 *	another who restored it
 * @entry: by what
 *
 * The SYN was an old duplicate (MAY-2 (2), RFC 9293 section 3.6.1).
 *
 * Context: any but hard irq, under rcu_read_lock().
 * Return: true when @entry has left the table and @tw is there again, with the
 * caller's reference; false when 2MSL are over or @entry was not there.
 */
bool cftcp_time_wait_restore(struct cftcp_net *cn, struct cftcp_time_wait *tw,
			     struct cftcp_entry *entry);
/**
 * cftcp_time_wait_yield() - connect() where a TIME-WAIT record is
 * @sk: the socket, key and ISS set; @sk's lock is held
 *
 * With time_wait_reuse, and where timestamps tell the incarnations apart: a
 * second after the last segment, so that the first TSval is a newer one. Moves
 * the ISS beyond all that was sent before (RFC 6191 section 2, from the side
 * that opens).
 *
 * Context: process.
 * Return: true when @sk has the record's place in the table.
 */
bool cftcp_time_wait_yield(struct sock *sk);
/** cftcp_time_wait_drop() - give up the reference of a replaced record */
void cftcp_time_wait_drop(struct cftcp_time_wait *tw);
/**
 * cftcp_time_wait_cancel() - end it before its time
 * @tw: the record
 *
 * Context: under rcu_read_lock().
 */
void cftcp_time_wait_cancel(struct cftcp_time_wait *tw);
/** cftcp_time_wait_purge() - free all records of a namespace, expired or not */
void cftcp_time_wait_purge(struct cftcp_net *cn);
/** cftcp_time_wait_register() - make the slabs. Context: process */
int cftcp_time_wait_register(void);
/** cftcp_time_wait_unregister() - the reverse; waits for RCU */
void cftcp_time_wait_unregister(void);

#endif
