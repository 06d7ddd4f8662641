// SPDX-License-Identifier: GPL-2.0
/* The bodies of kernel.h and of parts.h. */
#include "parts.h"

#include "close.h"
#include "input.h"
#include "recovery.h"
#include "sack.h"
#include "timewait.h"
#include "urgent.h"

/*
 * The input.
 */

static const u8 *input, *input_end;

void parts_input(const u8 *data, size_t size)
{
	input = data;
	input_end = data + size;
}

bool parts_more(void)
{
	return input < input_end;
}

u8 any8(void)
{
	return parts_more() ? *input++ : 0;
}

u16 any16(void)
{
	u16 high = any8();

	return high << 8 | any8();
}

u32 any32(void)
{
	u32 high = any16();

	return high << 16 | any16();
}

u32 any_size(void)
{
	u32 x = any32();

	return x >> any8() % 32;
}

u32 any_near(u32 x)
{
	u8 how = any8();

	if (how < 0xe0)
		return x + (s8)how;
	return how < 0xf8 ? x + (s16)any16() : any32();
}

/*
 * Trees.
 */

struct rb_node *rb_first(const struct rb_root *root)
{
	struct rb_node *node = root->rb_node;

	while (node && node->rb_left)
		node = node->rb_left;
	return node;
}

struct rb_node *rb_last(const struct rb_root *root)
{
	struct rb_node *node = root->rb_node;

	while (node && node->rb_right)
		node = node->rb_right;
	return node;
}

struct rb_node *rb_next(const struct rb_node *node)
{
	if (node->rb_right)
		return rb_first(&(struct rb_root){ node->rb_right });
	while (node->rb_parent && node == node->rb_parent->rb_right)
		node = node->rb_parent;
	return node->rb_parent;
}

static void rb_put(struct rb_node *old, struct rb_node *new,
		   struct rb_root *root)
{
	struct rb_node *parent = old->rb_parent;

	if (!parent)
		root->rb_node = new;
	else if (parent->rb_left == old)
		parent->rb_left = new;
	else
		parent->rb_right = new;
	if (new)
		new->rb_parent = parent;
}

void rb_erase(struct rb_node *node, struct rb_root *root)
{
	struct rb_node *next;

	if (!node->rb_left || !node->rb_right) {
		rb_put(node, node->rb_left ?: node->rb_right, root);
		return;
	}
	next = rb_next(node);
	rb_put(next, next->rb_right, root);
	rb_put(node, next, root);
	next->rb_left = node->rb_left;
	next->rb_right = node->rb_right;
	if (next->rb_left)
		next->rb_left->rb_parent = next;
	if (next->rb_right)
		next->rb_right->rb_parent = next;
}

/*
 * Buffers.
 */

u64 parts_fail;
bool parts_failed;

bool parts_no_memory(gfp_t gfp)
{
	bool fail = parts_fail & 1;

	if (gfp & __GFP_NOFAIL)
		return false;
	parts_fail >>= 1;
	parts_failed |= fail;
	return fail;
}

static struct skb_data *alloc_data(u32 size)
{
	struct skb_data *data = calloc(1, sizeof(*data) + size);

	data->refs = 1;
	return data;
}

struct sk_buff *alloc_skb(u32 size, gfp_t gfp)
{
	struct sk_buff *skb;

	if (parts_no_memory(gfp))
		return NULL;
	skb = calloc(1, sizeof(*skb));
	skb->shared = alloc_data(size);
	skb->data = skb->shared->octets;
	skb->truesize = SKB_TRUESIZE(size);
	return skb;
}

static void put_data(struct skb_data *data)
{
	if (!--data->refs)
		free(data);
}

void consume_skb(struct sk_buff *skb)
{
	if (skb->destructor)
		skb->destructor(skb);
	put_data(skb->shared);
	free(skb);
}

struct sk_buff *skb_clone(struct sk_buff *skb, gfp_t gfp)
{
	struct sk_buff *new = kmemdup(skb, sizeof(*skb), gfp);

