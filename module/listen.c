// SPDX-License-Identifier: GPL-2.0
/*
 * A SYN to a listener makes a request, the ACK of our SYN makes the request a
 * full socket: a child in SYN-RECEIVED, which then works through that same
 * segment by the ordinary steps of input.c and so becomes ESTABLISHED.
 */
#include <linux/cgroup.h>
#include <linux/filter.h>
#include <linux/security.h>
#include <linux/siphash.h>
#include <linux/slab.h>
#include <linux/tcp.h>

#include "charge.h"
#include "close.h"
#include "cookie.h"
#include "early.h"
#include "input.h"
#include "ipopt.h"
#include "listen.h"
#include "output.h"
#include "port.h"
#include "segment.h"
#include "sock.h"
#include "timewait.h"
#include "trace.h"

#define drop(cn, reason) cftcp_count_drop(cn, reason)

static struct kmem_cache *slab;
static siphash_aligned_key_t isn_key __read_mostly;
static siphash_aligned_key_t ts_key __read_mostly;

u32 cftcp_isn(const struct cftcp_key *key)
{
	net_get_random_once(&isn_key, sizeof(isn_key));
	/* M ticks every 4.096 us and goes on over a reload of the module. */
	return (u32)(ktime_get_boottime_ns() >> 12) +
	       (u32)siphash(key, sizeof(*key), &isn_key);
}

u32 cftcp_ts_offset(const struct cftcp_key *key)
{
	net_get_random_once(&ts_key, sizeof(ts_key));
	return (u32)siphash(key, offsetof(struct cftcp_key, lport), &ts_key);
}

/*
 * Requests.
 */

static void free_rcu(struct rcu_head *rcu)
{
	struct cftcp_request *req = container_of(rcu, struct cftcp_request,
						 rcu);

	kfree(req->route);
	kmem_cache_free(slab, req);
}

static void put(struct cftcp_request *req)
{
	if (!refcount_dec_and_test(&req->refs))
		return;
	if (req->old)
		cftcp_time_wait_drop(req->old);
	if (req->port)
		cftcp_port_ref_put(&req->cn->ports, req->port, false);
	kfree(req->saved_syn);
	atomic_dec(&req->cn->request_count);
	sock_put(req->listener);
	call_rcu(&req->rcu, free_rcu);
}

static struct cftcp_listen *listen_of(const struct cftcp_request *req)
{
	return &cftcp_sk(req->listener)->listen;
}

/* Out of the listener's list and of the queue of due times. */
static void forget(struct cftcp_request *req)
{
	struct cftcp_listen *listen = listen_of(req);
	bool listed;

	WRITE_ONCE(req->dead, true);
	spin_lock_bh(&listen->lock);
	listed = !list_empty(&req->listen_node);
	if (listed) {
		list_del_init(&req->listen_node);
		listen->request_count--;
	}
	spin_unlock_bh(&listen->lock);
	if (listed)
		put(req);
	if (cftcp_due_del(&req->cn->requests, &req->due))
		put(req);
}

/* Out of the table: exactly one of several callers gets true. */
static bool unhash(struct cftcp_request *req)
{
	struct cftcp_time_wait *old;
	bool restored = false;

	rcu_read_lock();
	old = READ_ONCE(req->old);
	if (old && cftcp_time_wait_restore(req->cn, old, &req->entry)) {
		WRITE_ONCE(req->old, NULL);
		restored = true;
	}
	rcu_read_unlock();
	return restored || cftcp_hash_remove(req->cn, &req->entry);
}

static void drop_request(struct cftcp_request *req, const char *why)
{
	WRITE_ONCE(req->dead, true);
	smp_mb();	/* open_request() enters the table, and then looks here */
	if (unhash(req)) {
		trace_cftcp_state(&req->key, TCP_SYN_RECV, TCP_CLOSE,
				  why);
		put(req);
	}
	forget(req);
}

void cftcp_request_cancel(struct cftcp_request *req)
{
	if (!refcount_inc_not_zero(&req->refs))
		return;
	drop_request(req, "destroy");
	put(req);
}

static ktime_t next_synack(const struct cftcp_request *req, ktime_t since)
{
	u64 ms = cftcp_sysctl(req->cn, rto_init_ms);

	ms = min_t(u64, ms << min_t(u8, req->rexmits, 20),
		   cftcp_sysctl(req->cn, rto_max_ms));
	return ktime_add_ms(since, ms);
}

static u32 stamp(const struct cftcp_request *req)
{
	return cftcp_clock_ms() + req->ts_offset;
}

static struct cftcp_reply reply_of(const struct cftcp_request *req, u32 tsval)
{
	const struct cftcp_af_ops *af = cftcp_wire(&req->key);
	const struct sock *lsk = req->listener;

