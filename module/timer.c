// SPDX-License-Identifier: GPL-2.0
/*
 * The timers of a connection:
 *
 * RTO		Something sent is not acknowledged: SYN, text or FIN. Runs in
 *		SYN-SENT, SYN-RECEIVED and from ESTABLISHED to LAST-ACK while
 *		anything is in flight. RFC 6298; doubles with each firing.
 * PERSIST	Nothing is in flight, but text or a FIN waits for the window,
 *		or a partial segment for its rest. RFC 9293 3.8.6.1, 3.8.6.2.1.
 * DELACK	An ACK is owed. RFC 9293 3.8.6.3.
 * REORDER	A segment is overdue but may only be reordered. RFC 8985 6.2.
 * PROBE	The last of what is in flight may be lost. RFC 8985 7.2. Of
 *		RTO, REORDER and PROBE one runs (RFC 8985 section 8).
 * PACE		Text waits for the pacing rate, or for room in a queue of this
 *		host that may not tell. Along with all others.
 * FIN_WAIT2	Nobody has this socket open, and the peer does not send its
 *		FIN. FIN-WAIT-2 without a file descriptor only.
 * USER		What was sent has not been acknowledged for the user timeout;
 *		or the socket is closed and makes no progress for the orphan
 *		timeout. RFC 9293 3.10.8. Runs along with RTO or PERSIST.
 * KEEPALIVE	SO_KEEPALIVE is set on an open socket: ask a peer that has long
 *		been silent whether it is there, if nothing else does. From
 *		ESTABLISHED on. RFC 9293 3.8.4.
 *
 * All stop in TIME-WAIT and CLOSED: start() is the one gate and refuses where
 * there is no connection. TIME-WAIT's own 2MSL timer belongs to the record (timewait.c).
 */
#include "close.h"
#include "fsm.h"
#include "output.h"
#include "recovery.h"
#include "sock.h"
#include "timer.h"

static void arm(struct sock *sk, u64 at)
{
	struct cftcp_timer *timer = &cftcp_sk(sk)->timer;

	/* It may run early: it looks for itself what is due. */
	if (hrtimer_is_queued(&timer->hrtimer) &&
	    ktime_to_ns(hrtimer_get_expires(&timer->hrtimer)) <= at)
		return;
	if (!timer->held) {
		timer->held = true;
		sock_hold(sk);
	}
	hrtimer_start(&timer->hrtimer, ns_to_ktime(at), HRTIMER_MODE_ABS_SOFT);
}

static void start(struct sock *sk, enum cftcp_timer_id id, u64 at)
{
	cftcp_assert_held(sk);
	if ((1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN))
		return;
	cftcp_sk(sk)->timer.at[id] = at;
	arm(sk, at);
}

static void start_in_ms(struct sock *sk, enum cftcp_timer_id id, u32 ms)
{
	start(sk, id, ktime_get_ns() + (u64)ms * NSEC_PER_MSEC);
}

static void stop(struct sock *sk, enum cftcp_timer_id id)
{
	cftcp_sk(sk)->timer.at[id] = 0;
}

u32 cftcp_keepalive_time_ms(const struct sock *sk)
{
	return cftcp_sk(sk)->keepalive_time_ms ?:
	       cftcp_sysctl(cftcp_sock_net(sk), keepalive_time_ms);
}

u32 cftcp_keepalive_intvl_ms(const struct sock *sk)
{
	return cftcp_sk(sk)->keepalive_intvl_ms ?:
	       cftcp_sysctl(cftcp_sock_net(sk), keepalive_intvl_ms);
}

u32 cftcp_keepalive_probes(const struct sock *sk)
{
	return cftcp_sk(sk)->keepalive_probes ?:
	       cftcp_sysctl(cftcp_sock_net(sk), keepalive_probes);
}

bool cftcp_timer_running(const struct sock *sk, enum cftcp_timer_id id)
{
	return READ_ONCE(cftcp_sk(sk)->timer.at[id]);
}

u64 cftcp_rto_ns(const struct sock *sk)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);
	u64 max = cftcp_sysctl(cftcp_sock_net(sk), rto_max_ms) *
		  (u64)NSEC_PER_MSEC;

	/* A shift of the RTO may lose its upper bits. */
	return cs->rto_ns > max >> cs->backoff ? max :
						 cs->rto_ns << cs->backoff;
}

