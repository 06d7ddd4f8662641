// SPDX-License-Identifier: GPL-2.0
/*
 * SEGMENT ARRIVES, step by step as RFC 9293 section 3.10.7 has it. A step
 * returns false when the segment is done with.
 *
 *	SYN-SENT		3.10.7.3  arrives_syn_sent()
 *	the others		3.10.7.4  arrives_otherwise():
 *	  first		check_sequence_number()	(RFC 7323 PAWS, RFC 5961)
 *	  second	check_rst()
 *	  third		security: Linux has its own (xfrm, LSM), done before
 *	  fourth	check_syn()
 *	  fifth		check_ack()
 *	  sixth		check_urg()
 *	  seventh	process_text()
 *	  eighth	check_fin()
 *
 * LISTEN and a passive SYN-RECEIVED are listen.c's, TIME-WAIT is timewait.c's.
 * What a closing connection does is looked up in fsm.c and done by
 * cftcp_event(); here is found out what happened.
 */
#include <linux/security.h>
#include <linux/tcp.h>
#include <net/l3mdev.h>

#include "buffer.h"
#include "close.h"
#include "fsm.h"
#include "input.h"
#include "output.h"
#include "paws.h"
#include "recovery.h"
#include "rtt.h"
#include "sack.h"
#include "segment.h"
#include "sock.h"
#include "timer.h"
#include "timewait.h"
#include "trace.h"
#include "urgent.h"

#define drop(sk, reason) cftcp_count_drop(cftcp_sock_net(sk), reason)

/*
 * Answers without a connection.
 */

void cftcp_reply_rst(const struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);
	struct cftcp_reply reply = {
		.key = *seg->key, .ttl = -1, .flags = CFTCP_FLAG_RST,
		.tos = cftcp_answer_tos(seg->skb),
		.mark = READ_ONCE(sk->sk_mark),
		.oif = READ_ONCE(sk->sk_bound_dev_if),
		.priority = READ_ONCE(sk->sk_priority), .uid = sk->sk_uid,
	};

	if (seg->flags & CFTCP_FLAG_RST)
		return;
	if (!reply.oif &&
	    netif_index_is_l3_master(cn->net, seg->skb->skb_iif))
		reply.oif = seg->skb->skb_iif;
	if (seg->flags & CFTCP_FLAG_ACK) {
		reply.seq = seg->ack;
	} else {
		reply.flags |= CFTCP_FLAG_ACK;
		reply.ack = seg->end_seq;
	}
	cftcp_count(cn, OutRsts);
	cftcp_wire(seg->key)->reply(cn, &reply);
}

bool cftcp_paws_reject(const struct cftcp_segment *seg, u32 ts_recent)
{
	return cftcp_paws_old(seg->opt.tsval, ts_recent, 0);
}

void cftcp_set_peer_mss(struct cftcp_sock *cs, u16 mss)
{
	cs->peer_mss = max_t(u16, mss ?: cs->af->default_mss, CFTCP_MIN_MSS);
}

/*
 * The receive queues.
 */

void cftcp_purge_ofo(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb;

	while ((skb = skb_rb_first(&cs->ofo))) {
		rb_erase(&skb->rbnode, &cs->ofo);
		consume_skb(skb);
	}
	cftcp_sack_reset(cs);
}

static bool room_for(struct sock *sk, struct sk_buff *skb, u32 limit)
{
	return atomic_read(&sk->sk_rmem_alloc) <= limit &&
	       sk_rmem_schedule(sk, skb, skb->truesize);
}

/*
 * SO_TIMESTAMP tells of the last of several that are joined. A stamp that some
 * cards leave a pointer to does not outlive their buffer.
 */
static void inherit_stamps(struct sk_buff *to, struct sk_buff *skb)
{
	to->tstamp = skb->tstamp;
	if (skb_shinfo(skb)->tx_flags & SKBTX_HW_TSTAMP_NETDEV)
		memset(skb_hwtstamps(to), 0, sizeof(*skb_hwtstamps(to)));
	else
		*skb_hwtstamps(to) = *skb_hwtstamps(skb);
	skb_shinfo(to)->tx_flags &= ~SKBTX_HW_TSTAMP_NETDEV;
}

/*
 * The window promised room for octets, not for what small segments cost beside
 * them: when the buffer is half full they move to where others can join them.
 */
static struct sk_buff *compact(struct sock *sk, struct sk_buff *skb)
{
	u32 size = SKB_MAX_ORDER(0, 0);
	struct sk_buff *copy;