	return (struct cftcp_reply) {
		.key = req->key, .has_ts = req->ts_ok,
		.tsval = tsval,
		.tsecr = req->ts_recent, .ack = req->irs + 1,
		.tos = af->tos(lsk), .ttl = af->ttl(lsk),
		.mark = req->mark, .oif = req->iif,
		.priority = lsk->sk_priority, .uid = lsk->sk_uid,
		.route = req->route,
	};
}

static void send_synack(const struct cftcp_request *req, u32 tsval)
{
	const struct cftcp_syn_options syn = {
		.mss = req->mss, .wscale = req->rcv_wscale,
		.wscale_ok = req->wscale_ok, .sack_ok = req->sack_ok,
	};
	struct cftcp_reply reply = reply_of(req, tsval);

	reply.flags = CFTCP_FLAG_SYN | CFTCP_FLAG_ACK;
	reply.seq = req->iss;
	reply.wnd = min(req->rcv_wnd, 65535U);
	reply.syn = &syn;
	cftcp_wire(&reply.key)->reply(req->cn, &reply);
}

/* A loss costs a whole timeout here: repair_copies is for this as well. */
static void send_synacks(const struct cftcp_request *req)
{
	send_synack(req, stamp(req));
	for (int n = cftcp_sysctl(req->cn, repair_copies); n > 1; n--) {
		cftcp_count(req->cn, RetransSegs);
		send_synack(req, stamp(req));
	}
}

static void send_challenge(struct cftcp_request *req)
{
	struct cftcp_reply reply = reply_of(req, stamp(req));
	u64 now = ktime_get_ns();

	if (now < READ_ONCE(req->challenge_at)) {
		cftcp_count(req->cn, ChallengeAckSkipped);
		return;
	}
	WRITE_ONCE(req->challenge_at, now + NSEC_PER_MSEC *
		   (u64)cftcp_sysctl(req->cn, challenge_ack_ms));
	cftcp_count(req->cn, ChallengeAck);
	reply.flags = CFTCP_FLAG_ACK;
	reply.seq = req->iss + 1;
	reply.wnd = req->rcv_wnd >> req->rcv_wscale;
	cftcp_wire(&reply.key)->reply(req->cn, &reply);
}

/* TCP_DEFER_ACCEPT: an ACK without text is not enough yet. */
static bool awaits_text(const struct cftcp_request *req)
{
	return req->rexmits < READ_ONCE(listen_of(req)->defer);
}

void cftcp_request_expired(struct cftcp_due *due, struct timerqueue_node *node)
{
	struct cftcp_request *req = container_of(node, struct cftcp_request,
						 due);
	bool waiting;

	if (READ_ONCE(req->dead)) {
		put(req);
		return;
	}
	waiting = READ_ONCE(req->acked) && awaits_text(req);
	if (!waiting &&
	    req->rexmits >= cftcp_sysctl(req->cn, synack_retries)) {
		cftcp_count(req->cn, RequestExpired);
		drop_request(req, "synack_retries");
		put(req);
		return;
	}
	req->rexmits++;
	/* The last of these ACKs will not be deferred any more. */
	if (!READ_ONCE(req->acked) || !awaits_text(req)) {
		cftcp_count(req->cn, RetransSegs);
		send_synacks(req);
	}
	cftcp_due_add(due, &req->due, next_synack(req, ktime_get()));
	/* Who dropped it meanwhile did not find it in the queue. */
	if (READ_ONCE(req->dead) && cftcp_due_del(due, &req->due))
		put(req);
}

/* The window that a connection begins with, and the shift to show it by. */
static void offer_window(struct cftcp_request *req)
{
	const struct sock *lsk = req->listener;
	u32 most = max(READ_ONCE(lsk->sk_rcvbuf),
		       READ_ONCE(req->cn->sysctl.rmem[2])) / 2;

	req->rcv_wscale = req->wscale_ok ? cftcp_choose_wscale(most) : 0;
	req->rcv_wnd = min_t(u32, READ_ONCE(lsk->sk_rcvbuf) / 2, 65535);
	if (cftcp_sk(lsk)->window_clamp)
		req->rcv_wnd = min(req->rcv_wnd, cftcp_sk(lsk)->window_clamp);
}