/* ms without progress, see unacked_since(); 0 is for ever. */
static u32 user_timeout_ms(const struct sock *sk)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);

	if (cs->user_timeout_set)
		return cs->user_timeout_ms;
	return cftcp_sysctl(cftcp_sock_net(sk), user_timeout_ms);
}

/* R2 of a SYN is a count (syn_retries) unless the user set a time. */
static bool opening(const struct sock *sk)
{
	return (1 << sk->sk_state) & (TCPF_SYN_SENT | TCPF_SYN_RECV);
}

static bool in_flight(const struct sock *sk)
{
	return cftcp_sk(sk)->snd_una != cftcp_sk(sk)->snd_nxt;
}

static void stop_repair(struct sock *sk)
{
	stop(sk, CFTCP_TIMER_RTO);
	stop(sk, CFTCP_TIMER_REORDER);
	stop(sk, CFTCP_TIMER_PROBE);
}

static void start_repair(struct sock *sk, enum cftcp_timer_id id, u64 at)
{
	stop_repair(sk);
	start(sk, id, at);
}

static void restart_rto(struct sock *sk)
{
	u64 at = cftcp_sk(sk)->now + cftcp_rto_ns(sk);

	cftcp_sk(sk)->timer.rto_at = at;
	start_repair(sk, CFTCP_TIMER_RTO, at);
}

/*
 * RFC 8985 7.2, with the floor of 10 ms that its drafts had. As long as a single
 * segment, two take to be acknowledged that are less than two full ones.
 */
static u64 probe_timeout_ns(const struct sock *sk)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);
	u64 us = max(2 * (u64)cs->srtt_us, 10 * (u64)USEC_PER_MSEC);

	if (!cs->srtt_us)
		us = USEC_PER_SEC;
	else if (cs->snd_nxt - cs->snd_una < 2 * cs->mss)
		us += CFTCP_PEER_DELACK_MS * USEC_PER_MSEC;
	return us * NSEC_PER_USEC;
}

/* PROBE where it may be, as before if it runs already; else RTO. */
static void start_probe_or_rto(struct sock *sk)
{
	struct cftcp_timer *timer = &cftcp_sk(sk)->timer;
	u64 at = timer->at[CFTCP_TIMER_PROBE];

	if (!opening(sk) && cftcp_recovery_may_probe(cftcp_sk(sk)))
		start_repair(sk, CFTCP_TIMER_PROBE,
			     at ?: min(cftcp_sk(sk)->now + probe_timeout_ns(sk),
				       timer->rto_at));
	else
		start_repair(sk, CFTCP_TIMER_RTO, timer->rto_at);
}

/*
 * What the user timeout counts from. TCP_USER_TIMEOUT: when the oldest thing in
 * flight left for the first time. Else, as R2, from the latest progress: all of a
 * large window leaves at once, and may take a slow path longer than that.
 */
static u64 unacked_since(const struct sock *sk)
{
	struct sk_buff *head = cftcp_rtx_head(cftcp_sk(sk));

	return head && cftcp_sk(sk)->user_timeout_set ?
		cftcp_cb(head)->first_sent : cftcp_sk(sk)->now;
}

/* Who calls this from a system call has looked at the clock: cs->now is new. */
static void start_user_timeout(struct sock *sk, u64 since)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);
	u32 ms = user_timeout_ms(sk);
	u64 at = ms ? since + (u64)ms * NSEC_PER_MSEC : 0;

	if (sock_flag(sk, SOCK_DEAD)) {
		u64 orphan = cftcp_sk(sk)->now + (u64)NSEC_PER_MSEC *
			     cftcp_sysctl(cn, orphan_timeout_ms);

		if (!at || !cftcp_sk(sk)->user_timeout_set || orphan < at)
			at = orphan;
	}
	if (at)
		start(sk, CFTCP_TIMER_USER, at);
	else
		stop(sk, CFTCP_TIMER_USER);
}

