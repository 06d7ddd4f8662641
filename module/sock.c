// SPDX-License-Identifier: GPL-2.0
/* The system calls, but for closing (close.c) and options (opt.c). */
#include <asm/ioctls.h>
#include <linux/bvec.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/sockios.h>
#include <linux/swap.h>
#include <linux/tcp.h>
#include <net/busy_poll.h>
#include <net/inet_common.h>
#include <net/ip.h>
#include <net/protocol.h>
#include <net/tcp.h>
#include <net/transp_v6.h>

#include "buffer.h"
#include "charge.h"
#include "close.h"
#include "demux.h"
#include "early.h"
#include "frag.h"
#include "input.h"
#include "listen.h"
#include "opt.h"
#include "output.h"
#include "port.h"
#include "recovery.h"
#include "sock.h"
#include "timer.h"
#include "trace.h"
#include "urgent.h"

static atomic_long_t memory_allocated ____cacheline_aligned_in_smp;
static DEFINE_PER_CPU(int, fw_alloc);
static struct percpu_counter sockets_allocated;
static unsigned long memory_pressure;
/* Pages: below [0] no limits, above [1] pressure, [2] is the end. */
static long sysctl_mem[3];
static int sysctl_rmem[1] = { 4096 };
static int sysctl_wmem[1] = { 4096 };

static struct lock_class_key lock_key, slock_key;

/*
 * sk_write_space: a segment was freed by who had it to send, in any context
 * (RCU keeps the struct socket); or ACKs or the user's options made room in the
 * send buffer.
 */
static void write_space(struct sock *sk)
{
	struct socket_wq *wq;
	struct socket *sock;

	cftcp_egress_freed(sk);
	rcu_read_lock();
	sock = READ_ONCE(sk->sk_socket);
	if (!sock || !test_bit(SOCK_NOSPACE, &sock->flags) ||
	    !__sk_stream_is_writeable(sk, 1)) {
		rcu_read_unlock();
		return;
	}
	clear_bit(SOCK_NOSPACE, &sock->flags);
	wq = rcu_dereference(sk->sk_wq);
	if (skwq_has_sleeper(wq))
		wake_up_interruptible_poll(&wq->wait, EPOLLOUT | EPOLLWRNORM |
					   EPOLLWRBAND);
	if (!(sk->sk_shutdown & SEND_SHUTDOWN))
		sk_wake_async(sk, SOCK_WAKE_SPACE, POLL_OUT);
	rcu_read_unlock();
}

/*
 * Coming into being.
 */

void cftcp_sock_init_fields(struct sock *sk)
{
	struct cftcp_net *cn = cftcp_net(sock_net(sk));
	struct cftcp_sock *cs = cftcp_sk(sk);

	cs->cn = cn;
	/* A reservation's lock is taken inside of ours: own lock classes. */
	sock_lock_init_class_and_name(sk, "slock-CFTCP", &slock_key,
				      "sk_lock-CFTCP", &lock_key);
	cftcp_set_wire(sk, cftcp_family(sk));
	cs->entry.kind = CFTCP_KIND_SOCK;
	cs->entry.family = sk->sk_family;
	cs->rtx = RB_ROOT;
	cs->rtx_sacked = RB_ROOT;
	cftcp_recovery_reset(cs);
	cs->ofo = RB_ROOT;
	INIT_HLIST_NODE(&cs->port_node);
	INIT_HLIST_NODE(&cs->listen_node);
	INIT_LIST_HEAD(&cs->accept_node);
	spin_lock_init(&cs->listen.lock);
	INIT_LIST_HEAD(&cs->listen.accept);
	INIT_LIST_HEAD(&cs->listen.requests);
	cs->peer_mss = cs->af->default_mss;
	cs->mss = cs->af->default_mss;
	cs->rcv_mss = cs->af->default_mss;
	cs->rto_ns = (u64)cftcp_sysctl(cn, rto_init_ms) * NSEC_PER_MSEC;
	cftcp_timer_init(sk);
	cftcp_egress_init(sk);
	cftcp_pmtu_init(sk);

	sk->sk_rcvbuf = READ_ONCE(cn->sysctl.rmem[1]);
	sk->sk_sndbuf = READ_ONCE(cn->sysctl.wmem[1]);
	sk->sk_write_space = write_space;
	sock_set_flag(sk, SOCK_RCU_FREE);	/* lookups */
	sk_sockets_allocated_inc(sk);
	atomic_inc(&cn->sockets);
}

void cftcp_sock_uncount(struct sock *sk)
{
	sk_sockets_allocated_dec(sk);
	atomic_dec(&cftcp_sock_net(sk)->sockets);
}

static int init(struct sock *sk)
{
	struct cftcp_net *cn = cftcp_net(sock_net(sk));

	if (!cftcp_sysctl(cn, enabled))
		return -ENOPROTOOPT;
	cftcp_early_start(cn);
	cftcp_sock_init_fields(sk);
	return 0;
}

void cftcp_sock_init_child(struct sock *sk)
{
	struct inet_sock *inet = inet_sk(sk);

	/* As inet_create() does for a socket of a process. */
	sk->sk_type = SOCK_STREAM;
	sk->sk_destruct = inet_sock_destruct;
	sk->sk_protocol = IPPROTO_CFTCP;
	sk->sk_backlog_rcv = sk->sk_prot->backlog_rcv;
	inet->uc_ttl = -1;
	inet->mc_ttl = 1;
	cftcp_sock_init_fields(sk);
	sk_set_txhash(sk);
	cftcp_set_inet_id(inet, get_random_u16());
}