	if (atomic_read(&sk->sk_rmem_alloc) < READ_ONCE(sk->sk_rcvbuf) / 2 ||
	    skb->len > size / 4)
		return skb;
	copy = alloc_skb(size, GFP_ATOMIC);
	if (!copy)
		return skb;
	memcpy(copy->cb, skb->cb, sizeof(skb->cb));
	inherit_stamps(copy, skb);
	if (!sk_rmem_schedule(sk, copy, copy->truesize) ||
	    skb_copy_bits(skb, 0, skb_put(copy, skb->len), skb->len)) {
		consume_skb(copy);
		return skb;
	}
	consume_skb(skb);
	return copy;
}

/* Append @skb's octets to @to where they follow; @skb is freed then. */
static bool coalesce(struct sock *sk, struct sk_buff *to, struct sk_buff *skb)
{
	bool stolen;
	int delta;

	if (!to || cftcp_cb(to)->end_seq != cftcp_cb(skb)->seq ||
	    cftcp_cb(to)->flags & CFTCP_FLAG_FIN ||
	    !skb_try_coalesce(to, skb, &stolen, &delta))
		return false;
	atomic_add(delta, &sk->sk_rmem_alloc);
	sk_mem_charge(sk, delta);
	cftcp_cb(to)->end_seq = cftcp_cb(skb)->end_seq;
	cftcp_cb(to)->flags |= cftcp_cb(skb)->flags;
	inherit_stamps(to, skb);
	kfree_skb_partial(skb, stolen);
	return true;
}

/* Text at RCV.NXT, maybe with older octets before it, goes to the user. */
static void queue_in_order(struct sock *sk, struct sk_buff *skb)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 end = cftcp_cb(skb)->end_seq;

	cs->bytes_received += end - cs->rcv_nxt;
	cs->rcv_nxt = end;
	if (coalesce(sk, skb_peek_tail(&sk->sk_receive_queue), skb))
		return;
	if (!skb->sk) {	/* else it was held, and is charged */
		skb = compact(sk, skb);
		skb_set_owner_r(skb, sk);
	}
	__skb_queue_tail(&sk->sk_receive_queue, skb);
}

/* Where in the tree @seq belongs, and what stands before it. */
static struct rb_node **ofo_place(struct cftcp_sock *cs, u32 seq,
				  struct rb_node **parent,
				  struct sk_buff **before)
{
	struct rb_node **link = &cs->ofo.rb_node;

	*parent = NULL;
	*before = NULL;
	while (*link) {
		*parent = *link;
		if (cftcp_before(seq, cftcp_cb(rb_to_skb(*parent))->seq)) {
			link = &(*parent)->rb_left;
		} else {
			*before = rb_to_skb(*parent);
			link = &(*parent)->rb_right;
		}
	}
	return link;
}

/* What of a segment from @seq to @end is held already? */
static void report_twice(struct cftcp_sock *cs, const struct sk_buff *held,
			 u32 seq, u32 end)
{
	const struct cftcp_cb *cb;

	if (!held)
		return;
	cb = cftcp_cb(held);
	if (cftcp_before(seq, cb->end_seq) && cftcp_before(cb->seq, end))
		cftcp_sack_twice(cs, cftcp_after(cb->seq, seq) ? cb->seq : seq,
				 cftcp_before(cb->end_seq, end) ?
				 cb->end_seq : end);
}

/* Free what the segment at @skb covers. */
static void ofo_drop_covered(struct cftcp_sock *cs, struct sk_buff *skb)
{
	u32 end = cftcp_cb(skb)->end_seq;
	struct sk_buff *next = skb_rb_next(skb);

	report_twice(cs, next, cftcp_cb(skb)->seq, end);
	while ((next = skb_rb_next(skb)) &&
	       !cftcp_after(cftcp_cb(next)->end_seq, end)) {
		rb_erase(&next->rbnode, &cs->ofo);
		consume_skb(next);
	}
}

