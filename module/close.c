// SPDX-License-Identifier: GPL-2.0
/*
 * How a connection ends. fsm.c says what an event leads to; cftcp_event() does
 * it. close(), shutdown() and ABORT raise the user's events here, segments and
 * timeouts raise theirs in input.c and timer.c.
 */
#include <linux/tcp.h>
#include <net/xfrm.h>

#include "close.h"
#include "early.h"
#include "input.h"
#include "listen.h"
#include "output.h"
#include "port.h"
#include "recovery.h"
#include "segment.h"
#include "timer.h"
#include "timewait.h"
#include "trace.h"

/* CurrEstab, as RFC 4022 has it. */
static int counts_established(int state)
{
	return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT;
}

void cftcp_sock_set_state(struct sock *sk, int state, const char *why)
{
	int old = sk->sk_state;

	cftcp_assert_held(sk);
	atomic_add(counts_established(state) - counts_established(old),
		   &cftcp_sock_net(sk)->established);
	if (why)
		trace_cftcp_state(&cftcp_sk(sk)->key, old, state, why);
	inet_sk_set_state(sk, state);
}

static void unhash(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (!cs->hashed)
		return;
	cs->hashed = 0;
	cftcp_hash_remove(cftcp_sock_net(sk), &cs->entry);
}

/* In the namespace, or in all those that users made. */
static bool too_many_orphans(const struct cftcp_net *cn)
{
	struct cftcp_net *host = cftcp_host();

	lockdep_assert_held(&cn->orphan_lock);
	return cn->orphan_count > cftcp_sysctl(cn, max_orphans) ||
	       (cftcp_guest(cn->net) && cn->orphan_count &&
		atomic_read(&host->guest_orphans) >
		cftcp_sysctl(host, max_orphans));
}

/* An orphan was accepted long ago, or never waited for that: the link that
 * accept() needs is free.
 */
static bool join_orphans(struct sock *sk)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);
	bool crowded;

	spin_lock_bh(&cn->orphan_lock);
	list_add_tail(&cftcp_sk(sk)->accept_node, &cn->orphans);
	WRITE_ONCE(cn->orphan_count, cn->orphan_count + 1);
	if (cftcp_guest(cn->net))
		atomic_inc(&cftcp_host()->guest_orphans);
	crowded = too_many_orphans(cn);
	spin_unlock_bh(&cn->orphan_lock);
	cftcp_sk(sk)->orphaned = 1;
	return crowded;
}

static void leave_orphans(struct sock *sk)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);

	if (!cftcp_sk(sk)->orphaned)
		return;
	cftcp_sk(sk)->orphaned = 0;
	spin_lock_bh(&cn->orphan_lock);
	list_del(&cftcp_sk(sk)->accept_node);
	WRITE_ONCE(cn->orphan_count, cn->orphan_count - 1);
	if (cftcp_guest(cn->net))
		atomic_dec(&cftcp_host()->guest_orphans);
	spin_unlock_bh(&cn->orphan_lock);
}

/* The orphan that has been one for longest, held, if there are too many. */
static struct sock *oldest_of_too_many(struct cftcp_net *cn)
{
	struct cftcp_sock *cs = NULL;

	spin_lock_bh(&cn->orphan_lock);
	if (too_many_orphans(cn)) {
		cs = list_first_entry(&cn->orphans, struct cftcp_sock,
				      accept_node);
		sock_hold(cftcp_to_sk(cs));
	}
	spin_unlock_bh(&cn->orphan_lock);
	return cs ? cftcp_to_sk(cs) : NULL;
}

/* Who never answers must not keep out who does: the oldest go first. */
static void thin_out_orphans(struct cftcp_net *cn)
{
	struct sock *sk;

	while ((sk = oldest_of_too_many(cn))) {
		lock_sock(sk);
		if (sk->sk_state != TCP_CLOSE)
			cftcp_count(cn, OrphanOverflow);
		cftcp_abort(sk, 0);
		release_sock(sk);
		sock_put(sk);
	}
}

void cftcp_destroy(struct sock *sk)
{
	WARN_ON_ONCE(sk->sk_state != TCP_CLOSE || !sock_flag(sk, SOCK_DEAD));
	cftcp_purge_ofo(sk);
	kfree(cftcp_sk(sk)->saved_syn);
	cftcp_port_put(sk);
	sk_stream_kill_queues(sk);
	xfrm_sk_free_policy(sk);
	/* A route counts in its namespace, which may go before our memory. */
	sk_dst_reset(sk);
	cftcp_early_forget(sk);
	cftcp_sk(sk)->destroyed = 1;
	leave_orphans(sk);
	cftcp_sock_uncount(sk);
	sock_put(sk);
}

