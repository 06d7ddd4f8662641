/* SPDX-License-Identifier: GPL-2.0 */
/*
 * As much of a kernel as the module's sources need in user space, unchanged. It
 * is included before everything; the kernel's own headers are empty files that
 * the Makefile makes, or what libc has of that name. There is one CPU, one lock
 * owner, no scheduler, and a clock that stands until somebody moves it.
 *
 * A target, ../NAME.c, makes calls and segments of its input's octets, does the
 * same in a way so plain that it can be trusted, and says what must() hold.
 * scripts/fuzz-parts has libFuzzer look for inputs, selftests/test_fuzz_parts
 * tries those that are kept in ../corpus.
 */
#ifndef _PARTS_KERNEL_H
#define _PARTS_KERNEL_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/types.h>
#include <asm/byteorder.h>

#define __KERNEL__
/* Of kernel versions, and tracepoints: not here. */
#define _CFTCP_COMPAT_H
#define _CFTCP_TRACE_H
#define trace_cftcp_segment(...)	((void)0)

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef s64 ktime_t;
typedef unsigned int gfp_t;
typedef unsigned int kuid_t;

#define U8_MAX		UINT8_MAX
#define U64_MAX		UINT64_MAX
#define S32_MAX		INT32_MAX
#define __user
#define __percpu
#define __read_mostly
#define IS_ENABLED(option)	0

/*
 * Macros of everybody's.
 */
#undef static_assert
#define static_assert(expr, ...)	_Static_assert(expr, #expr)
#define BUILD_BUG_ON(cond)		_Static_assert(!(cond), #cond)
#define ARRAY_SIZE(a)			(sizeof(a) / sizeof((a)[0]))
#define sizeof_field(type, field)	sizeof(((type *)0)->field)
#define offsetofend(type, field) \
	(offsetof(type, field) + sizeof_field(type, field))
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
#define READ_ONCE(x)		(x)
#define WRITE_ONCE(x, val)	((x) = (val))
#define this_cpu_inc(x)		((x)++)
#define this_cpu_add(x, n)	((x) += (n))
#define lockdep_assert(cond)	((void)0)
#define smp_mb__after_atomic()	((void)0)
#define rcu_read_lock()		((void)0)
#define rcu_read_unlock()	((void)0)

#define PICK(a, op, b) ({						\
	__auto_type a_ = (a); __auto_type b_ = (b); a_ op b_ ? a_ : b_; })
#define min(a, b)		PICK(a, <, b)
#define max(a, b)		PICK(a, >, b)
#define min_t(type, a, b)	PICK((type)(a), <, (type)(b))
#define max_t(type, a, b)	PICK((type)(a), >, (type)(b))
#define max3(a, b, c)		max(max(a, b), c)
#define clamp(x, lo, hi)	min(max(x, lo), hi)
#define clamp_t(type, x, lo, hi) clamp((type)(x), (type)(lo), (type)(hi))
#define min_not_zero(a, b) ({						\
	__auto_type x_ = (a); __auto_type y_ = (b);			\
	!x_ ? y_ : !y_ ? x_ : min(x_, y_); })
#define round_down(x, unit)	((x) & ~((__typeof__(x))(unit) - 1))
#define round_up(x, unit)	round_down((x) + (unit) - 1, unit)
#define ALIGN(x, unit)		round_up(x, unit)
#define DIV_ROUND_UP(a, b)	(((a) + (b) - 1) / (b))

#define ntohs(x)	__be16_to_cpu(x)
#define ntohl(x)	__be32_to_cpu(x)
#define htons(x)	__cpu_to_be16(x)
#define htonl(x)	__cpu_to_be32(x)

static inline u16 get_unaligned_be16(const void *p)
{
	const u8 *b = p;

	return b[0] << 8 | b[1];
}

static inline u32 get_unaligned_be32(const void *p)
{
	return (u32)get_unaligned_be16(p) << 16 |
	       get_unaligned_be16((const u8 *)p + 2);
}

static inline void put_unaligned_be32(u32 val, void *p)
{
	val = htonl(val);
	memcpy(p, &val, sizeof(val));
}