/* SHLD-31: hold it until the hole before it is filled. Consumes @skb. */
static void hold(struct sock *sk, struct sk_buff *skb)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_cb *cb = cftcp_cb(skb);
	struct rb_node *parent, **link;
	struct sk_buff *before;

	if (!room_for(sk, skb, READ_ONCE(sk->sk_rcvbuf))) {
		drop(sk, Memory);
		consume_skb(skb);
		return;
	}
	cftcp_count(cftcp_sock_net(sk), OutOfOrder);
	cftcp_sack_held(cs, cb->seq, cb->end_seq);
	link = ofo_place(cs, cb->seq, &parent, &before);
	report_twice(cs, before, cb->seq, cb->end_seq);
	if (before && !cftcp_before(cftcp_cb(before)->end_seq, cb->end_seq)) {
		consume_skb(skb);
		return;
	}
	if (coalesce(sk, before, skb)) {
		ofo_drop_covered(cs, before);
		return;
	}
	rb_link_node(&skb->rbnode, parent, link);
	rb_insert_color(&skb->rbnode, &cs->ofo);
	skb_set_owner_r(skb, sk);
	ofo_drop_covered(cs, skb);
}

/* The hole may be filled: returns true when a FIN follows at RCV.NXT. */
static bool release_held(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb;
	bool fin = false;

	while (!fin && (skb = skb_rb_first(&cs->ofo))) {
		struct cftcp_cb *cb = cftcp_cb(skb);

		if (cftcp_after(cb->seq, cs->rcv_nxt))
			break;
		rb_erase(&skb->rbnode, &cs->ofo);
		fin = cb->flags & CFTCP_FLAG_FIN &&
		      !cftcp_before(cb->end_seq - 1, cs->rcv_nxt);
		cb->end_seq -= !!(cb->flags & CFTCP_FLAG_FIN);
		cb->flags &= ~CFTCP_FLAG_FIN;
		/* An ACK is owed at once when a hole is filled. */
		cs->ack_now = 1;
		if (cftcp_after(cb->end_seq, cs->rcv_nxt))
			queue_in_order(sk, skb);
		else
			consume_skb(skb);
	}
	cftcp_sack_trim(cs);
	return fin;
}

/*
 * First: check sequence number.
 */

/* The four cases of RFC 9293 3.10.7.4, for @len numbers from @seq on. */
static bool acceptable(const struct cftcp_sock *cs, u32 seq, u32 len)
{
	u32 wnd = cftcp_rcv_wnd_end(cs) - cs->rcv_nxt;

	if (!wnd)
		return !len && seq == cs->rcv_nxt;
	if (seq - cs->rcv_nxt < wnd)
		return true;
	/* Appendix A.2: a bare ACK from a peer that filled our window. */
	if (!len)
		return seq - cs->rcv_nxt == wnd;
	return seq + len - 1 - cs->rcv_nxt < wnd;
}

static bool timestamp_is_old(const struct cftcp_sock *cs,
			     const struct cftcp_segment *seg)
{
	return cftcp_paws_old(seg->opt.tsval, cs->ts_recent,
			      cs->last_rcv_at - cs->ts_recent_at);
}

/* Timestamps were negotiated: RFC 7323 sections 3.2 and 5.3. */
static bool check_timestamps(struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (!cs->ts_ok || seg->flags & CFTCP_FLAG_RST)
		return true;
	if (!seg->opt.has_ts) {
		/* RFC 5961 4.2: who opens anew may have none, and must hear. */
		if (seg->flags & CFTCP_FLAG_SYN)
			return true;
		drop(sk, Paws);
		return false;
	}
	if (!timestamp_is_old(cs, seg))
		return true;
	drop(sk, Paws);
	if (seg->end_seq != seg->seq)
		cftcp_send_ack(sk);
	else
		cftcp_send_challenge(sk);
	return false;
}

/* Once its ACK is known to be no blind guess, which could stop all others. */
static void note_timestamp(struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (!cs->ts_ok || !seg->opt.has_ts || timestamp_is_old(cs, seg) ||
	    cftcp_after(seg->seq, cs->last_ack_sent))
		return;
	cs->ts_recent = seg->opt.tsval;
	cs->ts_recent_at = cs->last_rcv_at;
}

static bool ack_in_flight(const struct cftcp_sock *cs, u32 ack)
{
	return cftcp_between(cs->snd_una, ack, cs->snd_nxt);
}

static bool acks_fin(const struct cftcp_sock *cs, u32 ack)
{
	return cftcp_fin_sent(cs) && ack == cs->write_seq;
}

static void process_ack(struct sock *sk, const struct cftcp_segment *seg);

/*
 * A FIN that was seen before. It may bring the ACK of ours: RFC 9293 Appendix
 * A.2 asks not to let step one swallow that.
 */
