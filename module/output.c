// SPDX-License-Identifier: GPL-2.0
#include <linux/tcp.h>
#include <net/dst.h>
#include <net/tcp.h>

#include "compat.h"
#include "egress.h"
#include "fsm.h"
#include "output.h"
#include "sack.h"
#include "trace.h"
#include "urgent.h"

/*
 * Windows.
 */

u8 cftcp_choose_wscale(u32 space)
{
	u8 shift = 0;

	while (space > 65535 && shift < CFTCP_MAX_WSCALE) {
		space >>= 1;
		shift++;
	}
	return shift;
}

/* Half of the buffer: the rest is for what the kernel adds to the octets. */
static u32 buffer_space(const struct cftcp_sock *cs)
{
	const struct sock *sk = &cs->inet.sk;
	int space = READ_ONCE(sk->sk_rcvbuf) -
		    atomic_read(&sk->sk_rmem_alloc);

	return space > 0 ? space / 2 : 0;
}

static u32 clamped(const struct cftcp_sock *cs, u32 window)
{
	return cs->window_clamp ? min(window, cs->window_clamp) : window;
}

u32 cftcp_max_window(const struct cftcp_sock *cs)
{
	return clamped(cs, min_t(u32, READ_ONCE(cs->inet.sk.sk_rcvbuf) / 2,
				 65535U << cs->rcv_wscale));
}

bool cftcp_rcv_full(const struct cftcp_sock *cs)
{
	return buffer_space(cs) < cs->rcv_mss + (1U << cs->rcv_wscale);
}

/* What memory there is when all sockets together have used up theirs. */
static u32 affordable(const struct cftcp_sock *cs, u32 space)
{
	return sk_under_memory_pressure(&cs->inet.sk) ? min(space, 65535U) :
							space;
}

u32 cftcp_select_window(const struct cftcp_sock *cs)
{
	u32 unit = 1U << cs->rcv_wscale;
	u32 shown = cftcp_rcv_wnd_end(cs) - cs->rcv_nxt;
	u32 most = cftcp_max_window(cs);
	u32 room = clamped(cs, min(affordable(cs, buffer_space(cs)),
				   65535U << cs->rcv_wscale));
	u32 space = round_down(room, unit);

	/* A buffer that is less than a unit shows one when it is empty enough. */
	if (most < unit && room >= most / 2)
		space = unit;
	/* RFC 9293 3.8.6.2.2: grow by a segment or half of the buffer. */
	if ((s32)(space - shown) >= (s32)min_t(u32, most / 2, cs->rcv_mss))
		return space;
	/* RFC 7323 2.4: without room the edge that the peer sees goes back by
	 * less than a unit, or small segments would never fill the window.
	 */
	space = min(round_up(shown, unit), 65535U << cs->rcv_wscale);
	return space <= room ? space : shown;
}

/*
 * Headers.
 */

void cftcp_choose_syn_options(struct sock *sk, struct cftcp_syn_options *syn)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	const struct dst_entry *dst = cs->af->route(sk);
	u32 mss = dst ? dst_metric_advmss(dst) : cs->af->default_mss;

	if (cs->user_mss)
		mss = min_t(u32, mss, cs->user_mss);
	*syn = (struct cftcp_syn_options) {
		.mss = mss, .wscale = cs->rcv_wscale,
		.wscale_ok = cs->wscale_ok, .sack_ok = cs->sack_ok,
	};
}

static u8 *put_timestamps(u8 *ptr, u32 tsval, u32 tsecr)
{
	put_unaligned_be32(TCPOPT_NOP << 24 | TCPOPT_NOP << 16 |
			   TCPOPT_TIMESTAMP << 8 | TCPOLEN_TIMESTAMP, ptr);
	put_unaligned_be32(tsval, ptr + 4);
	put_unaligned_be32(tsecr, ptr + 8);
	return ptr + CFTCP_TS_LEN;
}