/* What a SYN says and what we answer to it. */
static void describe(struct cftcp_request *req, struct sock *lsk,
		     const struct cftcp_segment *seg)
{
	struct cftcp_net *cn = cftcp_sock_net(lsk);
	struct cftcp_reply reply;

	req->key = *seg->key;
	req->entry.family = lsk->sk_family;
	req->entry.kind = CFTCP_KIND_REQUEST;
	req->listener = lsk;
	req->cn = cn;
	req->irs = seg->seq;
	req->iss = cftcp_isn(seg->key);
	req->ts_recent = seg->opt.tsval;
	req->ts_offset = cftcp_ts_offset(seg->key);
	req->snd_wnd = seg->wnd;
	req->snd_wscale = seg->opt.wscale;
	req->peer_mss = seg->opt.mss;
	req->ts_ok = seg->opt.has_ts;
	req->sack_ok = seg->opt.sack_ok;
	req->wscale_ok = seg->opt.wscale_ok;
	req->sent_at = ktime_get_ns();
	req->iif = inet_request_bound_dev_if(lsk, seg->skb) ?: seg->key->scope;
	req->mark = inet_request_mark(lsk, seg->skb);
	req->route = cftcp_wire(seg->key)->return_route(seg->skb);
	offer_window(req);
	reply = reply_of(req, 0);
	req->mss = cftcp_wire(seg->key)->reply_mss(cn, &reply);
	if (cftcp_sk(lsk)->user_mss)
		req->mss = min(req->mss, cftcp_sk(lsk)->user_mss);
}

static struct cftcp_request *alloc_request(struct sock *lsk,
					   const struct cftcp_segment *seg)
{
	struct mem_cgroup *old = cftcp_charge_begin(lsk);
	struct cftcp_request *req = kmem_cache_zalloc(slab, CFTCP_GFP);

	if (req && !refcount_inc_not_zero(&lsk->sk_refcnt)) {
		kmem_cache_free(slab, req);
		req = NULL;
	}
	if (req)
		describe(req, lsk, seg);
	cftcp_charge_end(old);
	if (!req)
		return NULL;
	atomic_inc(&req->cn->request_count);
	refcount_set(&req->refs, 1);
	timerqueue_init(&req->due);
	INIT_LIST_HEAD(&req->listen_node);
	return req;
}

/* Into the table, in the place of @old unless its 2MSL have ended just now. */
static bool hash(struct cftcp_request *req, struct cftcp_time_wait *old)
{
	req->old = old;
	if (old && cftcp_time_wait_replace(old, &req->entry))
		return true;
	req->old = NULL;
	return !cftcp_hash_insert(req->cn, &req->entry, &req->key);
}

/*
 * Into the table and the listener's list, unless it stops just now: who finds it
 * in the list must find it in the table, where it may have taken a place.
 */
static bool admit(struct cftcp_request *req, struct cftcp_time_wait *old)
{
	struct cftcp_sock *lcs = cftcp_sk(req->listener);
	struct cftcp_listen *listen = &lcs->listen;
	bool in;

	spin_lock_bh(&listen->lock);
	in = listen->open;
	if (in) {
		req->port = lcs->port;
		cftcp_port_ref_get(&req->cn->ports, req->port, false);
		refcount_inc(&req->refs);
		in = hash(req, old);
		if (!in)
			put(req);
	}
	if (in) {
		trace_cftcp_state(&req->key, TCP_LISTEN, TCP_SYN_RECV, "SYN");
		refcount_inc(&req->refs);
		list_add_tail(&req->listen_node, &listen->requests);
		listen->request_count++;
	}
	spin_unlock_bh(&listen->lock);
	return in;
}

static bool accepts_full(const struct sock *lsk)
{
	const struct cftcp_listen *listen = &cftcp_sk(lsk)->listen;

	return READ_ONCE(listen->accepts) > READ_ONCE(listen->backlog);
}

/*
 * A cookie is no answer to who was connected before, for it cannot be beyond what
 * the old incarnation sent: in a flood there is as much room again for these.
 */
static bool requests_full(const struct sock *lsk, bool old)
{
	u64 limit = cftcp_sysctl(cftcp_sock_net(lsk), max_syn_backlog);

	return READ_ONCE(cftcp_sk(lsk)->listen.request_count) >= limit << old;
}

/* TCP_SAVE_SYN: the headers are before what is left of the segment. */
static struct cftcp_saved_syn *save_syn(const struct sock *lsk,
					const struct sk_buff *skb)
{
	const u8 *from = skb_network_header(skb);
	struct cftcp_saved_syn *saved;
	struct mem_cgroup *old;
	int wanted = READ_ONCE(cftcp_sk(lsk)->save_syn);
	u32 len;

	if (!wanted)
		return NULL;
	if (wanted > 1 && skb_mac_header_was_set(skb))
		from = skb_mac_header(skb);
	len = skb->data - from;
	old = cftcp_charge_begin(lsk);
	saved = kmalloc(struct_size(saved, octets, len), CFTCP_GFP);
	cftcp_charge_end(old);
	if (saved) {
		saved->len = len;
		memcpy(saved->octets, from, len);
	}
	return saved;
}