/*
 * connect, disconnect
 */

static void begin_syn(struct sock *sk)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 most = max(READ_ONCE(sk->sk_rcvbuf), READ_ONCE(cn->sysctl.rmem[2]));

	cs->snd_una = cs->iss;
	cs->snd_nxt = cs->iss;
	cs->write_seq = cs->iss + 1;
	cs->ts_offset = cftcp_ts_offset(&cs->key);
	cs->ts_ok = 1;
	cs->sack_ok = 1;
	cs->wscale_ok = 1;
	cs->rcv_wscale = cftcp_choose_wscale(most / 2);
	cs->rcv_wnd = min(cftcp_max_window(cs), 65535U);
	cs->created_at = ktime_get_ns();
	cs->syn_rexmits = 0;
	cs->rcv_mss = cs->af->default_mss;
	cs->small_end = cs->iss;
	cs->urgent_mode = 0;
	/* What disconnect() left is of the connection before. */
	WRITE_ONCE(sk->sk_err, 0);
}

static int pre_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
{
	int err, bound;

	cftcp_sk(sk)->in_bpf = 1;
	err = cftcp_family(sk)->pre_connect(sk, uaddr, addr_len);
	cftcp_sk(sk)->in_bpf = 0;
	/* Also where connect() is denied: with a port there is a reservation. */
	bound = cftcp_port_get_for_bpf(sk);
	return err ?: bound;
}

static int connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
{
	int err;

	err = cftcp_family(sk)->connect(sk, uaddr, addr_len);
	if (err)
		return err;
	err = cftcp_port_connect(sk);
	if (err) {
		cftcp_family(sk)->unconnect(sk);
		return err == -EADDRINUSE ? -EADDRNOTAVAIL : err;
	}
	cftcp_sk(sk)->hashed = 1;
	/* It was found without our port: the SYN goes by what all others will. */
	sk_dst_reset(sk);
	sk_set_txhash(sk);
	cftcp_set_inet_id(inet_sk(sk), get_random_u16());
	begin_syn(sk);
	cftcp_count(cftcp_sock_net(sk), ActiveOpens);
	cftcp_sock_set_state(sk, TCP_SYN_SENT, "connect");
	cftcp_send_syn(sk);
	return 0;
}

/* Everything that one connection leaves behind and the next must not find. */
static void forget_connection(struct sock *sk)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);
	struct cftcp_sock *cs = cftcp_sk(sk);

	__skb_queue_purge(&sk->sk_receive_queue);
	cftcp_purge_ofo(sk);
	kfree(cs->saved_syn);
	cs->saved_syn = NULL;
	cs->snd_una = 0;
	cs->snd_nxt = 0;
	cs->write_seq = 0;
	cs->rcv_nxt = 0;
	cs->rcv_wup = 0;
	cs->copied_seq = 0;
	cs->read_round_at = 0;
	cs->fin_queued = 0;
	cs->fin_received = 0;
	cs->ack_now = 0;
	cs->urgent_mode = 0;
	cs->urg_marked = 0;
	cs->backoff = 0;
	cs->keepalives_sent = 0;
	cs->dup_acks = 0;
	cftcp_recovery_reset(cs);
	cs->srtt_us = 0;
	cs->min_rtt_us = 0;
	cs->max_snd_wnd = 0;
	cs->bytes_acked = 0;
	cftcp_egress_init(sk);
	cftcp_pmtu_init(sk);
	cs->ts_recent = 0;
	cs->rto_ns = (u64)cftcp_sysctl(cn, rto_init_ms) * NSEC_PER_MSEC;
	WRITE_ONCE(sk->sk_shutdown, 0);
	WRITE_ONCE(sk->sk_err_soft, 0);
	sock_reset_flag(sk, SOCK_DONE);
	sk_dst_reset(sk);
	cftcp_early_forget(sk);
}

/* Would the connection have gone on? Not after both FINs. */
static bool cuts_off(const struct sock *sk)
{
	switch (sk->sk_state) {
	case TCP_CLOSE:
	case TCP_LISTEN:
		return false;
	case TCP_CLOSING:
	case TCP_LAST_ACK:
		return !cftcp_fin_sent(cftcp_sk(sk));
	}
	return true;
}

/* connect(AF_UNSPEC), a connect() that failed, shutdown() of a listener. */
static int disconnect(struct sock *sk, int flags)
{
	if (cuts_off(sk)) {
		cftcp_count(cftcp_sock_net(sk), AbortOnUser);
		cftcp_abort(sk, ECONNRESET);
	} else {
		cftcp_abort(sk, 0);
	}
	forget_connection(sk);
	cftcp_family(sk)->unconnect(sk);
	if (!(sk->sk_userlocks & SOCK_BINDPORT_LOCK))
		cftcp_port_put(sk);
	return 0;
}

/*
 * listen, accept
 */

