// SPDX-License-Identifier: GPL-2.0
/*
 * A sender of text whose segments a network delivers, drops, delays and
 * repeats, to a naive receiver with a flag for each octet, whose ACKs share
 * that fate; besides, ACKs that tell anything, memory that is short, windows
 * that shut, time that passes. The queue, its lists and counts must fit, what
 * is marked as SACKed must have been SACKed, what leaves must be the stream and
 * within the window, and in the end, when the network is whole, all arrives.
 */
#include "parts.h"

#include "close.h"

#define SPAN	16000U		/* octets of the stream, at most */
#define FLIGHT	64		/* segments that the network holds */

struct flight {
	u32 from, to, tsval;
};

static u32 start;		/* number of the first octet */
static bool got[SPAN + 2];	/* what the receiver has */
static bool told[SPAN + 2];	/* what any SACK block has told */
static u32 window;		/* octets from the receiver's next on */
static struct flight flights[FLIGHT];
static int flying;
static u32 last_tsval;
static u32 acked;		/* what the sender believes that it has */
static bool cut_refused;	/* something could not be split */

static u32 receiver_next(void)
{
	u32 next = acked;

	while (next < SPAN + 2 && got[next])
		next++;
	return next;
}

static void leaves(struct sock *sk, struct sk_buff *skb)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_segment seg;
	const u8 *text;
	u32 from, to;

	parts_parse(skb, &seg);
	from = seg.seq - start;
	to = seg.end_seq - start;
	if (from == to)
		return;
	text = skb->data + 4 * tcp_hdr(skb)->doff;
	for (u32 i = 0; i < seg.len; i++)
		must(text[i] == parts_octet(seg.seq + i));
	must(!cftcp_after(seg.end_seq, cs->write_seq));
	must(!cftcp_after(seg.end_seq, cftcp_wnd_end(cs)) ||
	     (seg.flags & CFTCP_FLAG_FIN && seg.end_seq - 1 == cftcp_wnd_end(cs)));
	/* Whoever is below us cuts it, or it is a probe of the path MTU. */
	must((skb_shinfo(skb)->gso_size ?: seg.len) <= cs->mss || cs->pmtu.probe);
	if (flying == FLIGHT)
		memmove(flights, flights + 1, --flying * sizeof(*flights));
	flights[flying++] = (struct flight){ from, to, seg.opt.tsval };
}

/*
 * The board.
 */

static int length_of(struct list_head *list, bool lost)
{
	struct cftcp_cb *cb;
	u64 before = 0;
	int n = 0;

	list_for_each_entry(cb, list, node) {
		must(!(cb->sacked & CFTCP_SEG_SACKED));
		must(!(cb->sacked & CFTCP_SEG_LOST) == !lost);
		if (!lost && !parts_counter(RtoSpurious))
			must(cb->sent_at >= before);
		before = cb->sent_at;
		n++;
	}
	return n;
}

/* Octets of [from, to) that were told of, all of them? */
static bool all_told(u32 from, u32 to)
{
	while (from < to && told[from])
		from++;
	return from == to;
}

/* What is in flight, in order: of both trees. */
struct walk {
	struct sk_buff *rtx, *sacked;
};

static struct walk flight(struct cftcp_sock *cs)
{
	return (struct walk){ skb_rb_first(&cs->rtx),
			      skb_rb_first(&cs->rtx_sacked) };
}

static struct sk_buff *next_of(struct walk *walk)
{
	bool sacked = !walk->rtx ||
		      (walk->sacked && cftcp_before(cftcp_cb(walk->sacked)->seq,
						    cftcp_cb(walk->rtx)->seq));
	struct sk_buff **from = sacked ? &walk->sacked : &walk->rtx;
	struct sk_buff *skb = *from;

	if (!skb)
		return NULL;
	must(!(cftcp_cb(skb)->sacked & CFTCP_SEG_SACKED) == !sacked);
	*from = skb_rb_next(skb);
	return skb;
}

static void check_queue(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct walk walk = flight(cs);
	int cost = 0;
	struct sk_buff *skb;
	u32 seq = cs->snd_nxt;

	skb_queue_walk(&sk->sk_write_queue, skb) {
		must(cftcp_cb(skb)->seq == seq);
		seq = cftcp_cb(skb)->end_seq;
		cost += skb->truesize;
	}
	must(seq == cs->write_seq);
	while ((skb = next_of(&walk)))
		cost += skb->truesize;
	must(cost == sk->sk_wmem_queued && cost == sk->sk_charged);
}

