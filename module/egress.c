// SPDX-License-Identifier: GPL-2.0
/*
 * There is no congestion window, so nothing but this keeps a connection from
 * filling the queues of its own machine. What a segment costs is counted in
 * sk_wmem_alloc until it is freed; beyond a limit text waits. The limit follows
 * the rate at which that queue drains, and begins with less than 50 packets, so
 * that a short queue does not overflow. sock_wfree() tells by sk_write_space
 * that there is room, in any context, so a tasklet goes on with the socket.
 *
 * Who has orphaned a segment (netem does) tells nobody; therefore the timer
 * looks as well.
 */
#include <linux/interrupt.h>
#include <linux/percpu.h>

#include "egress.h"
#include "input.h"
#include "output.h"
#include "recovery.h"
#include "sock.h"
#include "timer.h"

/* Least and most of the limit: 46 packets with what they cost, 1 MB. */
#define LIMIT_MIN	(68U << 10)
#define LIMIT_MAX	(LIMIT_MIN << 4)
/* What a segment costs beside its text. */
#define OVERHEAD	4096U
/* Text was below for less time, or for more: the limit changes. */
#define DRAINED_FAST_NS	(500 * NSEC_PER_USEC)
#define DRAINED_SLOW_NS	(2 * NSEC_PER_MSEC)
/* What pacing makes up for. */
#define LATE_MAX_NS	(2 * NSEC_PER_MSEC)
/* To look again if nobody tells. */
#define LOOK_AGAIN_NS	(10 * NSEC_PER_MSEC)

/* Bits of cftcp_egress.flags. */
#define EGRESS_WAITS	0	/* for room below */
#define EGRESS_LISTED	1	/* in the list of a CPU, which holds it */

struct room_list {
	struct llist_head sockets;
	struct tasklet_struct tasklet;
};

static DEFINE_PER_CPU(struct room_list, room_lists);

void cftcp_egress_init(struct sock *sk)
{
	struct cftcp_egress *egress = &cftcp_sk(sk)->egress;

	egress->limit = LIMIT_MIN;
	egress->late_ns = 0;
	egress->half_at = 0;
	egress->before_at = 0;
	egress->half = 0;
	egress->fast = false;
	egress->paced_at = 0;
	egress->refused_until = 0;
}

/*
 * Pacing.
 */

unsigned long cftcp_egress_rate(const struct sock *sk)
{
	unsigned long user = READ_ONCE(sk->sk_max_pacing_rate);
	int rate = cftcp_sysctl(cftcp_sock_net(sk), pacing_rate);

	return rate ? min_t(unsigned long, rate, user) : user;
}

static bool by_qdisc(const struct sock *sk)
{
	return READ_ONCE(sk->sk_pacing_status) == SK_PACING_FQ;
}

/* Two segments at once, or what takes a quarter of a millisecond; there is no
 * room for more than LIMIT_MAX.
 */
static u32 paced_room(struct sock *sk, unsigned long rate, u32 mss)
{
	struct cftcp_egress *egress = &cftcp_sk(sk)->egress;

	if (!by_qdisc(sk) && ktime_get_ns() < egress->paced_at) {
		cftcp_timer_paced(sk, egress->paced_at);
		return 0;
	}
	return max_t(u32, 2 * mss, min_t(unsigned long, rate >> 12, LIMIT_MAX));
}

/* What is left of the half has no room for a segment. */
static bool half_sent(const struct sock *sk)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);

	return cs->egress.half + cs->mss + OVERHEAD > cs->egress.limit / 2;
}

/* Two halves of the limit may be below: when did each begin to leave us? */
static void count_half(struct sock *sk, u32 len)
{
	struct cftcp_egress *egress = &cftcp_sk(sk)->egress;
	u64 now = cftcp_sk(sk)->now;

	if (!egress->half_at || half_sent(sk)) {
		egress->before_at = egress->half_at ?: now;
		egress->half_at = now;
		egress->half = 0;
	}
	egress->half += len;
}

void cftcp_egress_sent(struct sock *sk, u32 len, u32 mss)
{
	struct cftcp_egress *egress = &cftcp_sk(sk)->egress;
	unsigned long rate = READ_ONCE(sk->sk_pacing_rate);
	u64 now, gap, late, sooner;

	count_half(sk, len);
	if (rate == ~0UL || by_qdisc(sk))
		return;
	len += DIV_ROUND_UP(len, mss) * cftcp_packet_len(sk, 0);
	now = ktime_get_ns();
	gap = div64_ul((u64)len * NSEC_PER_SEC, max(rate, 1UL));
	/* Timers are late, and so are owners of the socket: what follows makes
	 * up for that, at no more than twice the rate.
	 */
	late = egress->late_ns + now - min(now, egress->paced_at);
	late = min_t(u64, late, LATE_MAX_NS);
	sooner = min(late, gap / 2);
	egress->late_ns = late - sooner;
	egress->paced_at = now + gap - sooner;
}

/*
 * The queue below.
 */

static bool full_below(const struct sock *sk)
{
	return sk_wmem_alloc_get(sk) >
	       READ_ONCE(cftcp_sk(sk)->egress.limit) / 2;
}

/* How long was what has just left below? 0 when nothing can be said. */
static u64 drained_in(const struct sock *sk, bool waited)
{
	const struct cftcp_egress *egress = &cftcp_sk(sk)->egress;
	u64 since = 0;

	if (waited)
		since = egress->before_at;
	else if (egress->half_at && half_sent(sk) &&
		 sk_wmem_alloc_get(sk) < OVERHEAD)
		since = egress->half_at;
	return since ? ktime_get_ns() - since : 0;
}

