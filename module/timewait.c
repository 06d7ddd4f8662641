// SPDX-License-Identifier: GPL-2.0
/*
 * TIME-WAIT, RFC 9293 section 3.6.1, with RFC 1337, 6191 and 7323. What a
 * segment amounts to is found out as in input.c; the table says the rest.
 */
#include <linux/slab.h>
#include <linux/tcp.h>

#include "af.h"
#include "charge.h"
#include "close.h"
#include "input.h"
#include "ipopt.h"
#include "listen.h"
#include "netns.h"
#include "segment.h"
#include "sock.h"
#include "timewait.h"
#include "trace.h"

#define drop(tw, reason) cftcp_count_drop(net_of(tw), reason)

/* How long before a record may yield to connect(): TSval has moved on. */
#define REUSE_MS 1000

static struct kmem_cache *slab, *slab6;

static struct cftcp_net *net_of(const struct cftcp_time_wait *tw)
{
	return tw->port->cn;
}

static void trace(const struct cftcp_time_wait *tw, int old, int new,
		  const char *why)
{
	struct cftcp_key key;

	if (!trace_cftcp_state_enabled())
		return;
	key = cftcp_time_wait_key(tw);
	trace_cftcp_state(&key, old, new, why);
}

static void free_rcu(struct rcu_head *rcu)
{
	struct cftcp_time_wait *tw = container_of(rcu, struct cftcp_time_wait,
						  rcu);

	kfree(tw->route);
	kmem_cache_free(tw->ipv4 ? slab : slab6, tw);
}

/* One more in the namespace, and in all those that users made. */
static bool count(struct cftcp_net *cn)
{
	struct cftcp_net *host = cftcp_host();
	bool fits = atomic_inc_return(&cn->time_waits) <=
		    cftcp_sysctl(cn, max_time_wait);

	if (cftcp_guest(cn->net))
		fits &= atomic_inc_return(&host->guest_time_waits) <=
			cftcp_sysctl(host, max_time_wait);
	return fits;
}

static void uncount(struct cftcp_net *cn)
{
	atomic_dec(&cn->time_waits);
	if (cftcp_guest(cn->net))
		atomic_dec(&cftcp_host()->guest_time_waits);
}

static void put(struct cftcp_time_wait *tw)
{
	struct cftcp_net *cn = net_of(tw);

	if (!refcount_dec_and_test(&tw->refs))
		return;
	cftcp_port_ref_put(&cn->ports, tw->port, true);
	uncount(cn);
	call_rcu(&tw->rcu, free_rcu);
}

bool cftcp_time_wait_get(struct cftcp_time_wait *tw)
{
	return refcount_inc_not_zero(&tw->refs);
}

static ktime_t end_of_2msl(const struct cftcp_time_wait *tw)
{
	return ktime_add_ns(ktime_get(), 2 * (u64)tw->msl_ms * NSEC_PER_MSEC);
}

static void unhash(struct cftcp_net *cn, struct cftcp_time_wait *tw,
		   const char *why)
{
	if (!cftcp_hash_remove(cn, &tw->entry))
		return;
	trace(tw, TCP_TIME_WAIT, TCP_CLOSE, why);
	put(tw);
}

static void dequeue(struct cftcp_time_wait *tw)
{
	if (cftcp_due_del(&net_of(tw)->time_wait, &tw->due))
		put(tw);
}

void cftcp_time_wait_cancel(struct cftcp_time_wait *tw)
{
	if (!cftcp_time_wait_get(tw))
		return;
	unhash(net_of(tw), tw, "destroy");
	dequeue(tw);
	put(tw);
}

void cftcp_time_wait_expired(struct cftcp_due *due,
			     struct timerqueue_node *node)
{
	struct cftcp_time_wait *tw = container_of(node, struct cftcp_time_wait,
						  due);
	struct cftcp_cell cell = cftcp_fsm(TCP_TIME_WAIT, CFTCP_EV_2MSL);

	if (cell.next == TCP_CLOSE) {
		cftcp_count(net_of(tw), TimeWaitExpired);
		unhash(net_of(tw), tw, cftcp_event_id(CFTCP_EV_2MSL));
	}
	put(tw);
}

static struct cftcp_time_wait *alloc(const struct sock *sk)
{
	const struct ip_options_rcu *opt =
		rcu_dereference_protected(inet_sk(sk)->inet_opt,
					  lockdep_sock_is_held(sk));
	bool ipv4 = cftcp_sk(sk)->af == &cftcp_ipv4_ops;
	struct mem_cgroup *old = cftcp_charge_begin(sk);
	struct cftcp_net *cn = cftcp_sock_net(sk);
	struct cftcp_time_wait *tw = NULL;

