// SPDX-License-Identifier: GPL-2.0
/*
 * Losses are found by time (RACK, RFC 8985 section 6): a segment is lost when
 * one that left later has arrived and a reordering window has passed. When
 * nothing comes back at all, a probe (section 7) or the RTO fetches an answer.
 * A peer without SACK is served by three duplicate ACKs and the RTO. What is
 * lost is sent again as soon as the peer's window allows: there is no
 * congestion window.
 *
 * Beside the tree by sequence number, a segment is in one of two lists, both
 * in the order in which segments left: sent, as long as it may be on its way;
 * lost. What is SACKED is in neither, but in a tree of its own, so that who
 * tells of it again makes nobody look at it. So an ACK costs what it newly
 * tells, however much is in flight, in however many pieces.
 */
#include "input.h"
#include "output.h"
#include "recovery.h"
#include "rtt.h"
#include "segment.h"
#include "sock.h"
#include "timer.h"

/* RFC 5681, RFC 6675: DupThresh. */
#define DUP_THRESH	3
/* RFC 8985 6.2 step 4: recoveries that a widened reordering window lasts. */
#define REO_WND_PERSIST	16
/* Octets given up at once when nothing answers. */
#define OVERDUE_MAX	65536
/* Rounds of that before the RTO, which backs off. */
#define SILENT_REPAIRS	2
/* What left within this is given up together. */
#define SAME_TIME_NS	NSEC_PER_MSEC
/* Least time that answers may be apart. */
#define ANSWER_GAP_US	5000U

void cftcp_recovery_reset(struct cftcp_sock *cs)
{
	INIT_LIST_HEAD(&cs->sent);
	INIT_LIST_HEAD(&cs->lost);
	cs->recovering = 0;
	cs->timeouts = 0;
	cs->reordered = 0;
	cs->dsack_seen = 0;
	cs->probing = 0;
	cs->rtt_rose = 0;
	cs->highest_sacked = 0;
	cs->silent_repairs = 0;
	cs->silent_at = 0;
	cs->copied_at = 0;
	cs->rack_sent_at = 0;
	cs->rack_end_seq = 0;
	cs->rack_rtt_us = 0;
	cs->reo_wnd_mult = 1;
	cs->reo_wnd_persist = 0;
}

/**
 * struct delivery - what one ACK told
 * @seg: the segment that brought it
 * @now: ns, when it was worked on
 * @rtt_us: round trip of a segment that was sent once, 0 if none
 * @rexmitted: a segment that was sent again was acknowledged
 * @sacked: something new was SACKed
 * @dsack: @dup arrived twice (RFC 2883)
 * @dup: the block that says so
 */
struct delivery {
	const struct cftcp_segment *seg;
	u64 now;
	u32 rtt_us;
	bool rexmitted;
	bool sacked;
	bool dsack;
	struct cftcp_sack dup;
};

/* Does the ACK echo a timestamp older than @tsval? RFC 3522. */
static bool echoes_before(const struct cftcp_sock *cs,
			  const struct cftcp_segment *seg, u32 tsval)
{
	return cs->ts_ok && seg->opt.has_ts && seg->opt.tsecr &&
	       cftcp_before(seg->opt.tsecr, tsval);
}

/* RFC 8985 6.2 step 2: this may answer an earlier copy. */
static bool ambiguous(const struct cftcp_sock *cs, const struct cftcp_cb *cb,
		      const struct delivery *d, u32 rtt_us)
{
	u32 tsval = (u32)div_u64(cb->sent_at, NSEC_PER_MSEC) + cs->ts_offset;

	return rtt_us < cs->min_rtt_us || echoes_before(cs, d->seg, tsval);
}

/* A segment is known to have arrived. */
static void delivered(struct cftcp_sock *cs, const struct cftcp_cb *cb,
		      struct delivery *d)
{
	u32 rtt_us = min_t(u64, div_u64(d->now - cb->sent_at, NSEC_PER_USEC),
			   S32_MAX);

