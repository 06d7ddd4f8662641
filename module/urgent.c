// SPDX-License-Identifier: GPL-2.0
#include <linux/tcp.h>

#include "urgent.h"

#define FARTHEST	65535

/*
 * Sending.
 */

u16 cftcp_urgent_pointer(const struct cftcp_sock *cs, u32 seq)
{
	u32 ahead = cs->snd_up - seq;

	if (!cs->urgent_mode || !cftcp_after(cs->snd_up, seq))
		return 0;
	if (ahead <= FARTHEST)
		return ahead;
	/* Out of reach. A mark that says so must not be an octet that the peer
	 * may have: it would be taken out of the stream.
	 */
	return cftcp_after(seq + FARTHEST, cs->snd_nxt) ? FARTHEST : 0;
}

/*
 * Receiving.
 */

static bool octet_came(const struct cftcp_sock *cs)
{
	return cftcp_before(cs->rcv_up, cs->rcv_nxt - cs->fin_received);
}

static bool inline_urgent(const struct sock *sk)
{
	return sock_flag(sk, SOCK_URGINLINE);
}

bool cftcp_urgent_left_out(const struct sock *sk)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);

	return cftcp_urgent_at(cs, cs->copied_seq) && octet_came(cs) &&
	       !inline_urgent(sk);
}

void cftcp_urgent_leave_out(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb = skb_peek(&sk->sk_receive_queue);

	cs->copied_seq++;
	if (skb && !cftcp_after(cftcp_cb(skb)->end_seq, cs->copied_seq)) {
		__skb_unlink(skb, &sk->sk_receive_queue);
		consume_skb(skb);
	}
	cs->urg_marked = 0;
}

void cftcp_urgent_arrives(struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 mark = seg->seq + seg->urg - 1;

	cftcp_assert_held(sk);
	if (!(seg->flags & CFTCP_FLAG_URG) || cs->fin_received ||
	    cftcp_before(mark, cs->rcv_nxt) ||
	    (cs->urg_marked && !cftcp_after(mark, cs->rcv_up)))
		return;
	/* A newer mark does not make the octet at the old one text. */
	if (cftcp_urgent_left_out(sk))
		cftcp_urgent_leave_out(sk);
	cs->rcv_up = mark;
	cs->urg_marked = 1;
	cs->urg_read = 0;
	sk_send_sigurg(sk);
}

bool cftcp_urgent_pending(const struct cftcp_sock *cs)
{
	return cs->urg_marked && !cs->urg_read && octet_came(cs);
}

u32 cftcp_urgent_limit(const struct sock *sk, u32 seq, u32 n)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);

	if (!cs->urg_marked || cftcp_before(cs->rcv_up, seq) ||
	    (cs->rcv_up == seq && inline_urgent(sk)))
		return n;
	return min(n, cs->rcv_up - seq);
}

u32 cftcp_urgent_unread(const struct sock *sk)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);
	u32 unread = cftcp_unread(cs);

	return inline_urgent(sk) ? unread :
	       cftcp_urgent_limit(sk, cs->copied_seq, unread);
}

static struct sk_buff *octet_holder(struct sock *sk)
{
	u32 mark = cftcp_sk(sk)->rcv_up;
	struct sk_buff *skb;

	skb_queue_walk(&sk->sk_receive_queue, skb)
		if (mark - cftcp_cb(skb)->seq < skb->len)
			return skb;
	return NULL;
}

int cftcp_urgent_receive(struct sock *sk, struct msghdr *msg, size_t len,
			 int flags)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb;

	if (inline_urgent(sk) || !cs->urg_marked || cs->urg_read)
		return -EINVAL;
	if (sk->sk_state == TCP_CLOSE && !sock_flag(sk, SOCK_DONE))
		return -ENOTCONN;
	skb = octet_holder(sk);
	if (!skb)
		return sk->sk_state == TCP_CLOSE ||
		       sk->sk_shutdown & RCV_SHUTDOWN ? 0 : -EAGAIN;
	if (!(flags & MSG_PEEK))
		cs->urg_read = 1;
	msg->msg_flags |= MSG_OOB;
	if (!len) {
		msg->msg_flags |= MSG_TRUNC;
		return 0;
	}
	if (!(flags & MSG_TRUNC) &&
	    skb_copy_datagram_msg(skb, cs->rcv_up - cftcp_cb(skb)->seq, msg, 1))
		return -EFAULT;
	return 1;
}