static int listen(struct socket *sock, int backlog)
{
	struct sock *sk = sock->sk;
	int err = -EINVAL;

	lock_sock(sk);
	if (sock->state != SS_UNCONNECTED)
		goto out;
	if (sk->sk_state == TCP_LISTEN) {
		WRITE_ONCE(cftcp_sk(sk)->listen.backlog, backlog);
		err = 0;
	} else if (sk->sk_state == TCP_CLOSE) {
		err = inet_sk(sk)->inet_num ? 0 : cftcp_port_get(sk, 0);
		if (!err)
			err = cftcp_listen_start(sk, backlog);
	}
out:
	release_sock(sk);
	return err;
}

static struct sock *wait_for_child(struct sock *sk, long timeo, int *err)
{
	DEFINE_WAIT(wait);
	struct sock *child;

	for (;;) {
		prepare_to_wait_exclusive(sk_sleep(sk), &wait,
					  TASK_INTERRUPTIBLE);
		*err = 0;
		child = cftcp_accept_pop(sk);
		if (child)
			break;
		*err = -EINVAL;
		if (sk->sk_state != TCP_LISTEN)
			break;
		*err = -EAGAIN;
		if (!timeo)
			break;
		*err = sock_intr_errno(timeo);
		if (signal_pending(current))
			break;
		release_sock(sk);
		timeo = schedule_timeout(timeo);
		lock_sock(sk);
	}
	finish_wait(sk_sleep(sk), &wait);
	/* Who took a wakeup takes its child: no other waiter knows of it. */
	return child ?: cftcp_accept_pop(sk);
}

static int accept_child(struct socket *sock, struct socket *newsock, int flags)
{
	struct sock *sk = sock->sk, *child;
	int err = -EINVAL;

	lock_sock(sk);
	child = sk->sk_state == TCP_LISTEN ?
		wait_for_child(sk, sock_rcvtimeo(sk, flags & O_NONBLOCK),
			       &err) : NULL;
	release_sock(sk);
	if (!child)
		return err;
	lock_sock(child);
	cftcp_charge_accept(child);
	sock_graft(child, newsock);
	newsock->state = SS_CONNECTED;
	release_sock(child);
	return 0;
}

#ifdef CFTCP_ACCEPT_ARG
static int accept(struct socket *sock, struct socket *newsock,
		  struct proto_accept_arg *arg)
{
	return accept_child(sock, newsock, arg->flags);
}
#else
static int accept(struct socket *sock, struct socket *newsock, int flags,
		  bool kern)
{
	return accept_child(sock, newsock, flags);
}
#endif

/*
 * send
 */

static struct sk_buff *fresh_tail(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb;

	if (!sk_stream_memory_free(sk) && !cftcp_sndbuf_follow(sk))
		return NULL;
	skb = cftcp_alloc_skb(sk, sk->sk_allocation);
	if (!skb)
		return NULL;
	cftcp_cb(skb)->seq = cs->write_seq;
	cftcp_cb(skb)->end_seq = cs->write_seq;
	__skb_queue_tail(&sk->sk_write_queue, skb);
	return skb;
}

/* The segment that text from there goes into, or NULL for want of memory. */
static struct sk_buff *tail_with_room(struct sock *sk, u32 goal,
				      struct page *page, u32 offset)
{
	struct sk_buff *skb = skb_peek_tail(&sk->sk_write_queue);
	int frags;

	if (!skb || skb->len >= goal)
		return fresh_tail(sk);
	frags = skb_shinfo(skb)->nr_frags;
	if (frags >= MAX_SKB_FRAGS &&
	    !skb_can_coalesce(skb, frags, page, offset))
		return fresh_tail(sk);
	return skb;
}

static void drop_empty_tail(struct sock *sk, struct sk_buff *skb)
{
	if (skb->len)
		return;
	__skb_unlink(skb, &sk->sk_write_queue);
	cftcp_free_skb(sk, skb);
}

/* Copy some text to the tail. Returns octets, 0 for no memory, or -EFAULT. */
static int append(struct sock *sk, struct msghdr *msg, u32 goal)
{
	struct page_frag *pfrag = sk_page_frag(sk);
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb;
	int frags, copy, err;
	bool merge;

	if (!cftcp_frag_refill(sk, pfrag))
		return 0;
	skb = tail_with_room(sk, goal, pfrag->page, pfrag->offset);
	if (!skb)
		return 0;
	frags = skb_shinfo(skb)->nr_frags;
	merge = skb_can_coalesce(skb, frags, pfrag->page, pfrag->offset);
	copy = min_t(size_t, msg_data_left(msg), goal - skb->len);
	copy = min_t(int, copy, pfrag->size - pfrag->offset);
	if (!sk_wmem_schedule(sk, copy)) {
		drop_empty_tail(sk, skb);
		return 0;
	}
	err = skb_copy_to_page_nocache(sk, &msg->msg_iter, skb, pfrag->page,
				       pfrag->offset, copy);
	if (err) {
		drop_empty_tail(sk, skb);
		return err;
	}
	if (merge) {
		skb_frag_size_add(&skb_shinfo(skb)->frags[frags - 1], copy);
	} else {
		skb_fill_page_desc(skb, frags, pfrag->page, pfrag->offset,
				   copy);
		get_page(pfrag->page);
	}
	pfrag->offset += copy;
	cs->write_seq += copy;
	cftcp_cb(skb)->end_seq += copy;
	return copy;
}