	if (!new)
		return NULL;
	new->shared->refs++;
	new->sk = NULL;
	new->destructor = NULL;
	return new;
}

/* Give a buffer octets of its own, with this much room before and behind. */
static void resize(struct sk_buff *skb, u32 before, u32 behind)
{
	struct skb_data *data = alloc_data(before + skb->len + behind);

	memcpy(data->octets + before, skb->data, skb->len);
	data->info = skb->shared->info;
	put_data(skb->shared);
	skb->shared = data;
	skb->data = data->octets + before;
}

struct sk_buff *__pskb_copy(struct sk_buff *skb, int headroom, gfp_t gfp)
{
	struct sk_buff *new = skb_clone(skb, gfp);

	if (new)
		resize(new, headroom, 0);
	return new;
}

static u32 headroom(const struct sk_buff *skb)
{
	return skb->data - skb->shared->octets;
}

int skb_unclone(struct sk_buff *skb, gfp_t gfp)
{
	if (!skb_cloned(skb))
		return 0;
	if (parts_no_memory(gfp))
		return -ENOMEM;
	resize(skb, headroom(skb), 0);
	return 0;
}

void *skb_put(struct sk_buff *skb, u32 len)
{
	u8 *tail = skb->data + skb->len;

	skb->len += len;
	return tail;
}

void *skb_push(struct sk_buff *skb, u32 len)
{
	must(headroom(skb) >= len);
	skb->len += len;
	skb->data -= len;
	return skb->data;
}

void *__skb_pull(struct sk_buff *skb, u32 len)
{
	must(len <= skb->len);
	skb->len -= len;
	skb->data += len;
	return skb->data;
}

int pskb_trim(struct sk_buff *skb, u32 len)
{
	must(len <= skb->len);
	if (parts_no_memory(GFP_ATOMIC))
		return -ENOMEM;
	skb->len = len;
	return 0;
}

void skb_split(struct sk_buff *skb, struct sk_buff *rest, u32 len)
{
	u32 moved = skb->len - len;

	must(len <= skb->len && !rest->len && !skb_cloned(skb));
	resize(rest, headroom(rest), moved);
	memcpy(skb_put(rest, moved), skb->data + len, moved);
	skb->len = len;
	resize(skb, headroom(skb), 0);
}

/* What @from holds moves, and of what it cost all but the structure. */
bool skb_try_coalesce(struct sk_buff *to, struct sk_buff *from, bool *stolen,
		      int *delta)
{
	if (skb_cloned(to) || from->len % 5 == 1)
		return false;
	resize(to, 0, from->len);
	memcpy(skb_put(to, from->len), from->data, from->len);
	*stolen = from->len % 2;
	*delta = from->len;
	to->truesize += *delta;
	return true;
}

void kfree_skb_partial(struct sk_buff *skb, bool stolen)
{
	consume_skb(skb);
}

int skb_copy_bits(const struct sk_buff *skb, int at, void *to, int len)
{
	memcpy(to, skb->data + at, len);
	return 0;
}

static void wfree(struct sk_buff *skb)
{
	skb->sk->sk_wmem_alloc.v -= skb->truesize;
	cftcp_egress_freed(skb->sk);
}

static void rfree(struct sk_buff *skb)
{
	skb->sk->sk_rmem_alloc.v -= skb->truesize;
	sk_mem_uncharge(skb->sk, skb->truesize);
}

void skb_set_owner_w(struct sk_buff *skb, struct sock *sk)
{
	skb->sk = sk;
	skb->destructor = wfree;
	sk->sk_wmem_alloc.v += skb->truesize;
}

void skb_set_owner_r(struct sk_buff *skb, struct sock *sk)
{
	must(!skb->sk);
	skb->sk = sk;
	skb->destructor = rfree;
	sk->sk_rmem_alloc.v += skb->truesize;
	sk_mem_charge(sk, skb->truesize);
}