static inline u64 div_u64(u64 a, u32 b) { return a / b; }
static inline u64 div64_ul(u64 a, unsigned long b) { return a / b; }
static inline u64 mul_u64_u32_div(u64 a, u32 mul, u32 div)
{
	return (unsigned __int128)a * mul / div;
}

/*
 * Bits, atomics, locks.
 */
static inline void set_bit(int nr, unsigned long *p) { *p |= 1UL << nr; }
static inline void clear_bit(int nr, unsigned long *p) { *p &= ~(1UL << nr); }
static inline bool test_bit(int nr, const unsigned long *p)
{
	return *p >> nr & 1;
}

static inline bool test_and_set_bit(int nr, unsigned long *p)
{
	bool was = test_bit(nr, p);

	set_bit(nr, p);
	return was;
}

typedef struct { int v; } atomic_t, refcount_t, spinlock_t;
static inline int atomic_read(const atomic_t *a) { return a->v; }
static inline void atomic_add(int n, atomic_t *a) { a->v += n; }
static inline bool refcount_inc_not_zero(refcount_t *r)
{
	return r->v && ++r->v;
}

struct llist_node { struct llist_node *next; };
struct llist_head { struct llist_node *first; };
static inline bool llist_add(struct llist_node *node, struct llist_head *head)
{
	bool empty = !head->first;

	node->next = head->first;
	head->first = node;
	return empty;
}

#define llist_del_all(head) ({						\
	struct llist_node *all_ = (head)->first;			\
	(head)->first = NULL; all_; })
#define llist_for_each_entry_safe(pos, n, list, member)			\
	for (struct llist_node *l_ = (list), *m_;			\
	     l_ && (pos = container_of(l_, __typeof__(*pos), member),	\
		    n = pos, m_ = l_->next, (void)n, true); l_ = m_)

/* One, which runs when time passes or what was held is let go. */
struct tasklet_struct { void (*fn)(struct tasklet_struct *t); };
extern struct tasklet_struct *parts_tasklet;
#define DEFINE_PER_CPU(type, name)	type name
#define get_cpu_ptr(p)			(p)
#define put_cpu_ptr(p)			((void)0)
#define per_cpu(x, cpu)			(x)
#define for_each_possible_cpu(cpu)	for ((cpu) = 0; !(cpu); (cpu)++)
#define from_tasklet(var, t, field)	container_of(t, __typeof__(*var), field)
#define tasklet_setup(t, f)		((t)->fn = (f))
#define tasklet_schedule(t)		(parts_tasklet = (t))
#define tasklet_kill(t)			((void)(t))

/*
 * Lists.
 */
struct list_head { struct list_head *next, *prev; };
struct hlist_node { struct hlist_node *next, **pprev; };
struct hlist_head { struct hlist_node *first; };

static inline void INIT_LIST_HEAD(struct list_head *l)
{
	l->next = l->prev = l;
}

static inline void list_add(struct list_head *new, struct list_head *at)
{
	new->next = at->next;
	new->prev = at;
	at->next->prev = new;
	at->next = new;
}

static inline void list_add_tail(struct list_head *new, struct list_head *at)
{
	list_add(new, at->prev);
}

static inline void list_del_init(struct list_head *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	INIT_LIST_HEAD(l);
}

static inline void list_move_tail(struct list_head *l, struct list_head *at)
{
	list_del_init(l);
	list_add_tail(l, at);
}

static inline bool list_empty(const struct list_head *l)
{
	return l->next == l;
}

static inline void list_splice_init(struct list_head *from,
				    struct list_head *at)
{
	if (list_empty(from))
		return;
	from->prev->next = at->next;
	at->next->prev = from->prev;
	from->next->prev = at;
	at->next = from->next;
	INIT_LIST_HEAD(from);
}

#define list_entry(ptr, type, member)	container_of(ptr, type, member)
#define list_first_entry(head, type, member) \
	list_entry((head)->next, type, member)
#define list_first_entry_or_null(head, type, member) \
	(list_empty(head) ? NULL : list_first_entry(head, type, member))
#define list_for_each_entry(pos, head, member)				\
	for (pos = list_entry((head)->next, __typeof__(*pos), member);	\
	     &pos->member != (head);					\
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))
#define list_for_each_entry_safe(pos, n, head, member)			\
	for (pos = list_entry((head)->next, __typeof__(*pos), member),	\
	     n = list_entry(pos->member.next, __typeof__(*pos), member); \
	     &pos->member != (head);					\
	     pos = n,							\
	     n = list_entry(n->member.next, __typeof__(*n), member))