	if (count(cn))
		tw = kmem_cache_alloc(ipv4 ? slab : slab6, CFTCP_GFP);
	if (tw) {
		tw->ipv4 = ipv4;
		tw->route = cftcp_ipopt_copy(opt);
	} else {
		uncount(cn);
	}
	cftcp_charge_end(old);
	return tw;
}

static void fill_key(struct cftcp_time_wait *tw, const struct cftcp_key *key)
{
	if (!tw->ipv4) {
		tw->key = *key;
		return;
	}
	tw->key4.laddr = key->laddr.s6_addr32[3];
	tw->key4.faddr = key->faddr.s6_addr32[3];
	tw->key4.lport = key->lport;
	tw->key4.fport = key->fport;
	tw->key4.scope = key->scope;
}

static void fill(struct cftcp_time_wait *tw, struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_net *cn = cftcp_sock_net(sk);
	u32 wnd = min(cftcp_rcv_wnd_end(cs) - cs->rcv_nxt,
		      65535U << cs->rcv_wscale);

	tw->entry.kind = CFTCP_KIND_TIME_WAIT;
	tw->entry.family = sk->sk_family;
	refcount_set(&tw->refs, 2);
	tw->msl_ms = cs->msl_ms ?: cftcp_sysctl(cn, msl_ms);
	timerqueue_init(&tw->due);
	tw->port = cs->port;
	tw->snd_nxt = cs->snd_nxt;
	tw->rcv_nxt = cs->rcv_nxt;
	tw->ts_recent = cs->ts_recent;
	tw->challenge_at = jiffies;
	tw->mark = READ_ONCE(sk->sk_mark);
	tw->oif = sk->sk_bound_dev_if;
	tw->priority = sk->sk_priority;
	tw->wnd_field = wnd >> cs->rcv_wscale;
	tw->rcv_wscale = cs->rcv_wscale;
	tw->ttl = cs->af->ttl(sk);
	tw->tos = cs->af->tos(sk);
	tw->ts_ok = cs->ts_ok;
	fill_key(tw, &cs->key);
}

void cftcp_time_wait_enter(struct sock *sk, const char *why)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_time_wait *tw = alloc(sk);

	cftcp_assert_held(sk);
	if (!tw) {
		cftcp_count(cn, TimeWaitOverflow);
		cftcp_sock_done(sk, 0, "max_time_wait");
		return;
	}
	cftcp_count(cn, TimeWaitEntered);
	fill(tw, sk);
	cftcp_port_ref_get(&cn->ports, tw->port, true);
	trace(tw, sk->sk_state, TCP_TIME_WAIT, why);
	/* From here on segments find the record. */
	cs->hashed = 0;
	if (WARN_ON_ONCE(!cftcp_hash_replace(cn, &cs->entry, &tw->entry)))
		put(tw);
	cftcp_due_add(&cn->time_wait, &tw->due, end_of_2msl(tw));
	cftcp_sock_done(sk, 0, NULL);
}

bool cftcp_time_wait_replace(struct cftcp_time_wait *tw,
			     struct cftcp_entry *new)
{
	if (!cftcp_hash_replace(net_of(tw), &tw->entry, new))
		return false;
	cftcp_count(net_of(tw), TimeWaitReused);
	trace(tw, TCP_TIME_WAIT, TCP_CLOSE, cftcp_event_id(CFTCP_EV_SYN));
	return true;
}

bool cftcp_time_wait_restore(struct cftcp_net *cn, struct cftcp_time_wait *tw,
			     struct cftcp_entry *entry)
{
	if (!cftcp_due_queued(&cn->time_wait, &tw->due) ||
	    !cftcp_hash_replace(cn, entry, &tw->entry))
		return false;
	trace(tw, TCP_CLOSE, TCP_TIME_WAIT, "restored");
	/* Its time may have come before it was back in the table. */
	if (!cftcp_due_queued(&cn->time_wait, &tw->due))
		unhash(cn, tw, cftcp_event_id(CFTCP_EV_2MSL));
	return true;
}

void cftcp_time_wait_drop(struct cftcp_time_wait *tw)
{
	dequeue(tw);
	put(tw);
}

static bool may_yield(const struct cftcp_time_wait *tw)
{
	ktime_t since = ktime_sub_ns(READ_ONCE(tw->due.expires),
				     2 * (u64)tw->msl_ms * NSEC_PER_MSEC);

	return cftcp_sysctl(net_of(tw), time_wait_reuse) && tw->ts_ok &&
	       ktime_ms_delta(ktime_get(), since) >= REUSE_MS;
}

