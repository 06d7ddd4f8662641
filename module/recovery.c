// SPDX-License-Identifier: GPL-2.0
/*
 * Losses are found by time (RACK, RFC 8985 section 6): a segment is lost when
 * one that left later has arrived and a reordering window has passed, or at
 * once when three segments above it were SACKed. A peer without SACK is served
 * by three duplicate ACKs. What is lost is sent again as soon as the peer's
 * window allows: there is no congestion window.
 */
#include "input.h"
#include "output.h"
#include "recovery.h"
#include "segment.h"
#include "sock.h"
#include "timer.h"

/* RFC 5681, RFC 6675: DupThresh. */
#define DUP_THRESH	3
/* RFC 6298 section 2: clock granularity G. */
#define GRANULARITY_US	1000U

void cftcp_rtt_sample(struct sock *sk, u32 rtt_us)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_net *cn = cftcp_sock_net(sk);
	u32 floor_us = cftcp_sysctl(cn, rto_min_ms) * USEC_PER_MSEC;
	u64 rto_us;

	rtt_us = clamp(rtt_us, 1U, 1U << 28);
	if (!cs->min_rtt_us || rtt_us < cs->min_rtt_us)
		cs->min_rtt_us = rtt_us;
	if (!cs->srtt_us) {
		cs->srtt_us = rtt_us;
		cs->rttvar_us = rtt_us / 2;
	} else {
		u32 diff = abs((int)(cs->srtt_us - rtt_us));

		cs->rttvar_us = cs->rttvar_us - cs->rttvar_us / 4 + diff / 4;
		cs->srtt_us = cs->srtt_us - cs->srtt_us / 8 + rtt_us / 8;
	}
	/* The floor stands for the variance, so that a peer's delayed ACK has
	 * room beside any round trip.
	 */
	rto_us = cs->srtt_us + max3(GRANULARITY_US, 4 * cs->rttvar_us, floor_us);
	cs->rto_ns = min(rto_us * NSEC_PER_USEC,
			 cftcp_sysctl(cn, rto_max_ms) * (u64)NSEC_PER_MSEC);
}

/**
 * struct delivery - what one ACK told
 * @now: ns, when it was worked on
 * @rtt_us: round trip of a segment that was sent once, 0 if none
 * @rexmitted: a segment that was sent again was acknowledged
 * @sacked: something new was SACKed
 */
struct delivery {
	u64 now;
	u32 rtt_us;
	bool rexmitted;
	bool sacked;
};

/* A segment is known to have arrived. */
static void delivered(struct cftcp_sock *cs, const struct cftcp_cb *cb,
		      struct delivery *d)
{
	u32 rtt_us = div_u64(d->now - cb->sent_at, NSEC_PER_USEC);

	if (cb->sacked & CFTCP_SEG_REXMITTED) {
		d->rexmitted = true;
		/* RFC 8985 6.2 step 2: this may answer the first copy. */
		if (rtt_us < cs->min_rtt_us)
			return;
	} else {
		d->rtt_us = rtt_us;
		if (cftcp_before(cb->seq, cs->highest_sacked))
			cs->reordered = 1;
	}
	if (cb->sent_at > cs->rack_sent_at ||
	    (cb->sent_at == cs->rack_sent_at &&
	     cftcp_after(cb->end_seq, cs->rack_end_seq))) {
		cs->rack_sent_at = cb->sent_at;
		cs->rack_end_seq = cb->end_seq;
		cs->rack_rtt_us = rtt_us;
	}
}

static void forget_marks(struct cftcp_sock *cs, const struct cftcp_cb *cb)
{
	cs->sacked_segs -= !!(cb->sacked & CFTCP_SEG_SACKED);
	cs->lost_segs -= !!(cb->sacked & CFTCP_SEG_LOST);
}

/* SND.UNA = SEG.ACK: what is acknowledged leaves the rtx queue. */
static void advance_una(struct sock *sk, u32 ack, struct delivery *d)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb;

	while ((skb = cftcp_rtx_head(cs))) {
		struct cftcp_cb *cb = cftcp_cb(skb);

		if (!cftcp_after(ack, cb->seq))
			break;
		/* Without memory to cut it stays, and is sent whole again. */
		if (cftcp_before(ack, cb->end_seq) &&
		    (ack - cb->seq > skb->len ||
		     cftcp_split(sk, skb, ack - cb->seq)))
			break;
		if (!(cb->sacked & CFTCP_SEG_SACKED))
			delivered(cs, cb, d);
		forget_marks(cs, cb);
		cftcp_rtx_unlink(cs, skb);
		cftcp_free_skb(sk, skb);
	}
	cs->bytes_acked += ack - cs->snd_una;
	cs->snd_una = ack;
	if (cftcp_before(cs->highest_sacked, ack))
		cs->highest_sacked = ack;
}