/*
 * Trees, of the shape that insertion gives them.
 */
struct rb_node { struct rb_node *rb_parent, *rb_right, *rb_left; };
struct rb_root { struct rb_node *rb_node; };
#define RB_EMPTY_ROOT(root)	(!(root)->rb_node)
#define rb_insert_color(node, root)	((void)(root))

static inline void rb_link_node(struct rb_node *node, struct rb_node *parent,
				struct rb_node **link)
{
	*node = (struct rb_node){ .rb_parent = parent };
	*link = node;
}

struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_last(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *node);
void rb_erase(struct rb_node *node, struct rb_root *root);

/*
 * Time.
 */
#define NSEC_PER_USEC	1000L
#define NSEC_PER_MSEC	1000000L
#define TICK_NSEC	4000000L
#define NSEC_PER_SEC	1000000000L
#define USEC_PER_MSEC	1000L
#define USEC_PER_SEC	1000000L
#define MSEC_PER_SEC	1000L

extern u64 parts_now;
static inline u64 ktime_get_ns(void) { return parts_now; }
static inline ktime_t ktime_get(void) { return parts_now; }
static inline s64 ktime_to_ms(ktime_t t) { return t / NSEC_PER_MSEC; }
static inline u64 ktime_to_ns(ktime_t t) { return t; }
static inline ktime_t ns_to_ktime(u64 ns) { return ns; }
static inline u64 ktime_get_boottime_seconds(void)
{
	return parts_now / NSEC_PER_SEC;
}

enum hrtimer_restart { HRTIMER_NORESTART };
enum hrtimer_mode { HRTIMER_MODE_ABS_SOFT };
struct hrtimer {
	bool queued;
	ktime_t expires;
	enum hrtimer_restart (*function)(struct hrtimer *timer);
};

#define cftcp_hrtimer_setup(t, fn, mode) \
	(*(t) = (struct hrtimer){ .function = (fn) })
#define hrtimer_is_queued(t)	((t)->queued)
#define hrtimer_get_expires(t)	((t)->expires)
#define hrtimer_start(t, at, mode) \
	((t)->expires = (at), (t)->queued = true)
#define hrtimer_try_to_cancel(t) ({ bool was_ = (t)->queued;		\
	(t)->queued = false; (int)was_; })

/*
 * Memory: parts_no_memory() says which allocations fail.
 */
#define GFP_ATOMIC	1U
#define GFP_KERNEL	2U
#define __GFP_NOFAIL	4U
#define GFP_NOWAIT	8U
#define __GFP_NOWARN	16U
#define __GFP_ACCOUNT	32U
bool parts_no_memory(gfp_t gfp);
static inline void *kzalloc(size_t size, gfp_t gfp)
{
	return parts_no_memory(gfp) ? NULL : calloc(1, size);
}

static inline void *kmemdup(const void *from, size_t size, gfp_t gfp)
{
	void *to = kzalloc(size, gfp);

	return to ? memcpy(to, from, size) : NULL;
}

#define kfree(p)	free(p)

/* A keyed hash that is none, but mixes. */
typedef struct { u64 key[2]; } siphash_aligned_key_t;
static inline u64 siphash(const void *data, size_t len,
			  const siphash_aligned_key_t *key)
{
	u64 hash = key->key[0];

	for (const u8 *p = data; len; len--)
		hash = (hash ^ *p++) * 0x100000001b3ULL;
	return hash ^ hash >> 29;
}

#define net_get_random_once(p, n)	memset(p, 0x5a, n)

/*
 * What structures of the module only have as members.
 */
struct rhash_head { void *next; };
struct rhashtable { void *tbl; };
struct rcu_head { void *next; };
struct timerqueue_node { void *next; };
struct timerqueue_head { void *first; };
struct mutex { int v; };
struct work_struct { int v; };
struct delayed_work { struct work_struct work; };
#define DECLARE_HASHTABLE(name, bits)	struct hlist_head name[1 << (bits)]

#include "skbuff.h"
#include "sock.h"

#endif
