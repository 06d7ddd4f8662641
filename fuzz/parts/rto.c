// SPDX-License-Identifier: GPL-2.0
/*
 * Round trip and RTO: within their bounds whatever is measured, by the clock or
 * by timestamps; and a segment that nobody answers leaves again at the times
 * that RFC 6298 section 5 wants.
 */
#include "parts.h"

#include "input.h"
#include "recovery.h"
#include "rtt.h"

/* rtt.c: no round trip is taken for longer, us. */
#define LONGEST_US	268000000U

static u64 left_at[64];
static int left;

static void leaves(struct sock *sk, struct sk_buff *skb)
{
	if (left < 64)
		left_at[left++] = parts_now;
}

static void choose_sysctls(void)
{
	struct cftcp_sysctl *sysctl = &parts_net.sysctl;

	sysctl->rto_min_ms = 1 + any16() % 60000;
	sysctl->rto_max_ms = 1000 + any32() % 239001;
	sysctl->user_timeout_ms = 0;
}

static u64 rto_max(void)
{
	return parts_net.sysctl.rto_max_ms * (u64)NSEC_PER_MSEC;
}

static u64 backed_off(u64 rto, int times)
{
	return min((unsigned __int128)rto << times,
		   (unsigned __int128)rto_max());
}

/* RFC 6298 (2.2) and (2.3), in numbers that are large enough. */
static void check(struct sock *sk, u64 least, u64 most)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u64 margin = max3((u64)1000, 4 * (u64)cs->rttvar_us,
			  parts_net.sysctl.rto_min_ms * 1000ULL);

	must(cs->srtt_us >= least && cs->srtt_us <= most);
	must(cs->min_rtt_us == least);
	must(cs->rttvar_us <= most);
	must(cs->rto_ns == min((cs->srtt_us + margin) * 1000, rto_max()));
}

static void check_backoff(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u8 backoff = cs->backoff;

	for (cs->backoff = 0; cs->backoff <= 32; cs->backoff++) {
		must(cftcp_rto_ns(sk) == backed_off(cs->rto_ns, cs->backoff));
	}
	cs->backoff = backoff;
}

/* An ACK that echoes what we sent so many ms ago. Returns what it tells, us. */
static u64 echo(struct sock *sk, u32 ms)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_segment seg = { .opt.has_ts = 1, .ack = cs->snd_una };

	parts_now += ms * (u64)NSEC_PER_MSEC;
	cftcp_tick(cs);
	seg.opt.tsecr = cftcp_tsval(cs) - ms;
	cftcp_rtt_acked(sk, &seg, 0);
	return seg.opt.tsecr && ms < CFTCP_DAY_MS ? max(ms, 1U) * 1000ULL : 0;
}

static void measure(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u64 least = ~0ULL, most = 0, us = 0;
	struct cftcp_segment seg = {};

	for (int n = 0; n < 32 && parts_more(); n++) {
		switch (any8() % 4) {
		case 0:
			us = any_size();
			cftcp_rtt_sample(sk, us);
			us = max(us, (u64)1);
			break;
		case 1:
			us = echo(sk, any_size());
			break;
		case 2:
			seg.ack = cs->snd_nxt + 1;
			us = any_size();
			cftcp_rtt_acked(sk, &seg, us);
			break;
		case 3:
			cftcp_rtt_rose(sk);
			us = 0;
			break;
		}
		if (us) {
			us = min(us, (u64)LONGEST_US);
			least = min(least, us);
			most = max(most, us);
		}
		if (most)
			check(sk, least, most);
		check_backoff(sk);
	}
}

/*
 * Text and no answer: it leaves again, or with a window that is shut a probe,
 * after one RTO, two, four and so on.
 */
static void silence(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u64 began = parts_now, rto = cs->rto_ns;
	bool shut = any8() & 1;
	int first = !shut;

	cs->backoff = 0;
	cs->snd_wnd = shut ? 0 : 1000;
	cs->max_snd_wnd = 1000;
	left = 0;
	parts_sent = leaves;
	cftcp_tick(cs);
	parts_write(sk, 10);
	cftcp_push(sk, CFTCP_PUSH_ALL);
	for (int i = 0; i < 40; i++)
		parts_advance(sk, rto_max());
	must(left >= 40 + first && (shut || left_at[0] == began));
	for (int i = first; i < left; i++) {
		must(left_at[i] - began == backed_off(rto, min(i - first, 32)));
		began = left_at[i];
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct sock *sk;

	parts_begin();
	parts_input(data, size);
	choose_sysctls();
	sk = parts_connection(any32(), 0);
	cftcp_sk(sk)->ts_ok = 1;
	cftcp_sk(sk)->ts_offset = any32();
	cftcp_sk(sk)->rto_ns = any8() & 1 ? 1ULL << any8() % 38 :
		(1 + any16() % 60000) * (u64)NSEC_PER_MSEC;
	check_backoff(sk);
	measure(sk);
	silence(sk);
	parts_close(sk);
	return 0;
}