	if (cb->sacked & CFTCP_SEG_REXMITTED) {
		d->rexmitted = true;
		if (ambiguous(cs, cb, d, rtt_us))
			return;
	} else {
		d->rtt_us = rtt_us;
		if (cftcp_before(cb->end_seq, cs->highest_sacked))
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

/* What lies before @ack leaves the rtx queue; @d may be NULL. */
static void free_acked(struct sock *sk, u32 ack, struct delivery *d)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb;

	while ((skb = cftcp_rtx_head(cs))) {
		struct cftcp_cb *cb = cftcp_cb(skb);

		if (!cftcp_after(ack, cb->seq))
			break;
		/* Without memory to cut it stays until the next ACK or RTO. */
		if (cftcp_before(ack, cb->end_seq) &&
		    (ack - cb->seq > skb->len ||
		     cftcp_split(sk, skb, ack - cb->seq)))
			break;
		if (d && !(cb->sacked & CFTCP_SEG_SACKED))
			delivered(cs, cb, d);
		forget_marks(cs, cb);
		cftcp_rtx_unlink(cs, skb);
		cftcp_free_skb(sk, skb);
	}
}

/* SND.UNA = SEG.ACK. */
static void advance_una(struct sock *sk, u32 ack, struct delivery *d)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	free_acked(sk, ack, d);
	cs->bytes_acked += ack - cs->snd_una;
	cs->snd_una = ack;
	if (cftcp_before(cs->highest_sacked, ack))
		cs->highest_sacked = ack;
}

/* First segment in flight that ends after @seq and is not SACKED. */
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

static void take_sack(struct cftcp_sock *cs, struct sk_buff *skb,
		      struct delivery *d)
{
	struct cftcp_cb *cb = cftcp_cb(skb);

	delivered(cs, cb, d);
	d->sacked = true;
	forget_marks(cs, cb);
	cftcp_rtx_unlink(cs, skb);
	cb->sacked &= ~CFTCP_SEG_LOST;
	cb->sacked |= CFTCP_SEG_SACKED;
	cs->sacked_segs++;
	cftcp_rtx_insert(cs, skb);
	if (cftcp_after(cb->end_seq, cs->highest_sacked))
		cs->highest_sacked = cb->end_seq;
}

/* Cut segments at the edges of a block; whole ones inside of it are taken. */
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
		cut = cftcp_before(cb->seq, block.start) ?
			block.start - cb->seq : block.end - cb->seq;
		if (cut < skb->len && cftcp_split(sk, skb, cut))
			return;
		next = skb_rb_next(skb);
		if (!cftcp_before(cb->seq, block.start) &&
		    !cftcp_after(cb->end_seq, block.end))
			take_sack(cs, skb, d);
	}
}

/*
 * RFC 2883 section 4: the first block tells of what came twice when it lies
 * below SEG.ACK, though not further than anything of ours can come from, or
 * within the second.
 */
static bool is_dsack(const struct cftcp_sock *cs,
		     const struct cftcp_segment *seg)
{
	const struct cftcp_sack *first = &seg->opt.sacks[0], *next = first + 1;

	if (!cftcp_after(first->end, first->start))
		return false;
	if (!cftcp_after(first->end, seg->ack))
		return seg->ack - first->start <= cs->max_snd_wnd + 1;
	return seg->opt.sack_count > 1 &&
	       !cftcp_before(first->start, next->start) &&
	       !cftcp_after(first->end, next->end) &&
	       !cftcp_after(next->end, cs->snd_nxt);
}