static void add_page(struct sock *sk, struct sk_buff *skb, struct page *page,
		     size_t offset, int len)
{
	int frags = skb_shinfo(skb)->nr_frags;

	if (skb_can_coalesce(skb, frags, page, offset)) {
		skb_frag_size_add(&skb_shinfo(skb)->frags[frags - 1], len);
		put_page(page);
	} else {
		skb_fill_page_desc(skb, frags, page, offset, len);
	}
	/* Whoever owns the page may still write into it. */
	skb_shinfo(skb)->flags |= SKBFL_SHARED_FRAG;
	skb->len += len;
	skb->data_len += len;
	skb->truesize += len;
	sk_wmem_queued_add(sk, len);
	sk_mem_charge(sk, len);
	cftcp_cb(skb)->end_seq += len;
	cftcp_sk(sk)->write_seq += len;
}

/* As append(), but the pages of the message become part of the segment. */
static int append_page(struct sock *sk, struct msghdr *msg, u32 goal)
{
	struct sk_buff *skb = skb_peek_tail(&sk->sk_write_queue);
	u32 room = skb && skb->len < goal ? goal - skb->len : goal;
	struct page *page;
	ssize_t len;
	size_t offset;

	len = iov_iter_get_pages2(&msg->msg_iter, &page, room, 1, &offset);
	if (len <= 0)
		return len ?: -EIO;
	skb = sendpage_ok(page) ? tail_with_room(sk, goal, page, offset) : NULL;
	if (skb && sk_wmem_schedule(sk, len)) {
		add_page(sk, skb, page, offset, len);
		return len;
	}
	iov_iter_revert(&msg->msg_iter, len);
	if (skb)
		drop_empty_tail(sk, skb);
	len = sendpage_ok(page) ? 0 : -EIO;
	put_page(page);
	return len;
}

/* What is queued is urgent; a window that is shut does not keep it secret. */
static void send_urgent(struct sock *sk)
{
	cftcp_urgent_mark(cftcp_sk(sk));
	cftcp_push(sk, CFTCP_PUSH_NAGLE);
	if (!skb_queue_empty(&sk->sk_write_queue))
		cftcp_send_ack(sk);
}

static int send_locked(struct sock *sk, struct msghdr *msg, bool pages,
		       long timeo)
{
	enum cftcp_push how = msg->msg_flags & CFTCP_MSG_MORE ||
			      cftcp_sk(sk)->cork ?
			      CFTCP_PUSH_MORE : CFTCP_PUSH_NAGLE;
	u32 mss = cftcp_mss(sk), goal = cftcp_size_goal(sk, mss);
	int done = 0, n, err = 0;
	bool full;

	while (msg_data_left(msg)) {
		err = -EPIPE;
		if (sk->sk_err || sk->sk_shutdown & SEND_SHUTDOWN ||
		    cftcp_fsm(sk->sk_state, CFTCP_EV_SEND).act & CFTCP_DO_EPIPE)
			break;
		n = pages ? append_page(sk, msg, goal) : append(sk, msg, goal);
		err = n;
		if (n < 0)
			break;
		done += n;
		if (n && skb_peek_tail(&sk->sk_write_queue)->len < goal)
			continue;
		/* A segment is full, or memory is: let go what can go. */
		full = !sk_stream_memory_free(sk);
		cftcp_push_by(sk, n ? CFTCP_PUSH_MORE : how, mss);
		if (n || (full && sk_stream_memory_free(sk)))
			continue;
		set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
		err = sk_stream_wait_memory(sk, &timeo);
		mss = cftcp_mss(sk);
		goal = cftcp_size_goal(sk, mss);
		if (err)
			break;
	}
	/* An ACK that is here already may make Nagle send the rest at once. */
	if (done && sk_flush_backlog(sk))
		mss = cftcp_mss(sk);
	/* After EPIPE it may be another connection's, or none's. */
	if (done && msg->msg_flags & MSG_OOB && err != -EPIPE)
		send_urgent(sk);
	else if (done)
		cftcp_push_by(sk, how, mss);
	/* No ACK will come that wakes who was told to come again. */
	if (err == -EAGAIN && skb_queue_empty(&sk->sk_write_queue) &&
	    !cftcp_rtx_head(cftcp_sk(sk)))
		sk->sk_write_space(sk);
	return done ?: min(err, 0);
}

static int send(struct sock *sk, struct msghdr *msg, bool pages)
{
	long timeo = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
	struct sockcm_cookie control;
	int err = 0;

	if (msg->msg_flags & MSG_FASTOPEN)
		return -EOPNOTSUPP;
	lock_sock(sk);
	if ((1 << sk->sk_state) & ~(TCPF_ESTABLISHED | TCPF_CLOSE_WAIT))
		err = sk_stream_wait_connect(sk, &timeo);
	sk_clear_bit(SOCKWQ_ASYNC_NOSPACE, sk);
	sockcm_init(&control, sk);
	if (!err && msg->msg_controllen &&
	    sock_cmsg_send(sk, msg, &control))
		err = -EINVAL;
	if (!err)
		err = send_locked(sk, msg, pages, timeo);
	if (err < 0)
		err = sk_stream_error(sk, msg->msg_flags, err);
	release_sock(sk);
	return err;
}

static int send_text(struct sock *sk, struct msghdr *msg, size_t len)
{
	return send(sk, msg, cftcp_splices_pages(msg));
}