void cftcp_sock_done(struct sock *sk, int err, const char *why)
{
	cftcp_assert_held(sk);
	if (sk->sk_state == TCP_CLOSE)
		return;
	cftcp_timer_stop_all(sk);
	unhash(sk);
	/* Who sees CLOSED without the lock must see why. */
	if (err)
		WRITE_ONCE(sk->sk_err, err);
	cftcp_sock_set_state(sk, TCP_CLOSE, why);
	cftcp_purge_send(sk);
	WRITE_ONCE(sk->sk_shutdown, SHUTDOWN_MASK);
	if (sock_flag(sk, SOCK_DEAD)) {
		cftcp_destroy(sk);
		return;
	}
	if (err)
		sk_error_report(sk);
	sk->sk_state_change(sk);
}

int cftcp_sock_timeout_error(struct sock *sk)
{
	return READ_ONCE(sk->sk_err_soft) ?: ETIMEDOUT;
}

/* Nobody waits for this orphan's data: not while all are short of memory. */
static bool out_of_memory(struct sock *sk)
{
	return sk->sk_wmem_queued > SOCK_MIN_SNDBUF &&
	       sk_memory_allocated(sk) > sk_prot_mem_limits(sk, 2);
}

/*
 * Actions of the table.
 */

/* The peer's FIN is next: RCV.NXT passes it, the reader finds the end. */
static void do_eof(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	cs->fin_received = 1;
	cs->rcv_nxt++;
	WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | RCV_SHUTDOWN);
	sock_set_flag(sk, SOCK_DONE);
	if (sock_flag(sk, SOCK_DEAD))
		return;
	sk->sk_state_change(sk);
	sk_wake_async(sk, SOCK_WAKE_WAITD, sk->sk_shutdown == SHUTDOWN_MASK ?
		      POLL_HUP : POLL_IN);
}

static void do_fin(struct sock *sk)
{
	cftcp_queue_fin(sk);
	cftcp_push(sk, CFTCP_PUSH_NAGLE);
}

/* A server that answers by close() has its FIN say it: one segment less. */
static void do_ack_soon(struct sock *sk)
{
	if (cftcp_sk(sk)->quickack)
		cftcp_send_ack(sk);
	else
		cftcp_timer_fin_came(sk);
}

static void do_rst_reply(struct sock *sk, struct sk_buff *skb)
{
	struct cftcp_segment seg;

	cftcp_segment_parse(skb, &cftcp_sk(sk)->key, &seg);
	cftcp_reply_rst(sk, &seg);
}

/* The errno of a reset, by the state that it hit (RFC leaves it open). */
static int reset_error(int state)
{
	return state == TCP_CLOSE_WAIT ? EPIPE : ECONNRESET;
}

/* What the user is told when the cell leads to CLOSED. */
static int closing_error(struct sock *sk, u32 act, int old)
{
	if (act & CFTCP_DO_RESET)
		return reset_error(old);
	if (act & CFTCP_DO_TIMEDOUT)
		return cftcp_sock_timeout_error(sk);
	return 0;
}

/* In the order of CFTCP_ACTIONS. 2MSL is left for the end; TEXT, HOLD, SOFT,
 * DROP and the errnos of calls are the caller's part.
 */
static void act_on(struct sock *sk, u32 act, struct sk_buff *skb)
{
	if (act & CFTCP_DO_EOF)
		do_eof(sk);
	if (act & CFTCP_DO_FIN)
		do_fin(sk);
	if (act & CFTCP_DO_RST ||
	    (act & CFTCP_DO_RST_NO_FIN && !cftcp_fin_sent(cftcp_sk(sk))))
		cftcp_send_rst(sk);
	if (act & CFTCP_DO_RST_REPLY && skb)
		do_rst_reply(sk, skb);
	if (act & CFTCP_DO_ACK)
		cftcp_send_ack(sk);
	if (act & CFTCP_DO_ACK_SOON)
		do_ack_soon(sk);
	if (act & CFTCP_DO_CHALLENGE)
		cftcp_send_challenge(sk);
	if (act & CFTCP_DO_REXMIT)
		cftcp_recovery_rto(sk);
	if (act & CFTCP_DO_PROBE)
		cftcp_send_probe(sk);
	if (act & CFTCP_DO_FW2)
		cftcp_timer_fin_wait2(sk);
	if (act & CFTCP_DO_WAKE)
		sk->sk_state_change(sk);
}