unsigned int cftcp_write_options(u8 *ptr, const struct cftcp_syn_options *syn,
				 bool has_ts, u32 tsval, u32 tsecr)
{
	u8 *start = ptr;

	if (syn) {
		put_unaligned_be32(TCPOPT_MSS << 24 | TCPOLEN_MSS << 16 |
				   syn->mss, ptr);
		ptr += 4;
	}
	if (syn && syn->sack_ok) {
		put_unaligned_be32(TCPOPT_NOP << 24 | TCPOPT_NOP << 16 |
				   TCPOPT_SACK_PERM << 8 | TCPOLEN_SACK_PERM,
				   ptr);
		ptr += 4;
	}
	if (has_ts)
		ptr = put_timestamps(ptr, tsval, tsecr);
	if (syn && syn->wscale_ok) {
		put_unaligned_be32(TCPOPT_NOP << 24 | TCPOPT_WINDOW << 16 |
				   TCPOLEN_WINDOW << 8 | syn->wscale, ptr);
		ptr += 4;
	}
	return ptr - start;
}

/* Octets of options that still fit; in text they must not make it too long. */
static int option_room(const struct cftcp_sock *cs, const struct sk_buff *skb,
		       unsigned int len)
{
	int room = MAX_TCP_OPTION_SPACE - len;

	return skb->len ? min_t(int, room, cs->mss - (int)skb->len) : room;
}

static unsigned int write_all_options(u8 *ptr, struct sock *sk,
				      const struct sk_buff *skb, u8 flags)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_syn_options syn;
	unsigned int len;

	if (flags & CFTCP_FLAG_SYN)
		cftcp_choose_syn_options(sk, &syn);
	len = cftcp_write_options(ptr, flags & CFTCP_FLAG_SYN ? &syn : NULL,
				  cs->ts_ok,
				  cftcp_tsval(cs),
				  flags & CFTCP_FLAG_ACK ? cs->ts_recent : 0);
	if (cs->sack_ok && (flags & CFTCP_FLAG_ACK) &&
	    !(flags & (CFTCP_FLAG_SYN | CFTCP_FLAG_RST)))
		len += cftcp_sack_write(cs, ptr + len,
					option_room(cs, skb, len));
	return len;
}

static u16 window_field(struct cftcp_sock *cs, u8 flags)
{
	u32 wnd;

	if (flags & CFTCP_FLAG_SYN)
		return min(cs->rcv_wnd, 65535U);
	wnd = cftcp_select_window(cs);
	cs->rcv_wnd = wnd;
	cs->rcv_wup = cs->rcv_nxt;
	return wnd >> cs->rcv_wscale;
}

/* Write a TCP header, but for its checksum, before what @skb holds. */
static void push_header(struct sk_buff *skb, const struct cftcp_key *key,
			u32 seq, u32 ack, u8 flags, u16 wnd,
			const u8 *options, unsigned int len)
{
	struct tcphdr *th = skb_push(skb, sizeof(*th) + len);

	skb_reset_transport_header(skb);
	*th = (struct tcphdr) {
		.source = key->lport, .dest = key->fport,
		.seq = htonl(seq), .ack_seq = htonl(ack),
		.doff = (sizeof(*th) + len) / 4, .window = htons(wnd),
	};
	((u8 *)th)[13] = flags;
	memcpy(th + 1, options, len);
}

struct sk_buff *cftcp_reply_segment(const struct cftcp_reply *reply)
{
	u8 options[MAX_TCP_OPTION_SPACE];
	unsigned int len = cftcp_write_options(options, reply->syn,
					       reply->has_ts, reply->tsval,
					       reply->tsecr);
	struct sk_buff *skb = alloc_skb(MAX_TCP_HEADER, GFP_ATOMIC);

	if (!skb)
		return NULL;
	skb_reserve(skb, MAX_TCP_HEADER);
	push_header(skb, &reply->key, reply->seq, reply->ack, reply->flags,
		    reply->wnd, options, len);
	skb->priority = reply->priority;
	skb->mark = reply->mark;
	return skb;
}

/*
 * Give a segment its header and send it. @skb is consumed; its text, if any,
 * is in place.
 */