/*
 * The family: no addresses, a path without options.
 */

void (*parts_sent)(struct sock *sk, struct sk_buff *skb);
bool parts_hold;
static struct sk_buff *held;

struct tasklet_struct *parts_tasklet;

static void softirq(void)
{
	struct tasklet_struct *tasklet;

	while ((tasklet = parts_tasklet)) {
		parts_tasklet = NULL;
		tasklet->fn(tasklet);
	}
}

void parts_release(void)
{
	struct sk_buff *skb;

	while ((skb = held)) {
		held = skb->next;
		consume_skb(skb);
	}
	softirq();
}

static int xmit(struct sock *sk, struct sk_buff *skb)
{
	if (parts_sent)
		parts_sent(sk, skb);
	if (parts_hold) {
		skb->next = held;
		held = skb;
	} else {
		consume_skb(skb);
	}
	return 0;
}

static struct dst_entry *route(struct sock *sk)
{
	return &sk->dst;
}

static u32 mtu(const struct sock *sk, const struct dst_entry *dst)
{
	return dst->mtu;
}

static u16 options_len(const struct sock *sk)
{
	return 0;
}

static bool mtu_reduced(struct sock *sk, u32 mtu)
{
	sk->dst.mtu = min(sk->dst.mtu, mtu);
	return true;
}

static void heard(struct sock *sk, const struct sk_buff *skb)
{
}

static void reply(struct cftcp_net *cn, const struct cftcp_reply *reply)
{
}

static int setsockopt(struct sock *sk, int level, int optname,
		      sockptr_t optval, unsigned int optlen)
{
	return -ENOPROTOOPT;
}

static int getsockopt(struct sock *sk, int level, int optname, char *optval,
		      int *optlen)
{
	return -ENOPROTOOPT;
}

const struct cftcp_af_ops cftcp_ipv4_ops = {
	.net_header_len = 20, .gso_type = 1, .default_mss = 536,
	.route = route, .xmit = xmit, .options_len = options_len, .mtu = mtu,
	.mtu_reduced = mtu_reduced, .heard = heard, .reply = reply,
	.setsockopt = setsockopt, .getsockopt = getsockopt,
};

/*
 * The namespace, and a connection.
 */

u64 parts_now;
struct cftcp_mib parts_mib;
struct cftcp_net parts_net;
unsigned int cftcp_net_id;

static const struct cftcp_sysctl defaults = {
#define CFTCP_X(name, unit, def, lo, hi, whose, text) .name = def,
	CFTCP_SYSCTLS(CFTCP_X)
#undef CFTCP_X
#define CFTCP_X(name, unit, d0, d1, d2, lo, hi, whose, text) \
	.name = { d0, d1, d2 },
	CFTCP_SYSCTL_TRIPLES(CFTCP_X)
#undef CFTCP_X
};

void parts_begin(void)
{
	parts_now = 1000 * (u64)NSEC_PER_SEC;
	parts_fail = 0;
	parts_failed = false;
	parts_hold = false;
	parts_sent = NULL;
	cftcp_egress_start();
	memset(&parts_mib, 0, sizeof(parts_mib));
	parts_net = (struct cftcp_net){ .sysctl = defaults, .mib = &parts_mib };
}

void parts_advance(struct sock *sk, u64 ns)
{
	struct hrtimer *timer = &cftcp_sk(sk)->timer.hrtimer;
	u64 until = parts_now + ns;

	while (timer->queued && (u64)timer->expires <= until) {
		parts_now = max(parts_now, (u64)timer->expires);
		timer->queued = false;
		timer->function(timer);
	}
	parts_now = until;
	softirq();
}

static void nothing(struct sock *sk)
{
}

struct sock *parts_connection(u32 iss, u32 irs)
{
	struct cftcp_sock *cs = calloc(1, sizeof(*cs));
	struct sock *sk = cftcp_to_sk(cs);