static void open_request(struct sock *lsk, const struct cftcp_segment *seg,
			 struct cftcp_time_wait *old)
{
	struct cftcp_request *req = alloc_request(lsk, seg);
	struct cftcp_net *cn = cftcp_sock_net(lsk);

	if (!req) {
		drop(cn, Memory);
		return;
	}
	req->saved_syn = save_syn(lsk, seg->skb);
	/* Beyond all that the old incarnation sent (RFC 6191, MAY-2). */
	if (old && !cftcp_after(req->iss, old->snd_nxt + 65535))
		req->iss = old->snd_nxt + 65537;
	if (!admit(req, old))
		goto put;
	send_synacks(req);
	refcount_inc(&req->refs);
	cftcp_due_add(&cn->requests, &req->due,
		      next_synack(req, ns_to_ktime(req->sent_at)));
	smp_mb();	/* the listener may have stopped since we are in its list */
	if (READ_ONCE(req->dead))
		drop_request(req, "close");
put:
	put(req);
}

/* Answer without a request. Only timestamps have room for options. */
static void send_cookie(struct sock *lsk, const struct cftcp_segment *seg)
{
	struct cftcp_request req = {};
	u32 tsval;

	describe(&req, lsk, seg);
	req.iss = cftcp_cookie(seg);
	tsval = stamp(&req);
	if (req.ts_ok) {
		tsval = cftcp_cookie_stamp(tsval, seg);
		req.rcv_wscale = req.wscale_ok ? CFTCP_COOKIE_WSCALE : 0;
	} else {
		req.wscale_ok = 0;
		req.sack_ok = 0;
	}
	WRITE_ONCE(cftcp_sk(lsk)->listen.cookie_at, req.sent_at);
	cftcp_count(req.cn, SynCookiesSent);
	send_synack(&req, tsval);
	kfree(req.route);
}

/* Third: check for a SYN. */
static void check_syn(struct sock *lsk, const struct cftcp_segment *seg,
		      struct cftcp_time_wait *old)
{
	struct cftcp_net *cn = cftcp_sock_net(lsk);
	int cookies = cftcp_sysctl(cn, syn_cookies);

	if (!accepts_full(lsk) && !requests_full(lsk, old) &&
	    (cookies < 2 || old)) {
		open_request(lsk, seg, old);
	} else if (!accepts_full(lsk) && cookies && !old) {
		send_cookie(lsk, seg);
	} else {
		cftcp_count(cn, ListenOverflow);
		drop(cn, Listen);
	}
}

/* What the SYN said, from the ACK of our SYN cookie. */
static void remember(struct cftcp_request *req, const struct cftcp_segment *seg,
		     u16 mss)
{
	struct cftcp_cookie_options opt = {};
	u32 rtt_ms = 0;

	if (req->ts_ok) {
		opt = cftcp_cookie_options(seg->opt.tsecr);
		rtt_ms = stamp(req) - seg->opt.tsecr;
	}
	req->irs = seg->seq - 1;
	req->iss = seg->ack - 1;
	req->peer_mss = mss;
	req->sack_ok = opt.sack_ok;
	req->wscale_ok = opt.wscale_ok;
	req->snd_wscale = opt.wscale;
	req->rcv_wscale = opt.wscale_ok ? CFTCP_COOKIE_WSCALE : 0;
	/* Without a timestamp nobody knows when the SYN,ACK was sent. */
	if (!req->ts_ok || rtt_ms > CFTCP_COOKIE_S * MSEC_PER_SEC)
		req->resent = true;
	else
		req->sent_at -= rtt_ms * (u64)NSEC_PER_MSEC;
}

static bool gave_cookies(const struct sock *lsk)
{
	u64 at = READ_ONCE(cftcp_sk(lsk)->listen.cookie_at);

	return at && ktime_get_ns() - at <
		     2 * CFTCP_COOKIE_S * (u64)NSEC_PER_SEC;
}