static int send(struct sock *sk, struct sk_buff *skb, u32 seq, u8 flags)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u8 options[MAX_TCP_OPTION_SPACE];
	unsigned int len = write_all_options(options, sk, skb, flags);
	u32 ack = flags & CFTCP_FLAG_ACK ? cs->rcv_nxt : 0;
	u32 text = skb->len;
	u16 wnd = window_field(cs, flags), urg = 0;

	if (!(flags & (CFTCP_FLAG_SYN | CFTCP_FLAG_RST)))
		urg = cftcp_urgent_pointer(cs, seq);
	if (urg)
		flags |= CFTCP_FLAG_URG;
	trace_cftcp_segment(true, &cs->key, sk->sk_state, flags, seq, ack,
			    skb->len, wnd);
	push_header(skb, &cs->key, seq, ack, flags, wnd, options, len);
	tcp_hdr(skb)->urg_ptr = htons(urg);
	if (flags & CFTCP_FLAG_ACK) {
		cs->last_ack_sent = ack;
		cs->ack_now = 0;
		cftcp_timer_ack_sent(sk);
	}
	memset(skb->cb, 0, sizeof(skb->cb));
	/* A clone from the rtx tree: dev shares its place with rb_left. */
	skb->dev = NULL;
	skb_set_owner_w(skb, sk);
	cs->segs_out++;
	if (text) {
		cs->bytes_sent += text;
		cs->data_segs_out += cftcp_segs(skb);
		cs->last_data_sent_at = cs->now;
	}
	cftcp_count(cftcp_sock_net(sk), OutSegs);
	return cs->af->xmit(sk, skb);
}

/* SEQ of a segment without text: SND.NXT, unless the window was shrunk. */
static u32 bare_seq(const struct cftcp_sock *cs)
{
	return cftcp_after(cs->snd_nxt, cftcp_wnd_end(cs)) ?
		cftcp_wnd_end(cs) : cs->snd_nxt;
}

static int send_bare(struct sock *sk, u32 seq, u8 flags)
{
	struct sk_buff *skb;

	skb = alloc_skb(MAX_TCP_HEADER, sk_gfp_mask(sk, GFP_ATOMIC));
	if (!skb)
		return -ENOMEM;
	skb_reserve(skb, MAX_TCP_HEADER);
	cftcp_tick(cftcp_sk(sk));
	return send(sk, skb, seq, flags);
}

void cftcp_send_ack(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	cftcp_assert_held(sk);
	if (send_bare(sk, bare_seq(cs), CFTCP_FLAG_ACK) == -ENOMEM)
		cftcp_timer_ack_owed(sk);
}

void cftcp_send_challenge(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u64 now = ktime_get_ns();

	if (now < cs->challenge_at) {
		cftcp_count(cftcp_sock_net(sk), ChallengeAckSkipped);
		return;
	}
	cs->challenge_at = now + NSEC_PER_MSEC *
		(u64)cftcp_sysctl(cftcp_sock_net(sk), challenge_ack_ms);
	cftcp_count(cftcp_sock_net(sk), ChallengeAck);
	cftcp_send_ack(sk);
}

void cftcp_send_rst(struct sock *sk)
{
	cftcp_count(cftcp_sock_net(sk), OutRsts);
	send_bare(sk, bare_seq(cftcp_sk(sk)), CFTCP_FLAG_RST | CFTCP_FLAG_ACK);
}

void cftcp_send_probe(struct sock *sk)
{
	/* What the peer does not find acceptable would not tell it of a mark. */
	if (cftcp_sk(sk)->urgent_mode)
		cftcp_send_ack(sk);
	cftcp_count(cftcp_sock_net(sk), WindowProbe);
	send_bare(sk, cftcp_sk(sk)->snd_una - 1, CFTCP_FLAG_ACK);
}

void cftcp_send_keepalive(struct sock *sk)
{
	cftcp_count(cftcp_sock_net(sk), KeepaliveProbe);
	send_bare(sk, cftcp_sk(sk)->snd_una - 1, CFTCP_FLAG_ACK);
}