bool cftcp_time_wait_yield(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_time_wait *tw = NULL;
	struct cftcp_entry *entry;
	bool yields;

	rcu_read_lock();
	entry = cftcp_lookup(cftcp_sock_net(sk), &cs->key);
	if (entry && entry->kind == CFTCP_KIND_TIME_WAIT)
		tw = container_of(entry, struct cftcp_time_wait, entry);
	if (tw && !cftcp_time_wait_get(tw))
		tw = NULL;
	rcu_read_unlock();
	if (!tw)
		return false;
	yields = may_yield(tw) && cftcp_time_wait_replace(tw, &cs->entry);
	if (yields) {
		if (!cftcp_after(cs->iss, tw->snd_nxt + 65536))
			cs->iss = tw->snd_nxt + 65537;
		cftcp_time_wait_drop(tw);
	}
	put(tw);
	return yields;
}

static void send_ack(struct cftcp_time_wait *tw)
{
	struct cftcp_reply reply = {
		.key = cftcp_time_wait_key(tw), .flags = CFTCP_FLAG_ACK,
		.seq = tw->snd_nxt, .ack = tw->rcv_nxt, .wnd = tw->wnd_field,
		.has_ts = tw->ts_ok, .tsecr = READ_ONCE(tw->ts_recent),
		.tos = tw->tos, .ttl = tw->ttl, .mark = tw->mark,
		.oif = tw->oif, .priority = tw->priority, .route = tw->route,
		.uid = sock_net_uid(net_of(tw)->net, NULL),
	};

	if (tw->ts_ok)
		reply.tsval = cftcp_clock_ms() + cftcp_ts_offset(&reply.key);
	cftcp_wire(&reply.key)->reply(net_of(tw), &reply);
}

static void send_challenge(struct cftcp_time_wait *tw)
{
	u32 now = jiffies;

	if (cftcp_before(now, READ_ONCE(tw->challenge_at))) {
		cftcp_count(net_of(tw), ChallengeAckSkipped);
		return;
	}
	WRITE_ONCE(tw->challenge_at, now +
		   msecs_to_jiffies(cftcp_sysctl(net_of(tw), challenge_ack_ms)));
	cftcp_count(net_of(tw), ChallengeAck);
	send_ack(tw);
}

/* Execute a cell of the TIME-WAIT column. */
static void event(struct cftcp_time_wait *tw, enum cftcp_event ev)
{
	struct cftcp_cell cell = cftcp_fsm(TCP_TIME_WAIT, ev);

	if (cell.act & CFTCP_DO_ACK)
		send_ack(tw);
	if (cell.act & CFTCP_DO_CHALLENGE)
		send_challenge(tw);
	if (cell.act & CFTCP_DO_2MSL) {
		cftcp_count(net_of(tw), TimeWaitRestarted);
		cftcp_due_move(&net_of(tw)->time_wait, &tw->due, end_of_2msl(tw));
	}
	if (cell.next == TCP_CLOSE) {
		dequeue(tw);
		unhash(net_of(tw), tw, cftcp_event_id(ev));
	}
}

/* As acceptable() of input.c; the window does not move any more. */
static bool in_window(const struct cftcp_time_wait *tw, u32 seq)
{
	return seq - tw->rcv_nxt <
	       max((u32)tw->wnd_field << tw->rcv_wscale, 1U);
}

static void check_rst(struct cftcp_time_wait *tw,
		      const struct cftcp_segment *seg)
{
	drop(tw, Rst);
	if (cftcp_sysctl(net_of(tw), time_wait_ignore_rst))
		cftcp_count(net_of(tw), TimeWaitRstIgnored);
	else if (seg->seq == tw->rcv_nxt)
		event(tw, CFTCP_EV_RST_EXACT);
	else if (in_window(tw, seg->seq))
		event(tw, CFTCP_EV_RST_INSIDE);
	else
		event(tw, CFTCP_EV_RST_OUTSIDE);
}

/* May this SYN begin a new incarnation? RFC 6191 section 2, MAY-2. */
static bool newer_syn(const struct cftcp_time_wait *tw,
		      const struct cftcp_segment *seg)
{
	u32 ts_recent = READ_ONCE(tw->ts_recent);

	if (seg->opt.has_ts && !tw->ts_ok)
		return true;
	if (seg->opt.has_ts && seg->opt.tsval != ts_recent)
		return cftcp_after(seg->opt.tsval, ts_recent);
	return cftcp_after(seg->seq, tw->rcv_nxt);
}