bool cftcp_listen_cookie(struct sock *lsk, struct sk_buff *skb,
			 const struct cftcp_segment *seg)
{
	const u8 mask = CFTCP_FLAG_ACK | CFTCP_FLAG_SYN | CFTCP_FLAG_RST;
	struct cftcp_net *cn = cftcp_sock_net(lsk);
	struct cftcp_request *req;
	u16 mss;

	if ((seg->flags & mask) != CFTCP_FLAG_ACK || !gave_cookies(lsk))
		return false;
	mss = cftcp_cookie_mss(seg);
	if (!mss) {
		cftcp_count(cn, SynCookiesFailed);
		return false;
	}
	cftcp_count(cn, SynCookiesRecv);
	req = alloc_request(lsk, seg);
	if (!req) {
		drop(cn, Memory);
		consume_skb(skb);
		return true;
	}
	remember(req, seg, mss);
	if (admit(req, NULL)) {
		/* Another CPU may have been faster, with this cookie or a RST. */
		if (!cftcp_request_arrives(req, skb))
			consume_skb(skb);
		/* If no child came of it: nothing is kept for a cookie. */
		drop_request(req, "SYN cookie");
	} else {
		consume_skb(skb);
	}
	put(req);
	return true;
}

void cftcp_listen_arrives(struct sock *lsk, const struct cftcp_segment *seg,
			  struct cftcp_time_wait *old)
{
	struct cftcp_net *cn = cftcp_sock_net(lsk);

	if (seg->opt.bad)
		cftcp_count(cn, BadOptions);
	/* First: check for a RST. */
	if (seg->flags & CFTCP_FLAG_RST) {
		drop(cn, Flags);
		return;
	}
	/* Second: check for an ACK. */
	if (seg->flags & CFTCP_FLAG_ACK) {
		drop(cn, Ack);
		cftcp_reply_rst(lsk, seg);
		return;
	}
	if (!(seg->flags & CFTCP_FLAG_SYN) || seg->flags & CFTCP_FLAG_FIN) {
		drop(cn, Flags);
		return;
	}
	check_syn(lsk, seg, old);
}

/*
 * Children.
 */

/* SO_ATTACH_FILTER; sk_filter_charge() is not for modules. Under RCU. */
static void inherit_filter(struct sock *sk, const struct sock *lsk)
{
	struct sk_filter *filter;

	do {
		filter = rcu_dereference(lsk->sk_filter);
	} while (filter && !refcount_inc_not_zero(&filter->refcnt));
	if (!filter)
		return;
	atomic_add(bpf_prog_size(filter->prog->len), &sk->sk_omem_alloc);
	RCU_INIT_POINTER(sk->sk_filter, filter);
}

/* What cgroup_sk_clone() does, which is not for modules: BPF programs of the
 * listener's cgroup see its children's segments too; net_prio, net_cls.
 */
static void inherit_cgroup(struct sock *sk, const struct sock *lsk)
{
#ifdef CONFIG_SOCK_CGROUP_DATA
	struct sock_cgroup_data born = sk->sk_cgrp_data;
	struct sock_cgroup_data data = lsk->sk_cgrp_data;

	cgroup_get(sock_cgroup_ptr(&data));
	cgroup_bpf_get(sock_cgroup_ptr(&data));
	sk->sk_cgrp_data = data;
	cgroup_bpf_put(sock_cgroup_ptr(&born));
	cgroup_put(sock_cgroup_ptr(&born));
#endif
}

/* SO_TIMESTAMP and its kin: while a socket wants stamps, packets get them. */
static void inherit_timestamping(struct sock *sk, const struct sock *lsk)
{
	static const enum sock_flags flags[] = {
		SOCK_RCVTSTAMP, SOCK_RCVTSTAMPNS, SOCK_TSTAMP_NEW,
		SOCK_TIMESTAMP, SOCK_TIMESTAMPING_RX_SOFTWARE,
	};

	for (int i = 0; i < ARRAY_SIZE(flags); i++)
		if (sock_flag(lsk, flags[i]))
			sock_set_flag(sk, flags[i]);
	if (sk->sk_flags & SK_FLAGS_TIMESTAMP)
		net_enable_timestamp();
	sk->sk_tsflags = READ_ONCE(lsk->sk_tsflags);
}

static void inherit_busy_poll(struct sock *sk, const struct sock *lsk)
{
#ifdef CONFIG_NET_RX_BUSY_POLL
	sk->sk_ll_usec = READ_ONCE(lsk->sk_ll_usec);
	sk->sk_prefer_busy_poll = READ_ONCE(lsk->sk_prefer_busy_poll);
	sk->sk_busy_poll_budget = READ_ONCE(lsk->sk_busy_poll_budget);
#endif
}