static void duplicate_fin(struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	bool acked_before = cftcp_fin_acked(cs);

	cftcp_count(cftcp_sock_net(sk), DuplicateFin);
	if (seg->flags & CFTCP_FLAG_ACK && ack_in_flight(cs, seg->ack)) {
		if (acks_fin(cs, seg->ack) && !acked_before) {
			cftcp_recovery_acked(sk, seg);
			cftcp_event(sk, CFTCP_EV_FIN_AND_ACK, seg->skb);
			return;
		}
		process_ack(sk, seg);
	}
	cftcp_event(sk, CFTCP_EV_FIN_DUP, seg->skb);
}

/* Not acceptable: an ACK goes back, unless it is a RST. */
static void out_of_window(struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	bool length = seg->end_seq != seg->seq;

	drop(sk, Sequence);
	/* What this may acknowledge is the fifth step's there, or never sent. */
	if (sk->sk_state == TCP_SYN_RECV && length) {
		cftcp_send_ack(sk);
		return;
	}
	if (length && !cftcp_after(seg->end_seq, cs->rcv_nxt))
		cftcp_sack_twice(cs, seg->seq, seg->end_seq);
	if (seg->flags & CFTCP_FLAG_FIN && cs->fin_received &&
	    seg->end_seq == cs->rcv_nxt) {
		duplicate_fin(sk, seg);
		return;
	}
	/* A closed window still lets valid ACKs and URGs through (3.10.7.4). */
	if (sk->sk_state != TCP_SYN_RECV && seg->flags & CFTCP_FLAG_ACK &&
	    ack_in_flight(cs, seg->ack) &&
	    (seg->seq == cs->rcv_nxt || seg->end_seq == cs->rcv_nxt)) {
		process_ack(sk, seg);
		if (sk->sk_state == TCP_CLOSE)
			return;
		cftcp_urgent_arrives(sk, seg);
	}
	/* What has length was sent in earnest, bare ACKs may be an ACK war. */
	if (length)
		cftcp_event(sk, CFTCP_EV_OLD, seg->skb);
	else
		cftcp_send_challenge(sk);
}

static bool check_sequence_number(struct sock *sk, struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 len = seg->end_seq - seg->seq;

	/* Simultaneous open: their SYN,ACK brings the SYN that we know. */
	if (sk->sk_state == TCP_SYN_RECV && seg->flags & CFTCP_FLAG_SYN &&
	    seg->seq == cs->irs) {
		if (!(seg->flags & CFTCP_FLAG_ACK)) {
			cs->syn_rexmits = cs->syn_rexmits ?: 1;	/* Karn */
			cftcp_send_syn(sk);
			return false;
		}
		seg->flags &= ~CFTCP_FLAG_SYN;
		seg->seq++;
		cftcp_cb(seg->skb)->seq++;
		len--;
	}
	if (!check_timestamps(sk, seg))
		return false;
	if (seg->flags & CFTCP_FLAG_RST)
		return true;	/* RFC 5961 section 3 looks at SEQ alone */
	if (seg->flags & CFTCP_FLAG_SYN)
		return true;	/* RFC 5961 section 4: irrespective of SEQ */
	if (acceptable(cs, seg->seq, len))
		return true;
	out_of_window(sk, seg);
	return false;
}

/*
 * Second: check the RST bit (RFC 5961 section 3).
 */

static bool check_rst(struct sock *sk, struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (!(seg->flags & CFTCP_FLAG_RST))
		return true;
	if (seg->seq != cs->rcv_nxt)
		drop(sk, Rst);
	if (sk->sk_state == TCP_SYN_RECV) {
		/* An active opener; a passive one is a request (listen.c). */
		if (seg->seq == cs->rcv_nxt)
			cftcp_sock_done(sk, ECONNREFUSED, "E12");
		else if (acceptable(cs, seg->seq, 0))
			cftcp_send_challenge(sk);
		return false;
	}
	if (seg->seq == cs->rcv_nxt)
		cftcp_event(sk, CFTCP_EV_RST_EXACT, seg->skb);
	else if (acceptable(cs, seg->seq, 0))
		cftcp_event(sk, CFTCP_EV_RST_INSIDE, seg->skb);
	else
		cftcp_event(sk, CFTCP_EV_RST_OUTSIDE, seg->skb);
	return false;
}

/*
 * Fourth: check the SYN bit (RFC 5961 section 4).
 */

/* The peer has nothing of us after our SYN: our ACK of its SYN,ACK was lost. */
static bool awaits_our_ack(const struct cftcp_sock *cs,
			   const struct cftcp_segment *seg)
{
	return seg->flags & CFTCP_FLAG_ACK && seg->seq == cs->irs &&
	       seg->ack == cs->iss + 1 && cs->snd_una == cs->iss + 1 &&
	       cs->rcv_nxt == cs->irs + 1;
}