void cftcp_send_syn(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u8 flags = CFTCP_FLAG_SYN;

	if (sk->sk_state == TCP_SYN_RECV)
		flags |= CFTCP_FLAG_ACK;
	if (cs->syn_rexmits)
		cftcp_count(cftcp_sock_net(sk), RetransSegs);
	send_bare(sk, cs->iss, flags);
	/* As send_synacks() does for requests. */
	for (int n = cftcp_sysctl(cftcp_sock_net(sk), repair_copies); n > 1; n--) {
		cftcp_count(cftcp_sock_net(sk), RetransSegs);
		send_bare(sk, cs->iss, flags);
	}
	cs->snd_nxt = cs->iss + 1;
	cftcp_timer_sent(sk);
}

/*
 * The send queue: sk_write_queue holds what was never sent, rtx what is in
 * flight, rtx_sacked what of that the peer holds.
 */

/* What @must be there is charged beyond what limits there are. */
static struct sk_buff *alloc(struct sock *sk, gfp_t gfp, bool must)
{
	struct sk_buff *skb = alloc_skb_fclone(MAX_TCP_HEADER, gfp);

	if (!skb)
		return NULL;
	if (!sk_wmem_schedule(sk, skb->truesize) && !must) {
		kfree_skb(skb);
		return NULL;
	}
	skb_reserve(skb, MAX_TCP_HEADER);
	/* Clones may write their headers: the queue never looks at them. */
	__skb_header_release(skb);
	memset(cftcp_cb(skb), 0, sizeof(struct cftcp_cb));
	INIT_LIST_HEAD(&cftcp_cb(skb)->node);
	skb->ip_summed = CHECKSUM_PARTIAL;
	sk_wmem_queued_add(sk, skb->truesize);
	sk_mem_charge(sk, skb->truesize);
	return skb;
}

struct sk_buff *cftcp_alloc_skb(struct sock *sk, gfp_t gfp)
{
	return alloc(sk, gfp, gfp & __GFP_NOFAIL);
}

void cftcp_free_skb(struct sock *sk, struct sk_buff *skb)
{
	sk_wmem_queued_add(sk, -skb->truesize);
	sk_mem_uncharge(sk, skb->truesize);
	consume_skb(skb);
}

void cftcp_purge_send(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb;

	while ((skb = __skb_dequeue(&sk->sk_write_queue)))
		cftcp_free_skb(sk, skb);
	while ((skb = cftcp_rtx_head(cs))) {
		cftcp_rtx_unlink(cs, skb);
		cftcp_free_skb(sk, skb);
	}
	cs->sacked_segs = 0;
	cs->lost_segs = 0;
}

void cftcp_rtx_insert(struct cftcp_sock *cs, struct sk_buff *skb)
{
	struct rb_root *tree = cftcp_rtx_tree(cs, skb);
	struct rb_node **link = &tree->rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = cftcp_before(cftcp_cb(skb)->seq,
				    cftcp_cb(rb_to_skb(parent))->seq) ?
			&parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&skb->rbnode, parent, link);
	rb_insert_color(&skb->rbnode, tree);
}

/* Before shared fields are written: the last clone may still be on its way. */
static int make_private(struct sock *sk, struct sk_buff *skb, gfp_t gfp)
{
	int before = skb->truesize;

	if (skb_unclone(skb, gfp))
		return -ENOMEM;
	sk_wmem_queued_add(sk, skb->truesize - before);
	sk_mem_charge(sk, skb->truesize - before);
	return 0;
}