static void check_board(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 sacked = 0, lost = 0, segs = 0, end = cs->snd_una;
	struct sk_buff *skb = cftcp_rtx_head(cs);
	struct walk walk = flight(cs);

	must(!skb == (cs->snd_una == cs->snd_nxt));
	if (skb) {
		end = cftcp_cb(skb)->seq;
		must(!cftcp_after(end, cs->snd_una));
		must(cut_refused || end == cs->snd_una);
	}
	while ((skb = next_of(&walk))) {
		struct cftcp_cb *cb = cftcp_cb(skb);
		u32 from = cb->seq - start, to = cb->end_seq - start;

		must(cb->seq == end && from < to);
		must(to - from == skb->len + !!(cb->flags & CFTCP_FLAG_FIN));
		end = cb->end_seq;
		segs++;
		sacked += !!(cb->sacked & CFTCP_SEG_SACKED);
		lost += !!(cb->sacked & CFTCP_SEG_LOST);
		if (cb->sacked & CFTCP_SEG_SACKED)
			must(all_told(from, to));
		else if (!cut_refused && !(cb->flags & CFTCP_FLAG_FIN))
			for (u32 i = from; i < to; i++)
				must(!told[i]);
	}
	must(end == cs->snd_nxt);
	must(sacked == cs->sacked_segs && lost == cs->lost_segs);
	must((u32)length_of(&cs->lost, true) == lost);
	must((u32)length_of(&cs->sent, false) == segs - lost - sacked);
	must(!cftcp_after(cs->highest_sacked, cs->snd_nxt));
	must(cftcp_rto_ns(sk) <= cftcp_sysctl(cs->cn, rto_max_ms) *
				 (u64)NSEC_PER_MSEC);
	check_queue(sk);
}

/* What the RTO has made of them: a peer may take back what it told. */
static void forget_told(struct sock *sk)
{
	struct walk walk = flight(cftcp_sk(sk));
	struct sk_buff *skb;

	memset(told, 0, sizeof(told));
	while ((skb = next_of(&walk))) {
		struct cftcp_cb *cb = cftcp_cb(skb);

		if (cb->sacked & CFTCP_SEG_SACKED)
			memset(told + (cb->seq - start), 1,
			       cb->end_seq - cb->seq);
	}
}

/*
 * The peer.
 */

static bool within(const struct cftcp_sack *a, const struct cftcp_sack *b)
{
	return !cftcp_before(a->start, b->start) && !cftcp_after(a->end, b->end);
}

/* What the blocks tell of, as RFC 2018 and 2883 let us believe. */
static void hear(struct sock *sk, const struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 una = cftcp_after(seg->ack, cs->snd_una) ? seg->ack : cs->snd_una;

	if (!cs->sack_ok)
		return;
	for (int i = 0; i < seg->opt.sack_count; i++) {
		struct cftcp_sack block = seg->opt.sacks[i];

		if (!i && seg->opt.sack_count > 1 &&
		    within(&block, &seg->opt.sacks[1]))
			continue;
		if (cftcp_after(block.end, block.start) &&
		    !cftcp_before(block.start, una) &&
		    !cftcp_after(block.end, cs->snd_nxt))
			memset(told + (block.start - start), 1,
			       block.end - block.start);
	}
}

static void acknowledge(struct sock *sk, struct cftcp_segment *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	seg->flags = CFTCP_FLAG_ACK;
	seg->seq = cs->rcv_nxt;
	seg->wnd = min(window, 65535U);
	seg->opt.has_ts = cs->ts_ok;
	seg->opt.tsval = cs->ts_recent;
	seg->opt.sack_count = min_t(u8, seg->opt.sack_count, 4 - cs->ts_ok);
	if (!cftcp_before(seg->ack, cs->snd_una) &&
	    !cftcp_after(seg->ack, cs->snd_nxt))
		hear(sk, seg);
	parts_arrives(sk, seg, NULL);
	acked = cs->snd_una - start;
}

/* What the receiver has beyond its next, the highest first. */
static void add_blocks(struct cftcp_segment *seg, u32 next, u32 most)
{
	u32 at = min(most, SPAN + 2);

	while (at > next && seg->opt.sack_count < 3) {
		struct cftcp_sack *block = &seg->opt.sacks[seg->opt.sack_count];

		while (at > next && !got[at - 1])
			at--;
		if (at <= next)
			return;
		block->end = start + at;
		while (at > next && got[at - 1])
			at--;
		block->start = start + at;
		seg->opt.sack_count++;
	}
}

static void receiver_answers(struct sock *sk, struct flight *seg)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	bool again = seg && seg->to <= SPAN + 2 && got[seg->from];
	struct cftcp_segment ack = { .opt.tsecr = last_tsval };
	u32 next;

	if (seg) {
		ack.opt.tsecr = seg->tsval;
		last_tsval = seg->tsval;
		memset(got + seg->from, 1, seg->to - seg->from);
	}
	next = receiver_next();
	ack.ack = start + next;
	if (again && cs->sack_ok) {
		ack.opt.sacks[0].start = start + seg->from;
		ack.opt.sacks[0].end = start + seg->to;
		ack.opt.sack_count = 1;
	}
	add_blocks(&ack, next, cs->snd_nxt - start);
	acknowledge(sk, &ack);
}