static bool check_syn(struct sock *sk, struct cftcp_segment *seg)
{
	if (!(seg->flags & CFTCP_FLAG_SYN))
		return true;
	drop(sk, Syn);
	/* Sent in earnest, and where rto_init_ms is short soon given up. */
	if (awaits_our_ack(cftcp_sk(sk), seg))
		cftcp_send_ack(sk);
	else if (sk->sk_state == TCP_SYN_RECV)
		cftcp_send_challenge(sk);
	else
		cftcp_event(sk, CFTCP_EV_SYN, seg->skb);
	return false;
}

/*
 * Fifth: check the ACK field.
 */

static void update_window(struct cftcp_sock *cs,
			  const struct cftcp_segment *seg)
{
	cs->wnd_same = (u32)seg->wnd << cs->snd_wscale == cs->snd_wnd;
	if (!cftcp_before(seg->ack, cs->snd_una) &&
	    (cftcp_before(cs->snd_wl1, seg->seq) ||
	     (cs->snd_wl1 == seg->seq &&
	      !cftcp_before(seg->ack, cs->snd_wl2)))) {
		cs->snd_wnd = (u32)seg->wnd << cs->snd_wscale;
		cs->snd_wl1 = seg->seq;
		cs->snd_wl2 = seg->ack;
		cs->max_snd_wnd = max(cs->max_snd_wnd, cs->snd_wnd);
	}
}

void cftcp_wake_writer(struct sock *sk)
{
	if (!sk->sk_socket || !test_bit(SOCK_NOSPACE, &sk->sk_socket->flags))
		return;
	/* All that the buffer holds is on its way: it is too small. */
	if (skb_queue_empty(&sk->sk_write_queue))
		cftcp_sndbuf_follow(sk);
	sk->sk_write_space(sk);
}

/* SND.UNA <= SEG.ACK <= SND.NXT. May end the connection. */
static void process_ack(struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	bool fin_acked_before = cftcp_fin_acked(cs);
	u32 una = cs->snd_una;

	/* First: what is sent again must fit in. */
	update_window(cs, seg);
	if (cftcp_recovery_acked(sk, seg)) {
		cftcp_pmtu_acked(sk, cs->snd_una - una);
		WRITE_ONCE(sk->sk_err_soft, 0);
	}
	cftcp_urgent_acked(cs);
	cftcp_timer_heard(sk);
	if (cftcp_fin_acked(cs) && !fin_acked_before)
		cftcp_event(sk, CFTCP_EV_FIN_ACKED, seg->skb);
}

/* SYN-RECEIVED and the ACK of our SYN: ESTABLISHED. */
static bool established(struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u64 now = cs->now;

	if (seg->ack != cs->snd_nxt) {
		cftcp_reply_rst(sk, seg);
		return false;
	}
	note_timestamp(sk, seg);
	if (!cs->syn_rexmits)
		cftcp_rtt_sample(sk, div_u64(now - cs->created_at,
					     NSEC_PER_USEC));
	else	/* RFC 6298 5.7 */
		cs->rto_ns = max(cs->rto_ns, 3 * (u64)NSEC_PER_SEC);
	cs->backoff = 0;
	cs->snd_una = seg->ack;
	cs->highest_sacked = seg->ack;
	/* The window of a SYN,ACK is not scaled (RFC 7323 section 2.2). */
	cs->snd_wnd = cftcp_cb(seg->skb)->flags & CFTCP_FLAG_SYN ?
		      seg->wnd : (u32)seg->wnd << cs->snd_wscale;
	cs->snd_wl1 = seg->seq;
	cs->snd_wl2 = seg->ack;
	cs->max_snd_wnd = max(cs->max_snd_wnd, cs->snd_wnd);
	cs->copied_seq = cs->rcv_nxt;
	cs->created_at = now;
	cftcp_sock_set_state(sk, TCP_ESTABLISHED, "ACK of SYN");
	cftcp_timer_acked(sk);
	cftcp_timer_established(sk);
	cftcp_mss(sk);
	/* SHUTDOWN in SYN-RECEIVED was queued until now (3.10.4). */
	if (cs->fin_queued)
		cftcp_event(sk, CFTCP_EV_SHUTDOWN_WR, NULL);
	sk->sk_state_change(sk);
	sk_wake_async(sk, SOCK_WAKE_IO, POLL_OUT);
	return true;
}