static void read_sacks(struct sock *sk, struct delivery *d)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	const struct cftcp_options *opt = &d->seg->opt;

	if (!cs->sack_ok || !opt->sack_count)
		return;
	d->dsack = is_dsack(cs, d->seg);
	d->dup = opt->sacks[0];
	if (d->dsack)
		cftcp_count(cftcp_sock_net(sk), DsackReceived);
	for (int i = d->dsack; i < opt->sack_count; i++) {
		struct cftcp_sack block = opt->sacks[i];

		/* Of what is in flight, and not empty: nothing else was sent. */
		if (cftcp_after(block.end, block.start) &&
		    !cftcp_before(block.start, cs->snd_una) &&
		    !cftcp_after(block.end, cs->snd_nxt))
			sack_block(sk, block, d);
	}
}

/*
 * RACK, RFC 8985 section 6.2.
 */

/* D-SACKs may tell of what was sent twice on purpose. */
static bool copies_come(const struct cftcp_sock *cs, u64 now)
{
	return cs->copied_at && now - cs->copied_at <
	       (u64)NSEC_PER_USEC * 2 * max(cs->srtt_us, cs->rack_rtt_us);
}

/* Step 4: a spurious retransmission widens the window for a while. */
static void adapt_reorder_window(struct cftcp_sock *cs,
				 const struct delivery *d, bool recovered)
{
	bool probed_twice = cs->probing && cs->probe_again &&
			    d->dup.end == cs->probe_end;

	if (cs->dsack_seen && !cftcp_before(cs->snd_una, cs->dsack_round))
		cs->dsack_seen = 0;
	if (d->dsack && !cs->dsack_seen && !probed_twice &&
	    !copies_come(cs, d->now)) {
		cs->dsack_seen = 1;
		cs->dsack_round = cs->snd_nxt;
		cs->reo_wnd_mult += cs->reo_wnd_mult < U8_MAX;
		cs->reo_wnd_persist = REO_WND_PERSIST;
	} else if (recovered && cs->reo_wnd_persist && !--cs->reo_wnd_persist) {
		cs->reo_wnd_mult = 1;
	}
}

static u32 reorder_window_us(const struct cftcp_sock *cs)
{
	if (!cs->reordered &&
	    (cs->recovering || cs->sacked_segs >= DUP_THRESH))
		return 0;
	return min_t(u64, cs->reo_wnd_mult * (u64)cs->min_rtt_us / 4,
		     cs->srtt_us);
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

static void to_lost(struct cftcp_sock *cs, struct cftcp_cb *cb)
{
	if (cb->sacked & CFTCP_SEG_LOST)
		return;
	cb->sacked |= CFTCP_SEG_LOST;
	cs->lost_segs++;
	list_move_tail(&cb->node, &cs->lost);
}

static void mark_lost(struct cftcp_sock *cs, struct cftcp_cb *cb)
{
	begin_recovery(cs);
	to_lost(cs, cb);
}

/* ns that a segment may be on its way before one that left later proves it
 * lost: not 0, or where a clock stands still it would be as soon as it is sent.
 */
static u64 patience_ns(const struct cftcp_sock *cs)
{
	return (u64)NSEC_PER_USEC *
	       (cs->rack_rtt_us + reorder_window_us(cs)) + 1;
}

/*
 * Step 5. Returns ns until all is overdue that left before what has arrived,
 * 0 if nothing did.
 */
static u64 find_losses(struct cftcp_sock *cs, u64 now)
{
	u64 patience = patience_ns(cs);
	struct cftcp_cb *cb, *next;

	list_for_each_entry_safe(cb, next, &cs->sent, node) {
		if (!sent_before_rack(cs, cb))
			break;
		if (now - cb->sent_at < patience)
			return cs->rack_sent_at + patience - now;
		mark_lost(cs, cb);
	}
	return 0;
}

/*
 * With repair_copies segments may be spent to save time. Beyond RACK there is
 * silence: a receiver with a hole, or with two segments more than it has
 * acknowledged, answers at once (RFC 5681 section 4.2). So a retransmission
 * that is not answered a round trip later, when all that left before it is, was
 * lost again, and so was the end of a flight whose beginning was answered.
 */

static int copies(const struct sock *sk)
{
	return cftcp_sysctl(cftcp_sock_net(sk), repair_copies);
}

/* Did it leave after the last of such repairs began? */
static bool new_round(const struct cftcp_sock *cs, const struct cftcp_cb *cb)
{
	return cb->sent_at >= cs->silent_at;
}

/* ns, when the answer to the oldest in flight is overdue; 0 for never. */
static u64 overdue_at(const struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	const struct cftcp_cb *cb = list_first_entry_or_null(&cs->sent,
							     struct cftcp_cb,
							     node);
	u64 half_ns = (u64)cs->srtt_us * NSEC_PER_USEC / 2;
	u64 margin_us;

	if (copies(sk) == 1 || !cb || cs->timeouts || !cs->srtt_us ||
	    (new_round(cs, cb) && cs->silent_repairs >= SILENT_REPAIRS))
		return 0;
	if (!cs->sack_ok || (!cs->sacked_segs &&
			     cs->snd_nxt - cs->snd_una < 2 * cs->mss))
		return 0;
	if (!(cb->sacked & CFTCP_SEG_REXMITTED) &&
	    cb->sent_at > cs->rack_sent_at + half_ns)
		return 0;
	margin_us = max_t(u64, cs->reo_wnd_mult * (u64)cs->min_rtt_us / 4,
			  max(2 * cs->rttvar_us, ANSWER_GAP_US));
	return cb->sent_at + (u64)NSEC_PER_USEC *
	       (max(cs->srtt_us, cs->rack_rtt_us) +
		min_t(u64, margin_us, max(cs->srtt_us, ANSWER_GAP_US)));
}

static void find_overdue(struct sock *sk, u64 now)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 octets = 0;
	u64 at;

	while (octets < OVERDUE_MAX && (at = overdue_at(sk)) &&
	       at <= now + (octets ? SAME_TIME_NS : 0)) {
		struct cftcp_cb *cb = list_first_entry(&cs->sent,
						       struct cftcp_cb, node);

		if (new_round(cs, cb)) {
			cs->silent_at = now;
			cs->silent_repairs++;
		}
		octets += cftcp_cb_skb(cb)->len + 1;
		mark_lost(cs, cb);
	}
}