void cftcp_timer_sent(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (cs->timer.at[CFTCP_TIMER_PERSIST]) {
		stop(sk, CFTCP_TIMER_PERSIST);
		cs->backoff = 0;
	}
	if (!cs->timer.rto_at)
		cs->timer.rto_at = cs->now + cftcp_rto_ns(sk);
	stop(sk, CFTCP_TIMER_PROBE);
	if (!cs->timer.at[CFTCP_TIMER_REORDER])
		start_probe_or_rto(sk);
	if (!cs->timer.at[CFTCP_TIMER_USER] &&
	    (!opening(sk) || cs->user_timeout_set))
		start_user_timeout(sk, unacked_since(sk));
}

void cftcp_timer_acked(struct sock *sk)
{
	if (in_flight(sk)) {
		restart_rto(sk);
		start_user_timeout(sk, unacked_since(sk));
		return;
	}
	cftcp_sk(sk)->timer.rto_at = 0;
	stop_repair(sk);
	if (sock_flag(sk, SOCK_DEAD) && sk->sk_state != TCP_FIN_WAIT2)
		start_user_timeout(sk, cftcp_sk(sk)->now);
	else
		stop(sk, CFTCP_TIMER_USER);
}

static void start_keepalive(struct sock *sk)
{
	start_in_ms(sk, CFTCP_TIMER_KEEPALIVE, cftcp_keepalive_time_ms(sk));
}

void cftcp_timer_established(struct sock *sk)
{
	cftcp_sk(sk)->heard_at = cftcp_sk(sk)->now;
	if (sock_flag(sk, SOCK_KEEPOPEN))
		start_keepalive(sk);
}

void cftcp_timer_heard(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	/* KEEPALIVE sees for itself, when it fires, how long it is silent. */
	cs->heard_at = cs->last_rcv_at;
	cs->keepalives_sent = 0;

	/* RFC 9293 3.8.6.1: a peer that answers keeps its window shut as long
	 * as it likes, unless our user set a limit or is gone.
	 */
	if (cs->snd_wnd || cs->user_timeout_set || sock_flag(sk, SOCK_DEAD))
		return;
	if (in_flight(sk))
		start_user_timeout(sk, cs->now);
	else
		stop(sk, CFTCP_TIMER_USER);
}

void cftcp_timer_window_shut(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	cftcp_tick(cs);
	if (!cs->timer.at[CFTCP_TIMER_PERSIST]) {
		/* What was left of retransmissions has no part in this. */
		cs->backoff = 0;
		start(sk, CFTCP_TIMER_PERSIST, cs->now + cftcp_rto_ns(sk));
	}
	/* Without a limit of the user's it begins with a probe unanswered. */
	if (!cs->timer.at[CFTCP_TIMER_USER] &&
	    (cs->user_timeout_set || sock_flag(sk, SOCK_DEAD)))
		start_user_timeout(sk, cs->now);
}

void cftcp_timer_corked(struct sock *sk)
{
	u64 at = ktime_get_ns() + CFTCP_CORK_MS * (u64)NSEC_PER_MSEC;
	u64 set = cftcp_sk(sk)->timer.at[CFTCP_TIMER_PERSIST];

	/* It may still back off from a window that was shut and is open. */
	cftcp_sk(sk)->backoff = 0;
	if (!set || set > at)
		start(sk, CFTCP_TIMER_PERSIST, at);
}

void cftcp_timer_window_open(struct sock *sk)
{
	if (!cftcp_timer_running(sk, CFTCP_TIMER_PERSIST))
		return;
	stop(sk, CFTCP_TIMER_PERSIST);
	cftcp_sk(sk)->backoff = 0;
	if (!in_flight(sk) && !sock_flag(sk, SOCK_DEAD))
		stop(sk, CFTCP_TIMER_USER);
}

void cftcp_timer_paced(struct sock *sk, u64 at)
{
	start(sk, CFTCP_TIMER_PACE, at);
}

void cftcp_timer_held(struct sock *sk, u64 at)
{
	start(sk, CFTCP_TIMER_PACE, at);
	if (cftcp_sk(sk)->timer.at[CFTCP_TIMER_USER])
		return;
	cftcp_tick(cftcp_sk(sk));
	start_user_timeout(sk, unacked_since(sk));
}