/* RFC 5961 section 5. A peer may show a window of 1 GB with its first segment,
 * but acknowledges nothing below ISS + 1.
 */
static bool plausible_ack(const struct cftcp_sock *cs, u32 ack)
{
	u32 back = min_t(u64, cs->max_snd_wnd, cs->bytes_acked);

	return cftcp_between(cs->snd_una - back, ack, cs->snd_nxt);
}

static bool check_ack(struct sock *sk, struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (!(seg->flags & CFTCP_FLAG_ACK)) {
		drop(sk, NoAck);
		if (sk->sk_state != TCP_SYN_RECV)
			cftcp_event(sk, CFTCP_EV_NO_ACK, seg->skb);
		return false;
	}
	if (sk->sk_state == TCP_SYN_RECV)
		return established(sk, seg);
	if (!plausible_ack(cs, seg->ack)) {
		drop(sk, Ack);
		if (seg->end_seq != seg->seq)
			cftcp_event(sk, CFTCP_EV_ACK_BAD, seg->skb);
		else
			cftcp_send_challenge(sk);
		return false;
	}
	note_timestamp(sk, seg);
	if (ack_in_flight(cs, seg->ack))
		process_ack(sk, seg);
	return sk->sk_state != TCP_CLOSE;
}

/*
 * Sixth: check the URG bit.
 */

static bool check_urg(struct sock *sk, struct cftcp_segment *seg)
{
	cftcp_urgent_arrives(sk, seg);
	return true;
}

/*
 * Seventh: process the segment text.
 */

/* Cut off what lies beyond our window, FIN included. */
static bool trim_to_window(struct sock *sk, struct cftcp_segment *seg)
{
	u32 end = cftcp_rcv_wnd_end(cftcp_sk(sk));
	struct cftcp_cb *cb = cftcp_cb(seg->skb);

	if (!cftcp_after(seg->end_seq, end))
		return true;
	cftcp_sk(sk)->ack_now = 1;
	if (!cftcp_after(end, seg->seq))
		return false;
	if (end - seg->seq < seg->len && pskb_trim(seg->skb, end - seg->seq))
		return false;
	seg->flags &= ~CFTCP_FLAG_FIN;
	seg->len = seg->skb->len;
	seg->end_seq = seg->seq + seg->len;
	cb->flags &= ~CFTCP_FLAG_FIN;
	cb->end_seq = seg->end_seq;
	return true;
}

static bool reader_gone(const struct sock *sk)
{
	return sock_flag(sk, SOCK_DEAD) ||
	       (sk->sk_shutdown == SHUTDOWN_MASK &&
		sk->sk_state != TCP_ESTABLISHED);
}

/* RFC 9293 3.8.6.3: every second full segment is acknowledged at once. */
static void owe_ack(struct sock *sk, u32 len)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	cs->rcv_mss = max_t(u16, cs->rcv_mss, min_t(u32, len, cs->mss));
	if (cs->rcv_nxt - cs->rcv_wup >= 2 * cs->rcv_mss || cs->quickack)
		cs->ack_now = 1;
	else
		cftcp_timer_ack_owed(sk);
}

/* The largest segment of what GRO may have joined. */
static u32 one_segment(const struct sk_buff *skb)
{
	return skb_shinfo(skb)->gso_size ?: skb->len;
}

static void take_text(struct sock *sk, struct cftcp_segment *seg)
{
	struct sk_buff *skb = seg->skb;
	struct cftcp_cb *cb = cftcp_cb(skb);
	u32 mss = one_segment(skb);

	cftcp_sk(sk)->data_segs_in += cftcp_segs(skb);
	cftcp_sk(sk)->last_data_rcv_at = cftcp_sk(sk)->last_rcv_at;
	/* What is held for later must not keep out what comes first. */
	if (!room_for(sk, skb, 2U * READ_ONCE(sk->sk_rcvbuf)))
		cftcp_purge_ofo(sk);
	if (!room_for(sk, skb, 2U * READ_ONCE(sk->sk_rcvbuf))) {
		drop(sk, Memory);
		cftcp_sk(sk)->ack_now = 1;
		seg->flags &= ~CFTCP_FLAG_FIN;
		return;
	}
	/* The FIN is the eighth step's. */
	cb->end_seq -= !!(cb->flags & CFTCP_FLAG_FIN);
	cb->flags &= ~CFTCP_FLAG_FIN;
	seg->skb = NULL;
	queue_in_order(sk, skb);
	owe_ack(sk, mss);
}

