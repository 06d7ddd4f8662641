// SPDX-License-Identifier: GPL-2.0
#include <linux/filter.h>
#include <linux/tcp.h>
#include <net/busy_poll.h>

#include "af.h"
#include "demux.h"
#include "early.h"
#include "icmp.h"
#include "input.h"
#include "listen.h"
#include "netns.h"
#include "segment.h"
#include "sock.h"
#include "timewait.h"

/*
 * Segments.
 */

static bool unfit(struct cftcp_net *cn, const struct cftcp_af_ops *af,
		  struct sk_buff *skb, const struct sock *sk)
{
	if (af->unfit(cn, skb, sk))
		return true;
	nf_reset_ct(skb);
	if (sk && sk_filter_trim_cap((struct sock *)sk, skb,
				     tcp_hdr(skb)->doff * 4)) {
		cftcp_count_drop(cn, Filter);
		return true;
	}
	return false;
}

/*
 * The socket was found without its lock, maybe long ago where netfilter queues
 * segments: since then it may have become another connection's.
 */
static int work_on(struct sock *sk, struct sk_buff *skb)
{
	if (unlikely(!cftcp_key_fits(&cftcp_sk(sk)->key, skb))) {
		cftcp_count_drop(cftcp_sock_net(sk), State);
		kfree_skb(skb);
		return 0;
	}
	cftcp_early_keep(sk, skb);
	skb_dst_drop(skb);
	return cftcp_segment_arrives(sk, skb);
}

static void to_socket(struct cftcp_net *cn, struct sock *sk,
		      struct sk_buff *skb)
{
	u64 limit = (u64)READ_ONCE(sk->sk_rcvbuf) + READ_ONCE(sk->sk_sndbuf) +
		    64 * 1024;

	sk_incoming_cpu_update(sk);
	sk_mark_napi_id(sk, skb);
	skb->dev = NULL;
	bh_lock_sock_nested(sk);
	if (!sock_owned_by_user(sk)) {
		work_on(sk, skb);
	} else {
		if (rcu_access_pointer(sk->sk_rx_dst))
			skb_dst_drop(skb);
		if (sk_add_backlog(sk, skb, min_t(u64, limit, U32_MAX))) {
			cftcp_count_drop(cn, Backlog);
			kfree_skb(skb);
		}
	}
	bh_unlock_sock(sk);
}

int cftcp_demux_backlog(struct sock *sk, struct sk_buff *skb)
{
	return work_on(sk, skb);
}

/* A full socket's. */
static void deliver(struct cftcp_net *cn, struct sock *sk, struct sk_buff *skb)
{
	/* By the segment: the socket may be of another family by now. */
	if (unfit(cn, cftcp_wire_of(skb), skb, sk)) {
		kfree_skb(skb);
		return;
	}
	cftcp_segment_pull(skb);
	to_socket(cn, sk, skb);
}

/* SO_BINDTODEVICE: did it come in by the connection's device? */
static bool on_its_device(const struct cftcp_arrival *arrival,
			  struct cftcp_entry *entry)
{
	int bound = 0;

	switch (entry->kind) {
	case CFTCP_KIND_SOCK:
		bound = READ_ONCE(container_of(entry, struct cftcp_sock,
					       entry)->inet.sk.sk_bound_dev_if);
		break;
	case CFTCP_KIND_REQUEST:
		bound = container_of(entry, struct cftcp_request, entry)->iif;
		break;
	case CFTCP_KIND_TIME_WAIT:
		bound = container_of(entry, struct cftcp_time_wait, entry)->oif;
		break;
	}
	return inet_sk_bound_dev_eq(arrival->cn->net, bound, arrival->dif,
				    arrival->sdif);
}

static struct cftcp_entry *look_up_of(struct cftcp_arrival *arrival, int dif,
				      int sdif)
{
	struct cftcp_entry *entry;

	cftcp_key_set_scope(&arrival->key, dif, sdif);
	entry = cftcp_lookup(arrival->cn, &arrival->key);
	return entry && on_its_device(arrival, entry) ? entry : NULL;
}

/* A connection of these addresses and this device. */
static struct cftcp_entry *look_up(struct cftcp_arrival *arrival)
{
	int dif = arrival->dif, sdif = arrival->sdif;
	struct cftcp_entry *entry = look_up_of(arrival, dif, sdif);

	if (entry || likely(!sdif))
		return entry;
	/* A route may lead who is bound to nothing out by a VRF's device. */
	entry = look_up_of(arrival, 0, 0);
	if (!entry)
		cftcp_key_set_scope(&arrival->key, dif, sdif);
	return entry;
}

/* The segment met a request that another CPU made a connection just then. */
static void to_child(struct cftcp_arrival *arrival, struct sk_buff *skb)
{
	struct cftcp_entry *entry = look_up(arrival);
	struct sock *sk = NULL;

	if (entry && entry->kind == CFTCP_KIND_SOCK)
		sk = cftcp_to_sk(container_of(entry, struct cftcp_sock, entry));
	if (!sk || !refcount_inc_not_zero(&sk->sk_refcnt)) {
		consume_skb(skb);
		return;
	}
	to_socket(arrival->cn, sk, skb);
	sock_put(sk);
}

/* For a connection in whatever state. Returns false when it is gone. */
static bool to_entry(struct cftcp_arrival *arrival, struct cftcp_entry *entry,
		     struct sk_buff *skb)
{
	const struct cftcp_af_ops *af = cftcp_wire(&arrival->key);
	struct cftcp_net *cn = arrival->cn;
	struct cftcp_time_wait *tw;
	struct cftcp_request *req;
	struct sock *sk, *lsk;