/* First segment in flight that ends after @seq. */
static struct sk_buff *find_flight(const struct cftcp_sock *cs, u32 seq)
{
	struct rb_node *node = cs->rtx.rb_node;
	struct sk_buff *found = NULL;

	while (node) {
		struct sk_buff *skb = rb_to_skb(node);

		if (cftcp_after(cftcp_cb(skb)->end_seq, seq)) {
			found = skb;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return found;
}

/* Cut segments at the edges of a block; whole ones inside of it are marked. */
static void sack_block(struct sock *sk, struct cftcp_sack block,
		       struct delivery *d)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb, *next;

	for (skb = find_flight(cs, block.start); skb; skb = next) {
		struct cftcp_cb *cb = cftcp_cb(skb);
		u32 cut;

		if (!cftcp_before(cb->seq, block.end))
			return;
		if (!(cb->sacked & CFTCP_SEG_SACKED)) {
			cut = cftcp_before(cb->seq, block.start) ?
				block.start - cb->seq : block.end - cb->seq;
			if (cut < skb->len && cftcp_split(sk, skb, cut))
				return;
		}
		next = skb_rb_next(skb);
		if (cftcp_before(cb->seq, block.start) ||
		    cftcp_after(cb->end_seq, block.end) ||
		    (cb->sacked & CFTCP_SEG_SACKED))
			continue;
		delivered(cs, cb, d);
		d->sacked = true;
		if (cb->sacked & CFTCP_SEG_LOST) {
			cb->sacked &= ~CFTCP_SEG_LOST;
			cs->lost_segs--;
		}
		cb->sacked |= CFTCP_SEG_SACKED;
		cs->sacked_segs++;
		if (cftcp_after(cb->end_seq, cs->highest_sacked))
			cs->highest_sacked = cb->end_seq;
	}
}

static void read_sacks(struct sock *sk, const struct cftcp_segment *seg,
		       struct delivery *d)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (!cs->sack_ok)
		return;
	for (int i = 0; i < seg->opt.sack_count; i++) {
		struct cftcp_sack block = seg->opt.sacks[i];

		/* Of what is in flight, and not empty: else it is D-SACK,
		 * or tells of octets that were never sent.
		 */
		if (cftcp_after(block.end, block.start) &&
		    !cftcp_before(block.start, cs->snd_una) &&
		    !cftcp_after(block.end, cs->snd_nxt))
			sack_block(sk, block, d);
	}
}

static void measure(struct sock *sk, const struct cftcp_segment *seg,
		    const struct delivery *d)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 ms;

	/* Karn: no sample from a segment that was sent more than once, unless
	 * its echo says which copy it answers (RFC 6298 section 3).
	 */
	if (d->rtt_us && !d->rexmitted) {
		cftcp_rtt_sample(sk, d->rtt_us);
	} else if (cs->ts_ok && seg->opt.has_ts && seg->opt.tsecr) {
		ms = cftcp_clock_ms() + cs->ts_offset - seg->opt.tsecr;
		if (ms < CFTCP_DAY_MS)
			cftcp_rtt_sample(sk, max(ms, 1U) * USEC_PER_MSEC);
	}
}

static u32 reorder_window_us(const struct cftcp_sock *cs)
{
	if (!cs->reordered &&
	    (cs->recovering || cs->sacked_segs >= DUP_THRESH))
		return 0;
	return min(cs->min_rtt_us / 4, cs->srtt_us);
}

static bool sent_before_rack(const struct cftcp_sock *cs,
			     const struct cftcp_cb *cb)
{
	return cb->sent_at < cs->rack_sent_at ||
	       (cb->sent_at == cs->rack_sent_at &&
		cftcp_before(cb->end_seq, cs->rack_end_seq));
}

static void begin_recovery(struct cftcp_sock *cs)
{
	if (cs->recovering)
		return;
	cs->recovering = 1;
	cs->recovery_point = cs->snd_nxt;
}

static void mark_lost(struct cftcp_sock *cs, struct sk_buff *skb)
{
	struct cftcp_cb *cb = cftcp_cb(skb);

	begin_recovery(cs);
	if (!(cb->sacked & CFTCP_SEG_LOST))
		cs->lost_segs++;
	cb->sacked |= CFTCP_SEG_LOST;
}