int cftcp_split(struct sock *sk, struct sk_buff *skb, u32 len)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_cb *cb = cftcp_cb(skb), *cb2;
	gfp_t gfp = sk_gfp_mask(sk, GFP_ATOMIC);
	bool queued = !cftcp_after(cb->end_seq, cs->snd_nxt);
	struct sk_buff *rest;
	u32 moved = skb->len - len;

	/* A peer's SACK blocks must not cut what is in flight to crumbs that
	 * cost much more than they hold. The head is cut for RTO and ACK.
	 */
	if (queued && skb != cftcp_rtx_head(cs) && sk->sk_wmem_queued / 2 >
	    (long)READ_ONCE(sk->sk_sndbuf) +
	    2 * (long)SKB_TRUESIZE(GSO_LEGACY_MAX_SIZE))
		return -ENOMEM;
	if (make_private(sk, skb, gfp))
		return -ENOMEM;
	/* Others' memory must not stop a repair, which leads to less. */
	rest = alloc(sk, gfp, queued);
	if (!rest)
		return -ENOMEM;
	cb2 = cftcp_cb(rest);
	*cb2 = *cb;
	INIT_LIST_HEAD(&cb2->node);
	cb2->seq = cb->seq + len;
	cb->end_seq = cb2->seq;
	cb->flags &= ~(CFTCP_FLAG_FIN | CFTCP_FLAG_PSH);
	if (moved) {
		skb_split(skb, rest, len);
		rest->truesize += moved;
		skb->truesize -= moved;
	}
	skb_shinfo(skb)->gso_segs = 0;
	skb_shinfo(rest)->gso_segs = 0;
	if (!queued) {
		__skb_queue_after(&sk->sk_write_queue, skb, rest);
		return 0;
	}
	cftcp_rtx_insert(cs, rest);
	if (!list_empty(&cb->node))
		list_add(&cb2->node, &cb->node);
	if (cb->sacked & CFTCP_SEG_SACKED)
		cs->sacked_segs++;
	if (cb->sacked & CFTCP_SEG_LOST)
		cs->lost_segs++;
	return 0;
}

u32 cftcp_packet_len(const struct sock *sk, u32 payload)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);

	return cs->af->net_header_len + cs->af->options_len(sk) +
	       sizeof(struct tcphdr) + cs->ts_ok * CFTCP_TS_LEN + payload;
}

u32 cftcp_route_mss(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	const struct dst_entry *dst = cs->af->route(sk);
	u32 mss = cs->peer_mss;
	s32 room;

	if (dst) {
		/* Headers may be longer than the MTU, when the user says so. */
		room = cs->af->mtu(sk, dst) - cs->af->net_header_len -
		       cs->af->options_len(sk) - (s32)sizeof(struct tcphdr);
		mss = min_t(s32, mss, max(room, CFTCP_TS_LEN + 8));
	}
	if (cs->user_mss)
		mss = min_t(u32, mss, cs->user_mss);
	return mss;
}

u32 cftcp_mss(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 mss = min_not_zero((u32)cs->pmtu.limit, cftcp_route_mss(sk));

	/* RFC 6691: the MSS option leaves options out, segments do not. */
	if (cs->ts_ok)
		mss -= CFTCP_TS_LEN;
	/* MAX.SND.WND / 2: a small receiver still gets full segments. */
	if (cs->max_snd_wnd > 2 * CFTCP_MIN_MSS)
		mss = min(mss, max(cs->max_snd_wnd / 2, CFTCP_MIN_MSS));
	cs->mss = mss;
	return mss;
}

u32 cftcp_size_goal(struct sock *sk, u32 mss)
{
	u32 segs;

	/* A search for the path MTU needs more octets than one segment has. */
	if (!sk_can_gso(sk))
		return cftcp_sk(sk)->pmtu.limit ? cftcp_pmtu_goal(sk, mss) : mss;
	segs = min_t(u32, sk->sk_gso_max_segs,
		     sk->sk_gso_max_size / mss);
	return max(segs, 1U) * mss;
}

static void set_gso(struct sock *sk, struct sk_buff *skb, u32 mss)
{
	struct skb_shared_info *info = skb_shinfo(skb);

	if (skb->len <= mss) {
		info->gso_segs = 1;
		info->gso_size = 0;
		info->gso_type = 0;
		return;
	}
	info->gso_segs = DIV_ROUND_UP(skb->len, mss);
	info->gso_size = mss;
	info->gso_type = cftcp_sk(sk)->af->gso_type;
}

/* It was dropped before it left: that is no loss, and it was not sent. */
static int refused(struct sock *sk, const struct sk_buff *skb, u32 mss)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	cs->segs_out--;
	cs->bytes_sent -= skb->len;
	cs->data_segs_out -= DIV_ROUND_UP(skb->len, mss);
	cftcp_count(cftcp_sock_net(sk), SendRefused);
	cftcp_egress_refused(sk);
	return -EBUSY;
}