	switch (entry->kind) {
	case CFTCP_KIND_SOCK:
		sk = cftcp_to_sk(container_of(entry, struct cftcp_sock, entry));
		if (!refcount_inc_not_zero(&sk->sk_refcnt))
			return false;
		deliver(cn, sk, skb);
		sock_put(sk);
		return true;
	case CFTCP_KIND_REQUEST:
		req = container_of(entry, struct cftcp_request, entry);
		if (unfit(cn, af, skb, req->listener)) {
			kfree_skb(skb);
			return true;
		}
		cftcp_segment_pull(skb);
		if (!cftcp_request_arrives(req, skb))
			to_child(arrival, skb);
		return true;
	case CFTCP_KIND_TIME_WAIT:
		lsk = cftcp_lookup_listener(cn, &arrival->key.laddr,
					    arrival->key.lport, arrival->dif,
					    arrival->sdif);
		if (lsk)
			lsk = cftcp_listener_of_group(lsk, &arrival->key, skb);
		/* A SYN may be the listener's. */
		if (unfit(cn, af, skb, tcp_hdr(skb)->syn ? lsk : NULL)) {
			kfree_skb(skb);
			return true;
		}
		tw = container_of(entry, struct cftcp_time_wait, entry);
		if (!cftcp_time_wait_get(tw))
			return false;
		cftcp_segment_pull(skb);
		cftcp_time_wait_arrives(tw, skb, lsk);
		return true;
	}
	return false;
}

static void to_listener(struct cftcp_arrival *arrival, struct sock *lsk,
			struct sk_buff *skb)
{
	const struct cftcp_af_ops *af = cftcp_wire(&arrival->key);
	struct cftcp_segment seg;

	if (unfit(arrival->cn, af, skb, lsk)) {
		kfree_skb(skb);
		return;
	}
	if (af->unanswerable(arrival->cn, skb)) {
		cftcp_count_drop(arrival->cn, Address);
		kfree_skb(skb);
		return;
	}
	cftcp_segment_pull(skb);
	cftcp_segment_parse(skb, &arrival->key, &seg);
	if (cftcp_listen_cookie(lsk, skb, &seg))
		return;
	cftcp_listen_arrives(lsk, &seg, NULL);
	consume_skb(skb);
}

/* The header is there, with all of its options. Consumes @skb if not. */
static bool pull_header(struct cftcp_net *cn, struct sk_buff *skb)
{
	cftcp_count(cn, InSegs);
	if (!pskb_may_pull(skb, sizeof(struct tcphdr))) {
		cftcp_count_drop(cn, Short);
	} else if (tcp_hdr(skb)->doff < sizeof(struct tcphdr) / 4 ||
		   !pskb_may_pull(skb, tcp_hdrlen(skb))) {
		cftcp_count_drop(cn, DataOffset);
	} else {
		return true;
	}
	kfree_skb(skb);
	return false;
}

struct sock *cftcp_demux_sock(struct cftcp_arrival *arrival)
{
	struct cftcp_entry *entry = look_up(arrival);

	if (!entry || entry->kind != CFTCP_KIND_SOCK)
		return NULL;
	return cftcp_to_sk(container_of(entry, struct cftcp_sock, entry));
}

void cftcp_demux_to(struct cftcp_net *cn, struct sock *sk, struct sk_buff *skb)
{
	if (pull_header(cn, skb))
		deliver(cn, sk, skb);
	sock_put(sk);
}

bool cftcp_demux(struct sk_buff *skb, struct cftcp_arrival *arrival)
{
	struct cftcp_key *key = &arrival->key;
	struct cftcp_net *cn = arrival->cn;
	struct cftcp_entry *entry;
	bool pulled = false;
	struct sock *lsk;

	/* Where one ends just now there may be another, or the listener again. */
	for (int i = 0; i < 2; i++) {
		entry = look_up(arrival);
		if (!entry)
			break;
		if (!pulled && !pull_header(cn, skb))
			return true;
		pulled = true;
		if (to_entry(arrival, entry, skb))
			return true;
	}
	lsk = cftcp_lookup_listener(cn, &key->laddr, key->lport, arrival->dif,
				    arrival->sdif);
	if (!lsk)
		return false;
	if (pulled || pull_header(cn, skb))
		to_listener(arrival, cftcp_listener_of_group(lsk, key, skb),
			    skb);
	return true;
}

/*
 * ICMP.
 */

bool cftcp_demux_icmp(struct cftcp_arrival *arrival,
		      const struct cftcp_icmp *icmp)
{
	struct cftcp_entry *entry;
	struct cftcp_sock *cs;

	entry = look_up(arrival);
	if (!entry)
		return false;
	/* Nothing but a full socket has something to learn. */
	if (entry->kind != CFTCP_KIND_SOCK)
		return true;
	cs = container_of(entry, struct cftcp_sock, entry);
	if (!refcount_inc_not_zero(&cs->inet.sk.sk_refcnt))
		return true;
	bh_lock_sock(cftcp_to_sk(cs));
	/* As in work_on(). */
	if (!memcmp(&cs->key, &arrival->key, sizeof(cs->key)))
		cftcp_icmp_arrives(cftcp_to_sk(cs), icmp);
	bh_unlock_sock(cftcp_to_sk(cs));
	sock_put(cftcp_to_sk(cs));
	return true;
}