void cftcp_timer_ack_owed(struct sock *sk)
{
	if (!cftcp_timer_running(sk, CFTCP_TIMER_DELACK))
		start(sk, CFTCP_TIMER_DELACK, cftcp_sk(sk)->now +
		      CFTCP_DELACK_MS * (u64)NSEC_PER_MSEC);
}

void cftcp_timer_fin_came(struct sock *sk)
{
	/* Before the next tick a timer would have to be set in hardware. */
	u64 at = cftcp_sk(sk)->now +
		 max(CFTCP_FIN_DELACK_MS * NSEC_PER_MSEC, TICK_NSEC);

	if (!cftcp_timer_running(sk, CFTCP_TIMER_DELACK) ||
	    cftcp_sk(sk)->timer.at[CFTCP_TIMER_DELACK] > at)
		start(sk, CFTCP_TIMER_DELACK, at);
}

void cftcp_timer_ack_sent(struct sock *sk)
{
	stop(sk, CFTCP_TIMER_DELACK);
}

void cftcp_timer_repaired(struct sock *sk, u64 reorder_ns)
{
	struct cftcp_timer *timer = &cftcp_sk(sk)->timer;
	struct sk_buff *head = cftcp_rtx_head(cftcp_sk(sk));
	u64 at = cftcp_sk(sk)->now + reorder_ns;

	if (!head)
		return;
	/* RFC 6298 section 5: one RTO after it was last sent, or later. */
	timer->rto_at = max(timer->rto_at,
			    cftcp_cb(head)->sent_at + cftcp_rto_ns(sk));
	if (reorder_ns && at < timer->rto_at)
		start_repair(sk, CFTCP_TIMER_REORDER, at);
	else
		start_probe_or_rto(sk);
}

void cftcp_timer_orphaned(struct sock *sk)
{
	stop(sk, CFTCP_TIMER_KEEPALIVE);
	cftcp_tick(cftcp_sk(sk));
	if (sk->sk_state == TCP_FIN_WAIT2)
		cftcp_timer_fin_wait2(sk);
	else
		start_user_timeout(sk, unacked_since(sk));
}

void cftcp_timer_fin_wait2(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 ms = cftcp_sysctl(cftcp_sock_net(sk), fin_wait2_timeout_ms);

	stop(sk, CFTCP_TIMER_USER);
	if (!sock_flag(sk, SOCK_DEAD))
		return;
	if (cs->linger2_ms > 0)
		ms = cs->linger2_ms;
	start(sk, CFTCP_TIMER_FIN_WAIT2, cs->now + ms * (u64)NSEC_PER_MSEC);
}

void cftcp_timer_user_timeout_set(struct sock *sk)
{
	cftcp_tick(cftcp_sk(sk));
	if (in_flight(sk) || cftcp_timer_running(sk, CFTCP_TIMER_PERSIST))
		start_user_timeout(sk, unacked_since(sk));
}

void cftcp_timer_keepalive_set(struct sock *sk, int on)
{
	if (!on)
		stop(sk, CFTCP_TIMER_KEEPALIVE);
	else if (!opening(sk) && !sock_flag(sk, SOCK_KEEPOPEN))
		start_keepalive(sk);
}

/* When the peer will have been, or was, silent for @ms. */
static u64 silent_for(const struct sock *sk, u32 ms)
{
	return cftcp_sk(sk)->heard_at + (u64)ms * NSEC_PER_MSEC;
}

void cftcp_timer_keepalive_changed(struct sock *sk)
{
	if (cftcp_timer_running(sk, CFTCP_TIMER_KEEPALIVE))
		start(sk, CFTCP_TIMER_KEEPALIVE,
		      silent_for(sk, cftcp_keepalive_time_ms(sk)));
}

static void give_up(struct sock *sk)
{
	cftcp_count(cftcp_sock_net(sk), AbortOnTimeout);
	if (opening(sk))
		cftcp_sock_done(sk, cftcp_sock_timeout_error(sk), "timeout");
	else
		cftcp_event(sk, CFTCP_EV_USER_TIMEOUT, NULL);
}

