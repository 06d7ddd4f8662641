// SPDX-License-Identifier: GPL-2.0
/*
 * Segments in any order, overlapping, repeated, beyond the window, with text
 * and FIN: what the user reads is the stream and all of it that came, what is
 * held beyond is what a naive receiver holds, which has a flag for each octet;
 * and SACK blocks tell of nothing that did not come.
 */
#include "parts.h"

#define SPAN	6000U		/* octets of the stream */

static u32 start;		/* number of its first octet */
static u32 fin_at;		/* its length */
static u32 next;		/* of the naive receiver; the FIN counts */
static u32 edge;		/* where the window ends that was shown */
static bool have[SPAN + 1];	/* octets that came and are kept, and the FIN */
static u8 came[SPAN + 1];	/* how often each came, 2 for more */
static u32 read_to;
static int longest_window;

static bool all_have(u32 from, u32 to)
{
	while (from < to && to <= SPAN + 1 && have[from])
		from++;
	return from == to;
}

static bool all_twice(u32 from, u32 to)
{
	while (from < to && to <= SPAN + 1 && came[from] == 2)
		from++;
	return from == to;
}

static void note_edge(struct sock *sk)
{
	edge = cftcp_rcv_wnd_end(cftcp_sk(sk)) - start;
}

/* In the middle of a segment's work: only what holds then, too. */
static void answers(struct sock *sk, struct sk_buff *skb)
{
	struct cftcp_segment seg;

	parts_parse(skb, &seg);
	for (int i = 0; i < seg.opt.sack_count; i++) {
		u32 from = seg.opt.sacks[i].start - start;
		u32 to = seg.opt.sacks[i].end - start;

		must(from < to);
		if (i || to > seg.ack - start)
			must(all_have(from, to) ||
			     (!i && all_twice(from, to)));
		else
			must(all_twice(from, to));
	}
}

/* What is in a buffer is of the stream. Returns its octets. */
static void check_text(const struct sk_buff *skb)
{
	const struct cftcp_cb *cb = cftcp_cb(skb);
	u32 fin = !!(cb->flags & CFTCP_FLAG_FIN);

	must(cb->end_seq - cb->seq == skb->len + fin);
	must(!fin || cb->end_seq - start == fin_at + 1);
	for (u32 i = 0; i < skb->len; i++)
		must(skb->data[i] == parts_octet(cb->seq + i));
}

static void user_reads(struct sock *sk, u32 most)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb;

	while (most-- && (skb = __skb_dequeue(&sk->sk_receive_queue))) {
		check_text(skb);
		/* May begin with older octets, but misses none. */
		must(cftcp_cb(skb)->seq - start <= read_to);
		must(cftcp_cb(skb)->end_seq - start > read_to);
		read_to = cftcp_cb(skb)->end_seq - start;
		cs->copied_seq = cftcp_cb(skb)->end_seq;
		consume_skb(skb);
	}
}

/* The naive receiver takes what lies within the window. */
static void take(u32 from, u32 to)
{
	/* RFC 9293: it begins or ends in the window. */
	bool fits = (from >= next && from < edge) ||
		    (to > next && to <= edge);

	for (; from < to; from++) {
		came[from] += came[from] < 2;
		if (fits && from >= next && from < edge)
			have[from] = true;
	}
	while (next <= fin_at && have[next])
		next++;
}

/* All that the module holds came; without loss of memory it is all. */
static void compare(struct sock *sk, bool complete)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	bool holds[SPAN + 1] = {};
	u32 last = cs->rcv_nxt;

	for (struct sk_buff *skb = skb_rb_first(&cs->ofo); skb;
	     skb = skb_rb_next(skb)) {
		struct cftcp_cb *cb = cftcp_cb(skb);

		check_text(skb);
		must(cftcp_after(cb->end_seq, last));
		must(cftcp_after(cb->seq, cs->rcv_nxt));
		last = cb->end_seq;
		for (u32 seq = cb->seq; seq != cb->end_seq; seq++)
			holds[seq - start] = true;
	}
	must(cs->rcv_nxt - start <= next);
	must(cs->fin_received == (cs->rcv_nxt - start == fin_at + 1));
	if (complete)
		must(cs->rcv_nxt - start == next);
	for (u32 i = cs->rcv_nxt - start; i <= fin_at; i++) {
		must(!holds[i] || have[i]);
		if (complete && i >= next)
			must(holds[i] == have[i]);
		have[i] = holds[i];
	}
	next = cs->rcv_nxt - start;
	if (next <= fin_at)
		have[next] = false;
}

static void segment(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 from = any8() & 1 ? next : any_near(next), len = any8() * 8;
	bool tight = sk->sk_rmem_alloc.v / 2 > sk->sk_rcvbuf;
	u64 dropped = parts_drops(Memory);
	struct cftcp_segment seg = {
		.flags = CFTCP_FLAG_ACK, .ack = cs->snd_nxt, .wnd = 1000,
	};
	u8 text[4096];

	if (any8() & 1)
		from += len;
	from = min(from, fin_at);
	len = min(len, fin_at - from);
	seg.seq = start + from;
	seg.len = len;
	if (from + len == fin_at && any8() & 1)
		seg.flags |= CFTCP_FLAG_FIN;
	for (u32 i = 0; i < len; i++)
		text[i] = parts_octet(start + from + i);
	parts_failed = false;
	note_edge(sk);
	take(from, from + len + !!(seg.flags & CFTCP_FLAG_FIN));
	parts_arrives(sk, &seg, text);
	compare(sk, !tight && !parts_failed && dropped == parts_drops(Memory));
}

static void step(struct sock *sk)
{
	switch (any8() % 16) {
	case 0:
		user_reads(sk, any8() % 8);
		/* recvmsg() may show that there is room. */
		cftcp_send_ack(sk);
		break;
	case 1:
		/* Half of it is the window, which never moves back. */
		sk->sk_rcvbuf = 2304 + any16() % longest_window;
		break;
	case 2:
		parts_fail = any8();
		break;
	case 3:
		parts_advance(sk, any16() * 1000ULL);
		break;
	default:
		segment(sk);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct cftcp_sock *cs;
	struct sock *sk;

	parts_begin();
	parts_input(data, size);
	memset(have, 0, sizeof(have));
	memset(came, 0, sizeof(came));
	start = any_near(0);
	fin_at = any16() % SPAN;
	next = 0;
	read_to = 0;
	longest_window = 1 + any16();
	sk = parts_connection(any32(), start - 1);
	sk->sk_rcvbuf = any8() & 1 ? INT_MAX : 2304 + any16();
	cs = cftcp_sk(sk);
	cs->sack_ok = any8() & 1;
	cs->rcv_wscale = any8() % 4;
	cs->rcv_mss = 536;
	cftcp_mss(sk);
	parts_sent = answers;
	cftcp_send_ack(sk);
	for (int n = 0; n < 300 && parts_more(); n++)
		step(sk);
	user_reads(sk, ~0U);
	must(read_to == cs->rcv_nxt - start - cs->fin_received);
	parts_close(sk);
	return 0;
}
