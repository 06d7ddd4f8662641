// SPDX-License-Identifier: GPL-2.0
#include <linux/tcp.h>

#include "compat.h"
#include "segment.h"

#define OPT_EOL			0
#define OPT_NOP			1
#define OPT_MSS			2
#define OPT_WSCALE		3
#define OPT_SACK_PERMITTED	4
#define OPT_SACK		5
#define OPT_TIMESTAMPS		8

static void parse_sack(const u8 *ptr, int len, struct cftcp_options *opt)
{
	if (len % 8 || len / 8 > CFTCP_MAX_SACKS)
		return;
	for (opt->sack_count = 0; len; ptr += 8, len -= 8) {
		opt->sacks[opt->sack_count].start = get_unaligned_be32(ptr);
		opt->sacks[opt->sack_count++].end = get_unaligned_be32(ptr + 4);
	}
}

/* One option of @len octets after kind and length. */
static void parse_option(u8 kind, const u8 *ptr, int len,
			 struct cftcp_options *opt)
{
	switch (kind) {
	case OPT_MSS:
		if (len == 2)
			opt->mss = get_unaligned_be16(ptr);
		break;
	case OPT_WSCALE:
		if (len == 1) {
			opt->wscale_ok = 1;
			opt->wscale = min_t(u8, *ptr, CFTCP_MAX_WSCALE);
		}
		break;
	case OPT_SACK_PERMITTED:
		if (!len)
			opt->sack_ok = 1;
		break;
	case OPT_SACK:
		parse_sack(ptr, len, opt);
		break;
	case OPT_TIMESTAMPS:
		if (len == 8) {
			opt->has_ts = 1;
			opt->tsval = get_unaligned_be32(ptr);
			opt->tsecr = get_unaligned_be32(ptr + 4);
		}
		break;
	}
}

void cftcp_parse_options(const u8 *ptr, int len, struct cftcp_options *opt)
{
	memset(opt, 0, sizeof(*opt));
	while (len > 0) {
		u8 kind = *ptr, size;

		if (kind == OPT_EOL)
			return;
		if (kind == OPT_NOP) {
			ptr++;
			len--;
			continue;
		}
		size = len > 1 ? ptr[1] : 0;
		if (size < 2 || size > len) {
			opt->bad = 1;
			return;
		}
		parse_option(kind, ptr + 2, size - 2, opt);
		ptr += size;
		len -= size;
	}
}

void cftcp_segment_pull(struct sk_buff *skb)
{
	const struct tcphdr *th = tcp_hdr(skb);
	struct cftcp_cb *cb = cftcp_cb(skb);

	__skb_pull(skb, th->doff * 4);
	cb->seq = ntohl(th->seq);
	cb->end_seq = cb->seq + skb->len + th->syn + th->fin;
	cb->flags = ((const u8 *)th)[13];
	cb->sacked = 0;
	cb->wnd = ntohs(th->window);
	cb->ack = ntohl(th->ack_seq);
	cb->urg = ntohs(th->urg_ptr);
}

void cftcp_segment_parse(struct sk_buff *skb, const struct cftcp_key *key,
			 struct cftcp_segment *seg)
{
	const struct tcphdr *th = tcp_hdr(skb);
	const struct cftcp_cb *cb = cftcp_cb(skb);

	seg->skb = skb;
	seg->key = key;
	seg->seq = cb->seq;
	seg->end_seq = cb->end_seq;
	seg->ack = cb->ack;
	seg->len = skb->len;
	seg->wnd = cb->wnd;
	seg->urg = cb->urg;
	seg->flags = cb->flags;
	cftcp_parse_options((const u8 *)(th + 1), th->doff * 4 - sizeof(*th),
			    &seg->opt);
}
