/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Buffers: all octets of one lie in a single allocation of just their size, so
 * that a sanitizer sees who steps beyond. A clone shares it.
 */
#ifndef _PARTS_SKBUFF_H
#define _PARTS_SKBUFF_H

#define CHECKSUM_PARTIAL	3
#define MAX_TCP_HEADER		128
#define SKB_MAX_ORDER(x, order)	3776
#define SKB_TRUESIZE(x)		((int)(x) + 512)
#define GSO_LEGACY_MAX_SIZE	65536U

#define SKBTX_HW_TSTAMP_NETDEV	(1 << 5)
struct skb_shared_hwtstamps { u64 hwtstamp; };
struct skb_shared_info {
	u16 gso_size;
	u16 gso_segs;
	u32 gso_type;
	u8 tx_flags;
	struct skb_shared_hwtstamps hwtstamps;
};

struct skb_data {
	int refs;
	struct skb_shared_info info;
	u8 octets[];
};

struct sock;
struct sk_buff {
	union {
		struct {
			struct sk_buff *next, *prev;
			void *dev;
		};
		struct rb_node rbnode;
	};
	struct sock *sk;
	void (*destructor)(struct sk_buff *skb);
	char cb[48] __attribute__((aligned(8)));
	struct skb_data *shared;
	u8 *data;
	u32 len;
	u32 truesize;
	u32 priority;
	u32 mark;
	int skb_iif;
	u8 ip_summed;
	ktime_t tstamp;
	u8 *transport_header;
	u8 *network_header;
};

struct sk_buff_head { struct sk_buff *next, *prev; };

#define skb_shinfo(skb)		(&(skb)->shared->info)
#define skb_hwtstamps(skb)	(&skb_shinfo(skb)->hwtstamps)
#define rb_to_skb(node)		container_of(node, struct sk_buff, rbnode)
#define node_to_skb(node) ({ struct rb_node *n_ = (node);		\
	n_ ? rb_to_skb(n_) : NULL; })
#define skb_rb_first(root)	node_to_skb(rb_first(root))
#define skb_rb_last(root)	node_to_skb(rb_last(root))
#define skb_rb_next(skb)	node_to_skb(rb_next(&(skb)->rbnode))
#define skb_cloned(skb)		((skb)->shared->refs > 1)
#define skb_reserve(skb, n)	((skb)->data += (n))
#define skb_reset_transport_header(skb) \
	((skb)->transport_header = (skb)->data)
#define skb_network_header(skb)	((skb)->network_header)
#define tcp_hdr(skb)		((struct tcphdr *)(skb)->transport_header)
#define ip_hdr(skb)		((struct iphdr *)(skb)->network_header)
#define __skb_header_release(skb)	((void)(skb))
#define kfree_skb(skb)		consume_skb(skb)

struct sk_buff *alloc_skb(u32 size, gfp_t gfp);
#define alloc_skb_fclone(size, gfp)	alloc_skb(size, gfp)
void consume_skb(struct sk_buff *skb);
struct sk_buff *skb_clone(struct sk_buff *skb, gfp_t gfp);
struct sk_buff *__pskb_copy(struct sk_buff *skb, int headroom, gfp_t gfp);
int skb_unclone(struct sk_buff *skb, gfp_t gfp);
void *skb_put(struct sk_buff *skb, u32 len);
void *skb_push(struct sk_buff *skb, u32 len);
void *__skb_pull(struct sk_buff *skb, u32 len);
int pskb_trim(struct sk_buff *skb, u32 len);
void skb_split(struct sk_buff *skb, struct sk_buff *rest, u32 len);
bool skb_try_coalesce(struct sk_buff *to, struct sk_buff *from, bool *stolen,
		      int *delta);
void kfree_skb_partial(struct sk_buff *skb, bool stolen);
int skb_copy_bits(const struct sk_buff *skb, int at, void *to, int len);
void skb_set_owner_w(struct sk_buff *skb, struct sock *sk);
void skb_set_owner_r(struct sk_buff *skb, struct sock *sk);

/* Queues. */
static inline void __skb_queue_head_init(struct sk_buff_head *q)
{
	q->next = q->prev = (struct sk_buff *)q;
}

static inline bool skb_queue_empty(const struct sk_buff_head *q)
{
	return q->next == (const struct sk_buff *)q;
}

static inline struct sk_buff *skb_peek(const struct sk_buff_head *q)
{
	return skb_queue_empty(q) ? NULL : q->next;
}

static inline struct sk_buff *skb_peek_tail(const struct sk_buff_head *q)
{
	return skb_queue_empty(q) ? NULL : q->prev;
}

static inline bool skb_queue_is_last(const struct sk_buff_head *q,
				     const struct sk_buff *skb)
{
	return skb->next == (const struct sk_buff *)q;
}

static inline void __skb_queue_after(struct sk_buff_head *q,
				     struct sk_buff *at, struct sk_buff *new)
{
	new->next = at->next;
	new->prev = at;
	at->next->prev = new;
	at->next = new;
}

static inline void __skb_queue_tail(struct sk_buff_head *q, struct sk_buff *new)
{
	__skb_queue_after(q, q->prev, new);
}

static inline void __skb_unlink(struct sk_buff *skb, struct sk_buff_head *q)
{
	skb->next->prev = skb->prev;
	skb->prev->next = skb->next;
	skb->next = skb->prev = NULL;
}

static inline struct sk_buff *__skb_dequeue(struct sk_buff_head *q)
{
	struct sk_buff *skb = skb_peek(q);

	if (skb)
		__skb_unlink(skb, q);
	return skb;
}

#define skb_queue_walk(q, skb)						\
	for (skb = (q)->next; skb != (struct sk_buff *)(q); skb = skb->next)

#endif