#ifdef CFTCP_SENDPAGE
static ssize_t sendpage(struct socket *sock, struct page *page, int offset,
			size_t size, int flags)
{
	struct bio_vec bvec = {
		.bv_page = page, .bv_offset = offset, .bv_len = size,
	};
	struct msghdr msg = { .msg_flags = flags };

	if (!sendpage_ok(page))
		return sock_no_sendpage(sock, page, offset, size, flags);
	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, &bvec, 1, size);
	return send(sock->sk, &msg, true);
}
#endif

/* What MSG_MORE held back goes: the file that is sent has ended. */
static void splice_eof(struct socket *sock)
{
	struct sock *sk = sock->sk;

	lock_sock(sk);
	cftcp_push_pending(sk);
	release_sock(sk);
}

/*
 * receive
 */

/* The segment that holds octet @seq, and where in it. */
static struct sk_buff *find_octet(struct sock *sk, u32 seq, u32 *offset)
{
	struct sk_buff *skb;

	skb_queue_walk(&sk->sk_receive_queue, skb) {
		*offset = seq - cftcp_cb(skb)->seq;
		if (*offset < skb->len)
			return skb;
	}
	return NULL;
}

/* Nothing on hand: 0 to wait, 1 to return what there is, or an error. */
static int read_verdict(struct sock *sk, bool some, long timeo)
{
	if (some)
		return sk->sk_err || sk->sk_state == TCP_CLOSE ||
		       sk->sk_shutdown & RCV_SHUTDOWN || !timeo ||
		       signal_pending(current);
	if (sock_flag(sk, SOCK_DONE))
		return 1;
	if (sk->sk_err)
		return sock_error(sk);
	if (sk->sk_shutdown & RCV_SHUTDOWN)
		return 1;
	if (sk->sk_state == TCP_CLOSE)
		return -ENOTCONN;
	if (!timeo)
		return -EAGAIN;
	return signal_pending(current) ? sock_intr_errno(timeo) : 0;
}

/* A SYN,ACK's window has 16 bits; the ACK that is owed tells the whole of it. */
static bool ack_will_tell(const struct sock *sk, u32 shown)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);

	return cs->rcv_wup == cs->irs + 1 && shown > 65535 / 2 &&
	       cftcp_timer_running(sk, CFTCP_TIMER_DELACK);
}

/* The reader made room: tell the peer if that is worth a segment. */
static void update_window(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 shown = cftcp_rcv_wnd_end(cs) - cs->rcv_nxt;
	u32 now;

	cftcp_rcvbuf_follow(sk);
	if (!((1 << sk->sk_state) &
	      (TCPF_ESTABLISHED | TCPF_FIN_WAIT1 | TCPF_FIN_WAIT2)))
		return;
	if (2 * (u64)shown > cftcp_max_window(cs) || ack_will_tell(sk, shown))
		return;
	now = cftcp_select_window(cs);
	if (now > shown && now >= 2 * shown)
		cftcp_send_ack(sk);
}

static void consume(struct sock *sk, struct sk_buff *skb)
{
	__skb_unlink(skb, &sk->sk_receive_queue);
	consume_skb(skb);
}

static bool wants_timestamps(const struct sock *sk)
{
	return sock_flag(sk, SOCK_RCVTSTAMP) || READ_ONCE(sk->sk_tsflags);
}

/* SO_TIMESTAMP and its kin tell when the last of what was read arrived. */
static void keep_stamped(struct sk_buff **stamped, struct sk_buff *skb)
{
	consume_skb(*stamped);
	*stamped = skb_get(skb);
}

/* -EPIPE: disconnect() was called, and this may be another connection now. */
static int wait_data(struct sock *sk, long *timeo, const struct sk_buff *last)
{
	return min(sk_wait_data(sk, timeo, last), 0);
}

/* To read no octets is to wait for one, as in stock TCP. */
static int await_octet(struct sock *sk, long timeo)
{
	u32 offset;
	int err = 0;

	while (!err && !find_octet(sk, cftcp_sk(sk)->copied_seq, &offset)) {
		err = read_verdict(sk, false, timeo);
		if (!err)
			err = wait_data(sk, &timeo,
					skb_peek_tail(&sk->sk_receive_queue));
	}
	return min(err, 0);
}

