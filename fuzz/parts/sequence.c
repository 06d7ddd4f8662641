// SPDX-License-Identifier: GPL-2.0
/*
 * Sequence numbers: what the module says in 32 bits that go round is what 64
 * bits say that do not. Comparisons, the acceptance of a segment, window
 * updates, PAWS, and the window that is shown, whose edge never moves back.
 */
#include "parts.h"

#include "../../module/input.c"

/* Some place far from both ends. */
static u64 base;

static u32 low(u64 x)
{
	return x;
}

/* Less than 2^31 from base, mostly close. */
static u64 place(void)
{
	return base + (s32)any_near(0) / 4;
}

static void compare(void)
{
	u64 a = place(), b = place(), c = place();

	must(cftcp_before(low(a), low(b)) == (a < b));
	must(cftcp_after(low(a), low(b)) == (a > b));
	if (a <= c)
		must(cftcp_between(low(a), low(b), low(c)) ==
		     (a <= b && b <= c));
}

/* RFC 9293 3.10.7.4 table 6, and appendix A.2. */
static bool may_come(u64 seq, u64 len, u64 nxt, u64 wnd)
{
	if (!wnd)
		return !len && seq == nxt;
	if (seq >= nxt && seq < nxt + wnd)
		return true;
	if (!len)
		return seq == nxt + wnd;
	return seq + len - 1 >= nxt && seq + len - 1 < nxt + wnd;
}

static void accept_segment(struct cftcp_sock *cs)
{
	u64 nxt = place(), seq = low(any8()) & 1 ? nxt : place();
	u32 wnd = any8() & 1 ? any8() : any32() % (65535U << 14);
	u32 used = wnd ? any32() % wnd : 0, len = any8() & 1 ? any16() : 0;

	/* The segment may begin or end at an edge of the window. */
	if (any8() & 1)
		seq = nxt + (wnd - used);
	if (any8() & 1)
		seq -= len;
	cs->rcv_nxt = low(nxt);
	cs->rcv_wup = low(nxt - used);
	cs->rcv_wnd = wnd;
	must(acceptable(cs, low(seq), len) ==
	     may_come(seq, len, nxt, wnd - used));
}

static void update(struct cftcp_sock *cs)
{
	u64 wl1 = place(), wl2 = place(), seq = place(), ack = place();
	u64 una = place();
	bool takes = ack >= una && (wl1 < seq || (wl1 == seq && wl2 <= ack));
	struct cftcp_segment seg = {
		.seq = low(seq), .ack = low(ack), .wnd = any16(),
	};

	cs->snd_wscale = any8() % 15;
	cs->snd_wl1 = low(wl1);
	cs->snd_wl2 = low(wl2);
	cs->snd_una = low(una);
	cs->snd_wnd = 77;
	cs->max_snd_wnd = 77;
	update_window(cs, &seg);
	must(cs->snd_wnd == (takes ? (u32)seg.wnd << cs->snd_wscale : 77));
	must(cs->max_snd_wnd == max(cs->snd_wnd, 77U));
}

static void paws(void)
{
	u64 recent = place(), tsval = place(), age = any32() * 1000000ULL;

	must(cftcp_paws_old(low(tsval), low(recent), age) ==
	     (tsval < recent && age <= 24 * 86400 * 1000000000ULL));
}

/* The edge up to which text is taken, while it comes and is read: it never goes
 * back, and what our segments show of it lacks less than a unit (RFC 7323 2.4).
 */
static u64 edge, received;

static void shows(struct sock *sk, struct sk_buff *skb)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_segment seg;
	u64 shown, end;

	parts_parse(skb, &seg);
	must(seg.ack == low(received));
	shown = received + ((u64)seg.wnd << cs->rcv_wscale);
	end = received + (u32)(cftcp_rcv_wnd_end(cs) - seg.ack);
	must(end >= edge);
	must(shown <= end && end - shown < 1ULL << cs->rcv_wscale);
	edge = end;
}

static void show_windows(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	received = base;
	edge = received;
	cs->rcv_nxt = cs->rcv_wup = low(received);
	cs->rcv_wnd = 0;
	cs->rcv_wscale = any8() % 15;
	cs->rcv_mss = any16();
	parts_sent = shows;
	while (parts_more()) {
		u32 room = edge - received;

		switch (any8() % 4) {
		case 0:
			sk->sk_rcvbuf = any32() >> 1;
			break;
		case 1:
			sk->sk_rmem_alloc.v = any32() >> 1;
			break;
		case 2:
			received += room ? any32() % (room + 1) : 0;
			cs->rcv_nxt = low(received);
			break;
		case 3:
			cs->window_clamp = any_size();
			break;
		}
		cftcp_send_ack(sk);
	}
	sk->sk_rmem_alloc.v = 0;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct sock *sk;

	parts_begin();
	parts_input(data, size);
	base = (7ULL << 32) + any32();
	sk = parts_connection(1, 1);
	for (int n = any8() % 8; n; n--) {
		compare();
		accept_segment(cftcp_sk(sk));
		update(cftcp_sk(sk));
		paws();
	}
	show_windows(sk);
	parts_close(sk);
	return 0;
}