static void abort_linger(struct sock *sk)
{
	cftcp_count(cftcp_sock_net(sk), AbortOnLinger);
	cftcp_abort(sk, 0);
}

u32 cftcp_event(struct sock *sk, enum cftcp_event event, struct sk_buff *skb)
{
	struct cftcp_cell cell = cftcp_fsm(sk->sk_state, event);
	const char *why = cftcp_event_id(event);
	int old = sk->sk_state;

	cftcp_assert_held(sk);
	if (cell.act & CFTCP_DO_NA) {
		DEBUG_NET_WARN_ON_ONCE(1);
		return cell.act;
	}
	if (event == CFTCP_EV_RST_EXACT)
		cftcp_count(cftcp_sock_net(sk), EstabResets);
	/* CLOSED comes last: its actions still need the connection. And what is
	 * in TIME-WAIT the kernel takes for a mini-socket, with a lock or
	 * without: a socket never is, only its record.
	 */
	if (cell.next != old && cell.next != TCP_CLOSE &&
	    cell.next != TCP_TIME_WAIT)
		cftcp_sock_set_state(sk, cell.next, why);
	act_on(sk, cell.act, skb);
	if (cell.act & CFTCP_DO_2MSL) {
		cftcp_time_wait_enter(sk, why);
	} else if (cell.next == TCP_CLOSE && old != TCP_CLOSE) {
		cftcp_sock_done(sk, closing_error(sk, cell.act, old), why);
	} else if (cell.next == TCP_FIN_WAIT2 && old != TCP_FIN_WAIT2 &&
		   sock_flag(sk, SOCK_DEAD) && cftcp_sk(sk)->linger2_ms < 0) {
		abort_linger(sk);
	}
	return cell.act;
}

/*
 * The user's side.
 */

void cftcp_abort(struct sock *sk, int err)
{
	cftcp_assert_held(sk);
	if (sk->sk_state == TCP_CLOSE)
		return;
	if (err)
		WRITE_ONCE(sk->sk_err, err);
	switch (sk->sk_state) {
	case TCP_LISTEN:
		cftcp_listen_stop(sk);
		break;
	case TCP_SYN_RECV:
		cftcp_send_rst(sk);
		fallthrough;
	case TCP_SYN_SENT:
		cftcp_sock_done(sk, err, "abort");
		break;
	default:
		cftcp_event(sk, CFTCP_EV_ABORT, NULL);
	}
}

int cftcp_diag_destroy(struct sock *sk, int err)
{
	lock_sock(sk);
	if (sk->sk_state == TCP_CLOSE) {
		release_sock(sk);
		return -ENOENT;
	}
	cftcp_abort(sk, err);
	if (!sock_flag(sk, SOCK_DEAD))
		sk_error_report(sk);
	release_sock(sk);
	return 0;
}

void cftcp_shutdown(struct sock *sk, int how)
{
	if (!(how & SEND_SHUTDOWN))
		return;
	if (sk->sk_state == TCP_SYN_RECV)
		cftcp_queue_fin(sk);	/* waits for ESTABLISHED: 3.10.4 */
	else if (cftcp_fsm_covers(sk->sk_state))
		cftcp_event(sk, CFTCP_EV_SHUTDOWN_WR, NULL);
}

/* Text that the user will never read: what was received says so to the peer
 * by a RST (SHLD-3). A FIN is not text.
 */
static bool unread_text(const struct cftcp_sock *cs)
{
	struct sk_buff *skb;

	if (cftcp_unread(cs))
		return true;
	for (skb = skb_rb_first(&cs->ofo); skb; skb = skb_rb_next(skb))
		if (skb->len)
			return true;
	return false;
}

/* CLOSE, RFC 9293 section 3.10.4, with what Linux adds. */
static void close_connection(struct sock *sk)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);
	struct cftcp_sock *cs = cftcp_sk(sk);

	switch (sk->sk_state) {
	case TCP_CLOSE:
		return;
	case TCP_LISTEN:
	case TCP_SYN_SENT:
		cftcp_abort(sk, 0);
		return;
	}
	if (sk->sk_state != TCP_SYN_RECV && unread_text(cs)) {
		cftcp_count(cn, AbortOnClose);
		cftcp_event(sk, CFTCP_EV_CLOSE_UNREAD, NULL);
	} else if (sock_flag(sk, SOCK_LINGER) && !sk->sk_lingertime) {
		abort_linger(sk);
	} else if (!cftcp_sysctl(cn, max_orphans)) {
		cftcp_count(cn, OrphanOverflow);
		cftcp_abort(sk, 0);
	} else if (sk->sk_state == TCP_SYN_RECV) {
		cftcp_queue_fin(sk);
	} else if (sk->sk_state == TCP_FIN_WAIT2 && cs->linger2_ms < 0) {
		abort_linger(sk);
	} else {
		cftcp_event(sk, CFTCP_EV_CLOSE, NULL);
	}
}