static int receive_locked(struct sock *sk, struct msghdr *msg, size_t len,
			  int flags, long timeo)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	size_t target = sock_rcvlowat(sk, flags & MSG_WAITALL, len);
	int skip = max(sk_peek_offset(sk, flags), 0);
	u32 peek = cs->copied_seq + skip;
	u32 *seq = flags & MSG_PEEK ? &peek : &cs->copied_seq;
	struct sk_buff *stamped = NULL;
	size_t done = 0;
	u32 left_out = 0;
	int err = 0;

	if (!len)
		return await_octet(sk, timeo);
	while (done < len) {
		u32 offset, n;
		struct sk_buff *skb = find_octet(sk, *seq, &offset);
		struct sk_buff *last = skb_peek_tail(&sk->sk_receive_queue);

		/* A read ends before a mark, SIGURG interrupts one there. */
		if (cftcp_urgent_at(cs, *seq) &&
		    (done || signal_pending(current))) {
			err = timeo ? sock_intr_errno(timeo) : -EAGAIN;
			break;
		}
		if (!skb) {
			if (done >= target && !READ_ONCE(sk->sk_backlog.tail))
				break;
			err = read_verdict(sk, done, timeo);
			if (err)
				break;
			/* What was read made room: who sleeps must say so. */
			if (done && !(flags & MSG_PEEK))
				update_window(sk);
			if (done >= target)
				sk_flush_backlog(sk);
			else
				err = wait_data(sk, &timeo, last);
			if (err)
				break;
			/* Another reader may have been here meanwhile. */
			if (flags & MSG_PEEK &&
			    peek - done - skip - left_out != cs->copied_seq) {
				peek = cs->copied_seq + skip + done;
				left_out = 0;
			}
			continue;
		}
		n = min_t(size_t, skb->len - offset, len - done);
		n = cftcp_urgent_limit(sk, *seq, n);
		if (n && !(flags & MSG_TRUNC) &&
		    skb_copy_datagram_msg(skb, offset, msg, n)) {
			err = -EFAULT;
			break;
		}
		done += n;
		if (wants_timestamps(sk))
			keep_stamped(&stamped, skb);
		if (flags & MSG_PEEK)
			sk_peek_offset_fwd(sk, n);
		else
			sk_peek_offset_bwd(sk, n);
		left_out += !n;
		n += !n;
		*seq += n;
		cftcp_urgent_passed(cs);
		if (!(flags & MSG_PEEK) && offset + n == skb->len)
			consume(sk, skb);
	}
	if (stamped)
		sock_recv_timestamp(msg, sk, stamped);
	consume_skb(stamped);
	if (done && !(flags & MSG_PEEK) && err != -EPIPE)
		update_window(sk);
	return done ?: min(err, 0);
}

static void tell_unread(struct sock *sk, struct msghdr *msg, int left)
{
	if (msg->msg_get_inq)
		msg->msg_inq = left;
	if (cftcp_sk(sk)->recvmsg_inq)
		put_cmsg(msg, SOL_TCP, TCP_CM_INQ, sizeof(left), &left);
}

static int receive(struct sock *sk, struct msghdr *msg, size_t len, int flags,
		   int *addr_len)
{
	int ret = -ENOTCONN, left;

	if (unlikely(flags & MSG_ERRQUEUE))
		return inet_recv_error(sk, msg, len, addr_len);
	if (sk_can_busy_loop(sk) && sk->sk_state == TCP_ESTABLISHED &&
	    skb_queue_empty_lockless(&sk->sk_receive_queue))
		sk_busy_loop(sk, flags & MSG_DONTWAIT);
	lock_sock(sk);
	if (flags & MSG_OOB && sk->sk_state != TCP_LISTEN)
		ret = cftcp_urgent_receive(sk, msg, len, flags);
	else if (sk->sk_state != TCP_LISTEN)
		ret = receive_locked(sk, msg, len, flags,
				     sock_rcvtimeo(sk, flags & MSG_DONTWAIT));
	/* TCP_INQ: 1 tells a reader to come for the end of the stream. */
	left = cftcp_unread(cftcp_sk(sk)) ?: sock_flag(sk, SOCK_DONE);
	release_sock(sk);
	if (ret >= 0 && !(flags & MSG_OOB))
		tell_unread(sk, msg, left);
	return ret;
}

/* Returns octets of the next segment that went into the pipe, 0 for none. */
static int splice_next(struct sock *sk, struct pipe_inode_info *pipe,
		       size_t len, unsigned int flags)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb;
	u32 offset;
	int n;

	if (cftcp_urgent_left_out(sk))
		cftcp_urgent_leave_out(sk);
	skb = find_octet(sk, cs->copied_seq, &offset);
	if (!skb)
		return 0;
	n = cftcp_urgent_limit(sk, cs->copied_seq,
			       min_t(size_t, len, skb->len - offset));
	n = skb_splice_bits(skb, sk, offset, pipe, n, flags);
	if (n <= 0)
		return n ?: -EAGAIN;
	cs->copied_seq += n;
	cftcp_urgent_passed(cs);
	sk_peek_offset_bwd(sk, n);
	if (offset + n == skb->len)
		consume(sk, skb);
	return n;
}

static ssize_t splice_locked(struct sock *sk, struct pipe_inode_info *pipe,
			     size_t len, unsigned int flags, long timeo)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	ssize_t done = 0;
	int n = 0;

	while (done < len) {
		n = splice_next(sk, pipe, len - done, flags);
		if (n < 0)
			break;
		done += n;
		if (n && !cftcp_urgent_at(cs, cs->copied_seq))
			continue;
		if (done)
			break;
		n = read_verdict(sk, false, timeo) ?:
		    wait_data(sk, &timeo, NULL);
		if (n)
			break;
	}
	if (done)
		update_window(sk);
	return done ?: min(n, 0);
}

static ssize_t splice_read(struct socket *sock, loff_t *ppos,
			   struct pipe_inode_info *pipe, size_t len,
			   unsigned int flags)
{
	bool nonblock = sock->file->f_flags & O_NONBLOCK;
	ssize_t ret = -ENOTCONN;
	struct sock *sk = sock->sk;

	if (*ppos)
		return -ESPIPE;
	lock_sock(sk);
	if (sk->sk_state != TCP_LISTEN)
		ret = splice_locked(sk, pipe, len, flags,
				    sock_rcvtimeo(sk, nonblock));
	release_sock(sk);
	return ret;
}

/*
 * poll, ioctl
 */