static bool syn_retries_left(struct sock *sk)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_net *cn = cftcp_sock_net(sk);
	int most;

	if (sk->sk_state == TCP_SYN_SENT)
		most = cs->syn_retries ?: cftcp_sysctl(cn, syn_retries);
	else
		most = cftcp_sysctl(cn, synack_retries);
	return cs->syn_rexmits < most;
}

/* RFC 9293 3.8.3 (a): look for another way, and tell who asks. */
static void reached_r1(struct sock *sk)
{
	dst_negative_advice(sk);
	sk_dst_reset(sk);
	if (!opening(sk) && !READ_ONCE(sk->sk_err_soft))
		WRITE_ONCE(sk->sk_err_soft, ETIMEDOUT);
}

static void rto_fired(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	cftcp_count(cftcp_sock_net(sk), RtoFired);
	if (opening(sk) && !syn_retries_left(sk)) {
		cftcp_count(cftcp_sock_net(sk), AttemptFails);
		give_up(sk);
		return;
	}
	if (cs->backoff < 32)
		cs->backoff++;
	restart_rto(sk);
	if ((opening(sk) ? cs->syn_rexmits : cs->timeouts) >= CFTCP_R1)
		reached_r1(sk);
	if (opening(sk)) {
		cs->syn_rexmits++;
		cftcp_send_syn(sk);
	} else {
		cftcp_pmtu_rto(sk);
		cftcp_event(sk, CFTCP_EV_RTO, NULL);
	}
}

static void probe_fired(struct sock *sk)
{
	/* What has not left this host is not lost. */
	if (sk_wmem_alloc_get(sk) &&
	    cftcp_sk(sk)->timer.rto_at > cftcp_sk(sk)->now)
		start_probe_or_rto(sk);
	else if (cftcp_recovery_probe(sk))
		restart_rto(sk);
	else
		start_repair(sk, CFTCP_TIMER_RTO,
			     cftcp_sk(sk)->timer.rto_at);
}

static void persist_fired(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (skb_queue_empty(&sk->sk_write_queue))
		return;
	if (cs->backoff < 32)
		cs->backoff++;
	start(sk, CFTCP_TIMER_PERSIST, cs->now + cftcp_rto_ns(sk));
	if (cftcp_push_override(sk))
		return;
	if (!cs->timer.at[CFTCP_TIMER_USER])
		start_user_timeout(sk, cs->now);
	if ((1 << sk->sk_state) & ~(TCPF_FIN_WAIT2 | TCPF_CLOSE))
		cftcp_event(sk, CFTCP_EV_PERSIST, NULL);
}

/* TCP_USER_TIMEOUT stands for the number of probes, as in Linux. */
static bool keepalive_failed(const struct sock *sk, u64 now)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);

	if (cs->user_timeout_set)
		return cs->keepalives_sent &&
		       now >= silent_for(sk, cs->user_timeout_ms);
	return cs->keepalives_sent >= cftcp_keepalive_probes(sk);
}

static void keepalive_fired(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u64 now = cs->now, next;
	u32 ms = cftcp_keepalive_time_ms(sk);

	/* MUST-26: what is outstanding finds out by itself. */
	if (in_flight(sk) || !skb_queue_empty(&sk->sk_write_queue)) {
		start_in_ms(sk, CFTCP_TIMER_KEEPALIVE, ms);
		return;
	}
	next = silent_for(sk, ms);
	if (next > now) {
		start(sk, CFTCP_TIMER_KEEPALIVE, next);
		return;
	}
	if (keepalive_failed(sk, now)) {
		cftcp_send_rst(sk);
		give_up(sk);
		return;
	}
	cs->keepalives_sent++;
	cftcp_send_keepalive(sk);
	next = now + cftcp_keepalive_intvl_ms(sk) * (u64)NSEC_PER_MSEC;
	if (cs->user_timeout_set) {
		u64 limit = silent_for(sk, cs->user_timeout_ms);

		if (limit > now)
			next = min(next, limit);
	}
	start(sk, CFTCP_TIMER_KEEPALIVE, next);
}