static struct flight fetch(int i)
{
	struct flight seg = flights[i];

	memmove(flights + i, flights + i + 1, (--flying - i) * sizeof(seg));
	return seg;
}

static void deliver(struct sock *sk, bool answered)
{
	struct flight seg;

	if (!flying)
		return;
	seg = fetch(any8() % flying);
	if (answered)
		receiver_answers(sk, &seg);
	else
		memset(got + seg.from, 1, seg.to - seg.from);
}

/* What it acknowledges the receiver need not have any more. */
static void lie(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_segment ack = {};

	ack.ack = any8() & 1 ? cs->snd_una : any_near(cs->snd_una);
	ack.opt.tsecr = any_near(last_tsval);
	ack.opt.sack_count = any8() % 5;
	if (cftcp_after(ack.ack, cs->snd_nxt))
		ack.ack = cs->snd_nxt;
	for (int i = 0; i < ack.opt.sack_count; i++) {
		u32 near = i & 1 ? cs->snd_nxt : cs->snd_una;

		ack.opt.sacks[i].start = any_near(near);
		ack.opt.sacks[i].end = ack.opt.sacks[i].start + any8() * 4;
	}
	acknowledge(sk, &ack);
}

static void write_some(struct sock *sk, u32 len)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (cs->fin_queued || cs->write_seq - start + len > SPAN || !len)
		return;
	parts_write(sk, len);
	cftcp_push_pending(sk);
}

static void step(struct sock *sk)
{
	u64 ns;

	switch (any8() % 16) {
	case 0: case 1: case 2:
		write_some(sk, any8() * 8);
		break;
	case 3: case 4: case 5: case 6:
		deliver(sk, true);
		break;
	case 7:
		deliver(sk, false);
		break;
	case 8:
		if (flying)
			fetch(any8() % flying);
		break;
	case 9: case 10:
		ns = any16();
		parts_advance(sk, ns << any8() % 24);
		break;
	case 11:
		lie(sk);
		break;
	case 12:
		parts_fail = any8();
		break;
	case 13:
		window = any16();
		break;
	case 14:
		parts_hold = any8() & 1;
		if (!parts_hold)
			parts_release();
		break;
	case 15:
		if (!cftcp_sk(sk)->fin_queued && any8() % 4 == 3)
			cftcp_event(sk, CFTCP_EV_SHUTDOWN_WR, NULL);
		else
			sk->dst.mtu = 100 + any16() % 2000;
		break;
	}
}

/* A network that is whole, a receiver that reads: all arrives before long. */
static void heal(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	parts_fail = 0;
	parts_hold = false;
	parts_release();
	window = 65535;
	receiver_answers(sk, NULL);
	for (int n = 0; n < 2000 && (cs->snd_una != cs->write_seq); n++) {
		while (flying && sk->sk_state != TCP_CLOSE) {
			struct flight seg = fetch(0);

			/* With no round trip all would be lost at once. */
			parts_advance(sk, NSEC_PER_USEC);
			receiver_answers(sk, &seg);
		}
		must(cs->timer.hrtimer.queued || cs->snd_una == cs->write_seq);
		parts_advance(sk, 50 * NSEC_PER_MSEC << n % 12);
	}
	must(cs->snd_una == cs->write_seq);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct cftcp_sock *cs;
	struct sock *sk;

	parts_begin();
	parts_input(data, size);
	memset(got, 0, sizeof(got));
	memset(told, 0, sizeof(told));
	flying = 0;
	acked = 0;
	cut_refused = false;
	last_tsval = 0;
	start = any_near(0);
	sk = parts_connection(start - 1, any32());
	cs = cftcp_sk(sk);
	parts_sent = leaves;
	window = 65535;
	parts_net.sysctl.user_timeout_ms = 0;
	parts_net.sysctl.repair_copies = 1 + any8() % 4;
	cs->ts_ok = any8() & 1;
	cs->sack_ok = any8() % 4 != 3;
	sk->gso = any8() & 1;
	sk->dst.mtu = 200 + any8() * 8;
	cs->snd_wnd = window;
	cs->max_snd_wnd = window;
	for (int n = 0; n < 400 && parts_more(); n++) {
		u64 rtos = parts_counter(RtoFired);

		parts_failed = false;
		step(sk);
		cut_refused |= parts_failed;
		if (parts_counter(RtoFired) != rtos)
			forget_told(sk);
		check_board(sk);
	}
	heal(sk);
	check_board(sk);
	parts_close(sk);
	return 0;
}
