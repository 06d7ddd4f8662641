/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Before routing: a segment of a connection that is known takes the route that
 * the connection's segments came in by, and its socket. Nothing but time
 * depends on it.
 */
#ifndef _CFTCP_EARLY_H
#define _CFTCP_EARLY_H

#include <linux/netfilter.h>
#include <net/sock.h>

struct cftcp_arrival;
struct cftcp_net;

/** cftcp_early_drop() - destructor of a segment that cftcp_early() dressed */
void cftcp_early_drop(struct sk_buff *skb);

/**
 * cftcp_early_sock() - the socket that cftcp_early() found for a segment
 * @skb: the segment; it has no socket after this
 *
 * Context: any.
 * Return: the socket with a reference, or NULL.
 */
static inline struct sock *cftcp_early_sock(struct sk_buff *skb)
{
	struct sock *sk = skb->sk;

	if (!sk || skb->destructor != cftcp_early_drop)
		return NULL;
	skb->sk = NULL;
	skb->destructor = NULL;
	return sk;
}

/**
 * cftcp_early() - dress a segment in its connection's route and socket
 * @skb: a segment without a route
 * @arrival: filled in but for the scope of the key
 *
 * Context: softirq, under rcu_read_lock().
 */
void cftcp_early(struct sk_buff *skb, struct cftcp_arrival *arrival);

/**
 * cftcp_early_keep() - the route that a segment came in by serves for the next
 * @sk: the connection's socket, lock held
 * @skb: its segment, with its route
 */
void cftcp_early_keep(struct sock *sk, const struct sk_buff *skb);
/** cftcp_early_forget() - let go of that route; lock held */
void cftcp_early_forget(struct sock *sk);

/**
 * cftcp_early_start() - there are sockets in a namespace: hook its netfilter
 * @cn: the namespace
 *
 * Stock TCP pays nothing in the others. What fails here costs time only.
 *
 * Context: process.
 */
void cftcp_early_start(struct cftcp_net *cn);
/**
 * cftcp_early_stop() - the reverse
 * @cn: the namespace
 *
 * Context: process. The hook may run until a grace period has passed.
 */
void cftcp_early_stop(struct cftcp_net *cn);

/* The hooks, of ipv4.c and ipv6.c. */
unsigned int cftcp_ipv4_early(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state);
unsigned int cftcp_ipv6_early(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state);

#endif
