/* SPDX-License-Identifier: GPL-2.0 */
/* A received segment, taken apart. */
#ifndef _CFTCP_SEGMENT_H
#define _CFTCP_SEGMENT_H

#include <linux/types.h>

#include "sock.h"

/**
 * struct cftcp_options - the options of a segment
 * @mss: MSS, 0 if absent
 * @wscale: window shift, at most 14
 * @wscale_ok: window scale present
 * @sack_ok: SACK permitted present
 * @has_ts: timestamps present
 * @bad: an illegal length ended the parsing (MUST-7)
 * @sack_count: number of @sacks
 * @tsval: timestamp
 * @tsecr: echo
 * @sacks: SACK blocks
 */
struct cftcp_options {
	u16 mss;
	u8 wscale;
	u8 wscale_ok:1,
	   sack_ok:1,
	   has_ts:1,
	   bad:1;
	u8 sack_count;
	u32 tsval;
	u32 tsecr;
	struct cftcp_sack sacks[CFTCP_MAX_SACKS];
};

/**
 * struct cftcp_segment - a segment while it is worked on
 * @skb: its buffer, header pulled; NULL once it was queued
 * @key: 4-tuple, as this host sees it
 * @opt: its options
 * @seq: SEG.SEQ
 * @end_seq: after the last octet and the FIN
 * @ack: SEG.ACK
 * @len: octets of text
 * @wnd: SEG.WND, not scaled
 * @urg: SEG.UP, if @flags has CFTCP_FLAG_URG
 * @flags: CFTCP_FLAG_*
 */
struct cftcp_segment {
	struct sk_buff *skb;
	const struct cftcp_key *key;
	struct cftcp_options opt;
	u32 seq;
	u32 end_seq;
	u32 ack;
	u32 len;
	u16 wnd;
	u16 urg;
	u8 flags;
};

/**
 * cftcp_parse_options() - read TCP options (RFC 9293 section 3.1 and 3.2)
 * @ptr: first octet after the fixed header
 * @len: octets of options
 * @opt: filled in
 *
 * Unknown options are skipped; a length of 0 or 1, or past the end, stops the
 * parsing and sets @opt->bad.
 *
 * Context: any; pure.
 */
void cftcp_parse_options(const u8 *ptr, int len, struct cftcp_options *opt);

/**
 * cftcp_segment_pull() - fill skb->cb and strip the TCP header
 * @skb: at its TCP header, which is linear with all of its options
 */
void cftcp_segment_pull(struct sk_buff *skb);
/**
 * cftcp_segment_parse() - take a pulled segment apart
 * @skb: after cftcp_segment_pull()
 * @key: its 4-tuple, as this host sees it; must last as long as @seg
 * @seg: filled in
 */
void cftcp_segment_parse(struct sk_buff *skb, const struct cftcp_key *key,
			 struct cftcp_segment *seg);

#endif