static bool fin_unacked(const struct sock *sk)
{
	return (1 << READ_ONCE(sk->sk_state)) &
	       (TCPF_FIN_WAIT1 | TCPF_CLOSING | TCPF_LAST_ACK);
}

/* SO_LINGER: until our FIN is acknowledged, the time is over or a signal. */
static void linger(struct sock *sk, long timeout)
{
	ktime_t until = timeout == MAX_SCHEDULE_TIMEOUT ? KTIME_MAX :
			ktime_add_ns(ktime_get(), jiffies64_to_nsecs(timeout));
	DEFINE_WAIT(wait);

	release_sock(sk);
	while (fin_unacked(sk) && !signal_pending(current) &&
	       ktime_before(ktime_get(), until)) {
		prepare_to_wait(sk_sleep(sk), &wait, TASK_INTERRUPTIBLE);
		if (fin_unacked(sk))
			schedule_hrtimeout(&until, HRTIMER_MODE_ABS);
		finish_wait(sk_sleep(sk), &wait);
	}
	lock_sock(sk);
}

/*
 * The socket goes on without a user: count it, bound its life. Returns whether
 * its namespace has too many of them.
 */
static bool become_orphan(struct sock *sk)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);
	bool crowded;

	if (sk->sk_state == TCP_CLOSE) {
		cftcp_destroy(sk);
		return false;
	}
	crowded = join_orphans(sk);
	cftcp_sock_release_net(sk);
	/* Our FIN was acknowledged while close() lingered. */
	if (sk->sk_state == TCP_FIN_WAIT2 && cftcp_sk(sk)->linger2_ms < 0) {
		abort_linger(sk);
	} else if (out_of_memory(sk)) {
		cftcp_count(cn, AbortOnMemory);
		cftcp_abort(sk, 0);
	} else {
		cftcp_timer_orphaned(sk);
	}
	return crowded;
}

void cftcp_close(struct sock *sk, long timeout)
{
	/* An orphan does not hold it, and its exit must not meet us as owner. */
	struct net *net = maybe_get_net(sock_net(sk));
	bool crowded = false;

	lock_sock(sk);
	WRITE_ONCE(sk->sk_shutdown, SHUTDOWN_MASK);
	close_connection(sk);
	if (timeout && sk->sk_socket)
		linger(sk, timeout);
	sock_hold(sk);
	sock_orphan(sk);
	/* The backlog is worked on as an orphan's. */
	release_sock(sk);
	lock_sock(sk);
	/* That, or sock_diag, may have ended it, and then destroyed it too. */
	if (!cftcp_sk(sk)->destroyed)
		crowded = become_orphan(sk);
	release_sock(sk);
	sock_put(sk);
	if (net && crowded)
		thin_out_orphans(cftcp_net(net));
	if (net)
		put_net(net);
}

/* Returns false when the walk was disturbed and must be done again. */
static bool purge_walk(struct cftcp_net *cn)
{
	struct rhashtable_iter iter;
	struct cftcp_entry *entry;

	rhashtable_walk_enter(&cn->connections, &iter);
	rhashtable_walk_start(&iter);
	while ((entry = rhashtable_walk_next(&iter))) {
		struct sock *sk;

		if (IS_ERR(entry))
			break;
		if (entry->kind != CFTCP_KIND_SOCK)
			continue;
		sk = cftcp_to_sk(container_of(entry, struct cftcp_sock, entry));
		if (!refcount_inc_not_zero(&sk->sk_refcnt))
			continue;
		local_bh_disable();
		bh_lock_sock(sk);
		WARN_ON_ONCE(sock_owned_by_user(sk));
		cftcp_sock_done(sk, 0, "netns exit");
		bh_unlock_sock(sk);
		local_bh_enable();
		sock_put(sk);
	}
	rhashtable_walk_stop(&iter);
	rhashtable_walk_exit(&iter);
	return !entry;
}

void cftcp_orphans_purge(struct cftcp_net *cn)
{
	/* Who ends one by a timer just now has left the table before us. */
	while (!purge_walk(cn) || atomic_read(&cn->sockets))
		usleep_range(100, 1000);
}