/* ns until losses are to be looked for again, 0 for never. */
static u64 next_look(struct sock *sk, u64 wait, u64 now)
{
	u64 at = overdue_at(sk);

	if (wait || !at)
		return wait;
	/* What find_overdue() left has its turn when that was answered. */
	return at > now ? at - now : ANSWER_GAP_US * (u64)NSEC_PER_USEC;
}

/* Nothing waits that may be sent. */
static bool idle_soon(const struct sock *sk)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);

	return skb_queue_empty(&sk->sk_write_queue) ||
	       (s32)(cftcp_wnd_end(cs) - cs->snd_nxt) < (s32)cs->mss;
}

/*
 * The path will have room: what is sent more often is less often lost again,
 * and a window that is shut opens when the first hole is filled.
 */
static void send_copies(struct sock *sk, struct sk_buff *skb)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (!idle_soon(sk))
		return;
	for (int n = copies(sk); n > 1; n--) {
		/* The pace is kept by what follows a copy. */
		if (cftcp_retransmit(sk, skb, skb->len <= cs->mss))
			return;
		cs->copied_at = ktime_get_ns();
	}
}

static void repair(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_cb *cb;

	while ((cb = list_first_entry_or_null(&cs->lost, struct cftcp_cb,
					      node))) {
		/* After a timeout nothing but the head, until it is answered. */
		if (cs->timeouts)
			cb = cftcp_cb(cftcp_rtx_head(cs));
		if (!(cb->sacked & CFTCP_SEG_LOST) ||
		    cftcp_retransmit(sk, cftcp_cb_skb(cb), cs->timeouts))
			return;
		cftcp_count(cftcp_sock_net(sk), FastRetransmit);
		if (!cs->timeouts)
			send_copies(sk, cftcp_cb_skb(cb));
	}
}

/*
 * Without SACK.
 */