static void check_syn(struct cftcp_time_wait *tw,
		      const struct cftcp_segment *seg, struct sock *lsk)
{
	bool bare = !(seg->flags & (CFTCP_FLAG_ACK | CFTCP_FLAG_FIN));

	if (bare && lsk && newer_syn(tw, seg)) {
		cftcp_listen_arrives(lsk, seg, tw);
		return;
	}
	drop(tw, Syn);
	event(tw, CFTCP_EV_SYN);
}

/* Returns false for a segment of the past. */
static bool check_timestamps(struct cftcp_time_wait *tw,
			     const struct cftcp_segment *seg)
{
	u32 ts_recent = READ_ONCE(tw->ts_recent);

	if (!tw->ts_ok)
		return true;
	if (!seg->opt.has_ts) {
		drop(tw, Paws);
		return false;
	}
	if (cftcp_paws_reject(seg, ts_recent)) {
		/* It left before what we know: nobody waits for an answer. */
		drop(tw, Paws);
		send_ack(tw);
		return false;
	}
	/* Only of what fits exactly: a blind guess must not move it. */
	if (seg->seq == tw->rcv_nxt ||
	    (seg->flags & CFTCP_FLAG_FIN && seg->end_seq == tw->rcv_nxt))
		WRITE_ONCE(tw->ts_recent, seg->opt.tsval);
	return true;
}

static void check_rest(struct cftcp_time_wait *tw,
		       const struct cftcp_segment *seg)
{
	bool length = seg->end_seq != seg->seq;

	if (!(seg->flags & CFTCP_FLAG_ACK)) {
		drop(tw, NoAck);
		event(tw, CFTCP_EV_NO_ACK);
	} else if (seg->flags & CFTCP_FLAG_FIN &&
		   seg->end_seq == tw->rcv_nxt) {
		cftcp_count(net_of(tw), DuplicateFin);
		event(tw, CFTCP_EV_FIN_DUP);
	} else if (length && in_window(tw, seg->seq)) {
		drop(tw, BeyondFin);
		event(tw, CFTCP_EV_TEXT_BEYOND);
	} else if (length) {
		drop(tw, Sequence);
		event(tw, CFTCP_EV_OLD);
	} else if (!in_window(tw, seg->seq)) {
		drop(tw, Sequence);
		send_challenge(tw);
	} else if (seg->ack != tw->snd_nxt) {
		drop(tw, Ack);
		send_challenge(tw);
	} else {
		event(tw, CFTCP_EV_FIN_ACKED);
	}
}

void cftcp_time_wait_arrives(struct cftcp_time_wait *tw, struct sk_buff *skb,
			     struct sock *lsk)
{
	struct cftcp_key key;
	struct cftcp_segment seg;

	key = cftcp_time_wait_key(tw);
	cftcp_segment_parse(skb, &key, &seg);
	if (seg.opt.bad)
		cftcp_count(net_of(tw), BadOptions);
	trace_cftcp_segment(false, seg.key, TCP_TIME_WAIT, seg.flags, seg.seq,
			    seg.ack, seg.len, seg.wnd);
	if (seg.flags & CFTCP_FLAG_RST)
		check_rst(tw, &seg);
	else if (seg.flags & CFTCP_FLAG_SYN)
		check_syn(tw, &seg, lsk);
	else if (check_timestamps(tw, &seg))
		check_rest(tw, &seg);
	consume_skb(skb);
	put(tw);
}

void cftcp_time_wait_purge(struct cftcp_net *cn)
{
	struct timerqueue_node *node;

	while ((node = cftcp_due_pop(&cn->time_wait))) {
		struct cftcp_time_wait *tw =
			container_of(node, struct cftcp_time_wait, due);

		unhash(cn, tw, "purge");
		put(tw);
		cond_resched();
	}
}

static void destroy_slabs(void)
{
	kmem_cache_destroy(slab);
	kmem_cache_destroy(slab6);
}

int cftcp_time_wait_register(void)
{
	slab = kmem_cache_create("cftcp_time_wait", CFTCP_TIME_WAIT_IPV4_SIZE,
				 0, SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT, NULL);
	slab6 = kmem_cache_create("cftcp_time_wait6",
				  sizeof(struct cftcp_time_wait), 0,
				  SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT, NULL);
	if (slab && slab6)
		return 0;
	destroy_slabs();
	return -ENOMEM;
}

void cftcp_time_wait_unregister(void)
{
	rcu_barrier();
	destroy_slabs();
}