static __poll_t writable(struct sock *sk)
{
	if (READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN ||
	    sk_stream_is_writeable(sk))
		return EPOLLOUT | EPOLLWRNORM;
	sk_set_bit(SOCKWQ_ASYNC_NOSPACE, sk);
	set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
	/* Room may have come between the test and the bit. */
	smp_mb__after_atomic();
	return sk_stream_is_writeable(sk) ? EPOLLOUT | EPOLLWRNORM : 0;
}

/* As much as the user waits for is there, or as much as there can be. */
static bool readable(struct sock *sk)
{
	int unread = cftcp_unread(cftcp_sk(sk)) - cftcp_urgent_left_out(sk);

	return unread > 0 && (unread >= sock_rcvlowat(sk, 0, INT_MAX) ||
			      cftcp_rcv_full(cftcp_sk(sk)));
}

/* SO_RCVLOWAT: the buffer holds twice that, unless the user chose its size. */
static int set_rcvlowat(struct sock *sk, int val)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);
	bool locked = sk->sk_userlocks & SOCK_RCVBUF_LOCK;
	int most = locked ? sk->sk_rcvbuf : READ_ONCE(cn->sysctl.rmem[2]);

	val = min(val, most / 2);
	WRITE_ONCE(sk->sk_rcvlowat, val ?: 1);
	if (!locked && 2 * val > sk->sk_rcvbuf)
		WRITE_ONCE(sk->sk_rcvbuf, 2 * val);
	if (readable(sk))
		sk->sk_data_ready(sk);
	return 0;
}

static __poll_t poll(struct file *file, struct socket *sock, poll_table *wait)
{
	struct sock *sk = sock->sk;
	struct cftcp_sock *cs = cftcp_sk(sk);
	int state, shutdown;
	__poll_t mask = 0;

	sock_poll_wait(file, sock, wait);
	state = inet_sk_state_load(sk);
	if (state == TCP_LISTEN)
		return READ_ONCE(cs->listen.accepts) ?
			EPOLLIN | EPOLLRDNORM : 0;
	shutdown = READ_ONCE(sk->sk_shutdown);
	if (shutdown == SHUTDOWN_MASK || state == TCP_CLOSE)
		mask |= EPOLLHUP;
	if (shutdown & RCV_SHUTDOWN)
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if (!((1 << state) & (TCPF_SYN_SENT | TCPF_SYN_RECV))) {
		if (readable(sk))
			mask |= EPOLLIN | EPOLLRDNORM;
		if (cftcp_urgent_pending(cs))
			mask |= EPOLLPRI;
		mask |= writable(sk);
	}
	smp_rmb();	/* with what sets sk_err before it wakes us */
	if (READ_ONCE(sk->sk_err) || !skb_queue_empty_lockless(&sk->sk_error_queue))
		mask |= EPOLLERR;
	return mask;
}

static int ioctl(struct sock *sk, int cmd, CFTCP_IOCTL_ARG arg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	int answer;

	if (cmd != SIOCINQ && cmd != SIOCOUTQ && cmd != SIOCOUTQNSD &&
	    cmd != SIOCATMARK)
		return -ENOIOCTLCMD;
	lock_sock(sk);
	if (cmd == SIOCATMARK)
		answer = cftcp_urgent_at(cs, cs->copied_seq);
	else if (sk->sk_state == TCP_LISTEN)
		answer = -EINVAL;
	else if (cmd == SIOCINQ)
		answer = cftcp_urgent_unread(sk);
	else if ((1 << sk->sk_state) &
		 (TCPF_SYN_SENT | TCPF_SYN_RECV | TCPF_CLOSE))
		answer = 0;
	else if (cmd == SIOCOUTQ)	/* a FIN counts for an octet */
		answer = cs->write_seq - cs->snd_una;
	else
		answer = cs->write_seq - cs->snd_nxt;
	release_sock(sk);
	return answer < 0 ? answer : cftcp_ioctl_answer(arg, answer);
}

/*
 * The rest of struct proto.
 */

static void release_cb(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (!cs->deferred)
		return;
	if (test_and_clear_bit(CFTCP_DEFER_ICMP, &cs->deferred))
		cftcp_icmp_deferred(sk);
	if (test_and_clear_bit(CFTCP_DEFER_TIMER, &cs->deferred))
		cftcp_timer_deferred(sk);
	if (test_and_clear_bit(CFTCP_DEFER_ROOM, &cs->deferred))
		cftcp_egress_resume(sk);
}

static void enter_memory_pressure(struct sock *sk)
{
	WRITE_ONCE(memory_pressure, 1);
}

/* TCP_NOTSENT_LOWAT; who waits is woken (@wake) when half of it has left. */
static bool stream_memory_free(const struct sock *sk, int wake)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);
	u32 most = READ_ONCE(cs->notsent_lowat);

	return !most || (u64)cftcp_notsent(cs) << wake < most;
}

/* The table of connections is entered and left elsewhere. */
static int hash(struct sock *sk)
{
	return 0;
}

static void unhash(struct sock *sk)
{
}

/* inet_create() failed, maybe in init() itself. */
static void undo_init(struct sock *sk)
{
	if (cftcp_sk(sk)->af)
		cftcp_sock_uncount(sk);
}