/* Only the first segment is known to be missing. */
static void mark_first_lost(struct sock *sk, struct sk_buff *head)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (head->len <= cs->mss || !cftcp_split(sk, head, cs->mss))
		mark_lost(cs, cftcp_cb(head));
}

/* NewReno's part (RFC 6582). */
static void count_dup_acks(struct sock *sk, const struct cftcp_segment *seg,
			   bool advanced)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *head = cftcp_rtx_head(cs);

	if (cs->sack_ok)
		return;
	if (advanced) {
		cs->dup_acks = 0;
		/* What the RTO had marked may be on its way a second time. */
		if (cs->recovering && head &&
		    !(cftcp_cb(head)->sacked & CFTCP_SEG_REXMITTED))
			mark_first_lost(sk, head);
		return;
	}
	if (seg->len || seg->flags & (CFTCP_FLAG_SYN | CFTCP_FLAG_FIN) ||
	    seg->ack != cs->snd_una || !head || !cs->wnd_same)
		return;
	if (cs->dup_acks < U8_MAX)
		cs->dup_acks++;
	if (cs->dup_acks == DUP_THRESH && !cs->recovering)
		mark_first_lost(sk, head);
}

/*
 * Tail loss probe, RFC 8985 section 7.
 */

bool cftcp_recovery_may_probe(const struct cftcp_sock *cs)
{
	return cs->sack_ok && !cs->sacked_segs && !cs->recovering &&
	       !cs->probing;
}

static bool resend_last(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *last = skb_rb_last(&cs->rtx);
	u32 more;

	if (!last)
		return false;
	more = last->len > cs->mss ? (last->len - 1) / cs->mss * cs->mss : 0;
	if (more) {
		if (cftcp_split(sk, last, more))
			return false;
		last = skb_rb_next(last);
	}
	return !cftcp_retransmit(sk, last, true);
}

bool cftcp_recovery_probe(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	cs->probing = 1;
	cs->probe_again = !cftcp_push_override(sk);
	if (cs->probe_again && !resend_last(sk)) {
		cs->probing = 0;
		return false;
	}
	cs->probe_end = cs->snd_nxt;
	cftcp_count(cftcp_sock_net(sk), LossProbe);
	return true;
}

/* Section 7.4.2: was the probe answered, and had it repaired a loss? */
static void check_probe(struct sock *sk, const struct delivery *d,
			bool advanced)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	const struct cftcp_segment *seg = d->seg;

	if (!cs->probing || cftcp_before(seg->ack, cs->probe_end))
		return;
	if (!cs->probe_again || (d->dsack && d->dup.end == cs->probe_end)) {
		cs->probing = 0;
	} else if (cftcp_after(seg->ack, cs->probe_end)) {
		cs->probing = 0;
		cftcp_count(cftcp_sock_net(sk), LossProbeRepaired);
	} else if (!advanced && !seg->opt.sack_count && !seg->len) {
		cs->probing = 0;
	}
}

/*
 * Retransmission timeouts, true ones and others.
 */

/* The first ACK after a timeout tells by its echo what it answers (RFC 3522). */
static void judge_timeout(struct sock *sk, const struct delivery *d)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_cb *cb;

	cs->timeouts = 0;
	if (d->dsack || !echoes_before(cs, d->seg, cs->timeout_tsval))
		return;
	cftcp_count(cftcp_sock_net(sk), RtoSpurious);
	/* What was given up for lost is on its way (RFC 4015 section 3.2). */
	list_for_each_entry(cb, &cs->lost, node)
		cb->sacked &= ~CFTCP_SEG_LOST;
	list_splice_init(&cs->lost, &cs->sent);
	cs->lost_segs = 0;
	cs->recovering = 0;
	cftcp_rtt_rose(sk);
}

void cftcp_recovery_cut(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_cb *cb, *next;

	cftcp_tick(cs);
	list_for_each_entry_safe(cb, next, &cs->sent, node)
		if (cftcp_cb_skb(cb)->len > cs->mss)
			to_lost(cs, cb);
	repair(sk);
	cftcp_timer_repaired(sk, 0);
}