static void inherit(struct sock *sk, const struct sock *lsk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	const struct cftcp_sock *lcs = cftcp_sk(lsk);
	static const enum sock_flags flags[] = {
		SOCK_LINGER, SOCK_KEEPOPEN, SOCK_URGINLINE, SOCK_BROADCAST,
		SOCK_DBG, SOCK_LOCALROUTE, SOCK_FILTER_LOCKED,
	};

	for (int i = 0; i < ARRAY_SIZE(flags); i++)
		if (sock_flag(lsk, flags[i]))
			sock_set_flag(sk, flags[i]);
	sk->sk_reuse = lsk->sk_reuse;
	sk->sk_reuseport = lsk->sk_reuseport;
	sk->sk_bound_dev_if = lsk->sk_bound_dev_if;
	sk->sk_mark = READ_ONCE(lsk->sk_mark);
	sk->sk_priority = lsk->sk_priority;
	sk->sk_rcvbuf = READ_ONCE(lsk->sk_rcvbuf);
	sk->sk_sndbuf = READ_ONCE(lsk->sk_sndbuf);
	sk->sk_userlocks = lsk->sk_userlocks & ~SOCK_BINDPORT_LOCK;
	sk->sk_rcvtimeo = lsk->sk_rcvtimeo;
	sk->sk_sndtimeo = lsk->sk_sndtimeo;
	sk->sk_lingertime = lsk->sk_lingertime;
	sk->sk_max_pacing_rate = READ_ONCE(lsk->sk_max_pacing_rate);
	sk->sk_rcvlowat = lsk->sk_rcvlowat;
	sk->sk_peek_off = READ_ONCE(lsk->sk_peek_off);
	sk->sk_txrehash = READ_ONCE(lsk->sk_txrehash);
	sk->sk_uid = lsk->sk_uid;
	inherit_timestamping(sk, lsk);
	inherit_busy_poll(sk, lsk);
	cftcp_inherit_inet(sk, lsk);
	cs->user_mss = lcs->user_mss;
	cs->nodelay = lcs->nodelay;
	cs->cork = lcs->cork;
	cs->save_syn = lcs->save_syn;
	cs->msl_ms = lcs->msl_ms;
	cs->linger2_ms = lcs->linger2_ms;
	cs->syn_retries = lcs->syn_retries;
	cs->user_timeout_ms = lcs->user_timeout_ms;
	cs->user_timeout_set = lcs->user_timeout_set;
	cs->quickack = lcs->quickack;
	cs->recvmsg_inq = lcs->recvmsg_inq;
	cs->window_clamp = lcs->window_clamp;
	cs->notsent_lowat = lcs->notsent_lowat;
	cs->keepalive_time_ms = lcs->keepalive_time_ms;
	cs->keepalive_intvl_ms = lcs->keepalive_intvl_ms;
	cs->keepalive_probes = lcs->keepalive_probes;
	inherit_filter(sk, lsk);
	inherit_cgroup(sk, lsk);
	cftcp_charge_inherit(sk, lsk);
	security_sk_clone(lsk, sk);
}

static void child_numbers(struct cftcp_sock *cs, const struct cftcp_request *req)
{
	cs->iss = req->iss;
	cs->snd_una = req->iss;
	cs->snd_nxt = req->iss + 1;
	cs->write_seq = cs->snd_nxt;
	cs->snd_wnd = req->snd_wnd;
	cs->max_snd_wnd = req->snd_wnd;
	cs->irs = req->irs;
	cs->rcv_nxt = req->irs + 1;
	cs->rcv_wup = cs->rcv_nxt;
	cs->copied_seq = cs->rcv_nxt;
	cs->last_ack_sent = cs->rcv_nxt;
	cs->rcv_wnd = req->rcv_wnd;
	cs->snd_wl1 = req->irs;
	cs->snd_wl2 = req->iss;
	cs->ts_ok = req->ts_ok;
	cs->sack_ok = req->sack_ok;
	cs->wscale_ok = req->wscale_ok;
	cs->snd_wscale = req->wscale_ok ? req->snd_wscale : 0;
	cs->rcv_wscale = req->rcv_wscale;
	cs->ts_recent = req->ts_recent;
	cs->ts_recent_at = req->sent_at;
	cs->ts_offset = req->ts_offset;
	cs->created_at = req->sent_at;
	cs->syn_rexmits = req->rexmits ?: req->resent;
	cftcp_set_peer_mss(cs, req->peer_mss);
}

static struct sock *alloc_child(const struct cftcp_request *req)
{
	const struct sock *lsk = req->listener;
	struct mem_cgroup *old = cftcp_charge_begin(lsk);
	struct ip_options_rcu *route = NULL;
	struct cftcp_sock *cs;
	struct sock *sk;