/* Send a segment of a queue: a clone of it goes out, it stays. */
static int send_queued(struct sock *sk, struct sk_buff *skb, u32 mss)
{
	struct cftcp_cb *cb = cftcp_cb(skb);
	gfp_t gfp = sk_gfp_mask(sk, GFP_ATOMIC);
	u64 sent_at = cftcp_tick(cftcp_sk(sk));
	struct sk_buff *out;
	int err;

	/* A clone still on its way shares the room that headers go into. */
	if (skb_cloned(skb)) {
		out = __pskb_copy(skb, MAX_TCP_HEADER, gfp);
		if (out)
			set_gso(sk, out, mss);
	} else {
		set_gso(sk, skb, mss);
		out = skb_clone(skb, gfp);
	}
	if (!out)
		return -ENOMEM;
	err = send(sk, out, cb->seq, cb->flags | CFTCP_FLAG_ACK);
	if (err == NET_XMIT_DROP)
		return refused(sk, skb, mss);
	cb->sent_at = sent_at;
	if (!cb->first_sent)
		cb->first_sent = cb->sent_at;
	cftcp_egress_sent(sk, skb->len, mss);
	return err;
}

int cftcp_retransmit(struct sock *sk, struct sk_buff *skb, bool one)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_cb *cb = cftcp_cb(skb);
	u32 mss = cftcp_mss(sk), len = skb->len;
	s32 room = cftcp_wnd_end(cs) - cb->seq;
	int err;

	/* RFC 9293 3.8.6: again only what lies inside of the window. */
	if (room <= 0)
		return -EAGAIN;
	len = min_t(u32, len, room);
	if (!one) {
		u32 free = cftcp_egress_room(sk, mss);

		if (!free)
			return -EBUSY;
		len = min(len, free);
	}
	/* Segments that the device cuts would all point as far as the first. */
	if (one || cs->urgent_mode)
		len = min(len, mss);
	if (len < skb->len && cftcp_split(sk, skb, len))
		return -ENOMEM;
	err = send_queued(sk, skb, mss);
	if (err == -ENOMEM || err == -EBUSY)
		return err;
	cftcp_pmtu_retransmitted(sk, cb->seq);
	if (cb->sacked & CFTCP_SEG_LOST) {
		cb->sacked &= ~CFTCP_SEG_LOST;
		cs->lost_segs--;
	}
	list_move_tail(&cb->node, &cs->sent);
	cb->sacked |= CFTCP_SEG_REXMITTED;
	cs->retrans++;
	cs->bytes_retrans += skb->len;
	cftcp_count_n(cftcp_sock_net(sk), RetransSegs, cftcp_segs(skb));
	return 0;
}

/*
 * New data.
 */

/* A segment that was not full is on its way: Nagle has the next one wait. */
static bool small_in_flight(const struct cftcp_sock *cs)
{
	return cftcp_after(cs->small_end, cs->snd_una) &&
	       !cftcp_after(cs->small_end, cs->snd_nxt);
}

/* Octets of the head of the queue to send now; negative for none. */
static s32 sendable(struct sock *sk, const struct sk_buff *skb, u32 mss,
		    enum cftcp_push how)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	const struct cftcp_cb *cb = cftcp_cb(skb);
	s32 room = cftcp_wnd_end(cs) - cb->seq;
	bool last = skb_queue_is_last(&sk->sk_write_queue, skb);
	bool fin = cb->flags & CFTCP_FLAG_FIN;
	bool whole;
	u32 len;

	if (room <= 0)
		return -1;
	len = min_t(u32, skb->len, room);
	whole = len == skb->len;
	if (cs->urgent_mode && len > mss)
		return mss;
	/* Text before a FIN or a mark, or with more behind it, waits for
	 * nothing.
	 */
	if (whole && (fin || !last || how == CFTCP_PUSH_ALL ||
		      cs->urgent_mode))
		return len;
	if (whole && how == CFTCP_PUSH_NAGLE &&
	    (cs->nodelay || !small_in_flight(cs)))
		return len;
	if (len >= mss)
		return len - len % mss;
	/* What the window cut off is sent by rule (3), or waits. */
	if (!whole && (len >= cs->max_snd_wnd / 2 || how == CFTCP_PUSH_ALL))
		return len;
	return -1;
}