static void fire(struct sock *sk, enum cftcp_timer_id id)
{
	switch (id) {
	case CFTCP_TIMER_RTO:
		rto_fired(sk);
		break;
	case CFTCP_TIMER_PERSIST:
		persist_fired(sk);
		break;
	case CFTCP_TIMER_DELACK:
		cftcp_count(cftcp_sock_net(sk), DelayedAck);
		cftcp_send_ack(sk);
		break;
	case CFTCP_TIMER_REORDER:
		cftcp_recovery_reorder(sk);
		break;
	case CFTCP_TIMER_PROBE:
		probe_fired(sk);
		break;
	case CFTCP_TIMER_PACE:
		cftcp_egress_resume(sk);
		break;
	case CFTCP_TIMER_FIN_WAIT2:
		cftcp_count(cftcp_sock_net(sk), FinWait2Timeout);
		cftcp_event(sk, CFTCP_EV_FIN_WAIT2, NULL);
		break;
	case CFTCP_TIMER_USER:
		give_up(sk);
		break;
	case CFTCP_TIMER_KEEPALIVE:
		keepalive_fired(sk);
		break;
	case CFTCP_TIMER_COUNT:
		break;
	}
}

/* What ends the connection comes first, so that nothing is sent for it. */
static const enum cftcp_timer_id order[] = {
	CFTCP_TIMER_USER, CFTCP_TIMER_KEEPALIVE, CFTCP_TIMER_FIN_WAIT2,
	CFTCP_TIMER_RTO, CFTCP_TIMER_PERSIST, CFTCP_TIMER_REORDER,
	CFTCP_TIMER_PROBE, CFTCP_TIMER_PACE, CFTCP_TIMER_DELACK,
};

static void run(struct sock *sk)
{
	struct cftcp_timer *timer = &cftcp_sk(sk)->timer;
	u64 now = cftcp_tick(cftcp_sk(sk)), first = U64_MAX;

	BUILD_BUG_ON(ARRAY_SIZE(order) != CFTCP_TIMER_COUNT);
	for (int i = 0; i < ARRAY_SIZE(order); i++) {
		enum cftcp_timer_id id = order[i];

		if (timer->at[id] && timer->at[id] <= now) {
			timer->at[id] = 0;
			fire(sk, id);
		}
		if (sk->sk_state == TCP_CLOSE)
			return;
	}
	for (int i = 0; i < CFTCP_TIMER_COUNT; i++)
		if (timer->at[i])
			first = min(first, timer->at[i]);
	if (first != U64_MAX)
		arm(sk, first);
}

void cftcp_timer_deferred(struct sock *sk)
{
	if (sk->sk_state == TCP_CLOSE)
		cftcp_timer_stop_all(sk);
	else
		run(sk);
}

static enum hrtimer_restart expired(struct hrtimer *hrtimer)
{
	struct cftcp_sock *cs = container_of(hrtimer, struct cftcp_sock,
					     timer.hrtimer);
	struct sock *sk = cftcp_to_sk(cs);
	bool last = false;

	bh_lock_sock(sk);
	if (sock_owned_by_user(sk)) {
		set_bit(CFTCP_DEFER_TIMER, &cs->deferred);
	} else if (sk->sk_state != TCP_CLOSE) {
		run(sk);
	} else if (!hrtimer_is_queued(hrtimer)) {
		last = cs->timer.held;
		cs->timer.held = false;
	}
	bh_unlock_sock(sk);
	if (last)
		sock_put(sk);
	return HRTIMER_NORESTART;
}

void cftcp_timer_init(struct sock *sk)
{
	cftcp_hrtimer_setup(&cftcp_sk(sk)->timer.hrtimer, expired,
			    HRTIMER_MODE_ABS_SOFT);
}

void cftcp_timer_stop_all(struct sock *sk)
{
	struct cftcp_timer *timer = &cftcp_sk(sk)->timer;

	memset(timer->at, 0, sizeof(timer->at));
	timer->rto_at = 0;
	if (!timer->held)
		return;
	if (hrtimer_try_to_cancel(&timer->hrtimer) < 0) {
		/* It runs just now, maybe above us, and may be queued again
		 * besides: let it run once more and give up its reference.
		 */
		hrtimer_start(&timer->hrtimer, 0, HRTIMER_MODE_ABS_SOFT);
		return;
	}
	timer->held = false;
	__sock_put(sk);
}