	sk = sk_alloc(sock_net(lsk), lsk->sk_family, CFTCP_GFP, lsk->sk_prot,
		      0);
	if (sk)
		route = cftcp_ipopt_copy(req->route);
	cftcp_charge_end(old);
	if (!sk)
		return NULL;
	sock_init_data(NULL, sk);
	cftcp_sock_init_child(sk);
	cs = cftcp_sk(sk);
	cs->key = req->key;
	cftcp_set_wire(sk, cftcp_wire(&cs->key));
	inherit(sk, lsk);
	sk->sk_bound_dev_if = req->iif;
	sk->sk_mark = req->mark;
	child_numbers(cs, req);
	cftcp_family(sk)->adopt(sk, lsk);
	cs->route_heard = !!req->route;
	RCU_INIT_POINTER(cs->inet.inet_opt, route);
	cs->inet.inet_dport = cs->key.fport;
	return sk;
}

/* A child that nobody will accept: reset it. Its lock is held. */
static void refuse_child(struct sock *sk)
{
	if (sk->sk_state == TCP_CLOSE) {
		sock_orphan(sk);
		cftcp_destroy(sk);
		return;
	}
	sock_orphan(sk);
	cftcp_abort(sk, 0);
}

static void offer_child(struct sock *lsk, struct sock *sk)
{
	struct cftcp_listen *listen = &cftcp_sk(lsk)->listen;
	bool open;

	spin_lock_bh(&listen->lock);
	open = listen->open;
	if (open) {
		list_add_tail(&cftcp_sk(sk)->accept_node, &listen->accept);
		WRITE_ONCE(listen->accepts, listen->accepts + 1);
	}
	spin_unlock_bh(&listen->lock);
	if (!open)
		refuse_child(sk);
}

/* The ACK of our SYN came. Returns false when there is a child already. */
static bool make_child(struct cftcp_request *req, struct sk_buff *skb)
{
	struct cftcp_net *cn = req->cn;
	struct sock *lsk = req->listener;
	struct sock *sk = alloc_child(req);
	bool first;

	if (!sk) {
		drop(cn, Memory);
		consume_skb(skb);
		return true;
	}
	sock_hold(sk);
	bh_lock_sock(sk);
	cftcp_port_ref_get(&cn->ports, req->port, false);
	cftcp_port_inherit(sk, req->port);
	cftcp_sock_set_state(sk, TCP_SYN_RECV, NULL);
	first = cftcp_hash_replace(cn, &req->entry, &cftcp_sk(sk)->entry);
	if (first) {
		cftcp_sk(sk)->hashed = 1;
		/* One of several CPUs comes here. */
		swap(cftcp_sk(sk)->saved_syn, req->saved_syn);
		forget(req);
		put(req);
		cftcp_count(cn, PassiveOpens);
		cftcp_early_keep(sk, skb);
		skb_dst_drop(skb);
		skb->dev = NULL;
		cftcp_segment_arrives(sk, skb);
		offer_child(lsk, sk);
	} else {
		/* Another CPU was faster, by a copy or the segment before. */
		inet_sk_set_state(sk, TCP_CLOSE);
		refuse_child(sk);
	}
	bh_unlock_sock(sk);
	sock_put(sk);
	if (first)
		lsk->sk_data_ready(lsk);
	return first;
}

/* No room for the connection: the peer tries again, or hears of it. */
static void overflow(struct cftcp_request *req, const struct cftcp_segment *seg)
{
	cftcp_count(req->cn, ListenOverflow);
	drop(req->cn, Listen);
	if (!cftcp_sysctl(req->cn, abort_on_overflow))
		return;
	cftcp_reply_rst(req->listener, seg);
	drop_request(req, "abort_on_overflow");
}

/*
 * SYN-RECEIVED by a passive open, RFC 9293 section 3.10.7.4. Returns true when
 * the segment makes the request a connection.
 */