static bool process_text(struct sock *sk, struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 end;

	if (seg->seq == seg->end_seq)
		return true;
	if (cs->fin_received) {
		if (cftcp_after(seg->end_seq, cs->rcv_nxt)) {
			drop(sk, BeyondFin);
			cftcp_event(sk, CFTCP_EV_TEXT_BEYOND, seg->skb);
		}
		return false;
	}
	end = seg->seq + seg->len;
	if (seg->len && cftcp_after(end, cs->rcv_nxt) && reader_gone(sk)) {
		drop(sk, Text);
		cftcp_count(cftcp_sock_net(sk), AbortOnData);
		cftcp_event(sk, CFTCP_EV_TEXT_NO_READER, seg->skb);
		return false;
	}
	if (!trim_to_window(sk, seg))
		return false;
	if (cftcp_after(seg->seq, cs->rcv_nxt)) {
		cs->ack_now = 1;
		hold(sk, seg->skb);
		seg->skb = NULL;
		if (seg->flags & CFTCP_FLAG_FIN)
			cftcp_event(sk, CFTCP_EV_FIN_HELD, NULL);
		return true;
	}
	/* SEG.SEQ <= RCV.NXT, and something of it is new. */
	if (seg->seq != cs->rcv_nxt) {
		cftcp_sack_twice(cs, seg->seq, cs->rcv_nxt);
		cs->ack_now = 1;
	}
	if (seg->len && cftcp_after(seg->seq + seg->len, cs->rcv_nxt)) {
		cftcp_event(sk, CFTCP_EV_TEXT, seg->skb);
		take_text(sk, seg);
	} else if (!(seg->flags & CFTCP_FLAG_FIN)) {
		cs->ack_now = 1;
	}
	return true;
}

/*
 * Eighth: check the FIN bit.
 */

static bool check_fin(struct sock *sk, struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	bool fin = seg->flags & CFTCP_FLAG_FIN &&
		   seg->end_seq - 1 == cs->rcv_nxt;

	if (cs->fin_received)
		return true;
	if (!fin && !RB_EMPTY_ROOT(&cs->ofo))
		fin = release_held(sk);
	if (!fin)
		return true;
	/* What was held beyond the FIN was never the peer's to send. */
	cftcp_purge_ofo(sk);
	cftcp_event(sk, CFTCP_EV_FIN, seg->skb);
	return sk->sk_state != TCP_CLOSE;
}

/*
 * SYN-SENT, RFC 9293 section 3.10.7.3.
 */

static void take_syn(struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	const struct cftcp_options *opt = &seg->opt;

	cs->irs = seg->seq;
	cs->rcv_nxt = seg->seq + 1;
	cs->rcv_wup = cs->rcv_nxt;
	cs->copied_seq = cs->rcv_nxt;
	cs->last_ack_sent = cs->rcv_nxt;
	cs->ts_ok &= opt->has_ts;
	cs->sack_ok &= opt->sack_ok;
	cs->wscale_ok &= opt->wscale_ok;
	if (cs->ts_ok)
		cs->ts_recent = opt->tsval;
	cs->ts_recent_at = cs->last_rcv_at;
	cs->snd_wscale = cs->wscale_ok ? opt->wscale : 0;
	if (!cs->wscale_ok)
		cs->rcv_wscale = 0;
	cftcp_set_peer_mss(cs, opt->mss);
	/* The window of a SYN is not scaled (RFC 7323 section 2.2). */
	cs->snd_wnd = seg->wnd;
	cs->max_snd_wnd = seg->wnd;
	cs->snd_wl1 = seg->seq;
	cs->snd_wl2 = seg->ack;
}

static void connected(struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u64 now = cs->now;

	cs->snd_una = seg->ack;
	cs->highest_sacked = seg->ack;
	if (!cs->syn_rexmits)
		cftcp_rtt_sample(sk, div_u64(now - cs->created_at,
					     NSEC_PER_USEC));
	else	/* RFC 6298 5.7 */
		cs->rto_ns = max(cs->rto_ns, 3 * (u64)NSEC_PER_SEC);
	cs->created_at = now;
	cs->backoff = 0;
	security_inet_conn_established(sk, seg->skb);
	cftcp_sock_set_state(sk, TCP_ESTABLISHED, "SYN,ACK");
	cftcp_timer_acked(sk);
	cftcp_timer_established(sk);
	cftcp_mss(sk);
	cftcp_send_ack(sk);
	sk->sk_state_change(sk);
	sk_wake_async(sk, SOCK_WAKE_IO, POLL_OUT);
}

