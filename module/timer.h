/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The timers of a connection, multiplexed on one high resolution timer.
 *
 * Nothing outside of timer.c arms one. Callers say what happened; which timer
 * runs in which state is decided here alone. The list, with what each means
 * and when it runs, stands in timer.c.
 */
#ifndef _CFTCP_TIMER_H
#define _CFTCP_TIMER_H

#include <linux/hrtimer.h>
#include <linux/types.h>

struct sock;

enum cftcp_timer_id {
	CFTCP_TIMER_RTO,
	CFTCP_TIMER_PERSIST,
	CFTCP_TIMER_DELACK,
	CFTCP_TIMER_REORDER,
	CFTCP_TIMER_PROBE,
	CFTCP_TIMER_PACE,
	CFTCP_TIMER_FIN_WAIT2,
	CFTCP_TIMER_USER,
	CFTCP_TIMER_KEEPALIVE,
	CFTCP_TIMER_COUNT
};

/**
 * struct cftcp_timer - one timer for all
 * @hrtimer: runs no later than the earliest of @at
 * @held: it holds a reference of the socket, from the first arming on until
 *	it is known that it will not run again
 * @at: ns (CLOCK_MONOTONIC) when each timer fires, 0 when it does not run
 * @rto_at: ns, end of the RTO while anything is in flight, else 0; REORDER or
 *	PROBE may run in its stead
 */
struct cftcp_timer {
	struct hrtimer hrtimer;
	bool held;
	u64 at[CFTCP_TIMER_COUNT];
	u64 rto_at;
};

/** cftcp_timer_init() - for a new socket; nothing runs */
void cftcp_timer_init(struct sock *sk);
/** cftcp_timer_stop_all() - CLOSED or TIME-WAIT; lock held */
void cftcp_timer_stop_all(struct sock *sk);
/** cftcp_timer_running() - does this timer run? For /proc and TCP_INFO */
bool cftcp_timer_running(const struct sock *sk, enum cftcp_timer_id id);

/*
 * What happened. Context of all: socket lock held, process or softirq.
 */
/** cftcp_timer_sent() - something that wants an ACK left (RFC 6298 5.1) */
void cftcp_timer_sent(struct sock *sk);
/** cftcp_timer_acked() - SND.UNA advanced (RFC 6298 5.2, 5.3) */
void cftcp_timer_acked(struct sock *sk);
/** cftcp_timer_established() - the connection is there; its silence begins */
void cftcp_timer_established(struct sock *sk);
/** cftcp_timer_heard() - an acceptable ACK came: the peer is alive */
void cftcp_timer_heard(struct sock *sk);
/** cftcp_timer_window_shut() - data waits for the window, nothing in flight */
void cftcp_timer_window_shut(struct sock *sk);
/** cftcp_timer_corked() - a partial segment waits for more, not for ever */
void cftcp_timer_corked(struct sock *sk);
/** cftcp_timer_window_open() - it does so no longer */
void cftcp_timer_window_open(struct sock *sk);
/** cftcp_timer_paced() - text waits for its time; @at in ns */
void cftcp_timer_paced(struct sock *sk, u64 at);
/** cftcp_timer_held() - text waits for a queue of this host; @at as above */
void cftcp_timer_held(struct sock *sk, u64 at);
/** cftcp_timer_ack_owed() - an ACK may wait a little */
void cftcp_timer_ack_owed(struct sock *sk);
/** cftcp_timer_fin_came() - the ACK of a FIN may wait for ours, for a moment */
void cftcp_timer_fin_came(struct sock *sk);
/** cftcp_timer_ack_sent() - every segment with ACK pays it */
void cftcp_timer_ack_sent(struct sock *sk);
/**
 * cftcp_timer_repaired() - losses were looked for and sent again
 * @sk: the socket, lock held
 * @reorder_ns: look for losses again after this time; 0 for never
 */
void cftcp_timer_repaired(struct sock *sk, u64 reorder_ns);
/** cftcp_timer_orphaned() - the user closed; the orphan timeout begins */
void cftcp_timer_orphaned(struct sock *sk);
/** cftcp_timer_fin_wait2() - FIN-WAIT-2 begins, or its user closed */
void cftcp_timer_fin_wait2(struct sock *sk);
/** cftcp_timer_user_timeout_set() - TCP_USER_TIMEOUT was set */
void cftcp_timer_user_timeout_set(struct sock *sk);
/**
 * cftcp_timer_keepalive_set() - SO_KEEPALIVE is about to change (proto.keepalive)
 * @sk: the socket, lock held
 * @on: what it will be
 */
void cftcp_timer_keepalive_set(struct sock *sk, int on);
/** cftcp_timer_keepalive_changed() - TCP_KEEPIDLE was set */
void cftcp_timer_keepalive_changed(struct sock *sk);
/** cftcp_timer_deferred() - run what fell due while a process held the lock */
void cftcp_timer_deferred(struct sock *sk);

/** cftcp_keepalive_time_ms() - silence before the first keepalive probe */
u32 cftcp_keepalive_time_ms(const struct sock *sk);
/** cftcp_keepalive_intvl_ms() - time between two probes */
u32 cftcp_keepalive_intvl_ms(const struct sock *sk);
/** cftcp_keepalive_probes() - how many may stay unanswered */
u32 cftcp_keepalive_probes(const struct sock *sk);

/** cftcp_rto_ns() - RTO with backoff, bounded by rto_max_ms */
u64 cftcp_rto_ns(const struct sock *sk);

#endif