static bool request_steps(struct cftcp_request *req,
			  const struct cftcp_segment *seg)
{
	struct cftcp_net *cn = req->cn;
	u32 offset = seg->seq - (req->irs + 1);
	bool inside = offset < max(req->rcv_wnd, 1U);

	/* First: the sequence number; a SYN seen before is answered again. */
	if (seg->flags & CFTCP_FLAG_SYN && !(seg->flags & CFTCP_FLAG_RST) &&
	    seg->seq == req->irs) {
		if (!(seg->flags & CFTCP_FLAG_ACK)) {
			cftcp_count(cn, RetransSegs);
			req->resent = true;
			send_synack(req, stamp(req));
		}
		return false;
	}
	if (req->ts_ok && !(seg->flags & CFTCP_FLAG_RST)) {
		if (!seg->opt.has_ts || cftcp_paws_reject(seg, req->ts_recent)) {
			drop(cn, Paws);
			if (seg->opt.has_ts)
				send_challenge(req);
			return false;
		}
	}
	if (!inside) {
		drop(cn, Sequence);
		if (!(seg->flags & CFTCP_FLAG_RST))
			send_challenge(req);
		return false;
	}
	/* Second: RST. */
	if (seg->flags & CFTCP_FLAG_RST) {
		if (!offset) {
			cftcp_count(cn, AttemptFails);
			drop_request(req, "RST");
		} else {
			drop(cn, Rst);
			send_challenge(req);
		}
		return false;
	}
	/* Fourth: another SYN; a passive open returns to LISTEN. */
	if (seg->flags & CFTCP_FLAG_SYN) {
		drop(cn, Syn);
		drop_request(req, "SYN");
		return false;
	}
	/* Fifth: ACK. */
	if (!(seg->flags & CFTCP_FLAG_ACK)) {
		drop(cn, NoAck);
		return false;
	}
	if (seg->ack != req->iss + 1) {
		drop(cn, Ack);
		cftcp_reply_rst(req->listener, seg);
		return false;
	}
	if (awaits_text(req) && seg->end_seq == req->irs + 1) {
		WRITE_ONCE(req->acked, true);
		cftcp_count(cn, AcceptDeferred);
		return false;
	}
	if (accepts_full(req->listener)) {
		overflow(req, seg);
		return false;
	}
	return true;
}

bool cftcp_request_arrives(struct cftcp_request *req, struct sk_buff *skb)
{
	struct cftcp_segment seg;
	bool done = true;

	if (!refcount_inc_not_zero(&req->refs))
		return false;
	cftcp_segment_parse(skb, &req->key, &seg);
	trace_cftcp_segment(false, seg.key, TCP_SYN_RECV, seg.flags, seg.seq,
			    seg.ack, seg.len, seg.wnd);
	if (request_steps(req, &seg))
		done = make_child(req, skb);
	else
		consume_skb(skb);
	put(req);
	return done;
}

/*
 * LISTEN itself.
 */

int cftcp_listen_start(struct sock *sk, int backlog)
{
	struct cftcp_listen *listen = &cftcp_sk(sk)->listen;
	int err;

	cftcp_assert_held(sk);
	err = cftcp_port_may_listen(sk);
	if (err)
		return err;
	spin_lock_bh(&listen->lock);
	WRITE_ONCE(listen->backlog, backlog);
	listen->open = true;
	spin_unlock_bh(&listen->lock);
	err = cftcp_listener_add(sk);
	if (err) {
		listen->open = false;
		inet_sk_set_state(sk, TCP_CLOSE);
	}
	return err;
}

static void refuse_waiting_children(struct sock *lsk)
{
	struct sock *sk;

	while ((sk = cftcp_accept_pop(lsk))) {
		sock_hold(sk);
		/* sock_diag may have it. */
		lock_sock_nested(sk, SINGLE_DEPTH_NESTING);
		refuse_child(sk);
		release_sock(sk);
		sock_put(sk);
	}
}

static struct cftcp_request *first_request(struct cftcp_listen *listen)
{
	struct cftcp_request *req;

	spin_lock_bh(&listen->lock);
	req = list_first_entry_or_null(&listen->requests, struct cftcp_request,
				       listen_node);
	if (req)
		refcount_inc(&req->refs);
	spin_unlock_bh(&listen->lock);
	return req;
}

void cftcp_listen_stop(struct sock *sk)
{
	struct cftcp_listen *listen = &cftcp_sk(sk)->listen;
	struct cftcp_request *req;

	cftcp_assert_held(sk);
	cftcp_listener_del(sk);
	spin_lock_bh(&listen->lock);
	listen->open = false;
	spin_unlock_bh(&listen->lock);
	while ((req = first_request(listen))) {
		drop_request(req, "close");
		put(req);
		cond_resched();
	}
	refuse_waiting_children(sk);
	cftcp_sock_done(sk, 0, "close");
}

struct sock *cftcp_accept_pop(struct sock *sk)
{
	struct cftcp_listen *listen = &cftcp_sk(sk)->listen;
	struct cftcp_sock *child;

	spin_lock_bh(&listen->lock);
	child = list_first_entry_or_null(&listen->accept, struct cftcp_sock,
					 accept_node);
	if (child) {
		list_del_init(&child->accept_node);
		WRITE_ONCE(listen->accepts, listen->accepts - 1);
	}
	spin_unlock_bh(&listen->lock);
	return child ? cftcp_to_sk(child) : NULL;
}

int cftcp_listen_register(void)
{
	slab = kmem_cache_create("cftcp_request", sizeof(struct cftcp_request),
				 0, SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT, NULL);
	return slab ? 0 : -ENOMEM;
}

void cftcp_listen_unregister(void)
{
	rcu_barrier();
	kmem_cache_destroy(slab);
}