static void arrives_syn_sent(struct sock *sk, struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	bool ack = seg->flags & CFTCP_FLAG_ACK;

	if (ack && seg->ack != cs->iss + 1) {
		drop(sk, Ack);
		cftcp_reply_rst(sk, seg);
		return;
	}
	if (seg->flags & CFTCP_FLAG_RST) {
		if (ack) {
			cftcp_count(cftcp_sock_net(sk), AttemptFails);
			cftcp_sock_done(sk, ECONNREFUSED, "RST");
		} else {
			drop(sk, Rst);
		}
		return;
	}
	if (!(seg->flags & CFTCP_FLAG_SYN)) {
		drop(sk, State);
		return;
	}
	take_syn(sk, seg);
	if (ack) {
		connected(sk, seg);
		return;
	}
	cftcp_sock_set_state(sk, TCP_SYN_RECV, "SYN");
	cs->syn_rexmits = 0;
	cftcp_send_syn(sk);
}

/*
 * The other states.
 */

static void wake_reader(struct sock *sk, u32 rcv_nxt_before)
{
	if (cftcp_sk(sk)->rcv_nxt != rcv_nxt_before && !sock_flag(sk, SOCK_DEAD))
		sk->sk_data_ready(sk);
}

static bool look_at_header(struct sock *sk, const struct cftcp_segment *seg)
{
	cftcp_sk(sk)->af->heard(sk, seg->skb);
	return true;
}

static bool walk_steps(struct sock *sk, struct cftcp_segment *seg)
{
	return check_sequence_number(sk, seg) && check_rst(sk, seg) &&
	       check_syn(sk, seg) && check_ack(sk, seg) &&
	       look_at_header(sk, seg) && check_urg(sk, seg) && process_text(sk, seg) &&
	       check_fin(sk, seg);
}

static void arrives_otherwise(struct sock *sk, struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 rcv_nxt = cs->rcv_nxt;

	walk_steps(sk, seg);
	wake_reader(sk, rcv_nxt);
	if (sk->sk_state == TCP_CLOSE)
		return;
	/* Text may have no room for SACK, and is no duplicate ACK. */
	if (cs->ack_now && cftcp_sack_due(cs))
		cftcp_send_ack(sk);
	if (!skb_queue_empty(&sk->sk_write_queue))
		cftcp_push_pending(sk);
	if (cs->ack_now)
		cftcp_send_ack(sk);
	cftcp_wake_writer(sk);
}

/*
 * CLOSED, RFC 9293 section 3.10.7.1: the segment waited in the backlog while
 * the connection ended, maybe in TIME-WAIT.
 */
static void arrives_closed(struct sock *sk, struct cftcp_segment *seg)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);
	struct cftcp_time_wait *tw = NULL;
	struct cftcp_entry *entry;

	rcu_read_lock();
	entry = cftcp_lookup(cn, seg->key);
	if (entry && entry->kind == CFTCP_KIND_TIME_WAIT)
		tw = container_of(entry, struct cftcp_time_wait, entry);
	if (tw && cftcp_time_wait_get(tw)) {
		cftcp_time_wait_arrives(tw, seg->skb, NULL);
		seg->skb = NULL;
	} else {
		drop(sk, State);
		cftcp_reply_rst(sk, seg);
	}
	rcu_read_unlock();
}

int cftcp_segment_arrives(struct sock *sk, struct sk_buff *skb)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_segment seg;

	cftcp_assert_held(sk);
	cftcp_segment_parse(skb, &cs->key, &seg);
	cs->segs_in++;
	WRITE_ONCE(cs->last_rcv_at, cftcp_tick(cs));
	if (seg.opt.bad)
		cftcp_count(cftcp_sock_net(sk), BadOptions);
	trace_cftcp_segment(false, seg.key, sk->sk_state, seg.flags, seg.seq,
			    seg.ack, seg.len, seg.wnd);

	switch (sk->sk_state) {
	case TCP_CLOSE:
		arrives_closed(sk, &seg);
		break;
	case TCP_LISTEN:
		drop(sk, State);
		break;
	case TCP_SYN_SENT:
		arrives_syn_sent(sk, &seg);
		break;
	default:
		arrives_otherwise(sk, &seg);
	}
	if (seg.skb)
		consume_skb(seg.skb);
	return 0;
}