/* RFC 8985 section 6.2 step 5. Returns ns until the next one is overdue. */
static u64 find_losses(struct sock *sk, u64 now)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u64 patience = (u64)NSEC_PER_USEC *
		       (cs->rack_rtt_us + reorder_window_us(cs));
	struct sk_buff *skb;
	u64 wait = 0;

	for (skb = cftcp_rtx_head(cs); skb; skb = skb_rb_next(skb)) {
		struct cftcp_cb *cb = cftcp_cb(skb);
		u64 age = now - cb->sent_at;

		if (cb->sacked & (CFTCP_SEG_SACKED | CFTCP_SEG_LOST) ||
		    !sent_before_rack(cs, cb))
			continue;
		if (age >= patience)
			mark_lost(cs, skb);
		else
			wait = max(wait, patience - age);
	}
	return wait;
}

static void repair(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb;

	for (skb = cftcp_rtx_head(cs); skb && cs->lost_segs;
	     skb = skb_rb_next(skb)) {
		if (!(cftcp_cb(skb)->sacked & CFTCP_SEG_LOST))
			continue;
		if (cftcp_retransmit(sk, skb, !cs->sack_ok))
			return;
		cftcp_count(cftcp_sock_net(sk), FastRetransmit);
	}
}

/* Without SACK only the first segment is known to be missing. */
static void mark_first_lost(struct sock *sk, struct sk_buff *head)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (head->len <= cs->mss || !cftcp_split(sk, head, cs->mss))
		mark_lost(cs, head);
}

/* NewReno's part, for a peer without SACK (RFC 6582). */
static void count_dup_acks(struct sock *sk, const struct cftcp_segment *seg,
			   bool advanced)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *head = cftcp_rtx_head(cs);

	if (advanced) {
		cs->dup_acks = 0;
		if (cs->recovering && !cs->sack_ok && head)
			mark_first_lost(sk, head);
		return;
	}
	if (seg->len || seg->flags & (CFTCP_FLAG_SYN | CFTCP_FLAG_FIN) ||
	    seg->ack != cs->snd_una || !head ||
	    (u32)seg->wnd << cs->snd_wscale != cs->snd_wnd)
		return;
	if (cs->dup_acks < U8_MAX)
		cs->dup_acks++;
	if (cs->dup_acks == DUP_THRESH && !cs->recovering && !cs->sack_ok)
		mark_first_lost(sk, head);
}

bool cftcp_recovery_acked(struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct delivery d = { .now = ktime_get_ns() };
	bool advanced = cftcp_after(seg->ack, cs->snd_una);

	if (advanced)
		advance_una(sk, seg->ack, &d);
	read_sacks(sk, seg, &d);
	/* First, for a full ACK tells of no further loss (RFC 6582 3.2). */
	if (cs->recovering && !cftcp_before(cs->snd_una, cs->recovery_point))
		cs->recovering = 0;
	count_dup_acks(sk, seg, advanced);
	if (advanced) {
		measure(sk, seg, &d);
		cftcp_timer_acked(sk);
	}
	if (d.sacked || cs->sacked_segs || cs->recovering)
		cftcp_timer_reorder(sk, find_losses(sk, d.now));
	if (cs->lost_segs)
		repair(sk);
	return advanced;
}

void cftcp_recovery_reorder(struct sock *sk)
{
	cftcp_timer_reorder(sk, find_losses(sk, ktime_get_ns()));
	repair(sk);
}

/* The peer took back what it had SACKed (RFC 2018 section 8). */
static void forget_sacks(struct cftcp_sock *cs)
{
	struct sk_buff *skb;

	for (skb = cftcp_rtx_head(cs); skb; skb = skb_rb_next(skb))
		cftcp_cb(skb)->sacked &= ~CFTCP_SEG_SACKED;
	cs->sacked_segs = 0;
	cs->highest_sacked = cs->snd_una;
}

void cftcp_recovery_rto(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *head = cftcp_rtx_head(cs);

	if (!head)
		return;
	if (cftcp_cb(head)->sacked & CFTCP_SEG_SACKED)
		forget_sacks(cs);
	cs->recovering = 1;
	cs->recovery_point = cs->snd_nxt;
	/* RFC 9293 3.8.6.1: a window that was shrunk to nothing is probed. */
	if (cftcp_retransmit(sk, head, true) == -EAGAIN)
		cftcp_send_probe(sk);
}