/* The peer took back what it had SACKed (RFC 2018 section 8). */
static void forget_sacks(struct cftcp_sock *cs)
{
	struct sk_buff *skb;

	while ((skb = skb_rb_first(&cs->rtx_sacked))) {
		cftcp_rtx_unlink(cs, skb);
		cftcp_cb(skb)->sacked &= ~CFTCP_SEG_SACKED;
		cftcp_rtx_insert(cs, skb);
		mark_lost(cs, cftcp_cb(skb));
	}
	cs->sacked_segs = 0;
	cs->highest_sacked = cs->snd_una;
}

/* RFC 8985 section 6.3: the head, and what left no later than it may have. */
static void mark_overdue(struct cftcp_sock *cs, struct sk_buff *head)
{
	u64 now = cs->now, patience = patience_ns(cs);
	struct cftcp_cb *cb, *next;

	mark_lost(cs, cftcp_cb(head));
	list_for_each_entry_safe(cb, next, &cs->sent, node) {
		if (now - cb->sent_at < patience)
			break;
		mark_lost(cs, cb);
	}
}

void cftcp_recovery_rto(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *head;

	/* The peer does not answer to what it has acknowledged before. */
	free_acked(sk, cs->snd_una, NULL);
	head = cftcp_rtx_head(cs);
	if (!head)
		return;
	if (!cs->timeouts)
		cs->timeout_tsval = cftcp_tsval(cs);
	cs->timeouts += cs->timeouts < U8_MAX;
	cs->probing = 0;
	cs->recovering = 1;
	cs->recovery_point = cs->snd_nxt;
	if (cftcp_cb(head)->sacked & CFTCP_SEG_SACKED)
		forget_sacks(cs);
	mark_overdue(cs, head);
	/* RFC 9293 3.8.6.1: a window that was shrunk to nothing is probed. */
	if (cftcp_retransmit(sk, head, true) == -EAGAIN)
		cftcp_send_probe(sk);
}

void cftcp_recovery_reorder(struct sock *sk)
{
	u64 now = cftcp_sk(sk)->now;
	u64 wait = find_losses(cftcp_sk(sk), now);

	if (!wait)
		find_overdue(sk, now);
	repair(sk);
	cftcp_timer_repaired(sk, next_look(sk, wait, now));
}

/* Is all that was sent before the loss acknowledged? */
static bool end_recovery(struct cftcp_sock *cs)
{
	if (!cs->recovering || cftcp_before(cs->snd_una, cs->recovery_point))
		return false;
	cs->recovering = 0;
	return true;
}

bool cftcp_recovery_acked(struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct delivery d = { .seg = seg, .now = cs->now };
	bool advanced = cftcp_after(seg->ack, cs->snd_una);
	bool recovered;
	u64 wait = 0;

	if (advanced)
		advance_una(sk, seg->ack, &d);
	read_sacks(sk, &d);
	/* First, for a full ACK tells of no further loss (RFC 6582 3.2). */
	recovered = end_recovery(cs);
	adapt_reorder_window(cs, &d, recovered);
	check_probe(sk, &d, advanced);
	if (advanced || d.sacked)
		cs->silent_repairs = 0;
	if (advanced && cs->timeouts)
		judge_timeout(sk, &d);
	count_dup_acks(sk, seg, advanced);
	if (advanced) {
		cftcp_rtt_acked(sk, seg, d.rexmitted ? 0 : d.rtt_us);
		cftcp_timer_acked(sk);
	} else if (d.rtt_us && !d.rexmitted) {
		cftcp_rtt_sample(sk, d.rtt_us);
	}
	if (cs->sack_ok)
		wait = find_losses(cs, d.now);
	repair(sk);
	cftcp_timer_repaired(sk, next_look(sk, wait, d.now));
	return advanced;
}