static void follow_rate(struct sock *sk)
{
	struct cftcp_egress *egress = &cftcp_sk(sk)->egress;
	bool waited = test_bit(EGRESS_WAITS, &egress->flags);
	u64 took = drained_in(sk, waited);

	if (!took)
		return;
	/* Each half tells once. */
	egress->before_at = 0;
	if (took < DRAINED_FAST_NS && egress->limit < LIMIT_MAX) {
		/* Once may be a bucket of tokens that was full. */
		if (egress->fast)
			WRITE_ONCE(egress->limit, egress->limit * 2);
		egress->fast = !egress->fast;
		return;
	}
	egress->fast = false;
	if (waited && took > DRAINED_SLOW_NS && egress->limit > LIMIT_MIN)
		WRITE_ONCE(egress->limit, egress->limit / 2);
}

/* Returns false when there is room by now. */
static bool wait_below(struct sock *sk)
{
	struct cftcp_egress *egress = &cftcp_sk(sk)->egress;

	set_bit(EGRESS_WAITS, &egress->flags);
	/* First the bit, as cftcp_egress_freed() looks for it afterwards. */
	smp_mb__after_atomic();
	if (!full_below(sk))
		return false;
	cftcp_timer_held(sk, ktime_get_ns() + LOOK_AGAIN_NS);
	return true;
}

/* A queue that had no room will have some after a while. */
static bool still_refused(struct sock *sk)
{
	struct cftcp_egress *egress = &cftcp_sk(sk)->egress;

	if (!egress->refused_until)
		return false;
	if (ktime_get_ns() < egress->refused_until) {
		cftcp_timer_held(sk, egress->refused_until);
		return true;
	}
	egress->refused_until = 0;
	return false;
}

u32 cftcp_egress_room(struct sock *sk, u32 mss)
{
	struct cftcp_egress *egress = &cftcp_sk(sk)->egress;
	unsigned long rate = cftcp_egress_rate(sk);
	u32 room;

	if (still_refused(sk) || (full_below(sk) && wait_below(sk)))
		return 0;
	follow_rate(sk);
	if (sk_wmem_alloc_get(sk) < OVERHEAD)
		egress->half_at = 0;
	if (test_bit(EGRESS_WAITS, &egress->flags))
		clear_bit(EGRESS_WAITS, &egress->flags);
	room = egress->limit / 2 - OVERHEAD;
	/* For fq, and for cftcp_egress_sent(). */
	if (sk->sk_pacing_rate != rate)
		WRITE_ONCE(sk->sk_pacing_rate, rate);
	if (rate != ~0UL) {
		room = min(room, paced_room(sk, rate, mss));
		if (!room)
			return 0;
	}
	return max(room - room % mss, mss);
}

void cftcp_egress_refused(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u64 wait = clamp_t(u64, cs->srtt_us / 4 * NSEC_PER_USEC, NSEC_PER_MSEC,
			   100 * NSEC_PER_MSEC);

	WRITE_ONCE(cs->egress.limit, LIMIT_MIN);
	cs->egress.refused_until = ktime_get_ns() + wait;
	cftcp_timer_held(sk, cs->egress.refused_until);
}

void cftcp_egress_freed(struct sock *sk)
{
	struct cftcp_egress *egress = &cftcp_sk(sk)->egress;
	struct room_list *list;

	/* First it was counted out of sk_wmem_alloc. */
	smp_mb__after_atomic();
	if (!test_bit(EGRESS_WAITS, &egress->flags) || full_below(sk) ||
	    test_and_set_bit(EGRESS_LISTED, &egress->flags))
		return;
	if (!refcount_inc_not_zero(&sk->sk_refcnt))
		return;
	list = get_cpu_ptr(&room_lists);
	if (llist_add(&egress->node, &list->sockets))
		tasklet_schedule(&list->tasklet);
	put_cpu_ptr(&room_lists);
}

void cftcp_egress_resume(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if ((1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN | TCPF_SYN_SENT |
				   TCPF_SYN_RECV))
		return;
	cftcp_tick(cs);
	if (cs->lost_segs)
		cftcp_recovery_reorder(sk);
	cftcp_push_pending(sk);
	cftcp_wake_writer(sk);
}

static void room_again(struct tasklet_struct *tasklet)
{
	struct room_list *list = from_tasklet(list, tasklet, tasklet);
	struct cftcp_sock *cs, *next;

	llist_for_each_entry_safe(cs, next, llist_del_all(&list->sockets),
				  egress.node) {
		struct sock *sk = cftcp_to_sk(cs);

		clear_bit(EGRESS_LISTED, &cs->egress.flags);
		/* What is freed from here on lists it again. */
		smp_mb__after_atomic();
		bh_lock_sock(sk);
		if (sock_owned_by_user(sk))
			set_bit(CFTCP_DEFER_ROOM, &cs->deferred);
		else
			cftcp_egress_resume(sk);
		bh_unlock_sock(sk);
		sock_put(sk);
	}
}

void cftcp_egress_start(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		tasklet_setup(&per_cpu(room_lists, cpu).tasklet, room_again);
}

void cftcp_egress_stop(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		tasklet_kill(&per_cpu(room_lists, cpu).tasklet);
}
