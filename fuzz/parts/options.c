// SPDX-License-Identifier: GPL-2.0
/*
 * TCP options: any octets are read as a second, naive reader reads them, and
 * what we write comes back. Socket options: any call, and what was set is told.
 */
#include "parts.h"

#include "opt.h"
#include "sack.h"

/* RFC 9293 3.1: does @opt say of one option what these octets say? */
static void read_naively(const u8 *at, int len, struct cftcp_options *opt)
{
	if (at[0] == TCPOPT_MSS && len == TCPOLEN_MSS)
		opt->mss = at[2] * 256 + at[3];
	if (at[0] == TCPOPT_WINDOW && len == TCPOLEN_WINDOW) {
		opt->wscale_ok = 1;
		opt->wscale = at[2] > 14 ? 14 : at[2];
	}
	if (at[0] == TCPOPT_SACK_PERM && len == TCPOLEN_SACK_PERM)
		opt->sack_ok = 1;
	if (at[0] == TCPOPT_TIMESTAMP && len == TCPOLEN_TIMESTAMP) {
		opt->has_ts = 1;
		opt->tsval = get_unaligned_be32(at + 2);
		opt->tsecr = get_unaligned_be32(at + 6);
	}
	if (at[0] == TCPOPT_SACK && len % 8 == 2 && len <= 34) {
		opt->sack_count = len / 8;
		for (int i = 0; i < 2 * opt->sack_count; i++)
			(&opt->sacks[0].start)[i] =
				get_unaligned_be32(at + 2 + 4 * i);
	}
}

static void any_octets(const u8 *octets, int size)
{
	struct cftcp_options got, want = {};
	u8 *copy = malloc(size);
	int at = 0;

	memcpy(copy, octets, size);
	cftcp_parse_options(copy, size, &got);
	while (at < size && copy[at]) {
		int len = copy[at] == TCPOPT_NOP ? 1 :
			  at + 1 < size ? copy[at + 1] : 0;

		if (copy[at] != TCPOPT_NOP && (len < 2 || at + len > size)) {
			want.bad = 1;
			break;
		}
		read_naively(copy + at, len, &want);
		at += len;
	}
	must(got.mss == want.mss && got.wscale == want.wscale);
	must(got.wscale_ok == want.wscale_ok && got.sack_ok == want.sack_ok);
	must(got.has_ts == want.has_ts && got.bad == want.bad);
	must(got.tsval == want.tsval && got.tsecr == want.tsecr);
	must(got.sack_count == want.sack_count);
	must(!memcmp(got.sacks, want.sacks, 8 * got.sack_count));
	free(copy);
}

static void write_and_read(void)
{
	struct cftcp_sock *cs = calloc(1, sizeof(*cs));
	u8 flags = any8(), wscale = any8() % 15;
	struct cftcp_syn_options syn = {
		.mss = any16(), .wscale = wscale,
		.wscale_ok = flags & 1, .sack_ok = flags & 2,
	};
	bool has_syn = flags & 4, has_ts = flags & 8;
	u32 tsval = any32(), tsecr = any32();
	struct cftcp_sack told[CFTCP_MAX_SACKS + 1];
	unsigned int len, more;
	struct cftcp_options opt;
	int blocks = 0, room;
	u8 *octets;

	cs->sack_ok = 1;
	if (any8() & 1)
		cftcp_sack_twice(cs, 10, 10 + any16());
	for (int n = any8() % 8; n; n--) {
		u32 start = any_near(1000);

		cftcp_sack_held(cs, start, start + 1 + any8());
	}
	/* Ours first, then those held; disjoint. */
	if (cs->twice.start != cs->twice.end)
		told[blocks++] = cs->twice;
	for (int i = 0; i < cs->sack_count; i++) {
		told[blocks++] = cs->sacks[i];
		for (int j = 0; j < i; j++)
			must(cftcp_before(cs->sacks[i].end, cs->sacks[j].start) ||
			     cftcp_after(cs->sacks[i].start, cs->sacks[j].end));
	}
	octets = malloc(MAX_TCP_OPTION_SPACE);
	len = cftcp_write_options(octets, has_syn ? &syn : NULL, has_ts, tsval,
				  tsecr);
	must(len <= MAX_TCP_OPTION_SPACE && len % 4 == 0);
	room = (int)(any8() % 64) - 20;
	room = min(room, (int)(MAX_TCP_OPTION_SPACE - len));
	more = cftcp_sack_write(cs, octets + len, room);
	must(!more || (int)more <= room);
	blocks = min(blocks, more ? (int)(more - 4) / 8 : 0);
	cftcp_parse_options(octets, len + more, &opt);
	must(!opt.bad && opt.has_ts == has_ts);
	must(opt.mss == (has_syn ? syn.mss : 0));
	must(opt.wscale_ok == (has_syn && syn.wscale_ok));
	must(opt.wscale == (opt.wscale_ok ? syn.wscale : 0));
	must(opt.sack_ok == (has_syn && syn.sack_ok));
	if (has_ts)
		must(opt.tsval == tsval && opt.tsecr == tsecr);
	must(opt.sack_count == blocks);
	must(!memcmp(opt.sacks, told, 8 * blocks));
	free(octets);
	free(cs);
}

static bool says_what_was_set(int level, int name)
{
	return level == SOL_CFTCP || name == TCP_KEEPIDLE ||
	       name == TCP_KEEPINTVL || name == TCP_KEEPCNT ||
	       name == TCP_SYNCNT || name == TCP_USER_TIMEOUT ||
	       name == TCP_NOTSENT_LOWAT || name == TCP_SAVE_SYN ||
	       name == TCP_INQ;
}

static void call(struct sock *sk)
{
	int level = any8() & 1 ? SOL_TCP : SOL_CFTCP, name = any8() % 48;
	int len = any8() % 24, val = any8() & 1 ? (int)any32() : any8();
	int got = 0, size = any8(), err;
	u8 *value = calloc(1, len);

	memcpy(value, &val, min(len, (int)sizeof(val)));
	err = cftcp_setsockopt(sk, level, name, (sockptr_t){ value }, len);
	free(value);
	value = malloc(size);
	len = size;
	if (!cftcp_getsockopt(sk, level, name, (char *)value, &len))
		must(len >= 0 && len <= size);
	if (!err && size >= 4 && says_what_was_set(level, name) &&
	    (val || level == SOL_TCP)) {
		memcpy(&got, value, sizeof(got));
		must(got == val);
	}
	free(value);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct sock *sk;

	parts_begin();
	any_octets(data, min(size, (size_t)MAX_TCP_OPTION_SPACE));
	parts_input(data, size);
	write_and_read();
	sk = parts_connection(1, 1);
	cftcp_mss(sk);
	sk->sk_state = any8() & 1 ? TCP_CLOSE : TCP_ESTABLISHED;
	for (int n = 0; n < 32 && parts_more(); n++)
		call(sk);
	parts_close(sk);
	return 0;
}