/* Send the first @len octets of the head of the queue. */
static int send_head(struct sock *sk, struct sk_buff *skb, u32 len, u32 mss)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct cftcp_cb *cb = cftcp_cb(skb);
	u32 text = cb->end_seq - cb->seq - !!(cb->flags & CFTCP_FLAG_FIN);
	s32 room = cftcp_wnd_end(cs) - cb->seq;
	int err;

	if ((len < text || (s32)(cb->end_seq - cb->seq) > room) &&
	    cftcp_split(sk, skb, len))
		return -ENOMEM;
	if (skb->len && skb_queue_is_last(&sk->sk_write_queue, skb))
		cb->flags |= CFTCP_FLAG_PSH;
	err = send_queued(sk, skb, mss);
	if (err == -ENOMEM || err == -EBUSY)
		return err;
	__skb_unlink(skb, &sk->sk_write_queue);
	cftcp_rtx_insert(cs, skb);
	list_add_tail(&cb->node, &cs->sent);
	cs->snd_nxt = cb->end_seq;
	if (skb->len % mss)
		cs->small_end = cb->end_seq;
	cftcp_timer_sent(sk);
	return 0;
}

static bool may_push(const struct sock *sk)
{
	return !skb_queue_empty(&sk->sk_write_queue) &&
	       cftcp_fsm_covers(sk->sk_state) && sk->sk_state != TCP_CLOSE;
}

void cftcp_push(struct sock *sk, enum cftcp_push how)
{
	if (may_push(sk))
		cftcp_push_by(sk, how, cftcp_mss(sk));
}

void cftcp_push_by(struct sock *sk, enum cftcp_push how, u32 mss)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb;
	bool shut = false;
	u32 probe;
	int err;

	cftcp_assert_held(sk);
	if (!may_push(sk))
		return;
	while ((skb = skb_peek(&sk->sk_write_queue))) {
		s32 len = sendable(sk, skb, mss, how);
		u32 room;

		if (len < 0) {
			shut = true;
			break;
		}
		room = cftcp_egress_room(sk, mss);
		if (!room)
			return;
		len = min_t(u32, len, room);
		probe = cs->pmtu.limit ? cftcp_pmtu_probe(sk, len) : 0;
		err = send_head(sk, skb, probe ?: len, probe ?: mss);
		if (err && probe)
			cs->pmtu.probe = 0;
		if (err == -EBUSY)
			return;
		if (err)
			break;
	}
	if (!skb)
		cftcp_timer_window_open(sk);
	else if (cs->snd_una != cs->snd_nxt)
		return;
	else if (shut && cftcp_cb(skb)->end_seq - cs->snd_nxt <= cs->snd_wnd)
		cftcp_timer_corked(sk);
	else
		cftcp_timer_window_shut(sk);
}

void cftcp_push_pending(struct sock *sk)
{
	cftcp_push(sk, cftcp_sk(sk)->cork ? CFTCP_PUSH_MORE : CFTCP_PUSH_NAGLE);
}

bool cftcp_push_override(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	u32 before = cs->snd_nxt;

	cftcp_push(sk, CFTCP_PUSH_ALL);
	return cs->snd_nxt != before;
}

void cftcp_queue_fin(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb = skb_peek_tail(&sk->sk_write_queue);
	struct cftcp_cb *cb;

	cftcp_assert_held(sk);
	if (cs->fin_queued)
		return;
	if (!skb) {
		skb = cftcp_alloc_skb(sk, GFP_KERNEL | __GFP_NOFAIL);
		cb = cftcp_cb(skb);
		cb->seq = cs->write_seq;
		cb->end_seq = cs->write_seq;
		__skb_queue_tail(&sk->sk_write_queue, skb);
	}
	cb = cftcp_cb(skb);
	cb->flags |= CFTCP_FLAG_FIN;
	cb->end_seq++;
	cs->write_seq++;
	cs->fin_queued = 1;
}