	*sk = (struct sock){
		.sk_family = AF_INET, .sk_state = TCP_ESTABLISHED,
		.sk_refcnt = { 1 }, .sk_rcvbuf = 1 << 20, .sk_sndbuf = 1 << 28,
		.sk_pacing_rate = ~0UL, .sk_max_pacing_rate = ~0UL,
		.sk_gso_max_segs = 64, .sk_gso_max_size = 65536,
		.dst = { .mtu = 65535 }, .sk_state_change = nothing,
		.sk_data_ready = nothing, .sk_write_space = nothing,
	};
	__skb_queue_head_init(&sk->sk_write_queue);
	__skb_queue_head_init(&sk->sk_receive_queue);
	cs->cn = &parts_net;
	cs->af = &cftcp_ipv4_ops;
	cs->iss = iss;
	cs->irs = irs;
	cs->snd_una = cs->snd_nxt = cs->write_seq = iss + 1;
	cs->small_end = cs->snd_up = cs->highest_sacked = iss + 1;
	cs->rcv_nxt = cs->rcv_wup = cs->copied_seq = irs + 1;
	cs->last_ack_sent = cs->snd_wl1 = irs + 1;
	cs->snd_wl2 = iss + 1;
	cs->peer_mss = 1460;
	cs->rto_ns = NSEC_PER_SEC;
	cftcp_recovery_reset(cs);
	cs->highest_sacked = iss + 1;
	cftcp_sack_reset(cs);
	cftcp_egress_init(sk);
	cftcp_timer_init(sk);
	cftcp_tick(cs);
	return sk;
}

void parts_write(struct sock *sk, u32 len)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	struct sk_buff *skb = cftcp_alloc_skb(sk, GFP_KERNEL | __GFP_NOFAIL);
	u8 *text;

	resize(skb, MAX_TCP_HEADER, len);
	text = skb_put(skb, len);
	for (u32 i = 0; i < len; i++)
		text[i] = parts_octet(cs->write_seq + i);
	skb->truesize += len;
	sk_wmem_queued_add(sk, len);
	sk_mem_charge(sk, len);
	cftcp_cb(skb)->seq = cs->write_seq;
	cs->write_seq += len;
	cftcp_cb(skb)->end_seq = cs->write_seq;
	__skb_queue_tail(&sk->sk_write_queue, skb);
}

void parts_close(struct sock *sk)
{
	struct sk_buff *skb;

	parts_hold = false;
	cftcp_sock_done(sk, 0, NULL);
	parts_release();
	cftcp_purge_ofo(sk);
	while ((skb = __skb_dequeue(&sk->sk_receive_queue)))
		consume_skb(skb);
	must(sk->sk_wmem_queued == 0);
	must(sk->sk_wmem_alloc.v == 0);
	must(sk->sk_rmem_alloc.v == 0);
	must(sk->sk_charged == 0);
	must(sk->sk_refcnt.v == 1);
	free(sk);
}

/*
 * What of close.c the parts ask for: the table's word, without TIME-WAIT.
 */

void cftcp_sock_set_state(struct sock *sk, int state, const char *why)
{
	sk->sk_state = state;
}

void cftcp_sock_done(struct sock *sk, int err, const char *why)
{
	cftcp_timer_stop_all(sk);
	sk->sk_state = TCP_CLOSE;
	cftcp_purge_send(sk);
}

int cftcp_sock_timeout_error(struct sock *sk)
{
	return ETIMEDOUT;
}