static struct proto prot = {
	.name			= "CFTCP",
	.owner			= THIS_MODULE,
	.close			= cftcp_close,
	.pre_connect		= pre_connect,
	.connect		= connect,
	.disconnect		= disconnect,
	.ioctl			= ioctl,
	.init			= init,
	.destroy		= undo_init,
	.shutdown		= cftcp_shutdown,
	.keepalive		= cftcp_timer_keepalive_set,
	.diag_destroy		= cftcp_diag_destroy,
	.setsockopt		= cftcp_setsockopt,
	.getsockopt		= cftcp_getsockopt,
	.sendmsg		= send_text,
	.recvmsg		= receive,
	.backlog_rcv		= cftcp_demux_backlog,
	.release_cb		= release_cb,
	.hash			= hash,
	.unhash			= unhash,
	.get_port		= cftcp_port_get,
	.put_port		= cftcp_port_put,
	.stream_memory_free	= stream_memory_free,
	.enter_memory_pressure	= enter_memory_pressure,
	.memory_allocated	= &memory_allocated,
	.per_cpu_fw_alloc	= &fw_alloc,
	.sockets_allocated	= &sockets_allocated,
	.memory_pressure	= &memory_pressure,
	.sysctl_mem		= sysctl_mem,
	.sysctl_rmem		= sysctl_rmem,
	.sysctl_wmem		= sysctl_wmem,
	.max_header		= MAX_TCP_HEADER,
	.no_autobind		= true,
	.obj_size		= sizeof(struct cftcp_sock),
};

/* What does not look at addresses. */
#define STREAM_OPS							\
	.owner		= THIS_MODULE,					\
	.connect	= inet_stream_connect,				\
	.socketpair	= sock_no_socketpair,				\
	.accept		= accept,					\
	.poll		= poll,						\
	.gettstamp	= sock_gettstamp,				\
	.listen		= listen,					\
	.shutdown	= inet_shutdown,				\
	.setsockopt	= sock_common_setsockopt,			\
	.getsockopt	= sock_common_getsockopt,			\
	.sendmsg	= inet_sendmsg,					\
	.recvmsg	= inet_recvmsg,					\
	.mmap		= sock_no_mmap,					\
	.splice_read	= splice_read,					\
	.splice_eof	= splice_eof,					\
	.set_peek_off	= sk_set_peek_off,				\
	.set_rcvlowat	= set_rcvlowat,					\
	CFTCP_SENDPAGE_OP(sendpage)

static const struct proto_ops ops = {
	.family		= PF_INET,
	.release	= inet_release,
	.bind		= inet_bind,
	.getname	= inet_getname,
	.ioctl		= inet_ioctl,
	STREAM_OPS
};

static struct inet_protosw protosw = {
	.type		= SOCK_STREAM,
	.protocol	= IPPROTO_CFTCP,
	.prot		= &prot,
	.ops		= &ops,
};

#if IS_ENABLED(CONFIG_IPV6)
/* Made of @prot, for it differs in little more than its size. */
static struct proto prot6;

static const struct proto_ops ops6 = {
	.family		= PF_INET6,
	.release	= inet6_release,
	.bind		= inet6_bind,
	.getname	= inet6_getname,
	.ioctl		= inet6_ioctl,
	STREAM_OPS
};

static struct inet_protosw protosw6 = {
	.type		= SOCK_STREAM,
	.protocol	= IPPROTO_CFTCP,
	.prot		= &prot6,
	.ops		= &ops6,
};

static int register_prot6(void)
{
	prot6 = prot;
	strscpy(prot6.name, "CFTCPv6", sizeof(prot6.name));
	prot6.obj_size = sizeof(struct cftcp6_sock);
	CFTCP_SET_PINFO_OFFSET(prot6, struct cftcp6_sock, inet6);
	return proto_register(&prot6, 1);
}

static void unregister_prot6(void)
{
	proto_unregister(&prot6);
}

static void open6(void)
{
	inet6_register_protosw(&protosw6);
}

static void shut6(void)
{
	inet6_unregister_protosw(&protosw6);
}
#else
static int register_prot6(void)
{
	return 0;
}

static void unregister_prot6(void)
{
}

static void open6(void)
{
}

static void shut6(void)
{
}
#endif

static void size_memory(void)
{
	unsigned long pages = max(nr_free_buffer_pages() / 16, 128UL);

	sysctl_mem[0] = pages / 4 * 3;
	sysctl_mem[1] = pages;
	sysctl_mem[2] = sysctl_mem[0] * 2;
}

int cftcp_sock_register(void)
{
	int err;

	size_memory();
	err = percpu_counter_init(&sockets_allocated, 0, GFP_KERNEL);
	if (err)
		return err;
	/* Before @prot is registered: what that fills in is not for both. */
	err = register_prot6();
	if (err)
		goto counter;
	err = proto_register(&prot, 1);
	if (err)
		goto prot6;
	return 0;

prot6:
	unregister_prot6();
counter:
	percpu_counter_destroy(&sockets_allocated);
	return err;
}

void cftcp_sock_unregister(void)
{
	proto_unregister(&prot);
	unregister_prot6();
	percpu_counter_destroy(&sockets_allocated);
}

void cftcp_sock_open(void)
{
	inet_register_protosw(&protosw);
	open6();
}

void cftcp_sock_shut(void)
{
	shut6();
	inet_unregister_protosw(&protosw);
}