u32 cftcp_event(struct sock *sk, enum cftcp_event event, struct sk_buff *skb)
{
	struct cftcp_cell cell = cftcp_fsm(sk->sk_state, event);

	must(!(cell.act & CFTCP_DO_NA));
	if (cell.next == TCP_CLOSE || cell.next == TCP_TIME_WAIT) {
		cftcp_sock_done(sk, 0, NULL);
		return cell.act;
	}
	sk->sk_state = cell.next;
	if (cell.act & CFTCP_DO_EOF) {
		cftcp_sk(sk)->fin_received = 1;
		cftcp_sk(sk)->rcv_nxt++;
	}
	if (cell.act & CFTCP_DO_FIN) {
		cftcp_queue_fin(sk);
		cftcp_push(sk, CFTCP_PUSH_NAGLE);
	}
	if (cell.act & CFTCP_DO_ACK)
		cftcp_send_ack(sk);
	if (cell.act & CFTCP_DO_ACK_SOON)
		cftcp_timer_fin_came(sk);
	if (cell.act & CFTCP_DO_CHALLENGE)
		cftcp_send_challenge(sk);
	if (cell.act & CFTCP_DO_REXMIT)
		cftcp_recovery_rto(sk);
	if (cell.act & CFTCP_DO_PROBE)
		cftcp_send_probe(sk);
	return cell.act;
}

u8 cftcp_answer_tos(const struct sk_buff *skb)
{
	return 0;
}

struct cftcp_entry *cftcp_lookup(struct cftcp_net *cn,
				 const struct cftcp_key *key)
{
	return NULL;
}

bool cftcp_time_wait_get(struct cftcp_time_wait *tw)
{
	abort();
}

void cftcp_time_wait_arrives(struct cftcp_time_wait *tw, struct sk_buff *skb,
			     struct sock *lsk)
{
	abort();
}

/*
 * Segments.
 */

static u8 *put_option(u8 *ptr, u8 kind, const u32 *words, int count)
{
	*ptr++ = TCPOPT_NOP;
	*ptr++ = TCPOPT_NOP;
	*ptr++ = kind;
	*ptr++ = 2 + 4 * count;
	for (; count; count--, ptr += 4)
		put_unaligned_be32(*words++, ptr);
	return ptr;
}

void parts_arrives(struct sock *sk, const struct cftcp_segment *seg,
		   const u8 *text)
{
	const struct cftcp_options *opt = &seg->opt;
	u8 options[64], *end = options;
	struct sk_buff *skb;
	struct tcphdr *th;
	u64 fail = parts_fail;

	if (opt->has_ts)
		end = put_option(end, TCPOPT_TIMESTAMP, &opt->tsval, 2);
	if (opt->sack_count)
		end = put_option(end, TCPOPT_SACK, &opt->sacks[0].start,
				 2 * opt->sack_count);
	must(end - options <= MAX_TCP_OPTION_SPACE);
	parts_fail = 0;
	skb = alloc_skb(sizeof(*th) + (end - options) + seg->len, GFP_ATOMIC);
	parts_fail = fail;
	skb_reset_transport_header(skb);
	th = skb_put(skb, sizeof(*th) + (end - options));
	*th = (struct tcphdr){
		.seq = htonl(seg->seq), .ack_seq = htonl(seg->ack),
		.doff = (sizeof(*th) + (end - options)) / 4,
		.window = htons(seg->wnd), .urg_ptr = htons(seg->urg),
	};
	((u8 *)th)[13] = seg->flags;
	memcpy(th + 1, options, end - options);
	if (seg->len)
		memcpy(skb_put(skb, seg->len), text, seg->len);
	cftcp_segment_pull(skb);
	cftcp_segment_arrives(sk, skb);
}

void parts_parse(const struct sk_buff *skb, struct cftcp_segment *seg)
{
	const struct tcphdr *th = tcp_hdr(skb);
	u32 len = skb->len - th->doff * 4;

	*seg = (struct cftcp_segment){
		.seq = ntohl(th->seq), .ack = ntohl(th->ack_seq), .len = len,
		.end_seq = ntohl(th->seq) + len + th->syn + th->fin,
		.wnd = ntohs(th->window), .urg = ntohs(th->urg_ptr),
		.flags = ((const u8 *)th)[13],
	};
	cftcp_parse_options((const u8 *)(th + 1), th->doff * 4 - sizeof(*th),
			    &seg->opt);
}
